"""TurboMind's library, so small that it travels, for an image with CUDA 13.

LMDeploy's wheel is built for CUDA 12. Beside its own library TurboMind wants the runtime of CUDA 12, which is
small and travels, and cuBLAS of CUDA 12, which is neither: `cublas12.c` hands the six functions that it calls
on to cuBLAS of CUDA 13. So what it shows is TurboMind's own kernels over another cuBLAS than its makers', and
results say so.
"""

from __future__ import annotations

import importlib.util
import io
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["ARCHIVE", "NOTE", "RUNTIME", "handed_on", "pack_turbomind"]

ARCHIVE: Final = "turbomind.tar.xz"
RUNTIME: Final = "nvidia-cuda-runtime-cu12==12.9.79"
"""Has libcudart.so.12."""

NOTE: Final = "TurboMind called cuBLAS of CUDA 13 in place of that of CUDA 12, for which it was built."

_SOURCE: Final = Path(__file__).with_name("cublas12.c")
_FOLDER: Final = "lmdeploy/turbomind/"
_LIBRARIES: Final = f"{_FOLDER}lib/"  # where TurboMind looks first
_STAND_IN: Final = "libcublas.so.12"
_VERSIONS: Final = "libcublas.so.12 { global: cublas*; local: *; };\n"


def pack_turbomind(lmdeploy: Path, runtime: Path, archive: Path) -> int:
    """Make ``archive`` of LMDeploy's wheel and that of the runtime; its size in bytes.

    Unpacked over an installed LMDeploy of the same wheel it adds TurboMind. Takes minutes, and a C compiler.
    Raises RuntimeError without one, and KeyError for wheels that have none of it.
    """
    with tarfile.open(archive, "w:xz") as tar:
        for name, content in _members(lmdeploy, runtime):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return archive.stat().st_size


def handed_on() -> bool:
    """Whether the TurboMind that is installed here has `cublas12.c` beneath it; nothing is loaded."""
    found = importlib.util.find_spec("lmdeploy")
    places = [] if found is None else found.submodule_search_locations or []
    return any((Path(place) / "turbomind" / "lib" / _STAND_IN).is_file() for place in places)


def _members(lmdeploy: Path, runtime: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(lmdeploy) as wheel:
        names = [name for name in wheel.namelist() if name.startswith(_FOLDER) and name.endswith(".so")]
        if not any("_turbomind" in name for name in names):
            raise KeyError(f"{lmdeploy.name} has no library of TurboMind")
        for name in names:
            yield name, wheel.read(name)
    with zipfile.ZipFile(runtime) as wheel:
        yield f"{_LIBRARIES}libcudart.so.12", wheel.read("nvidia/cuda_runtime/lib/libcudart.so.12")
    with tempfile.TemporaryDirectory() as folder:
        for name, content in _stand_ins(Path(folder)):
            yield f"{_LIBRARIES}{name}", content


def _stand_ins(folder: Path) -> Iterator[tuple[str, bytes]]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("found no C compiler; allowed: cc or gcc, such as that of build-essential")
    versions, nothing = folder / "versions", folder / "nothing.c"
    versions.write_text(_VERSIONS, encoding="utf-8")
    nothing.touch()
    # libcublasLt.so.12 is asked for as well, and no function of it.
    for name, source, more in (
        (_STAND_IN, _SOURCE, [f"-Wl,--version-script={versions}"]),
        ("libcublasLt.so.12", nothing, []),
    ):
        made = folder / name
        options = ["-O2", "-fPIC", "-shared", "-s", f"-Wl,-soname,{name}", *more]
        subprocess.run([compiler, *options, "-o", str(made), str(source)], check=True)
        yield name, made.read_bytes()

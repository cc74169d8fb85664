"""TurboMind's library packed for an image with CUDA 13, and cuBLAS 12 handed on to 13."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from benchmarks.gpu.turbomind import handed_on, pack_turbomind

FUNCTIONS = ["Create_v2", "Destroy_v2", "GemmEx", "GetMathMode", "SetStream_v2", "SetWorkspace_v2"]
LIBRARY = "lmdeploy/turbomind/_turbomind.cpython-312-x86_64-linux-gnu.so"


def wheel(file: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


@pytest.fixture
def wheels(tmp_path: Path) -> tuple[Path, Path]:
    lmdeploy = {
        LIBRARY: b"kernels",
        "lmdeploy/turbomind/lib/libturbomind_nccl_stub.so": b"stub",
        "lmdeploy/turbomind/turbomind.py": b"import _turbomind",
        "lmdeploy/pytorch/other.so": b"other",
    }
    runtime = {"nvidia/cuda_runtime/lib/libcudart.so.12": b"runtime", "nvidia/cuda_runtime/include/x.h": b""}
    return wheel(tmp_path / "lmdeploy.whl", **lmdeploy), wheel(tmp_path / "runtime.whl", **runtime)


@pytest.fixture
def unpacked(wheels: tuple[Path, Path], tmp_path: Path) -> Path:
    archive = tmp_path / "turbomind.tar.xz"
    assert pack_turbomind(*wheels, archive) == archive.stat().st_size
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "site", filter="data")
    return tmp_path / "site"


def test_libraries_lie_where_turbomind_looks(unpacked: Path) -> None:
    files = {str(file.relative_to(unpacked)): file for file in unpacked.rglob("*") if file.is_file()}
    folder = "lmdeploy/turbomind/lib"
    assert set(files) == {
        LIBRARY,
        *(f"{folder}/{name}" for name in ("libturbomind_nccl_stub.so", "libcudart.so.12")),
        *(f"{folder}/{name}" for name in ("libcublas.so.12", "libcublasLt.so.12")),
    }
    assert files[LIBRARY].read_bytes() == b"kernels"
    assert files[f"{folder}/libcudart.so.12"].read_bytes() == b"runtime"
    ctypes.CDLL(str(files[f"{folder}/libcublasLt.so.12"]))


THIRTEEN = "".join(
    f"int cublas{name}(int a) {{ return a + {100 * n}; }}\n" for n, name in enumerate(FUNCTIONS)
)
CALLS = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
print(*(getattr(library, "cublas" + name)(7) for name in sys.argv[2:]))
"""


def call(folder: Path, unpacked: Path, *names: str) -> subprocess.CompletedProcess[str]:
    library = unpacked / "lmdeploy" / "turbomind" / "lib" / "libcublas.so.12"
    command = [sys.executable, "-c", CALLS, str(library), *names]
    environment = {"LD_LIBRARY_PATH": str(folder)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_each_function_is_handed_on_to_its_namesake(unpacked: Path, tmp_path: Path) -> None:
    folder = tmp_path / "thirteen"
    folder.mkdir()
    (folder / "thirteen.c").write_text(THIRTEEN)
    compiler = shutil.which("cc") or shutil.which("gcc") or "cc"
    made = ["-shared", "-fPIC", "-Wl,-soname,libcublas.so.13", "-o", str(folder / "libcublas.so.13")]
    subprocess.run([compiler, *made, str(folder / "thirteen.c")], check=True)
    done = call(folder, unpacked, *FUNCTIONS)
    assert done.stdout.split() == [str(7 + 100 * n) for n in range(len(FUNCTIONS))], done.stderr


def test_without_13_it_loads_and_a_call_says_what_is_missing(unpacked: Path, tmp_path: Path) -> None:
    assert call(tmp_path, unpacked).returncode == 0
    done = call(tmp_path, unpacked, "Create_v2")
    assert done.returncode != 0
    assert "libcublas.so.13, to which it hands on, is not here" in done.stderr


def test_no_compiler_and_no_library_are_said(
    wheels: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lmdeploy, runtime = wheels
    with pytest.raises(KeyError, match="has no library of TurboMind"):
        pack_turbomind(runtime, runtime, tmp_path / "none.tar.xz")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(RuntimeError, match="no C compiler"):
        pack_turbomind(lmdeploy, runtime, tmp_path / "none.tar.xz")


@pytest.mark.parametrize("there", [True, False])
def test_results_know_what_is_beneath(
    there: bool, unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModuleSpec("lmdeploy", None, is_package=True)
    spec.submodule_search_locations = [str((unpacked if there else tmp_path) / "lmdeploy")]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    assert handed_on() is there
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert handed_on() is False

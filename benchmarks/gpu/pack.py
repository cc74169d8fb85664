"""Makes the folder of wheels that a bare GPU image lacks, to travel with the tree.

    python -m benchmarks.gpu.pack [--turbomind] [FOLDER]

For CPython 3.12 on x86-64 Linux, on an image that has PyTorch and Transformers with what they need, and
pytest's own dependencies perhaps in other versions. LMDeploy comes without the requirements of its parts that
nothing here imports, and without TurboMind's library of 360 MB, which `--turbomind` packs apart.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.gpu.turbomind import ARCHIVE, RUNTIME, pack_turbomind

__all__ = ["FOLDER", "LIMIT_BYTES", "main", "slim", "tree_bytes"]

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).with_name("wheels")
LIMIT_BYTES = 64 * 2**20
"""The most that tree and wheels may weigh together."""

_PYTHON = "3.12"
_GLIBC = ("2_34", "2_31", "2_28", "2_27", "2_26", "2_24", "2_17")
_LMDEPLOY = (
    "lmdeploy==0.18.0",
    # What its PyTorch engine imports, and what those import in turn.
    "addict==2.4.0",
    "annotated-types==0.8.0",
    "apache-tvm-ffi==0.1.11",
    "distro",
    "fastapi",
    "fire",
    "httpcore2",
    "httpx2",
    "jiter",
    "mmengine-lite==0.10.7",
    "openai-harmony==0.0.8",
    "openai==3.54.0",
    "partial-json-parser",
    "platformdirs",
    "pybase64==1.5.1",
    "pydantic==2.14.3",
    "pydantic-core==2.50.4",
    "pyzmq==27.3.0",
    "shortuuid==1.0.13",
    "sniffio",
    "starlette",
    "termcolor==3.3.0",
    "truststore",
    "typing-inspection==0.4.5",
    "uvicorn",
    "xgrammar==0.2.8",
    "yapf==0.43.0",
)
# Of the harness's own dependencies, those an image for training may lack or have too old.
_HARNESS = ("iniconfig", "packaging", "pluggy>=1.6", "pygments>=2.18", "pytest==9.2.0", "syrupy==7.0.2")
_UNWANTED = "lmdeploy/turbomind/"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the folder anew; the exit status: 1 if it is too large to travel, or a wheel cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.pack")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, metavar="FOLDER")
    parser.add_argument(
        "--turbomind", action="store_true", help="its library too, 32 MiB; takes minutes and a C compiler"
    )
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    if importlib.util.find_spec("pip") is None:
        print(
            f"{sys.executable} has no pip; allowed: any Python that has: python3 -m benchmarks.gpu.pack",
            file=sys.stderr,
        )
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.whl"), *folder.glob(ARCHIVE)):
        old.unlink()
    (folder / ".gitignore").write_text("# Made by benchmarks/gpu/pack.py.\n*\n", encoding="utf-8")
    names = (*_LMDEPLOY, *_HARNESS, *([RUNTIME] if options.turbomind else []))
    if status := subprocess.run(download_command(folder, names), check=False).returncode:
        print(f"pip ended with status {status}; nothing is packed", file=sys.stderr)
        return 1
    lmdeploy = next(folder.glob("lmdeploy-*.whl"))
    if options.turbomind:
        runtime = next(folder.glob("nvidia_cuda_runtime*.whl"))
        packed = pack_turbomind(lmdeploy, runtime, folder / ARCHIVE)
        runtime.unlink()
        print(f"TurboMind: {packed / 2**20:.1f} MiB")
    slim(lmdeploy)
    wheels = sorted(folder.glob("*.whl"))
    size = _size([*wheels, folder / ARCHIVE])
    total = size + tree_bytes(ROOT)
    in_all = f"{size / 2**20:.1f} MiB in all, in {folder}; with the tree {total / 2**20:.1f} MiB"
    print(f"{len(wheels)} wheels, {in_all}")
    if total > LIMIT_BYTES:
        print(f"found {total / 2**20:.1f} MiB; allowed: {LIMIT_BYTES / 2**20:.0f} MiB", file=sys.stderr)
        return 1
    return 0


def download_command(folder: Path, names: Sequence[str]) -> list[str]:
    """pip's command line; each wheel by itself, since the rest is on the image already."""
    platforms = [f"--platform=manylinux_{glibc}_x86_64" for glibc in _GLIBC]
    return [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
        *(f"--python-version={_PYTHON}", "--implementation=cp", *platforms),
        *("--platform=manylinux2014_x86_64", "--platform=manylinux1_x86_64"),
        *("--dest", str(folder), *names),
    ]


def slim(wheel: Path) -> None:
    """Take TurboMind's library out of LMDeploy's wheel, and out of its list of files."""
    smaller = wheel.with_suffix(".part")
    with (
        zipfile.ZipFile(wheel) as old,
        zipfile.ZipFile(smaller, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new,
    ):
        for member in old.infolist():
            if not _kept(member.filename):
                continue
            content = old.read(member)
            if member.filename.endswith(".dist-info/RECORD"):
                lines = content.decode("utf-8").splitlines(keepends=True)
                content = "".join(line for line in lines if _kept(line.partition(",")[0])).encode()
            new.writestr(member, content, zipfile.ZIP_DEFLATED)
    smaller.replace(wheel)


def _kept(name: str) -> bool:
    return not name.startswith(_UNWANTED) or name.endswith(".py")


def tree_bytes(root: Path) -> int:
    """What git tracks under ``root`` or would, in bytes."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout
    return _size(root / name for name in listed.decode().split("\0") if name)


def _size(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


if __name__ == "__main__":
    sys.exit(main())

"""The script behind `probe` and `find_model`: prints one JSON object about the interpreter that runs it.

Run as ``python interpreter_report.py ORDER`` with ORDER a JSON object. Standard library only, and on its own:
nothing of this package is imported, so any interpreter can run it.
"""

from __future__ import annotations

import glob
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

_PREFIXES = (
    "ATEN_",
    "CUBLAS_",
    "CUDA_",
    "CUDNN_",
    "GOMP_",
    "HF_HUB",
    "KMP_",
    "LMDEPLOY_",
    "MKL_",
    "NCCL_",
    "NVIDIA_",
    "OMP_",
    "ONEDNN_",
    "OPENBLAS_",
    "PYTHONPATH",
    "PYTORCH_",
    "TORCH",
    "TRITON_",
)
_SECRETS = ("AUTH", "CREDENTIAL", "KEY", "PASSW", "SECRET", "TOKEN")
_NVIDIA_SMI_SECONDS = 20


def report(packages: list[str], sources: list[str], cache: str | None) -> dict[str, Any]:
    """See `harness.workers.probe`."""
    gpus = _Gpus()  # asked first and read last: nvidia-smi takes its time
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "packages": {name: _version(name) for name in packages},
        "sources": {name: _source_hash(name, None if cache is None else Path(cache)) for name in sources},
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(_PREFIXES) and not any(secret in name.upper() for secret in _SECRETS)
        },
        "gpus": gpus.names(),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


class _Gpus:
    def __init__(self) -> None:
        self._process = None
        if program := shutil.which("nvidia-smi"):
            self._process = subprocess.Popen(
                [program, "--query-gpu=name,driver_version", "--format=csv,noheader"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )

    def names(self) -> list[str]:
        if self._process is None:
            return []
        try:
            output, _ = self._process.communicate(timeout=_NVIDIA_SMI_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            return []
        return (
            [line.strip() for line in output.splitlines() if line.strip()]
            if self._process.returncode == 0
            else []
        )


def _source_hash(name: str, cache: Path | None) -> str | None:
    """Hash of the relative paths and contents of the ``.py`` files of the top-level package ``name``."""
    spec = importlib.util.find_spec(name)  # does not import a top-level package
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not folders:
        return None
    folder = folders[0]
    files = sorted(_python_files(folder))
    signature = hashlib.sha256(repr(files).encode()).hexdigest()
    place = hashlib.sha256(folder.encode()).hexdigest()[:16]
    kept = None if cache is None else cache / f"sources-{name}-{place}.txt"
    if kept is not None:
        try:
            known, _, digest = kept.read_text(encoding="ascii").partition(" ")
            if known == signature and digest:
                return digest
        except (OSError, ValueError):
            pass
    whole = hashlib.sha256()
    for path, *_ in files:
        content = hashlib.sha256(Path(folder, path).read_bytes()).hexdigest()
        whole.update(f"{path}\0{content}\n".encode("utf-8", "surrogateescape"))
    digest = whole.hexdigest()
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_name(f"{kept.name}.{os.getpid()}.tmp")
        unfinished.write_text(f"{signature} {digest}", encoding="ascii")
        unfinished.replace(kept)
    return digest


def _python_files(folder: str) -> list[tuple[str, int, int, int]]:
    """(relative path, size, time of modification, of change, in ns) of each; the latter can't be set back."""
    found = []
    waiting = [""]
    while waiting:
        relative = waiting.pop()
        with os.scandir(os.path.join(folder, relative)) as entries:  # noqa: PTH118 - pathlib is twice as slow here
            for entry in entries:
                path = f"{relative}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if entry.name == "__pycache__":
                        continue
                    waiting.append(f"{path}/")
                elif entry.name.endswith(".py"):
                    status = entry.stat()
                    found.append((path, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return found


def find_model(model: str, revision: str | None) -> dict[str, Any]:
    """See `harness.workers.find_model`."""
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError:
        return {
            "error": f"model {model!r} is no folder, and to look it up as a hub id huggingface_hub is missing"
        }
    error = "its download was broken off; run again where the hub can be reached"
    for local in (True, False):
        try:
            folder = Path(snapshot_download(model, revision=revision, local_files_only=local))
        except Exception as failure:  # noqa: BLE001 - whatever it is, it is what the report has to say
            error = f"{type(failure).__name__}: {failure}"
        else:
            # Without the network the hub's client is content with what there is, even in part.
            if _whole(folder):
                return {"folder": str(folder), "revision": folder.name}
    at = f" at revision {revision!r}" if revision else ""
    return {"error": f"model {model!r}{at} cannot be had: {error}"}


def _whole(snapshot: Path) -> bool:
    """Whether a download came to its end: an interrupted one leaves a snapshot that looks like any other."""
    if glob.glob(os.path.join(snapshot.parent.parent, "blobs", "*.incomplete")):  # noqa: PTH118, PTH207
        return False
    named = {"config.json"}
    for index in snapshot.glob("*.index.json"):
        named |= set(json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values())
    return all((snapshot / name).exists() for name in named)


if __name__ == "__main__":
    _here = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120 - as Python itself fills sys.path[0]
    sys.path[:] = [entry for entry in sys.path if entry != _here]
    _order = json.loads(sys.argv[1])
    print(json.dumps(find_model(**_order) if "model" in _order else report(**_order)))  # noqa: T201

"""The script behind `probe` and `toolkit`: prints one JSON object about the interpreter that runs it.

Run as ``python interpreter_report.py ORDER`` with ORDER a JSON object; lines of progress come before the
report where it takes long. Standard library only, and on its own: nothing of this package is imported
(``machine/nvidia.py`` is run by its path), so any interpreter can run it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import runpy
import sys
import sysconfig
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

PREFIXES = (
    "ATEN_", "CUBLASLT_", "CUBLAS_", "CUDA_", "CUDNN_", "DEEPEP_", "DG_", "DNNL_", "FLASHINFER_",
    "FLASH_ATTENTION_", "GOMP_", "KMP_", "LMDEPLOY_", "MKL_", "NCCL_", "OMP_", "ONEDNN_", "OPENBLAS_",
    "PYTORCH_", "TM_", "TOKENIZERS_", "TORCH", "TRANSFORMERS_", "TRITON_",
)  # fmt: skip
"""Beginnings of the variables that choose kernels, numerics or code."""
NAMES = (
    "DISABLE_KERNEL_MAPPING", "HF_HUB_OFFLINE", "LD_LIBRARY_PATH", "LD_PRELOAD", "LOCAL_KERNELS",
    "NVIDIA_TF32_OVERRIDE", "PYTHONPATH", "USE_HUB_KERNELS",
)  # fmt: skip
"""Such variables by their whole names."""
_SECRETS = ("AUTH", "CREDENTIAL", "KEY", "PASSW", "SECRET", "TOKEN")
# Places of caches and of what is written, and what is logged: no number comes from them.
_NO_NUMBERS = re.compile(
    r".*(_CACHE_(DIR|HOME|PATH|ROOT|MAXSIZE|DISABLE)|_DUMP_DIR|_LOGS?|_LOG_LEVEL|_VERBOS(E|ITY)|_DEBUG_FILE)"
    r"|NCCL_DEBUG|TM_GEMM_EXPORT|TOKENIZERS_PARALLELISM|TORCH_EXTENSIONS_DIR|TORCH_HOME|TRANSFORMERS_CACHE|TRITON_HOME"
)

LISTED = (
    "accelerate", "apache-tvm-ffi", "auto-gptq", "autoawq", "autoawq-kernels", "bitsandbytes",
    "causal-conv1d", "compressed-tensors", "decord", "deep-ep", "deep-gemm", "dlblas", "einops",
    "flash-attn", "flash-attn-3", "flash-linear-attention", "flash-mla", "flashinfer-python", "gptqmodel",
    "hf-kernels", "kernels", "mamba-ssm", "nvidia-*", "opencv-*", "optimum", "qwen-vl-utils",
    "sentencepiece", "tilelang", "timm", "torchao", "triton", "triton-*", "xformers", "xgrammar",
)  # fmt: skip
"""Distributions that an engine uses where they are there, whether or not anything requires them."""
_ROOTS = ("torch", "transformers", "lmdeploy")

_SOURCES = re.compile(r".*\.(py|so|so\.[\d.]+|pyd|dll|dylib|cu|cuh|cpp|h)")
_PIECE_BYTES = 1 << 22
_TICK_SECONDS = 1.0
_told = [time.monotonic()]  # when it was last
_BY_RECORD = {"torch"}  # gigabytes, of which the installer has left the hashes


def _tell(note: str) -> None:
    """Say how far it is, at most once a second, so that silence is a sign of hanging."""
    if time.monotonic() - _told[0] > _TICK_SECONDS:
        _told[0] = time.monotonic()
        print(json.dumps({"progress": note}), flush=True)  # noqa: T201


def report(packages: list[str], sources: list[str], cache: str | None) -> dict[str, Any]:
    """See `harness.workers.probe`."""
    nvidia = _run("machine/nvidia.py")
    gpus, chosen, untold = nvidia["visible_gpus"](nvidia["read_nvidia"](details=False), os.environ)
    left_out = "CUDA_VISIBLE_DEVICES" if chosen else ""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _run("machine/processor.py")["processor_name"](),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "packages": versions(packages),
        "sources": {name: _source_hash(name, None if cache is None else Path(cache)) for name in sources},
        "environment": {
            name: _value(os.environ[name]) for name in sorted(os.environ) if told(name) and name != left_out
        },
        "gpus": list(gpus),
        "gpus_untold": untold,
    }


def _run(file: str) -> dict[str, Any]:
    """What a file of the package defines that needs the standard library only."""
    return runpy.run_path(os.fspath(Path(__file__).resolve().parents[1] / file))


def told(name: str) -> bool:
    """Whether the variable ``name`` may change an answer, and cannot hold a secret."""
    if not (name in NAMES or name.startswith(PREFIXES)) or _NO_NUMBERS.fullmatch(name):
        return False
    return not any(secret in name.upper().removeprefix("TOKENIZERS_") for secret in _SECRETS)


def _value(value: str) -> str:
    """A variable's value; of a file that it names, such as kernels to import, the content."""
    if os.path.isabs(value) and os.path.isfile(value):  # noqa: PTH113, PTH117 - too long a value is no error here
        try:
            return f"{os.path.basename(value)} {hashlib.sha256(Path(value).read_bytes()).hexdigest()}"  # noqa: PTH119
        except OSError:
            pass
    return value


def versions(named: Iterable[str]) -> dict[str, str | None]:
    """Versions of ``named`` (None: not there), of `LISTED`, and of all that the engines' libraries require.

    Names are normalised. A requirement counts whatever its marker says, if it is installed, except that of an
    extra that nobody asks for.
    """
    installed: dict[str, tuple[str, list[str]]] = {}
    for distribution in importlib.metadata.distributions():
        _tell("reading what is installed")
        text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
        fields = [line.partition(":")[::2] for line in text.partition("\n\n")[0].splitlines()]
        values = {key: value.strip() for key, value in fields}
        if "Name" in values:  # the first on the path is the one that is imported
            needs = [value for key, value in fields if key == "Requires-Dist"]
            installed.setdefault(_normal(values["Name"]), (values.get("Version", ""), needs))
    wanted = {(name, "") for name in _ROOTS if name in installed}
    waiting = list(wanted)
    while waiting:
        name, extra = waiting.pop()
        for need in _required(installed[name][1], extra):
            if need[0] in installed and need not in wanted:
                wanted.add(need)
                waiting.append(need)
    starts = tuple(name[:-1] for name in LISTED if name.endswith("*"))
    found = {name for name in installed if name in LISTED or name.startswith(starts)}
    found |= {name for name, _ in wanted}
    return {
        name: installed[name][0] if name in installed else None
        for name in sorted(found | {_normal(name) for name in named})
    }


def _required(needs: list[str], extra: str) -> Iterable[tuple[str, str]]:
    """(distribution, extra) pairs that a distribution needs for one of its own extras ('': for itself)."""
    for need in needs:
        requirement, _, marker = need.partition(";")
        matched = re.match(r"\s*([\w.-]+)\s*(?:\[([^]]*)\])?", requirement)
        extras = {_normal(each) for each in re.findall(r"""extra\s*==\s*["']([^"']*)""", marker)}
        if matched is None or (extras and extra not in extras):
            continue
        name = _normal(matched[1])
        yield name, ""
        for each in filter(None, (matched[2] or "").split(",")):
            yield name, _normal(each.strip())


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def toolkit() -> dict[str, Any]:
    """See `harness.workers.interpreter.toolkit`. What torch was built for stands in its version.py."""
    # As Triton looks for it (triton/runtime/build.py): Debian's own scheme is not where its headers are.
    scheme = sysconfig.get_default_scheme().replace("posix_local", "posix_prefix")
    include = sysconfig.get_paths(scheme)["include"]
    spec = importlib.util.find_spec("torch")
    try:
        text = Path((spec and spec.origin) or "").with_name("version.py").read_text(encoding="utf-8")
    except (OSError, ValueError):
        text = ""
    built = dict(re.findall(r"^(__version__|cuda)\b[^=\n]*= *'([^'\n]+)'", text, re.MULTILINE))
    return {
        "python": platform.python_version(),
        "include": include,
        "headers": os.path.isfile(os.path.join(include, "Python.h")),  # noqa: PTH113, PTH118
        "torch": built.get("__version__"),
        "cuda": built.get("cuda"),
    }


def _source_hash(name: str, cache: Path | None) -> str | None:
    """Hash of the relative paths and contents of the top-level package ``name``: Python and native code.

    Of `_BY_RECORD`, what the installer noted of the package's files, where it noted any.
    """
    if name in _BY_RECORD and (digest := _record_hash(name)) is not None:
        return digest
    spec = importlib.util.find_spec(name)  # does not import a top-level package
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not folders:
        return None
    folder = folders[0]
    files = sorted(_source_files(folder))
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
    for count, (path, *_) in enumerate(files):
        content = hashlib.sha256()
        with Path(folder, path).open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                content.update(piece)
                _tell(f"hashing {name}: {count:,} of {len(files):,} files")
        whole.update(f"{path}\0{content.hexdigest()}\n".encode("utf-8", "surrogateescape"))
    digest = whole.hexdigest()
    if kept is not None:
        with suppress(OSError):  # then it is hashed again; what must be written says itself that it cannot
            kept.parent.mkdir(parents=True, exist_ok=True)
            unfinished = kept.with_name(f"{kept.name}.{os.getpid()}.tmp")
            unfinished.write_text(f"{signature} {digest}", encoding="ascii")
            unfinished.replace(kept)
    return digest


def _record_hash(name: str) -> str | None:
    try:
        lines = (importlib.metadata.distribution(name).read_text("RECORD") or "").splitlines()
    except importlib.metadata.PackageNotFoundError:
        return None
    # Not what differs with the installer: its own notes, scripts, compiled Python.
    kept = sorted(line for line in lines if line.startswith(f"{name}/") and ".pyc," not in line)
    return hashlib.sha256("\n".join(kept).encode()).hexdigest() if kept else None


def _source_files(folder: str) -> list[tuple[str, int, int, int]]:
    """(relative path, size, time of modification, of change, in ns) of each; the latter can't be set back."""
    found = []
    waiting = [""]
    while waiting:
        relative = waiting.pop()
        _tell(f"listing {folder}")
        with os.scandir(os.path.join(folder, relative)) as entries:  # noqa: PTH118 - pathlib is twice as slow here
            for entry in entries:
                path = f"{relative}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if entry.name == "__pycache__":
                        continue
                    waiting.append(f"{path}/")
                elif _SOURCES.fullmatch(entry.name):
                    status = entry.stat()
                    found.append((path, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return found


if __name__ == "__main__":
    _here = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120 - as Python itself fills sys.path[0]
    sys.path[:] = [entry for entry in sys.path if entry != _here]
    _order = json.loads(sys.argv[1])
    print(json.dumps(report(**_order) if _order else toolkit()))  # noqa: T201

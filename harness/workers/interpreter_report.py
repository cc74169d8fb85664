"""The script behind `probe` and `find_model`: prints one JSON object about the interpreter that runs it.

Run as ``python interpreter_report.py ORDER`` with ORDER a JSON object. Standard library only, and on its own:
nothing of this package is imported, so any interpreter can run it.
"""

from __future__ import annotations

import ctypes
import glob
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

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
_BY_RECORD = {"torch"}  # gigabytes, of which the installer has left the hashes


def report(packages: list[str], sources: list[str], cache: str | None) -> dict[str, Any]:
    """See `harness.workers.probe`."""
    gpus = visible_gpus()
    chosen = {"CUDA_VISIBLE_DEVICES"} if gpus.chosen else set()
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "packages": versions(packages),
        "sources": {name: _source_hash(name, None if cache is None else Path(cache)) for name in sources},
        "environment": {
            name: _value(os.environ[name]) for name in sorted(os.environ) if told(name) and name not in chosen
        },
        "gpus": list(gpus.names),
        "gpus_untold": gpus.untold,
    }


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


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


class Gpus(NamedTuple):
    """The NVIDIA GPUs that an engine sees, each as ``name, driver version``.

    ``chosen`` is whether CUDA_VISIBLE_DEVICES was followed, so that it tells nothing more. ``untold`` says
    what was tried where there are GPUs that nothing tells the names of; '' else.
    """

    names: tuple[str, ...]
    chosen: bool
    untold: str


def visible_gpus(
    *,
    variables: Mapping[str, str] = os.environ,
    library: Callable[[str], Any] = ctypes.CDLL,
    proc: Path = Path("/proc/driver/nvidia"),
    devices: Path = Path("/dev"),
) -> Gpus:
    """Ask NVML, or else read the driver's files. Starts nothing on a GPU, and no program."""
    tried: list[str] = []
    found, driver = _by_nvml(library, tried) or _by_driver_files(proc, tried) or ([], "")
    wish = variables.get("CUDA_VISIBLE_DEVICES")
    chosen = None if wish is None else _chosen(found, wish, variables.get("CUDA_DEVICE_ORDER", ""))
    there = any(glob.glob(os.path.join(devices, name)) for name in ("nvidia[0-9]*", "dxg"))  # noqa: PTH118, PTH207
    return Gpus(
        tuple(f"{name}, {driver}" for name, _ in (found if chosen is None else chosen)),
        chosen is not None,
        "; ".join(tried) if there and not found and chosen is None else "",
    )


def _by_nvml(library: Callable[[str], Any], tried: list[str]) -> tuple[list[tuple[str, str]], str] | None:
    """(name, UUID) of each GPU in the order of PCI addresses, and the driver's version."""
    try:
        nvml = library("libnvidia-ml.so.1")
        if status := nvml.nvmlInit_v2():
            raise OSError(f"nvmlInit_v2 gave {status}")
        try:
            count, handle, text = ctypes.c_uint(), ctypes.c_void_p(), ctypes.create_string_buffer(96)

            def read(function: Any, *arguments: Any) -> str:  # noqa: ANN401 - ctypes has no closer type
                if status := function(*arguments, text, ctypes.c_uint(len(text))):
                    raise OSError(f"{function.__name__} gave {status}")
                return text.value.decode("utf-8", "replace")

            driver = read(nvml.nvmlSystemGetDriverVersion)
            if status := nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
                raise OSError(f"nvmlDeviceGetCount_v2 gave {status}")
            found = []
            for index in range(count.value):
                if status := nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)):
                    raise OSError(f"nvmlDeviceGetHandleByIndex_v2({index}) gave {status}")
                found.append((read(nvml.nvmlDeviceGetName, handle), read(nvml.nvmlDeviceGetUUID, handle)))
        finally:
            nvml.nvmlShutdown()
    except (AttributeError, OSError) as error:
        tried.append(f"NVML (libnvidia-ml.so.1): {error}")
        return None
    tried.append(f"NVML (libnvidia-ml.so.1): {len(found)} GPUs")
    return (found, driver) if found else None


def _by_driver_files(proc: Path, tried: list[str]) -> tuple[list[tuple[str, str]], str] | None:
    """As `_by_nvml`. The folders bear the PCI addresses."""
    try:
        words = (proc / "version").read_text(encoding="utf-8", errors="replace")
        driver = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", words)
        found = []
        for file in sorted(proc.glob("gpus/*/information")):
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
            if values.get("Model"):
                found.append((values["Model"], values.get("GPU UUID", "")))
    except OSError as error:
        tried.append(f"{error.filename}: {error.strerror}")
        return None
    if driver is None or not found:
        tried.append(f"{proc}/gpus/*/information: {len(found)} GPUs; {proc}/version: {words.strip()[:80]!r}")
        return None
    return found, driver[0]


def _chosen(found: list[tuple[str, str]], wish: str, order: str) -> list[tuple[str, str]] | None:
    """Those that CUDA_VISIBLE_DEVICES leaves, as CUDA reads it; None where that is not certain from here."""
    chosen = []
    for word in map(str.strip, wish.split(",")):
        if word.startswith("MIG-") or (word and not found and word != "-1"):
            return None
        by_name = [gpu for gpu in found if word.startswith("GPU-") and gpu[1].startswith(word)]
        if word.isdigit() and int(word) < len(found):
            # Numbers follow the speed unless the order is PCI's, which matters where GPUs differ.
            if order != "PCI_BUS_ID" and len({name for name, _ in found}) > 1:
                return None
            chosen.append(found[int(word)])
        elif len(by_name) == 1:
            chosen += by_name
        else:
            break  # CUDA ignores what comes after an entry that is none
    return chosen


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

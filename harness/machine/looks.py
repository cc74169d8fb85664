"""The looks of `harness doctor`, each at facts that are given, so that any machine can be looked at.

``wanted`` is whether something is to run on a GPU here: what it lacks is wrong then, and else only said.
"""

from __future__ import annotations

import http.client
import os
import re
import shlex
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.machine.findings import Finding, lacking, right, unknown
from harness.machine.nvidia import Gpu, Nvidia, why_no_cuda

__all__ = [
    "look_at_compiler",
    "look_at_disk",
    "look_at_gpus",
    "look_at_host",
    "look_at_hub",
    "look_at_python",
]

_HUB = "https://huggingface.co"  # huggingface_hub's own default
_HUB_SECONDS = 4.0
_GIB, _GB = 2**30, 10**9
_LEAST_GPU = 2 * _GIB  # CUDA's context and a small model
_LEAST_HOST = 4 * _GIB  # two workers with their libraries
_NAMED_BY = {"recordings": "--recordings", "environments": "--environments", "models": "HF_HUB_CACHE"}
_NVML = "make libnvidia-ml.so.1 loadable (in a container: NVIDIA_DRIVER_CAPABILITIES=compute,utility)"


def look_at_gpus(found: Nvidia, variables: Mapping[str, str], *, wanted: bool) -> Iterator[Finding]:
    """The driver, what CUDA_VISIBLE_DEVICES leaves, and each GPU with who holds its memory."""
    tried = "; ".join(found.tried)
    if not found.gpus:
        there = bool(found.driver or found.devices)
        text = f"driver {found.driver or 'unknown'}, but no GPU" if there else "no NVIDIA GPU and no driver"
        command = _NVML if there else "install NVIDIA's driver (in a container: start it with --gpus all)"
        yield lacking(there or wanted, "GPU", f"{text}; tried {tried}", command)
        return
    if len(found.tried) > 1:
        text = f"{found.driver}, by its files alone, which tell neither memory nor MIG; {found.tried[0]}"
        yield unknown("driver", text, command=_NVML)
    else:
        yield right("driver", f"{found.driver}, up to CUDA {found.cuda or 'unknown'}")
    visible = found.visible(variables)
    if (wish := variables.get("CUDA_VISIBLE_DEVICES")) is not None:
        yield _look_at_wish(found, wish, visible, wanted=wanted)
    for index, gpu in enumerate(found.gpus):
        yield _look_at_gpu(f"GPU {index}", index, gpu, hidden=visible is not None and gpu not in visible)


def _look_at_wish(found: Nvidia, wish: str, visible: tuple[Gpu, ...] | None, *, wanted: bool) -> Finding:
    topic, words = "CUDA_VISIBLE_DEVICES", [word.strip() for word in wish.split(",")]
    absent = [] if visible is None else [word for word in words[len(visible) :][:1] if word not in ("", "-1")]
    if instances := [name for gpu in found.gpus for name in gpu.mig or ()]:
        named = [word for word in words if word.startswith("MIG-")]
        absent += [word for word in named if not any(name.startswith(word) for name in instances)]
    if absent:
        text = f"{wish!r}: there is no {', '.join(absent)}; CUDA ignores it and all that comes after it"
        there = ",".join(map(str, range(len(found.gpus))))
        return lacking(True, topic, text, f"export CUDA_VISIBLE_DEVICES={there}")
    if visible == ():
        return lacking(wanted, topic, f"{wish!r} hides every GPU", "unset CUDA_VISIBLE_DEVICES")
    return right(topic, repr(wish))


def _look_at_gpu(topic: str, index: int, gpu: Gpu, *, hidden: bool) -> Finding:
    text = f"{gpu.name}, compute capability {gpu.capability}" if gpu.capability else gpu.name
    if hidden:
        return right(topic, f"{text}, hidden by CUDA_VISIBLE_DEVICES")
    if gpu.mig == ():
        text += (
            f": MIG is on without an instance, so CUDA sees nothing (`nvidia-smi -i {index} -mig 0` ends it)"
        )
        return lacking(True, topic, text, f"nvidia-smi mig -i {index} -cgi 0 -C")
    if gpu.mig:
        text += f", MIG instances {', '.join(gpu.mig)}"
    if gpu.total is None or gpu.free is None:
        return right(topic, text)
    text += f", {gpu.free / _GIB:.1f} of {gpu.total / _GIB:.1f} GiB free"
    if not gpu.holders and gpu.free > 0.9 * gpu.total:  # an idle one keeps some for itself
        return right(topic, text)
    sizes = ["" if one.held is None else f", {one.held / _GIB:.1f} GiB" for one in gpu.holders]
    holders = [f"{one.name or '?'} ({one.pid}{size})" for one, size in zip(gpu.holders, sizes, strict=True)]
    text += f"; held by {', '.join(holders) or 'what is not told in this container, or to this user'}"
    pids = " ".join(str(one.pid) for one in gpu.holders)
    text += f"{'' if pids else ', but on the host itself'}; CUDA_VISIBLE_DEVICES may name another GPU"
    return lacking(gpu.free < _LEAST_GPU, topic, text, f"kill {pids}" if pids else "nvidia-smi")


def look_at_python(told: Mapping[str, Any], found: Nvidia, *, of: str, wanted: bool) -> Iterator[Finding]:
    """torch against the driver, and Python.h, by what `toolkit` of `harness.workers` told of a Python."""
    if told["torch"]:
        why = why_no_cuda(told["torch"], told["cuda"], found)
        fits = right("torch", f"{told['torch']} for CUDA {told['cuda']}; {of}")
        text = f"{why}; {of}; update the driver, or have uv make the environment for it"
        yield lacking(wanted, "torch", text, "export UV_TORCH_BACKEND=auto") if why else fits
    header = Path(told["include"], "Python.h")
    if told["headers"]:
        yield right("Python.h", str(header))
    else:
        package = f"python{'.'.join(told['python'].split('.')[:2])}-dev"
        text = f"no {header}, and Triton compiles with it (a Python that uv installs has its own); {of}"
        yield lacking(wanted, "Python.h", text, f"apt-get install {package}")


def look_at_compiler(variables: Mapping[str, str], *, wanted: bool) -> Finding:
    """The C compiler that Triton would take: $CC, else gcc, else clang (triton/runtime/build.py)."""
    path, named = variables.get("PATH", os.defpath), variables.get("CC")
    for name in ("gcc", "clang") if named is None else (named,):
        if program := shutil.which(name, path=path):
            return right("compiler", program)
    text = "neither gcc nor clang on PATH" if named is None else f"no program {named!r}, which CC names"
    text += (
        ", and Triton compiles: LMDeploy's PyTorch engine ends at its first token without; CC may name one"
    )
    other = shutil.which("cc", path=path)
    command = f"export CC={other}" if other else "apt-get install gcc"
    return lacking(wanted, "compiler", text, command)


def look_at_disk(places: Mapping[str, tuple[Path, int]]) -> Iterator[Finding]:
    """What is free for ``places``: by name, a folder (made or not) and the bytes that it may come to need.

    One finding for each filesystem, and for each place that cannot be written to. Any place needs 1 GB.
    """
    disks: dict[int, dict[str, tuple[Path, int]]] = {}
    for what, (folder, needs) in places.items():
        path = next(path for path in (folder, *folder.parents) if os.access(path, os.F_OK))
        if path.is_dir() and os.access(path, os.W_OK | os.X_OK):
            disks.setdefault(path.stat().st_dev, {})[what] = path, max(needs, _GB)
        else:
            text = f"{path} is no folder that can be written to, for {what}; {_NAMED_BY[what]} names another"
            yield lacking(True, "disk", text, shlex.join(["chmod", "u+rwx", str(path)]))
    for disk in disks.values():
        free = shutil.disk_usage(next(iter(disk.values()))[0]).free
        needs = sum(each for _, each in disk.values())
        of = [f"{what} ({each / _GB:.0f} GB) in {places[what][0]}" for what, (_, each) in disk.items()]
        text = f"{free / _GB:.1f} GB free for {', '.join(of)}"
        if free >= needs:
            yield right("disk", text)
        else:
            text += f", together {needs / _GB:.0f} GB; `uv cache prune` frees some, too"
            yield lacking(free < _GB, "disk", text, "harness env remove --unused")


def look_at_host(meminfo: Path = Path("/proc/meminfo")) -> Finding:
    """Main memory."""
    if not meminfo.is_file():
        return unknown(
            "memory", f"no {meminfo} here", command="harness doctor, on the machine that is to run it"
        )
    sizes = dict(re.findall(r"(\w+): +(\d+) kB", meminfo.read_text(encoding="ascii")))
    total, free = (1024 * int(sizes[name]) for name in ("MemTotal", "MemAvailable"))
    text = f"{free / _GIB:.1f} of {total / _GIB:.1f} GiB of main memory available"
    return right("memory", text) if free >= _LEAST_HOST else unknown("memory", text, command="top -o %MEM")


def look_at_hub(
    variables: Mapping[str, str], *, needed: Sequence[tuple[str, str]], offline: str = ""
) -> Iterator[Finding]:
    """Whether models can be fetched; ``needed`` has, of each that must be, what lacks and what fetches it.

    ``offline`` is the variable that forbids to ask for them, '' where none does.
    """
    # Without who asks: it may be a secret, and any answer will do.
    address = re.sub(r"^(\w+://)?.*@", r"\1", variables.get("HF_ENDPOINT") or _HUB)
    reached, online = False, ""
    if offline:
        online = "HF_HUB_OFFLINE=0 "
        yield right("hub", f"{offline} is set: models come from the cache only")
    elif why := _unreached(address):
        text = f"{address} cannot be reached: {why}; HF_ENDPOINT may name another"
        yield lacking(bool(needed), "hub", text, shlex.join(["curl", address]))
    else:
        reached = True
        yield right("hub", f"{address} answers")
    for lacks, fetch in needed:
        yield lacking(not reached, "model", lacks, f"{online}{fetch}")


def _unreached(address: str) -> str:
    """Why ``address`` gives no answer; '' where it gives any."""
    said = [f"no answer within {_HUB_SECONDS:g} s"]

    def ask() -> None:
        why = ""
        try:
            urllib.request.urlopen(address, timeout=_HUB_SECONDS).close()  # noqa: S310 - it is the user's own
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = "" if isinstance(error, urllib.error.HTTPError) else str(getattr(error, "reason", error))
        said.append(why)

    # Looking up a name has no deadline of its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_HUB_SECONDS)
    return said[-1]

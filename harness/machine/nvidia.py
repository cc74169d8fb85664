"""NVIDIA's GPUs and driver on this machine, and what a build of torch needs of them.

Standard library only, and on its own: `harness/workers/interpreter_report.py` loads this file by its path, in
any interpreter. Nothing is started on a GPU, and no program.
"""

from __future__ import annotations

import ctypes
import glob
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

OLDEST_DRIVERS = {"11": "450.80.02", "12": "525.60.13", "13": "580"}
"""The oldest driver on Linux for each CUDA by its first number, whatever the second.

Source: NVIDIA, 'CUDA Compatibility', 'Minor Version Compatibility', table 1, and the CUDA Toolkit Release
Notes, table 'CUDA Toolkit and Minimum Required Driver Version for CUDA Minor Version Compatibility'.
"""
NEWER_OR_OTHER = "update the driver, or export UV_TORCH_BACKEND=auto and make the environment with uv"
_ADVICE = {18: " (driver and library differ: restart the machine)"}  # by nvmlReturn_t of nvml.h
_MOST_PROCESSES = 256


class Holder(NamedTuple):
    """A process that holds memory of a GPU; ``name`` is '' and ``held`` (bytes) None where NVML is silent."""

    pid: int
    name: str
    held: int | None


class Gpu(NamedTuple):
    """A GPU. All but the first two only where NVML tells: memory in bytes, capability as ``9.0``.

    ``mig`` holds the UUIDs of its MIG instances, and is None where that mode is off or not told.
    """

    name: str
    uuid: str
    total: int | None = None
    free: int | None = None
    capability: str = ""
    mig: tuple[str, ...] | None = None
    holders: tuple[Holder, ...] = ()


class Nvidia(NamedTuple):
    """What was found: GPUs in the order of PCI addresses, the driver's version and its CUDA, '' if untold.

    ``tried`` says what was asked and what came back; ``devices``, whether there are device files of GPUs.
    """

    gpus: tuple[Gpu, ...]
    driver: str
    cuda: str
    tried: tuple[str, ...]
    devices: bool

    def at_hand(self, variables: Mapping[str, str]) -> tuple[Gpu, ...]:
        """The visible ones; all where it is not certain which those are."""
        visible = self.visible(variables)
        return self.gpus if visible is None else visible

    def visible(self, variables: Mapping[str, str]) -> tuple[Gpu, ...] | None:
        """Those that CUDA_VISIBLE_DEVICES leaves, as CUDA reads it; None where that is not certain here."""
        wish, order = variables.get("CUDA_VISIBLE_DEVICES"), variables.get("CUDA_DEVICE_ORDER")
        found = self.gpus
        if wish is None:
            return found
        chosen: list[Gpu] = []
        for word in map(str.strip, wish.split(",")):
            if word.startswith("MIG-") or (word and not found and word != "-1"):
                return None
            by_name = [gpu for gpu in found if word.startswith("GPU-") and gpu.uuid.startswith(word)]
            if word.isdigit() and int(word) < len(found):
                # Numbers follow the speed unless the order is PCI's, which matters where GPUs differ.
                if order != "PCI_BUS_ID" and len({gpu.name for gpu in found}) > 1:
                    return None
                chosen.append(found[int(word)])
            elif len(by_name) == 1:
                chosen += by_name
            else:
                break  # CUDA ignores what comes after an entry that is none
        return tuple(chosen)


class _Process(ctypes.Structure):  # nvmlProcessInfo_t of nvmlDeviceGetComputeRunningProcesses_v3
    _fields_ = [("pid", ctypes.c_uint), ("used", ctypes.c_ulonglong), ("instances", ctypes.c_uint * 2)]


def visible_gpus(found: Nvidia, variables: Mapping[str, str]) -> tuple[tuple[str, ...], bool, str]:
    """What a fingerprint tells of the GPUs that an engine sees.

    Each as ``name, driver version``; whether CUDA_VISIBLE_DEVICES was followed, and so tells nothing more;
    what was tried where there are GPUs that nothing tells the names of, '' else.
    """
    chosen = found.visible(variables) is not None and "CUDA_VISIBLE_DEVICES" in variables
    names = tuple(f"{gpu.name}, {found.driver}" for gpu in found.at_hand(variables))
    return names, chosen, "; ".join(found.tried) if found.devices and not found.gpus and not chosen else ""


def read_nvidia(
    *,
    details: bool = True,
    library: Callable[[str], Any] = ctypes.CDLL,
    proc: Path = Path("/proc/driver/nvidia"),
    devices: Path = Path("/dev"),
) -> Nvidia:
    """Ask NVML, or else read the driver's files; without ``details``, names, UUIDs and the driver only."""
    tried: list[str] = []
    gpus, driver, cuda = _by_nvml(library, tried, details)
    if not gpus:
        gpus, told = _by_driver_files(proc, tried)
        driver = told or driver
    there = any(glob.glob(os.path.join(devices, name)) for name in ("nvidia[0-9]*", "dxg"))  # noqa: PTH118, PTH207
    return Nvidia(tuple(gpus), driver, cuda, tuple(tried), there)


def why_no_cuda(torch: str, cuda: str | None, found: Nvidia) -> str:
    """Why torch ``torch``, built for ``cuda`` (``13.0``, None: none), cannot use the driver; '' if it can.

    The CUDA of NVIDIA's compatibility package, newer than the driver's own, counts as the driver's.
    """
    if cuda is None:
        return f"torch {torch} was built without CUDA"
    first = cuda.partition(".")[0]
    oldest = OLDEST_DRIVERS.get(first, "")
    known = int(found.cuda.partition(".")[0] or 0) >= int(first)
    if known or not found.driver or _numbers(found.driver) >= _numbers(oldest):
        return ""
    return f"driver {found.driver} is too old for torch {torch} (CUDA {cuda}), which needs {oldest} or newer"


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _by_nvml(library: Callable[[str], Any], tried: list[str], details: bool) -> tuple[list[Gpu], str, str]:
    """The GPUs, the driver's version and its CUDA; nothing of them where NVML is not there or fails."""
    try:
        nvml = library("libnvidia-ml.so.1")
        if status := nvml.nvmlInit_v2():
            raise OSError(f"nvmlInit_v2 gave {status}{_ADVICE.get(status, '')}")
        try:
            count, handle, text = ctypes.c_uint(), ctypes.c_void_p(), ctypes.create_string_buffer(96)

            def read(function: Any, *arguments: Any) -> str:  # noqa: ANN401 - ctypes has no closer type
                if status := function(*arguments, text, ctypes.c_uint(len(text))):
                    raise OSError(f"{function.__name__} gave {status}")
                return text.value.decode("utf-8", "replace")

            driver, cuda = read(nvml.nvmlSystemGetDriverVersion), ctypes.c_int()
            if status := nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
                raise OSError(f"nvmlDeviceGetCount_v2 gave {status}")
            found = []
            for index in range(count.value):
                if status := nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)):
                    raise OSError(f"nvmlDeviceGetHandleByIndex_v2({index}) gave {status}")
                gpu = Gpu(read(nvml.nvmlDeviceGetName, handle), read(nvml.nvmlDeviceGetUUID, handle))
                found.append(_detailed(nvml, handle, gpu) if details else gpu)
            if details:
                _told(nvml, "nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(cuda))
        finally:
            nvml.nvmlShutdown()
    except (AttributeError, OSError) as error:
        tried.append(f"NVML (libnvidia-ml.so.1): {error}")
        return [], "", ""
    tried.append(f"NVML (libnvidia-ml.so.1): {len(found)} GPUs")
    return found, driver, f"{cuda.value // 1000}.{cuda.value % 1000 // 10}" if cuda.value else ""


def _told(nvml: Any, name: str, *arguments: Any) -> bool:  # noqa: ANN401
    """Call a function that this library may not have, or not for this GPU; whether it answered."""
    try:
        return not getattr(nvml, name)(*arguments)
    except AttributeError:
        return False


def _detailed(nvml: Any, handle: ctypes.c_void_p, gpu: Gpu) -> Gpu:  # noqa: ANN401
    memory, major, minor = (ctypes.c_ulonglong * 3)(), ctypes.c_int(), ctypes.c_int()
    if _told(nvml, "nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory)):
        gpu = gpu._replace(total=memory[0], free=memory[1])  # nvmlMemory_t: total, free, used
    if _told(nvml, "nvmlDeviceGetCudaComputeCapability", handle, ctypes.byref(major), ctypes.byref(minor)):
        gpu = gpu._replace(capability=f"{major.value}.{minor.value}")
    now, later = ctypes.c_uint(), ctypes.c_uint()
    if _told(nvml, "nvmlDeviceGetMigMode", handle, ctypes.byref(now), ctypes.byref(later)) and now.value:
        gpu = gpu._replace(mig=tuple(_instances(nvml, handle)))
    count, table = ctypes.c_uint(_MOST_PROCESSES), (_Process * _MOST_PROCESSES)()
    if _told(nvml, "nvmlDeviceGetComputeRunningProcesses_v3", handle, ctypes.byref(count), table):
        gpu = gpu._replace(holders=tuple(_holder(nvml, entry) for entry in table[: count.value]))
    return gpu


def _instances(nvml: Any, handle: ctypes.c_void_p) -> Iterator[str]:  # noqa: ANN401
    most, instance, text = ctypes.c_uint(), ctypes.c_void_p(), ctypes.create_string_buffer(96)
    _told(nvml, "nvmlDeviceGetMaxMigDeviceCount", handle, ctypes.byref(most))
    for index in map(ctypes.c_uint, range(most.value)):
        there = _told(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", handle, index, ctypes.byref(instance))
        if there and _told(nvml, "nvmlDeviceGetUUID", instance, text, ctypes.c_uint(len(text))):
            yield text.value.decode("ascii", "replace")


def _holder(nvml: Any, entry: _Process) -> Holder:  # noqa: ANN401
    text = ctypes.create_string_buffer(256)
    named = _told(nvml, "nvmlSystemGetProcessName", ctypes.c_uint(entry.pid), text, ctypes.c_uint(len(text)))
    name = os.path.basename(text.value.decode("utf-8", "replace").partition(" ")[0]) if named else ""  # noqa: PTH119
    return Holder(entry.pid, name, None if entry.used == 2**64 - 1 else entry.used)


def _by_driver_files(proc: Path, tried: list[str]) -> tuple[list[Gpu], str]:
    """GPUs and the driver's version. The folders bear the PCI addresses."""
    try:
        words = (proc / "version").read_text(encoding="utf-8", errors="replace")
        driver = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", words)
        found = []
        for file in sorted(proc.glob("gpus/*/information")):
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
            if values.get("Model"):
                found.append(Gpu(values["Model"], values.get("GPU UUID", "")))
    except OSError as error:
        tried.append(f"{error.filename}: {error.strerror}")
        return [], ""
    tried.append(f"{proc}/gpus/*/information: {len(found)} GPUs; {proc}/version: {words.strip()[:80]!r}")
    return (found, driver[0]) if driver is not None else ([], "")

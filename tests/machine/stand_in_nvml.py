"""Stand-ins of a machine with NVIDIA's driver: its library as an object, and its files.

Functions, structures and numbers are those of nvml.h (CUDA 12 and 13). The files' form is that of the
driver's README for Linux, 'Using the /proc File System Interface', as driver 535 writes them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

NOT_SUPPORTED, NOT_FOUND = 3, 6
GIB = 2**30


class Nvml:
    """As much of NVML as is asked.

    ``gpus`` are (name, UUID); ``fails`` is the function that gives an error. ``details`` are by function, for
    every GPU: what nvml.h lets it give, or a number of nvmlReturn_t.
    """

    def __init__(
        self,
        gpus: tuple[tuple[str, str], ...],
        *,
        fails: str = "",
        status: int = 999,
        driver: str = "500.1",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        self.gpus = gpus
        self.fails = fails
        self.status = status
        self.driver = driver
        self.details = details or {}
        self.open = 0

    def __getattr__(self, name: str) -> Callable[..., int]:
        if not name.startswith("nvml"):
            raise AttributeError(name)

        def call(*arguments: Any) -> int:
            if name == self.fails:
                return self.status
            return int(getattr(self, f"_{name.removeprefix('nvml').lower()}")(*arguments) or 0)

        call.__name__ = name
        return call

    def _init_v2(self) -> None:
        self.open += 1

    def _shutdown(self) -> None:
        self.open -= 1

    def _systemgetdriverversion(self, text: Any, size: ctypes.c_uint) -> None:
        text.value = self.driver.encode()

    def _systemgetcudadriverversion_v2(self, version: Any) -> None:
        version._obj.value = self.details.get("cuda", 12020)

    def _devicegetcount_v2(self, count: Any) -> None:
        count._obj.value = len(self.gpus)

    def _devicegethandlebyindex_v2(self, index: ctypes.c_uint, handle: Any) -> None:
        handle._obj.value = index.value + 1

    def _devicegetname(self, handle: ctypes.c_void_p, text: Any, size: ctypes.c_uint) -> None:
        text.value = self.gpus[(handle.value or 0) - 1][0].encode()

    def _devicegetuuid(self, handle: ctypes.c_void_p, text: Any, size: ctypes.c_uint) -> None:
        number = (handle.value or 0) - 1
        uuids = [uuid for _, uuid in self.gpus] if number < 100 else self.details["mig"]
        text.value = uuids[number % 100].encode()

    def _devicegetmemoryinfo(self, handle: ctypes.c_void_p, memory: Any) -> int | None:
        if "memory" not in self.details:
            return NOT_SUPPORTED
        memory._obj[0], memory._obj[1] = self.details["memory"]
        return None

    def _devicegetcudacomputecapability(self, handle: ctypes.c_void_p, major: Any, minor: Any) -> None:
        major._obj.value, minor._obj.value = self.details.get("capability", (9, 0))

    def _devicegetmigmode(self, handle: ctypes.c_void_p, now: Any, later: Any) -> int | None:
        if "mig" not in self.details:
            return NOT_SUPPORTED
        now._obj.value = later._obj.value = 1
        return None

    def _devicegetmaxmigdevicecount(self, handle: ctypes.c_void_p, count: Any) -> None:
        count._obj.value = 7

    def _devicegetmigdevicehandlebyindex(
        self, handle: ctypes.c_void_p, index: ctypes.c_uint, instance: Any
    ) -> int | None:
        instance._obj.value = 101 + index.value
        return None if index.value < len(self.details["mig"]) else NOT_FOUND

    def _devicegetcomputerunningprocesses_v3(self, handle: ctypes.c_void_p, count: Any, table: Any) -> None:
        processes = self.details.get("processes", ())
        for entry, (pid, _, used) in zip(table, processes, strict=False):
            entry.pid, entry.used = pid, used
        count._obj.value = len(processes)

    def _systemgetprocessname(self, pid: ctypes.c_uint, text: Any, size: ctypes.c_uint) -> int | None:
        names = {number: name for number, name, _ in self.details.get("processes", ())}
        if names[pid.value] is None:
            return NOT_FOUND
        text.value = names[pid.value].encode()
        return None


def no_library(name: str) -> Any:
    raise OSError(f"{name}: cannot open shared object file")


def write_driver_files(machine: Path, *models: str, driver: str = "570.86.15") -> None:
    """What the driver writes to /proc/driver/nvidia, here ``machine``/nvidia; devices in ``machine``/dev."""
    (machine / "dev").mkdir(exist_ok=True)
    (machine / "nvidia").mkdir(exist_ok=True)
    for index, model in enumerate(models):
        (machine / "dev" / f"nvidia{index}").touch()
        folder = machine / "nvidia" / "gpus" / f"0000:0{index}:00.0"
        folder.mkdir(parents=True)
        (folder / "information").write_text(
            f"Model: \t\t {model}\nIRQ:   \t\t 42\nGPU UUID: \t GPU-{index}\nVideo BIOS: \t 94.04.42.00.01\n"
            f"Bus Type: \t PCIe\nDMA Size: \t 47 bits\nDMA Mask: \t 0x7fffffffffff\n"
            f"Bus Location: \t 0000:0{index}:00.0\nDevice Minor: \t {index}\nGPU Excluded:\t No\n"
        )
    (machine / "nvidia" / "version").write_text(
        f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Thu Oct 19 18:56:32 UTC 2023\n"
        "GCC version:  gcc version 12.2.0 (Ubuntu 12.2.0-3ubuntu1)\n"
    )

"""Which GPUs an interpreter is said to see, by stand-ins of NVML and of the driver's files."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.workers.interpreter_report import Gpus, visible_gpus

TWO = (("NVIDIA X1", "GPU-aa"), ("NVIDIA X1", "GPU-bb"))
UNLIKE = (("NVIDIA X1", "GPU-aa"), ("NVIDIA X2", "GPU-bb"))


class Nvml:
    """As much of NVML as is asked; ``fails`` is the function that gives an error."""

    def __init__(self, gpus: tuple[tuple[str, str], ...], *, fails: str = "") -> None:
        self.gpus = gpus
        self.fails = fails
        self.open = 0

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            if name == self.fails:
                return 999
            return int(getattr(self, f"_{name.removeprefix('nvml').lower()}")(*arguments) or 0)

        call.__name__ = name
        return call

    def _init_v2(self) -> None:
        self.open += 1

    def _shutdown(self) -> None:
        self.open -= 1

    def _systemgetdriverversion(self, text: Any, size: ctypes.c_uint) -> None:
        text.value = b"500.1"

    def _devicegetcount_v2(self, count: Any) -> None:
        count._obj.value = len(self.gpus)

    def _devicegethandlebyindex_v2(self, index: ctypes.c_uint, handle: Any) -> None:
        handle._obj.value = index.value + 1

    def _devicegetname(self, handle: ctypes.c_void_p, text: Any, size: ctypes.c_uint) -> None:
        text.value = self.gpus[(handle.value or 0) - 1][0].encode()

    def _devicegetuuid(self, handle: ctypes.c_void_p, text: Any, size: ctypes.c_uint) -> None:
        text.value = self.gpus[(handle.value or 0) - 1][1].encode()


def no_library(name: str) -> Any:
    raise OSError(f"{name}: cannot open shared object file")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine without a GPU: empty folders for /dev and the driver's files."""
    (tmp_path / "dev").mkdir()
    return tmp_path


def look(
    machine: Path, library: Callable[[str], Any] = no_library, variables: Mapping[str, str] | None = None
) -> Gpus:
    return visible_gpus(
        variables=variables or {}, library=library, proc=machine / "nvidia", devices=machine / "dev"
    )


def write_driver_files(machine: Path, *models: str) -> None:
    for index, model in enumerate(models):
        folder = machine / "nvidia" / "gpus" / f"0000:0{index}:00.0"
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t {model}\nIRQ: 5\nGPU UUID: \t GPU-{index}\n")
    (machine / "nvidia" / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\nGCC: 12.3\n"
    )


def test_nvml_tells_names_and_driver(machine: Path) -> None:
    nvml = Nvml(UNLIKE)
    assert look(machine, lambda _: nvml) == Gpus(("NVIDIA X1, 500.1", "NVIDIA X2, 500.1"), False, "")
    assert nvml.open == 0


@pytest.mark.parametrize(
    "fails",
    ["nvmlInit_v2", "nvmlSystemGetDriverVersion", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetName"],
)
def test_where_nvml_does_not_the_drivers_files_do(machine: Path, fails: str) -> None:
    write_driver_files(machine, "NVIDIA X1", "NVIDIA X2")
    nvml = Nvml(UNLIKE, fails=fails)
    assert look(machine, lambda _: nvml).names == ("NVIDIA X1, 570.86.15", "NVIDIA X2, 570.86.15")
    assert nvml.open == 0


def test_a_machine_without_a_gpu_has_none(machine: Path) -> None:
    assert look(machine) == Gpus((), False, "")
    (machine / "dev" / "nvidiactl").touch()
    assert look(machine, lambda _: Nvml(())) == Gpus((), False, "")


def test_a_gpu_that_nothing_tells_is_told_as_such(machine: Path) -> None:
    (machine / "dev" / "nvidia0").touch()
    told = look(machine)
    assert told.names == ()
    assert "libnvidia-ml.so.1: cannot open shared object file" in told.untold
    assert f"{machine / 'nvidia' / 'version'}: No such file or directory" in told.untold
    told = look(machine, lambda _: Nvml(TWO, fails="nvmlInit_v2"))
    assert "nvmlInit_v2 gave 999" in told.untold


@pytest.mark.parametrize("wish", ["", "-1"])
def test_a_gpu_that_is_hidden_need_not_be_told(machine: Path, wish: str) -> None:
    (machine / "dev" / "nvidia0").touch()
    for library in (no_library, lambda _: Nvml(TWO)):
        assert look(machine, library, {"CUDA_VISIBLE_DEVICES": wish}) == Gpus((), True, "")


@pytest.mark.parametrize(
    ("gpus", "variables", "names"),
    [
        (TWO, {"CUDA_VISIBLE_DEVICES": "1"}, ["X1"]),
        (TWO, {"CUDA_VISIBLE_DEVICES": "1, 0"}, ["X1", "X1"]),
        (TWO, {"CUDA_VISIBLE_DEVICES": "0,-1,1"}, ["X1"]),
        (TWO, {"CUDA_VISIBLE_DEVICES": "0,7,1"}, ["X1"]),
        (UNLIKE, {"CUDA_VISIBLE_DEVICES": "GPU-bb"}, ["X2"]),
        (UNLIKE, {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, ["X2"]),
        (UNLIKE, {"CUDA_VISIBLE_DEVICES": "1"}, None),
        (TWO, {"CUDA_VISIBLE_DEVICES": "MIG-aa"}, None),
    ],
)
def test_what_is_hidden_is_left_out_where_that_is_certain(
    machine: Path, gpus: tuple[tuple[str, str], ...], variables: dict[str, str], names: list[str] | None
) -> None:
    told = look(machine, lambda _: Nvml(gpus), variables)
    assert told.chosen == (names is not None)
    expected = [name.removeprefix("NVIDIA ") for name, _ in gpus] if names is None else names
    assert told.names == tuple(f"NVIDIA {name}, 500.1" for name in expected)

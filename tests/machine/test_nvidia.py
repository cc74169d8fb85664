"""What is told of NVIDIA's GPUs and driver, by stand-ins of NVML and of the driver's files."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.machine.nvidia import Gpu, Holder, Nvidia, read_nvidia, visible_gpus, why_no_cuda
from tests.machine.stand_in_nvml import GIB, Nvml, no_library, write_driver_files

TWO = (("NVIDIA X1", "GPU-aa"), ("NVIDIA X1", "GPU-bb"))
UNLIKE = (("NVIDIA X1", "GPU-aa"), ("NVIDIA X2", "GPU-bb"))


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine without a GPU: empty folders for /dev and the driver's files."""
    (tmp_path / "dev").mkdir()
    return tmp_path


def look(
    machine: Path, library: Callable[[str], Any] = no_library, variables: Mapping[str, str] | None = None
) -> tuple[tuple[str, ...], bool, str]:
    found = read_nvidia(details=False, library=library, proc=machine / "nvidia", devices=machine / "dev")
    return visible_gpus(found, variables or {})


def test_nvml_tells_names_and_driver(machine: Path) -> None:
    nvml = Nvml(UNLIKE)
    assert look(machine, lambda _: nvml) == (("NVIDIA X1, 500.1", "NVIDIA X2, 500.1"), False, "")
    assert nvml.open == 0


@pytest.mark.parametrize(
    "fails",
    ["nvmlInit_v2", "nvmlSystemGetDriverVersion", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetName"],
)
def test_where_nvml_does_not_the_drivers_files_do(machine: Path, fails: str) -> None:
    write_driver_files(machine, "NVIDIA X1", "NVIDIA X2")
    nvml = Nvml(UNLIKE, fails=fails)
    assert look(machine, lambda _: nvml)[0] == ("NVIDIA X1, 570.86.15", "NVIDIA X2, 570.86.15")
    assert nvml.open == 0


def test_a_machine_without_a_gpu_has_none(machine: Path) -> None:
    assert look(machine) == ((), False, "")
    (machine / "dev" / "nvidiactl").touch()
    assert look(machine, lambda _: Nvml(())) == ((), False, "")


def test_a_gpu_that_nothing_tells_is_told_as_such(machine: Path) -> None:
    (machine / "dev" / "nvidia0").touch()
    told = look(machine)
    assert told[0] == ()
    assert "libnvidia-ml.so.1: cannot open shared object file" in told[2]
    assert f"{machine / 'nvidia' / 'version'}: No such file or directory" in told[2]
    told = look(machine, lambda _: Nvml(TWO, fails="nvmlInit_v2"))
    assert "nvmlInit_v2 gave 999" in told[2]


@pytest.mark.parametrize("wish", ["", "-1"])
def test_a_gpu_that_is_hidden_need_not_be_told(machine: Path, wish: str) -> None:
    (machine / "dev" / "nvidia0").touch()
    for library in (no_library, lambda _: Nvml(TWO)):
        assert look(machine, library, {"CUDA_VISIBLE_DEVICES": wish}) == ((), True, "")


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
    assert told[1] == (names is not None)
    expected = [name.removeprefix("NVIDIA ") for name, _ in gpus] if names is None else names
    assert told[0] == tuple(f"NVIDIA {name}, 500.1" for name in expected)


def compiled(folder: Path, *options: str) -> Path:
    """The stand-in as a library, so that structures and arguments are those of C."""
    library = folder / "libnvidia-ml.so.1"
    source = Path(__file__).with_name("stand_in_nvml.c")
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-Wall", "-Werror", *options, "-o", library, source], check=True
    )
    return library


def test_a_library_of_c_is_read_rightly(machine: Path) -> None:
    path = compiled(machine)
    found = read_nvidia(
        library=lambda _: ctypes.CDLL(str(path)), proc=machine / "none", devices=machine / "dev"
    )
    assert found == Nvidia(
        gpus=(
            Gpu(
                name="NVIDIA A100-SXM4-80GB",
                uuid="GPU-eaf23aa1-4d3d-596c-da66-b86b0e5db584",
                total=80 * GIB,
                free=19 * GIB,
                capability="8.0",
                mig=None,
                holders=(Holder(4242, "python3", 60 * GIB), Holder(4343, "", None)),
            ),
        ),
        driver="535.104.05",
        cuda="12.2",
        tried=("NVML (libnvidia-ml.so.1): 1 GPUs",),
        devices=False,
    )


def details(machine: Path, **told: Any) -> Gpu:
    nvml = Nvml(TWO[:1], details=told)
    (gpu,) = read_nvidia(library=lambda _: nvml, proc=machine, devices=machine).gpus
    return gpu


def test_a_gpu_that_tells_no_detail_is_still_told(machine: Path) -> None:
    assert details(machine) == Gpu("NVIDIA X1", "GPU-aa", capability="9.0")


@pytest.mark.parametrize("instances", [(), ("MIG-1",), ("MIG-1", "MIG-2")])
def test_instances_of_mig(machine: Path, instances: tuple[str, ...]) -> None:
    assert details(machine, mig=instances).mig == instances


class Asked(Nvml):
    """Notes what it is asked."""

    def __getattr__(self, name: str) -> Callable[..., int]:
        self.__dict__.setdefault("names", set()).add(name)
        return super().__getattr__(name)


def test_a_fingerprint_asks_for_no_detail(machine: Path) -> None:
    detail = {"nvmlDeviceGetMemoryInfo", "nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetMigMode"}
    nvml = Asked(TWO)
    look(machine, lambda _: nvml)
    assert nvml.__dict__["names"].isdisjoint(detail)
    read_nvidia(library=lambda _: nvml, proc=machine, devices=machine)
    assert nvml.__dict__["names"] >= detail


def test_a_library_that_is_newer_than_the_driver_is_told_as_such(machine: Path) -> None:
    """NVML_ERROR_LIB_RM_VERSION_MISMATCH, after an update of the driver without a restart."""
    nvml = Nvml(TWO, fails="nvmlInit_v2", status=18)
    found = read_nvidia(library=lambda _: nvml, proc=machine / "none", devices=machine / "dev")
    assert "nvmlInit_v2 gave 18 (driver and library differ: restart the machine)" in found.tried[0]


def test_a_driver_without_a_gpu_is_still_told(machine: Path) -> None:
    write_driver_files(machine, driver="535.129.03")
    found = read_nvidia(library=no_library, proc=machine / "nvidia", devices=machine / "dev")
    assert (found.gpus, found.driver) == ((), "535.129.03")


def driven(driver: str, cuda: str = "") -> Nvidia:
    return Nvidia((Gpu("NVIDIA X1", "GPU-aa"),), driver, cuda, ("NVML",), True)


@pytest.mark.parametrize(
    ("cuda", "driver", "by_library", "oldest"),
    [
        ("13.0", "535.104.05", "12.2", "580"),
        ("13.2", "570.211.01", "", "580"),
        ("13.0", "580.65.06", "13.0", None),
        ("13.0", "595.10", "", None),
        ("12.8", "535.104.05", "12.2", None),
        ("12.4", "525.60.13", "12.0", None),
        ("12.4", "525.60.11", "", "525.60.13"),
        ("12.4", "470.82.01", "11.4", "525.60.13"),
        ("11.8", "450.51.06", "", "450.80.02"),
        ("13.0", "535.104.05", "13.0", None),
        ("13.0", "", "", None),
        ("99.0", "535.104.05", "", None),
    ],
)
def test_which_driver_a_build_of_torch_needs(
    cuda: str, driver: str, by_library: str, oldest: str | None
) -> None:
    """The table of NVIDIA's page on minor version compatibility; a compatibility package counts."""
    why = why_no_cuda("2.12.1+cu130", cuda, driven(driver, by_library))
    needs = f"driver {driver} is too old for torch 2.12.1+cu130 (CUDA {cuda}), which needs {oldest} or newer"
    assert why == ("" if oldest is None else needs)


def test_a_build_without_cuda_uses_no_driver() -> None:
    assert why_no_cuda("2.12.1+cpu", None, driven("580.1")) == "torch 2.12.1+cpu was built without CUDA"

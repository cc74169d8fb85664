"""What an engine says where torch sees no GPU, by stand-ins of torch and of the machine."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from harness.engines import gpu
from harness.errors import EngineError, ErrorKind
from harness.machine.nvidia import Gpu, Nvidia

NONE = Nvidia((), "", "", ("NVML: no", "files: no"), False)
OLD = NONE._replace(gpus=(Gpu("NVIDIA X1", "GPU-aa"),), driver="535.129.03")


def torch(cuda: str | None, *, available: bool = False) -> SimpleNamespace:
    seen = SimpleNamespace(is_available=lambda: available, get_device_name=lambda: "NVIDIA X1")
    return SimpleNamespace(__version__="2.12.1+cu130", version=SimpleNamespace(cuda=cuda), cuda=seen)


def said(monkeypatch: pytest.MonkeyPatch, cuda: str | None, found: Nvidia) -> str:
    monkeypatch.setitem(sys.modules, "torch", torch(cuda))
    monkeypatch.setattr(gpu, "read_nvidia", lambda **_: found)
    with pytest.raises(EngineError, match="found cuda, but this machine has no NVIDIA GPU visible") as caught:
        gpu.gpu_name()
    assert caught.value.kind is ErrorKind.LOAD
    return caught.value.message


def test_a_driver_that_is_too_old_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    message = said(monkeypatch, "13.0", OLD)
    assert (
        "driver 535.129.03 is there, and this torch was built for CUDA 13.0: driver 535.129.03 is too old "
        in message
    )
    assert "needs 580 or newer; update the driver, or export UV_TORCH_BACKEND=auto" in message


def test_another_cause_is_left_to_the_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    message = said(monkeypatch, "13.0", OLD._replace(driver="580.95.05"))
    assert (
        "driver 580.95.05 is there, and this torch was built for CUDA 13.0: `harness doctor` says" in message
    )


def test_a_torch_without_cuda_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "torch 2.12.1+cu130 was built without CUDA" in said(monkeypatch, None, OLD)


def test_where_there_is_no_driver_none_is_spoken_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "driver" not in said(monkeypatch, "13.0", NONE)


def test_a_gpu_that_torch_sees_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch("13.0", available=True))
    assert gpu.gpu_name() == "NVIDIA X1"

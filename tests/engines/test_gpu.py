"""Which GPUs an engine says it runs on, or why on none, by stand-ins of torch and of the machine."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from harness.engines import gpu
from harness.engines.contract import EngineSettings
from harness.errors import EngineError, ErrorKind
from harness.machine.nvidia import Gpu, Nvidia

NONE = Nvidia((), "", "", ("NVML: no", "files: no"), False)
OLD = NONE._replace(gpus=(Gpu("NVIDIA X1", "GPU-aa"),), driver="535.129.03")


L4, T4 = "NVIDIA L4", "Tesla T4"


def asked(**options: Any) -> EngineSettings:
    return EngineSettings(
        kind="lmdeploy",
        model="",
        dtype="auto",
        device="cuda",
        paths=(),
        top_k=0,
        batch_size=1,
        options=options,
    )


def torch(cuda: str | None, *there: str) -> SimpleNamespace:
    seen = SimpleNamespace(
        is_available=lambda: bool(there),
        device_count=lambda: len(there),
        get_device_name=there.__getitem__,
    )
    return SimpleNamespace(__version__="2.12.1+cu130", version=SimpleNamespace(cuda=cuda), cuda=seen)


def said(monkeypatch: pytest.MonkeyPatch, cuda: str | None, found: Nvidia) -> str:
    monkeypatch.setitem(sys.modules, "torch", torch(cuda))
    monkeypatch.setattr(gpu, "read_nvidia", lambda **_: found)
    with pytest.raises(EngineError, match="found cuda, but this machine has no NVIDIA GPU visible") as caught:
        gpu.gpus_in_use(asked())
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


@pytest.mark.parametrize(
    ("options", "there", "told"),
    [
        ({}, [L4, T4], L4),
        ({"tp": 1}, [L4], L4),
        ({"tp": 2}, [L4, L4, T4], f"2 x {L4}"),
        ({"tp": 3}, [L4, T4, L4], f"2 x {L4} + {T4}"),
        ({"engine_config": {"tp": 2}}, [L4, T4], f"{L4} + {T4}"),
        ({"tp": 4}, [L4], L4),  # which LMDeploy refuses by itself
    ],
)
def test_all_gpus_in_use_are_named(
    options: dict[str, Any], there: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch("13.0", *there))
    assert gpu.gpus_in_use(asked(**options)) == told

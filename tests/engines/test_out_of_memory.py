"""Errors about memory that ran out, told from others."""

from __future__ import annotations

import pytest
import torch

from harness.engines.out_of_memory import is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: out of memory"),
        type("Wrapped", (Exception,), {})("DefaultCPUAllocator: not enough memory"),
    ],
    ids=["python", "torch", "torch-cpu", "driver", "wrapped"],
)
def test_memory(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("index out of range"), ValueError("the prompt says: out of memory"), None]
)
def test_anything_else(error: Exception | None) -> None:
    assert not is_out_of_memory(error)

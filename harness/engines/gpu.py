"""Whether there is the GPU that a profile asks for, and which."""

from __future__ import annotations

from harness.errors import EngineError, ErrorKind

__all__ = ["gpu_name"]


def gpu_name() -> str:
    """The GPU that PyTorch sees first. Raises EngineError(LOAD) where it sees none."""
    import torch

    if not torch.cuda.is_available():
        raise EngineError(
            ErrorKind.LOAD,
            f"device: found cuda, but this machine has no NVIDIA GPU visible (PyTorch {torch.__version__}, "
            "torch.cuda.is_available() is False). Run on a machine with one, or choose a profile with "
            "'device: cpu'; nothing was scored",
        )
    return str(torch.cuda.get_device_name())

"""Whether there is the GPU that a profile asks for, and which."""

from __future__ import annotations

from harness.errors import EngineError, ErrorKind
from harness.machine.nvidia import NEWER_OR_OTHER, read_nvidia, why_no_cuda

__all__ = ["gpu_name"]


def gpu_name() -> str:
    """The GPU that PyTorch sees first. Raises EngineError(LOAD) where it sees none."""
    import torch

    if not torch.cuda.is_available():
        found, driver = read_nvidia(details=False), ""
        if found.driver:
            why = why_no_cuda(torch.__version__, torch.version.cuda, found)
            then = f"{why}; {NEWER_OR_OTHER}" if why else "`harness doctor` says more"
            built = f"this torch was built for CUDA {torch.version.cuda}"
            driver = f"; driver {found.driver} is there, and {built}: {then}"
        raise EngineError(
            ErrorKind.LOAD,
            f"device: found cuda, but this machine has no NVIDIA GPU visible (PyTorch {torch.__version__}, "
            f"torch.cuda.is_available() is False{driver}). Run on a machine with one, or choose a profile "
            "with 'device: cpu'; nothing was scored",
        )
    return str(torch.cuda.get_device_name())

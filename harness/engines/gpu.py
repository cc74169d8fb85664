"""Whether there are the GPUs that a profile asks for, and which."""

from __future__ import annotations

from collections import Counter

from harness.engines.contract import EngineSettings
from harness.errors import EngineError, ErrorKind
from harness.machine.nvidia import NEWER_OR_OTHER, read_nvidia, why_no_cuda

__all__ = ["gpus_in_use"]


def gpus_in_use(settings: EngineSettings) -> str:
    """The GPUs that an engine of these ``settings`` runs on: the first ``tp`` that PyTorch sees.

    Such as 'NVIDIA L4' for one, '2 x NVIDIA L4' for equal ones, 'NVIDIA L4 + NVIDIA T4' for unlike ones.
    Raises EngineError(LOAD) where it sees none.
    """
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
    config = settings.options.get("engine_config")
    tp = {**settings.options, **(config if isinstance(config, dict) else {})}.get("tp")
    count = min(tp if isinstance(tp, int) else 1, torch.cuda.device_count())
    names = Counter(str(torch.cuda.get_device_name(place)) for place in range(count))
    return " + ".join(f"{many} x {name}" if many > 1 else name for name, many in names.items())

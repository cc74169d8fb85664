"""Which executor the options of a command or of pytest name."""

from __future__ import annotations

import os

from harness.errors import HarnessError
from harness.workers.executors import Executor
from harness.workers.executors.devices import parse_devices

__all__ = ["chosen"]


def chosen(devices: str | None, executor: str | None, ray_address: str | None) -> Executor | None:
    """The executor, None for one worker on this machine; raises `HarnessError` for what cannot be."""
    if ray_address is not None and executor is None:
        raise HarnessError("--ray-address: found it alone; allowed: with --executor ray")
    if executor is not None:
        from harness.workers.executors.ray_executor import RayExecutor

        if devices is not None:
            raise HarnessError(
                "--devices: found --executor beside it, which places workers itself; allowed: one"
            )
        return RayExecutor(ray_address)
    return None if devices is None else parse_devices(devices, os.environ)

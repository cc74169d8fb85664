"""One run at a time on a GPU, and its memory free again before the next engine loads.

An engine takes a share of what it finds free, so no two may load at once, whichever runs they belong to.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from harness.machine.nvidia import read_nvidia

__all__ = ["GpuTurn", "Look", "free_memory"]

Look = Callable[[], Mapping[str, int | None]]
"""Free bytes of each visible GPU by UUID, None where that is not told."""

_LOOK_SECONDS = 0.5
_FREED_SECONDS = 30.0
_SPARE_BYTES = 512 << 20  # a driver keeps some, and a desktop comes and goes


def free_memory(variables: Mapping[str, str] | None = None) -> dict[str, int | None]:
    """What NVML tells of the visible GPUs, of all where that is not certain; {} where there are none.

    ``variables`` are those of the process that is to see them, by default our own. Of MIG instances, which
    have memory of their own, it tells the names.
    """
    variables = os.environ if variables is None else variables
    if instances := [word for word in variables.get("CUDA_VISIBLE_DEVICES", "").split(",") if "MIG-" in word]:
        return dict.fromkeys(map(str.strip, instances))
    gpus = read_nvidia().at_hand(variables)
    return {gpu.uuid or f"GPU-{number}": gpu.free for number, gpu in enumerate(gpus)}


class GpuTurn:
    """One run's turn on all GPUs that ``look`` tells; none where it tells none.

    Locks are files in ``folder``, by default of the user's cache, for all runs of a user; of ``flock``, so
    they end with the process. They are taken in the order of the UUIDs and after the lock on the engine's
    recordings, for which nobody waits while holding these, so no two processes wait for each other.
    """

    def __init__(self, look: Look, *, folder: Path | None = None) -> None:
        """Nothing is held yet."""
        from platformdirs import user_cache_path  # workers import this room where there is none

        self._look = look
        self._folder = user_cache_path("vlm-harness") / "gpus" if folder is None else folder
        self._held: list[int] = []
        self._before: Mapping[str, int | None] = {}

    def take(self) -> Iterator[str]:
        """Wait until all are held; yields what is waited for, every half second."""
        for name in sorted(self._look()):
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(
                    self._folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666
                )
                self._held.append(descriptor)
                while not _locked(descriptor):
                    yield f"waiting for another run on {name}"
                    time.sleep(_LOOK_SECONDS)
            except OSError as error:  # a disk without locks must not keep a run from its GPU
                yield f"no lock on {name} ({error.strerror}), going on"
        self._before = self._look()

    def freed(self) -> Iterator[str]:
        """Wait, at most 30 s, until as much memory is free as before; yields what is waited for."""
        until = time.monotonic() + _FREED_SECONDS
        while lacking := self._lacking():
            what = ", ".join(f"{size / 2**30:.1f} GiB of {name}" for name, size in lacking.items())
            if time.monotonic() > until:
                yield f"not free again after {_FREED_SECONDS:g} s: {what}; going on"
                return
            yield f"waiting until memory is free again: {what}"
            time.sleep(_LOOK_SECONDS)

    def release(self) -> None:
        """Give up what is held."""
        while self._held:
            os.close(self._held.pop())

    def _lacking(self) -> dict[str, int]:
        lacking = {}
        for name, free in self._look().items() if self._before else ():
            before = self._before.get(name)
            if free is not None and before is not None and free < before - _SPARE_BYTES:
                lacking[name] = before - free
        return lacking


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

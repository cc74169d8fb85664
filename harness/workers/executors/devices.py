"""Several workers of one engine on this machine, each on devices of its own.

Not run by us on several GPUs.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from harness.engines.contract import EngineSettings, Json
from harness.errors import EngineError, ErrorKind, HarnessError
from harness.workers.conversation import Item
from harness.workers.events import Event, Job
from harness.workers.executors.side_by_side import side_by_side
from harness.workers.gpu_turn import free_memory
from harness.workers.handed_over import HandedOver
from harness.workers.interpreter import probe
from harness.workers.supervisor import require_each_once, settle_batches, whole_batches

__all__ = ["Devices", "gpus_per_worker", "parse_devices"]

_CPU = "cpu"
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def parse_devices(text: str, variables: Mapping[str, str]) -> Devices:
    """The devices of a text such as ``0,1`` or ``cpu,cpu``; raises `HarnessError`.

    Numbers count the caller's own visible GPUs: what ``variables`` has as CUDA_VISIBLE_DEVICES, numbers or
    UUIDs, those of MIG instances among them; all of the machine where it is not set.
    """
    words = [word.strip() for word in text.split(",")]
    numbers, twice = [word for word in words if word != _CPU], Counter(words)
    wish = variables.get(_VISIBLE)
    visible = None if wish is None else [word.strip() for word in wish.split(",") if word.strip()]
    which = "" if visible is None else f" from 0 to {len(visible) - 1}, as {_VISIBLE} is {wish}"
    for word in numbers:
        known = word.isdecimal() and (visible is None or int(word) < len(visible))
        if not known or twice[word] > 1:
            raise HarnessError(
                f"--devices: found {word!r} in {text!r}; allowed: numbers of visible GPUs{which}, each once, "
                "or cpu, as often as an engine on the CPU is to have workers"
            )
    return Devices(
        gpus=tuple(word if visible is None else visible[int(word)] for word in numbers),
        cpus=twice[_CPU],
    )


def gpus_per_worker(settings: EngineSettings) -> int:
    """How many GPUs an engine of these ``settings`` computes on: its ``tp``; 0 on the CPU."""
    if settings.device != "cuda":
        return 0
    config = settings.options.get("engine_config")
    tp = {**settings.options, **(config if isinstance(config, dict) else {})}.get("tp")
    return tp if isinstance(tp, int) else 1


@dataclass(frozen=True, slots=True)
class Devices:
    """An executor: a worker for each of ``gpus``, entries of CUDA_VISIBLE_DEVICES, or each ``tp`` of them.

    An engine on the CPU has ``cpus`` workers, and one where that is 0, as has a server that runs already.
    """

    gpus: tuple[str, ...]
    cpus: int

    def probe(
        self, python: str, settings: EngineSettings, *, cache: Path, show: Callable[[str], None]
    ) -> dict[str, Json]:
        """As `harness.workers.executors.Executor`: that of the first worker, when all have the same GPUs."""
        found = [
            probe(python, cache=cache, show=show, environment=environment)
            for _, environment in self._places(settings)
        ]
        kinds = dict.fromkeys(str(each["gpus"]) for each in found)
        if len(kinds) > 1:
            raise _refusal(
                f"--devices: found GPUs of several kinds: {' and '.join(kinds)}; allowed: those of one kind, "
                "as an engine's answers must not be mixed from several"
            )
        return found[0]

    def run(self, job: Job, requests: Sequence[Item]) -> Generator[Event, None, None]:
        """As `harness.workers.run`; see `side_by_side`."""
        require_each_once(requests)
        check = HandedOver(job, [request for _, request in requests])
        workers = []
        for name, environment in self._places(job.settings) if requests else ():
            log = job.log.with_suffix(f".{name}.log") if name else job.log
            log.unlink(missing_ok=True)  # workers append to it
            own = replace(job, environment=environment, log=log)
            look = partial(free_memory, {**os.environ, **environment})
            settle = partial(settle_batches, own, check=check, total=len(requests), look=look)
            workers.append(settle)
        yield from side_by_side(whole_batches(job, requests), workers)

    def _places(self, settings: EngineSettings) -> list[tuple[str, dict[str, str]]]:
        """Of each worker a name for its log, and the variables that differ."""
        if settings.options.get("url"):
            return [("", {})]
        size = gpus_per_worker(settings)
        if not size or not self.gpus:
            return [(f"cpu-{n}", {}) for n in range(self.cpus)] if self.cpus and not size else [("", {})]
        if len(self.gpus) % size:
            raise _refusal(
                f"--devices: found {len(self.gpus)} GPUs, where tp is {size}; allowed: a multiple of it"
            )
        groups = [",".join(self.gpus[n : n + size]) for n in range(0, len(self.gpus), size)]
        return [(f"gpu-{n}", {_VISIBLE: group}) for n, group in enumerate(groups)]


def _refusal(words: str) -> EngineError:
    return EngineError(ErrorKind.LOAD, words, refused=words)

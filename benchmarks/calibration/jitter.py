"""Which runs are made: the variants of a noise floor, and clean runs of other, randomly drawn jitter."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from harness.engines.contract import EngineSettings

__all__ = ["Jitter", "clean_runs", "floor_runs"]

_MOST_TOGETHER = 16
# How often a drawn torch run takes what is slow: the literal path, and two threads where others compute too.
_GENERATE = 1 / 12
_TWO_THREADS = 1 / 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Jitter:
    """One run: what disturbs it. ``seed`` None keeps the file's order, -1 reverses it."""

    name: str
    batch: int
    seed: int | None = None
    attention: str = "sdpa"
    threads: int = 1
    path: str = "forward"

    def order(self, cases: int) -> list[int]:
        """The cases' places in the order in which they are put."""
        places = list(range(cases))
        if self.seed == -1:
            places.reverse()
        elif self.seed is not None:
            random.Random(self.seed).shuffle(places)  # noqa: S311 - an order, no secret
        return places

    def settings(self, plain: EngineSettings, dtype: str) -> EngineSettings:
        """Those of ``plain`` in ``dtype``, disturbed as far as its kind of engine can be."""
        settings = replace(plain, dtype=dtype, batch_size=_MOST_TOGETHER, top_k=0)
        if settings.kind != "torch":
            return replace(settings, paths=("captured",))
        options = {**settings.options, "attention": self.attention, "threads": self.threads}
        return replace(settings, paths=(self.path,), options=options)


def floor_runs(kind: str) -> list[Jitter]:
    """The variants of a floor; the first, undisturbed, is the reference where it is made in float32."""
    runs = [
        Jitter(name="batch-1", batch=1),
        Jitter(name="batch-2", batch=2),
        Jitter(name="batch-5", batch=5),
        Jitter(name="batch-16", batch=16),
        Jitter(name="reversed", batch=5, seed=-1),
        Jitter(name="shuffled", batch=16, seed=1),
    ]
    if kind != "torch":
        return runs
    return [
        *runs,
        Jitter(name="eager", batch=5, attention="eager"),
        Jitter(name="threads-2", batch=5, threads=2),
        Jitter(name="generate", batch=1, path="generate"),
    ]


def clean_runs(kind: str, count: int, *, seed: int) -> list[Jitter]:
    """``count`` runs of drawn jitter, none of them a floor's: every one has an order of its own."""
    drawn, runs = random.Random(f"{kind} {seed}"), []  # noqa: S311 - a jitter, no secret
    for number in range(count):
        literal = kind == "torch" and drawn.random() < _GENERATE
        runs.append(
            Jitter(
                name=f"clean-{number:02}",
                batch=drawn.randint(1, _MOST_TOGETHER),
                seed=drawn.randint(2, 10**9),
                attention=drawn.choice(("sdpa", "eager")),
                threads=2 if drawn.random() < _TWO_THREADS else 1,
                path="generate" if literal else "forward",
            )
        )
    return runs

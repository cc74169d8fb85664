"""Counting what the judge says of clean samples: false alarms, and where it says nothing."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.calibration.sample import Sample, sample_of
from benchmarks.calibration.worlds import World, worlds
from harness.verdicts.verdict import ComparisonVerdict, ExitStatus, Verdict

__all__ = ["CELLS", "LARGE", "Cell", "Interval", "Tallies", "Tally", "random_of", "tally"]

_ALARMS = (Verdict.DRIFT, Verdict.REGRESSION)
_EVERYWHERE, _SOME = (40, 200), (10, 1000)
_AT_SOME = ("normal", "t, 4 degrees", "kernels", "near-ties")
_AT_LARGE = (
    "normal, 2 runs, float32",
    "t, 4 degrees, 3 runs, float32",
    "near-ties 100%, 4 letters, 2 runs, own run",
)


class Interval(NamedTuple):
    """The exact binomial (Clopper-Pearson) interval, 95%."""

    low: float
    high: float

    @classmethod
    def of(cls, found: int, samples: int) -> Interval:
        """That of so many found."""
        from scipy import special

        low = special.betaincinv(found, samples - found + 1, 0.025) if found else 0.0
        high = special.betaincinv(found + 1, samples - found, 0.975) if found < samples else 1.0
        return cls(float(low), float(high))


class Cell(NamedTuple):
    """A world with so many cases."""

    world: World
    cases: int

    @property
    def name(self) -> str:
        """Such as ``normal, 2 runs, float32, 40 cases``."""
        return f"{self.world.name}, {self.cases} cases"

    def sample(self, rng: np.random.Generator) -> Sample:
        """A new one."""
        return sample_of(self.world.drawn(rng, self.cases))


CELLS = tuple(
    Cell(world, cases)
    for cases in (*_EVERYWHERE, *_SOME)
    for world in worlds()
    if cases in _EVERYWHERE or world.law.name.startswith(_AT_SOME)
)
LARGE = tuple(Cell(world, 10_000) for world in worlds() if world.name in _AT_LARGE)


@dataclass(kw_only=True)
class Tally:
    """What became of so many clean ``samples`` of the cell of this ``name``.

    ``alarms`` are those with exit status 1 or the word DRIFT or REGRESSION, ``failed`` those with the exit
    status alone, ``by_test`` alarms by each of the judge's tests that found something, ``words`` verdicts.
    """

    name: str
    cases: int
    samples: int = 0
    alarms: int = 0
    failed: int = 0
    by_test: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)

    def add(self, verdict: ComparisonVerdict) -> None:
        """Count a verdict."""
        self.samples += 1
        failed = verdict.status is ExitStatus.FAILED
        self.failed += failed
        self.words[verdict.verdict.value] += 1
        if failed or verdict.verdict in _ALARMS:
            self.alarms += 1
            own = () if verdict.whole is None else verdict.whole.evidence
            self.by_test.update(test.name for test in own if test.found)

    @property
    def inconclusive(self) -> int:
        """Of how many too little was known."""
        return self.words[Verdict.INCONCLUSIVE.value]

    @property
    def share(self) -> float:
        """Of false alarms."""
        return self.alarms / self.samples if self.samples else 0.0

    @property
    def interval(self) -> Interval:
        """That of the share."""
        return Interval.of(self.alarms, self.samples)

    @classmethod
    def total(cls, name: str, own: Sequence[Tally]) -> Tally:
        """All of ``own`` together."""
        whole = cls(name=name, cases=0)
        for each in own:
            whole.samples += each.samples
            whole.alarms += each.alarms
            whole.failed += each.failed
            whole.by_test += each.by_test
            whole.words += each.words
        return whole


def random_of(seed: int, name: str, number: int) -> np.random.Generator:
    """The random numbers of one sample: the same whatever else is drawn, and in whatever order."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), number])


def tally(
    name: str, cases: int, draw: Callable[[np.random.Generator], Sample], *, first: int, last: int, seed: int
) -> Tally:
    """What became of the samples from number ``first`` up to ``last``."""
    found = Tally(name=name, cases=cases)
    for number in range(first, last):
        found.add(draw(random_of(seed, name, number)).judged())
    return found


class Tallies:
    """Tallies by name, in a ``file`` where there is one, so that a long count goes on where it stopped."""

    def __init__(self, file: Path | None, *, seed: int) -> None:
        """Reads what is in the file, of this seed."""
        self._file, self._seed = file, seed
        self.by_name: dict[str, Tally] = {}
        lines = file.read_text(encoding="utf-8").splitlines() if file is not None and file.exists() else []
        for line in lines:
            data = json.loads(line)
            if data.pop("seed") == seed:
                self._merge(_tally_of(data))

    def upto(
        self, name: str, cases: int, draw: Callable[[np.random.Generator], Sample], samples: int
    ) -> Tally:
        """The tally of so many samples at least; what is not counted yet is."""
        known = self.by_name.get(name, Tally(name=name, cases=cases))
        if known.samples < samples:
            more = tally(name, cases, draw, first=known.samples, last=samples, seed=self._seed)
            if self._file is not None:
                with self._file.open("a", encoding="utf-8") as out:
                    out.write(json.dumps({"seed": self._seed, **vars(more)}) + "\n")
            self._merge(more)
        return self.by_name[name]

    def _merge(self, more: Tally) -> None:
        known = self.by_name.get(more.name)
        both = Tally.total(more.name, [more] if known is None else [known, more])
        both.cases = more.cases
        self.by_name[more.name] = both


def _tally_of(data: Mapping[str, object]) -> Tally:
    found = Tally(**data)  # type: ignore[arg-type]  # as it was written
    found.by_test, found.words = Counter(found.by_test), Counter(found.words)
    return found

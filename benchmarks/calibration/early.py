"""``python -m benchmarks.calibration.early``: what looking before all cases are asked costs, and saves.

False alarms are counted harshly: DRIFT, REGRESSION or exit status 1 at any look, also where it does not stop.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.calibration.effects import EFFECTS, Effect, lose, move, spread
from benchmarks.calibration.rates import Cell, Interval, random_of
from benchmarks.calibration.sample import MARGIN, Sample, sample_of
from benchmarks.calibration.worlds import Drawn, worlds
from benchmarks.workload import ROOT
from benchmarks.written_parts import positive, with_part
from harness.verdicts.evidence import look_sizes, share_of
from harness.verdicts.judging import judge_looks
from harness.verdicts.rules import ALPHA
from harness.verdicts.verdict import ComparisonVerdict, ExitStatus, Verdict

__all__ = [
    "BREAKS",
    "Alarms",
    "Saved",
    "Schedule",
    "alarms",
    "going_on",
    "main",
    "on_the_way",
    "saved",
    "tables",
]

_LAWS = (
    "normal",
    "t, 4 degrees",
    "loudness differs between cases",
    "runs differ",
    "images",
    "kernels",
    "near-ties 10%, 4 letters",
    "near-ties 30%, 2 letters",
    "near-ties 100%, 2 letters",
    "near-ties 100%, 6 letters",
    "5% of cases 10 times as loud",
    "t, 3 degrees",
)
_SIZES = (40, 200, 1000)
_PER_SIZE = {40: 1.0, 200: 0.4, 1000: 0.1}  # of the samples of a cell
_POWER_CASES, _POWER_RUNS = 300, (1, 2, 9)
_PAGE = ROOT / "docs" / "calibration.md"
_SEED = 20261129
_BEGIN = "<!-- early, written by `python -m benchmarks.calibration.early --write` -->"
_END = "<!-- end of early -->"
_WORDS = (Verdict.DRIFT, Verdict.REGRESSION)

Schedule = Sequence[tuple[int, float]]
"""Looks: at how many cases, and with what share of false alarms."""


def on_the_way(clusters: Sequence[int]) -> Schedule:
    """The looks at cases of these ``clusters`` [n], each of which stays together, in batches of one."""
    _, groups = np.unique(np.asarray(clusters), return_counts=True)
    *way, last = look_sizes([int(count) for count in groups], batch=1)
    return [*((size, share_of(k, last=False)) for k, size in enumerate(way)), (last, share_of(0, last=True))]


def going_on(cases: int, *, days: int) -> Schedule:
    """A look at all cases on each of so many ``days``, each with as many more."""
    return [(cases * (day + 1) // days, share_of(day, last=True)) for day in range(days)]


@dataclass(kw_only=True)
class Alarms:
    """Of clean ``samples``: with an alarm at ``any`` look, with one as the ``last`` word, and by other rules.

    ``once`` looks at the end alone, ``peeking`` at each look with all of `ALPHA`.
    """

    name: str
    cases: int
    samples: int = 0
    any: int = 0
    last: int = 0
    once: int = 0
    peeking: int = 0


@dataclass(kw_only=True)
class Saved:
    """Of ``samples`` with a break: exit status 1 and the words, ``early`` and with one look at the end.

    ``asked`` are the cases of each sample when it ended. ``stopped`` counts those that ended early, and
    ``taken_back`` those of them that pass where all cases are asked.
    """

    words: str
    runs: int
    samples: int = 0
    early: int = 0
    once: int = 0
    early_words: int = 0
    once_words: int = 0
    stopped: int = 0
    taken_back: int = 0
    asked: tuple[int, ...] = ()


class _Look(NamedTuple):
    size: int
    share: float
    verdict: ComparisonVerdict

    @property
    def alarms(self) -> bool:
        return _alarms(self.verdict)

    @property
    def peeked(self) -> bool:
        """Whether it would be an alarm with all of `ALPHA`."""
        whole = self.verdict.whole
        return whole is not None and min(test.adjusted for test in whole.evidence) <= ALPHA


def _looks(sample: Sample, schedule: Schedule) -> Iterator[_Look]:
    for size, share in schedule:
        verdict = judge_looks(
            sample.looks[:size],
            baseline="a",
            candidate="b",
            budgets={},
            margin=MARGIN,
            noise=sample.noise,
            alpha=share,
        )
        yield _Look(size, share, verdict)


def _alarms(verdict: ComparisonVerdict) -> bool:
    return verdict.status is ExitStatus.FAILED or verdict.verdict in _WORDS


def alarms(cell: Cell, samples: int, *, seed: int, days: int = 0) -> Alarms:
    """Of clean samples of a cell, whose looks are on the way or, with ``days``, at all cases of each day."""
    found = Alarms(name=cell.name if not days else f"{cell.name} in {days} days", cases=cell.cases)
    for number in range(samples):
        drawn = cell.world.drawn(random_of(seed, f"early {cell.name}", number), cell.cases)
        schedule = going_on(cell.cases, days=days) if days else on_the_way(drawn.clusters.tolist())
        looks = list(_looks(sample_of(drawn), schedule))
        ended = next((look for look in looks if look.verdict.settled), looks[-1])
        found.samples += 1
        found.any += any(look.alarms for look in looks)
        found.last += ended.alarms
        found.once += looks[-1].peeked
        found.peeking += any(look.peeked for look in looks)
    return found


def saved(cell: Cell, effect: Effect, samples: int, *, seed: int) -> Saved:
    """What becomes of samples of a cell with an effect; cases are drawn alike, so their order is chance."""
    found = Saved(words=effect.words, runs=cell.world.runs)
    for number in range(samples):
        rng = random_of(seed, f"early {cell.name}", number)
        drawn = effect.plant(cell.world.drawn(rng, cell.cases), rng)
        sample = sample_of(drawn)
        for look in _looks(sample, on_the_way(drawn.clusters.tolist())):
            if look.verdict.settled:
                break
        once, ended = sample.judged(), look.verdict
        failed = once.status is ExitStatus.FAILED
        found.samples += 1
        found.early += ended.status is ExitStatus.FAILED
        found.once += failed
        found.early_words += ended.verdict in _WORDS
        found.once_words += once.verdict in _WORDS
        found.stopped += look.size < cell.cases
        found.taken_back += look.size < cell.cases and not failed
        found.asked += (look.size,)
    return found


def _some(drawn: Drawn, rng: np.random.Generator, share: float, sigmas: float) -> Drawn:
    """The right letter moves up in a share of the cases, one at least, so that nothing flips."""
    for place in _right(drawn, rng, share):
        drawn = move(drawn, sigmas, cases=slice(place, place + 1))
    return drawn


def _lost(drawn: Drawn, rng: np.random.Generator, share: float) -> Drawn:
    return lose(drawn, _right(drawn, rng, share))


def _right(drawn: Drawn, rng: np.random.Generator, share: float) -> npt.NDArray[np.int64]:
    right = np.flatnonzero((drawn.before.logits.argmax(1) == 0) & (drawn.after.logits.argmax(1) == 0))
    return rng.choice(right, max(1, round(share * len(drawn.clusters))), replace=False)


_MASS = next(effect for effect in EFFECTS if effect.test == "mass")
BREAKS = (
    Effect(words="noise × 100", test="spread", plant=lambda d, _: spread(d, 100)),
    Effect(words="spread × 4 (1.4 margins)", test="spread", plant=lambda d, _: spread(d, 4)),
    Effect(words="spread × 3 (at the margin)", test="spread", plant=lambda d, _: spread(d, 3)),
    Effect(words="spread × 2.6 (within it)", test="spread", plant=lambda d, _: spread(d, 2.6)),
    Effect(words="spread × 2 (within it)", test="spread", plant=lambda d, _: spread(d, 2)),
    Effect(words="spread × 1.5 (within it)", test="spread", plant=lambda d, _: spread(d, 1.5)),
    Effect(words="expected letters by 4 σ", test="shift", plant=lambda d, _: move(d, 4)),
    Effect(words="expected letters by 0.5 σ (within it)", test="shift", plant=lambda d, _: move(d, 0.5)),
    _MASS,
    Effect(words="20% of answers lost", test="accuracy", plant=lambda d, rng: _lost(d, rng, 0.2)),
    Effect(words="5% of answers lost", test="cases", plant=lambda d, rng: _lost(d, rng, 0.05)),
    Effect(words="2% of answers lost", test="cases", plant=lambda d, rng: _lost(d, rng, 0.02)),
    Effect(words="one case by 30 σ", test="cases", plant=lambda d, rng: _some(d, rng, 0.0, 30)),
    Effect(words="20% of cases by 8 σ (within it)", test="cases", plant=lambda d, rng: _some(d, rng, 0.2, 8)),
    Effect(words="one case by 10 σ (within it)", test="cases", plant=lambda d, rng: _some(d, rng, 0.0, 10)),
)
"""Breaks of graded size; 'within it' is what passes where all cases are asked."""


def tables(grid: Sequence[Alarms], days: Sequence[Alarms], breaks: Sequence[Saved]) -> list[str]:
    """Lines of Markdown."""
    lines = [
        "| clean samples of | cases | alarm at any look | upper end | at the end | one look, 1% | each 1% |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, own in _by_law(grid):
        sizes = sorted({one.cases for one in own})
        lines += [_row(name, size, [one for one in own if one.cases == size]) for size in sizes]
    lines += [_row(f"{one.name}, a look each day", one.cases, [one]) for one in days]
    lines.append(_row("**all**", 0, grid))
    lines += [
        "",
        f"| planted into {_POWER_CASES} cases | runs | exit 1, early / one look | found, early / one look | "
        "stopped | taken back | cases asked: median | 90% |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in breaks:
        middle, most = np.quantile(one.asked, (0.5, 0.9))
        parts = (one.early, one.once, one.early_words, one.once_words, one.stopped, one.taken_back)
        shares = [f"{part / one.samples:.0%}" for part in parts]
        lines.append(
            f"| {one.words} | {one.runs} | {shares[0]} / {shares[1]} | {shares[2]} / {shares[3]} | "
            f"{shares[4]} | {shares[5]} | {middle:.0f} | {most:.0f} |"
        )
    return lines


def _by_law(grid: Sequence[Alarms]) -> list[tuple[str, list[Alarms]]]:
    laws: dict[str, list[Alarms]] = {}
    for one in grid:
        law = max((law for law in _LAWS if one.name.startswith(law)), key=len)
        laws.setdefault(law, []).append(one)
    return list(laws.items())


def _row(name: str, size: int, own: Sequence[Alarms]) -> str:
    samples = sum(one.samples for one in own)
    any_, last, once, peeking = (
        sum(getattr(one, name) for one in own) for name in ("any", "last", "once", "peeking")
    )
    upper = Interval.of(any_, samples).high
    return (
        f"| {name} | {size or ''} | {any_}/{samples} ({any_ / samples:.2%}) | {upper:.2%} | {last} | "
        f"{once} | {peeking} |"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, or write them into the page."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration.early", description=__doc__)
    parser.add_argument("--samples", type=positive, default=20, metavar="N", help="of a cell of 40 cases")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/calibration.md")
    options = parser.parse_args(given)
    began = time.process_time()
    cells = [Cell(world, size) for size in _SIZES for world in worlds() if world.law.name in _LAWS]
    grid = []
    for cell in cells:
        grid.append(alarms(cell, max(2, round(_PER_SIZE[cell.cases] * options.samples)), seed=_SEED))
        _say(f"{cell.name}: {grid[-1].any} of {grid[-1].samples}")
    normal = {world.runs: world for world in worlds() if world.law.name == "normal" and world.reference}
    days = [alarms(Cell(normal[2], 200), options.samples, seed=_SEED, days=5)]
    breaks = [
        saved(Cell(normal[runs], _POWER_CASES), effect, options.samples, seed=_SEED)
        for effect in BREAKS
        for runs in _POWER_RUNS
    ]
    lines = tables(grid, days, breaks)
    print("\n".join(lines))
    if options.write:
        command = shlex.join(["python", "-m", "benchmarks.calibration.early", *given])
        seconds = time.process_time() - began
        head = f"{datetime.now(UTC):%Y-%m-%d}, `{command}`, seed {_SEED}, {seconds:.0f} s of CPU."
        page, part = _PAGE.read_text(encoding="utf-8"), "\n".join([head, "", *lines])
        text = with_part(page, part, begin=_BEGIN, end=_END, file="docs/calibration.md")
        _PAGE.write_text(text, encoding="utf-8")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

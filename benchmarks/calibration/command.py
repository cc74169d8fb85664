"""The command line: make the clean runs, or judge simulations and replays of them."""

from __future__ import annotations

import argparse
import math
import re
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.calibration.effects import EFFECTS, POWER_CELLS, found
from benchmarks.calibration.page import (
    EACH,
    PAGE,
    Circumstances,
    Counted,
    closing,
    missed,
    tables,
    with_tables,
)
from benchmarks.calibration.rates import CELLS, LARGE, Cell, Tallies, Tally
from benchmarks.calibration.recording import ENGINES, FILE, Recorded, read, record
from benchmarks.calibration.replays import CLEAN_PAIRS, Replays
from benchmarks.calibration.sameness import SAME_CELLS, shown
from benchmarks.workload import ROOT
from benchmarks.written_parts import positive
from harness.errors import HarnessError

__all__ = ["FEW", "FULL", "Samples", "main"]

_REPLAYED = (20, 60, 88)
_SEED = 20261128
_FAILED = 2
_PARTS = (0.25, 0.5, 1.0)  # of the samples, one after the other


class Samples(NamedTuple):
    """How many samples: of a cell, at ``most`` where its interval straddles 2%, and of the others.

    ``grid`` is by the number of cases.
    """

    grid: dict[int, int]
    most: dict[int, int]
    large: int
    replays: int
    power: dict[int, int]
    same: int


FEW = Samples(
    grid={10: 40, 40: 40, 200: 20, 1000: 4},
    most={},
    large=1,
    replays=40,
    power={40: 20, 200: 10},
    same=20,
)
"""About 4 minutes on one core."""
FULL = Samples(
    grid={10: 200, 40: 200, 200: 200, 1000: 40},
    most={10: 1000, 40: 1000, 200: 1000, 1000: 400},
    large=5,
    replays=100,
    power={40: 60, 200: 40, 1000: 5},
    same=60,
)
"""Those of the page: hours."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one of the two; the exit status: 0 all targets met, 1 one missed, 2 something did not work."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    command = shlex.join(["python", "-m", "benchmarks.calibration", *given])
    try:
        if options.action == "record":
            record(options.cases, names=options.only or list(ENGINES), seed=options.seed, command=command)
            return 0
        recorded = read(options.runs)
        samples = FULL if options.full else FEW
        counted = _counted(recorded, samples, options)
        print("\n".join(tables(counted)))
        if not options.full:
            print(f"\n{_few(samples)} samples a cell; the table in {PAGE.relative_to(ROOT)} has {_of_page()}")
        if options.write:
            circumstances = Circumstances(
                date=f"{datetime.now(UTC):%Y-%m-%d}",
                command=command,
                seed=options.seed,
                recorded=f"{recorded.made} with `{recorded.command}`",
            )
            page = PAGE.read_text(encoding="utf-8")
            PAGE.write_text(with_tables(page, counted, circumstances), encoding="utf-8")
    except HarnessError as error:
        print(f"calibration: {error}", file=sys.stderr)
        return _FAILED
    told = missed(counted)
    print(closing(counted), file=sys.stderr)
    for sentence in told:
        print(f"missed: {sentence}", file=sys.stderr)
    return 1 if told else 0


def _counted(recorded: Recorded, samples: Samples, options: argparse.Namespace) -> Counted:
    tallies = Tallies(options.tallies, seed=options.seed)
    until = math.inf if options.minutes is None else time.monotonic() + 60 * options.minutes
    grid = _grid(samples, tallies, until)
    large = [tallies.upto(cell.name, cell.cases, cell.sample, samples.large) for cell in LARGE]
    replays = []
    for pair in CLEAN_PAIRS:
        own = Replays(recorded, *pair)
        for size in _REPLAYED:
            name = f"{own.name}, {size} cases"
            replays.append(tallies.upto(name, size, partial(own.drawn, size=size), samples.replays))
            _say(f"{name}: {replays[-1].alarms} false alarms of {replays[-1].samples}")
    power = []
    for cell in POWER_CELLS:
        if cell.cases in samples.power:
            power += found(cell, EFFECTS, samples.power[cell.cases], seed=options.seed)
            _say(f"{cell.name}: effects planted into {power[-1].samples}")
    same = shown(SAME_CELLS, samples.same, seed=options.seed)
    order = {effect.words: place for place, effect in enumerate(EFFECTS)}
    power.sort(key=lambda one: (order[one.words], one.cases))
    return Counted(grid=grid, large=large, replays=replays, power=power, same=same)


def _few(samples: Samples) -> str:
    return f"{min(samples.grid.values())} to {max(samples.grid.values())}"


def _of_page() -> str:
    """How many samples a cell of the page's table has."""
    told = re.search(r"(\d+ to \d+) samples a cell", PAGE.read_text(encoding="utf-8"))
    return told.group(1) if told else f"{_few(FULL)} and more"


def _grid(samples: Samples, tallies: Tallies, until: float) -> list[tuple[Cell, Tally]]:
    """The tallies of all cells, which rise together; then more of those that may be over 2%."""
    for part in _PARTS:
        for cell in CELLS:
            wanted = math.ceil(part * samples.grid[cell.cases])
            if time.monotonic() > until:
                wanted = min(wanted, FEW.grid[cell.cases])
            _upto(cell, wanted, tallies)
    for cell in CELLS:
        tally, most = tallies.by_name[cell.name], samples.most.get(cell.cases, 0)
        while tally.samples < most and tally.interval.low < EACH < tally.interval.high:
            if time.monotonic() > until:
                break
            tally = _upto(cell, min(most, 2 * tally.samples), tallies)
    return [(cell, tallies.by_name[cell.name]) for cell in CELLS]


def _upto(cell: Cell, wanted: int, tallies: Tallies) -> Tally:
    known = tallies.by_name.get(cell.name)
    if known is not None and known.samples >= wanted:
        return known
    tally = tallies.upto(cell.name, cell.cases, cell.sample, wanted)
    _say(f"{cell.name}: {tally.alarms} false alarms of {tally.samples}")
    return tally


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.calibration",
        description="How often the judge raises a false alarm, and finds what was planted.",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    recording = actions.add_parser("record", help="make the clean runs again; about 15 minutes on two cores")
    recording.add_argument("--only", action="append", choices=ENGINES, help="this engine; the others stay")
    recording.add_argument("--cases", type=Path, default=ROOT / "cases", metavar="DIR")
    judging = actions.add_parser("judge", help="judge simulations and replays; about 4 minutes on one core")
    judging.add_argument("--full", action="store_true", help="as many samples as the page has; hours")
    judging.add_argument("--minutes", type=positive, metavar="N", help="then few samples for what is left")
    judging.add_argument("--tallies", type=Path, metavar="FILE", help="keep false alarms there, and go on")
    judging.add_argument("--runs", type=Path, default=FILE, metavar="FILE", help="other clean runs")
    judging.add_argument("--write", action="store_true", help="write the tables into docs/calibration.md")
    for each in (recording, judging):
        each.add_argument("--seed", type=int, default=_SEED, metavar="N")
    return parser

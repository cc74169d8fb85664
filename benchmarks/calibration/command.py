"""The command line: make the clean runs, or judge replays of them and simulations."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.calibration.effects import EFFECTS
from benchmarks.calibration.page import PAGE, Circumstances, clean_table, effect_table, missed, with_tables
from benchmarks.calibration.rates import Rate, Source, clean_rate, effect_rates
from benchmarks.calibration.recording import ENGINES, FILE, Recorded, read, record
from benchmarks.calibration.replays import Replays
from benchmarks.calibration.simulation import World
from benchmarks.workload import ROOT
from benchmarks.written_parts import positive
from harness.errors import HarnessError

__all__ = ["CLEAN_PAIRS", "SIZES", "main", "sources"]

SIZES = (20, 60, 88)
CLEAN_PAIRS = (
    ("torch-bfloat16", "torch-bfloat16"),
    ("torch-float32", "torch-float32"),
    ("torch-bfloat16", "lmdeploy-bfloat16"),
)
"""Baseline and candidate, of the recorded engines.

LMDeploy twice is left out: on a CPU its runs are bit-equal.
"""

_WORLDS = {
    "simulated normal noise": World(),
    "simulated noise, t with 4 degrees of freedom": World(tail=4.0),
}
_EFFECT_SIZES, _FEW = (20, 60), 30
_SEED = 20261125
_FAILED = 2


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
        rates = _judge(recorded, options)
        clean = [rate for rate in rates if rate.promised is None]
        effects = [rate for rate in rates if rate.promised is not None]
        print("\n".join([*clean_table(clean), "", *effect_table(effects)]))
        circumstances = Circumstances(
            date=f"{datetime.now(UTC):%Y-%m-%d}",
            machine="CPU",
            command=command,
            seed=options.seed,
            recorded=f"{recorded.made} with `{recorded.command}` on {recorded.machine}",
        )
        if options.write:
            page = PAGE.read_text(encoding="utf-8")
            PAGE.write_text(with_tables(page, rates, circumstances), encoding="utf-8")
    except HarnessError as error:
        print(f"calibration: {error}", file=sys.stderr)
        return _FAILED
    for sentence in missed(rates):
        print(f"missed: {sentence}", file=sys.stderr)
    return 1 if missed(rates) else 0


def sources(recorded: Recorded) -> list[Source]:
    """All sources of samples: recorded pairs of engines, then simulations."""
    found = []
    for a, b in CLEAN_PAIRS:
        replays = Replays(recorded, a, b)
        name = f"{a} twice" if a == b else f"{a} and {b}"
        found.append(Source(name=name, draw=replays.drawn, loud=replays.loud))
    return [*found, *(Source(name=name, draw=world.drawn) for name, world in _WORLDS.items())]


def _judge(recorded: Recorded, options: argparse.Namespace) -> list[Rate]:
    rng = np.random.default_rng(options.seed)
    rates: list[Rate] = []
    every = sources(recorded)
    for source in every:
        for size in SIZES:
            rates.append(clean_rate(source, size, options.clean, rng))
            _say(f"{source.name}, {size} cases: {rates[-1].found} false alarms of {options.clean}")
    for size in _EFFECT_SIZES:
        # In few cases the spread is what counts.
        effects = [e for e in EFFECTS if e.test == "spread"] if size < _FEW else EFFECTS
        for source in every:
            rates += effect_rates(source, effects, size, options.planted, rng)
            _say(f"{source.name}, {size} cases: effects planted into {options.planted}")
    # By effect, so that the sources stand side by side.
    order = {effect.words: place for place, effect in enumerate(EFFECTS)}
    return sorted(rates, key=lambda rate: (order.get(rate.what, -1), rate.cases if rate.promised else 0))


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
    judging = actions.add_parser("judge", help="judge replays and simulations")
    judging.add_argument("--clean", type=positive, default=300, metavar="N", help="replays for each row")
    judging.add_argument("--planted", type=positive, default=200, metavar="N", help="samples for effects")
    judging.add_argument("--runs", type=Path, default=FILE, metavar="FILE", help="other clean runs")
    judging.add_argument("--write", action="store_true", help="write the tables into docs/calibration.md")
    for each in (recording, judging):
        each.add_argument("--seed", type=int, default=_SEED, metavar="N")
    return parser

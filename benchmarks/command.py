"""The command line: which measurements to take, and what to do with their results."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from benchmarks.collection import measure_collection
from benchmarks.engine_paths import measure_interpreted, measure_lmdeploy, measure_torch, measure_tracing
from benchmarks.failures import measure_failures
from benchmarks.machine import machine_line
from benchmarks.page import measure_page
from benchmarks.random_model import EVERY, NAME, random_workload
from benchmarks.results import Circumstances, Row, as_json, missed, print_table, with_results
from benchmarks.scale import measure_scale
from benchmarks.whole_run import measure_run
from benchmarks.workload import ROOT, Workload
from benchmarks.written_parts import positive
from harness.errors import HarnessError

__all__ = ["MEASUREMENTS", "README", "main"]

README = Path(__file__).with_name("README.md")
_FAILED = 2
_LOG_COLUMNS = 132  # a log has no width of its own


class _Group(NamedTuple):
    """Measurements that share their preparations: what each compares, by name."""

    measure: Callable[[Workload, frozenset[str]], list[Row]]
    questions: Mapping[str, str]


_GROUPS = (
    _Group(
        measure_lmdeploy,
        {
            "two-stage": "stage two in one pass / stepwise, and how its cost grows",
            "captured": "captured path / bare generation of the same cases",
            "both-stages": "both stages / bare generation, captured path / two stages",
            "seed": "each path / the seed method, one case at a time",
        },
    ),
    _Group(measure_torch, {"torch": "path forward / a bare batched forward, path generate, the seed method"}),
    _Group(measure_tracing, {"tracing": "one case traced / the same case scored alone"}),
    _Group(measure_interpreted, {"interpreted": "LMDeploy's own kernels, interpreted / the plug-in's"}),
    _Group(
        measure_run,
        {
            "whole-run": "whole run / bare engine calls on the same cases",
            "second-run": "run with recordings / run without",
            "journals": "bytes of the journals for each case",
        },
    ),
    _Group(
        measure_collection,
        {"collection": "collecting 10,000 cases / bare YAML load and as many trivial tests"},
    ),
    _Group(measure_failures, {"failures": "1,000 failing tests / 100 of them"}),
    _Group(measure_page, {"page": "opening a report of 1,000 cases of nine engines / of 60 of two"}),
    _Group(measure_scale, {"scale": "a hundred and a thousand cases of engines that answer at once"}),
)
MEASUREMENTS: Mapping[str, str] = {name: what for group in _GROUPS for name, what in group.questions.items()}
"""What each measurement compares, by the name for ``--only``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report; the exit status: 0 all targets met, 1 one missed, 2 something did not work."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    if options.write and (options.only or options.model):
        _parser().error(
            "--write needs all measurements on the profile's model, so that the table is of one run; leave "
            "out --only and --model"
        )
    names = frozenset(options.only or MEASUREMENTS)
    try:
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as scratch:
            workload = Workload.read(
                options.cases, profile=options.profile, scratch=Path(scratch), repeats=options.repeats
            )
            if options.model == NAME:
                workload = random_workload(workload, every=options.every)
            circumstances = Circumstances(
                date=f"{datetime.now(UTC):%Y-%m-%d}",
                machine=machine_line(sys.executable, workload.profile),
                command=shlex.join(["python", "benchmarks", *given]),
            )
            rows = _measure(workload, names)
        console = Console(width=None if sys.stdout.isatty() else _LOG_COLUMNS)
        print_table(console, rows, circumstances)
        if options.json:
            options.json.write_text(as_json(rows, circumstances), encoding="utf-8")
        if options.write:
            readme = README.read_text(encoding="utf-8")
            README.write_text(with_results(readme, MEASUREMENTS, rows, circumstances), encoding="utf-8")
    except HarnessError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return _FAILED
    return 1 if missed(rows) else 0


def _measure(workload: Workload, names: frozenset[str]) -> list[Row]:
    rows = []
    for group in _GROUPS:
        if wanted := names & group.questions.keys():
            print(f"measuring {', '.join(n for n in group.questions if n in wanted)} ...", file=sys.stderr)
            rows += group.measure(workload, frozenset(wanted))
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python benchmarks", description="Take the ratios that README.md explains, each within one run."
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=MEASUREMENTS,
        metavar="NAME",
        help=f"one of {', '.join(MEASUREMENTS)}",
    )
    parser.add_argument("--repeats", type=positive, metavar="N", help="rounds of every measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's value there")
    parser.add_argument("--write", action="store_true", help="write the table into benchmarks/README.md")
    parser.add_argument("--cases", type=Path, default=ROOT / "cases", metavar="DIR", help="other suites")
    parser.add_argument("--model", choices=[NAME], help="a model of random weights in place of the profile's")
    parser.add_argument(
        "--every",
        type=positive,
        default=EVERY,
        metavar="N",
        help=f"with --model: one of N cases, by default {EVERY}",
    )
    parser.add_argument("--profile", metavar="NAME", help="default: the first one without marks")
    return parser

"""From a hundred cases to a hundred thousand, of a table, with engines that answer at once.

python -m benchmarks.scale N ...

measures for each number of cases and prints a table; ``python benchmarks --only scale`` takes a hundred and a
thousand. What engines take is not in it: `benchmarks.answers_at_once` stands in for both. With ``--real`` the
engines of the embedded default are asked, in bulk.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks.machine import machine_line
from benchmarks.results import Circumstances, Row, missed, print_table
from benchmarks.tables import draw_table, mmbench_rows
from harness.cases.folder import load
from harness.errors import HarnessError

if TYPE_CHECKING:
    from benchmarks.workload import Workload

__all__ = ["measure_scale", "scale_rows"]

_SMALL = (100, 1_000)
_MOST_TESTS = 10_000  # cases that pytest is asked to make tests of: eight each
_STAND_IN = Path(__file__).with_name("answers_at_once.py")
_EMBEDDED = Path(__file__).parents[1] / "cases" / "models" / "embedded"
_MB = 1e6
_SECONDS = 0.25  # between two looks at the memory
_ENGINES: dict[str, dict[str, object]] = {
    "torch": {"paths": ["forward"]},
    "lmdeploy": {"paths": ["captured", "two-stage"], "top_k": 5},
}
_GATE = ("gate", "--baseline", "scale/torch", "--candidate", "scale/lmdeploy")
_UNACCEPTED = 1  # the exit status of a run whose answers nobody has accepted yet


@dataclass(frozen=True, slots=True)
class _Ran:
    """Seconds that a process took, and of its processor; its resident memory in MB over time; no children."""

    seconds: float
    processor: float
    memory: Sequence[float]


def measure_scale(workload: Workload, names: frozenset[str]) -> list[Row]:
    """The rows of ``scale``."""
    del names  # there is only one
    return [row for count in _SMALL for row in scale_rows(workload.scratch / f"scale-{count}", count)]


def scale_rows(folder: Path, cases: int, *, real: bool = False) -> Iterator[Row]:
    """What so many cases take; ``folder`` is made. Raises `HarnessError` where a command fails."""
    _write(folder, cases, real=real)
    said = f"{cases:,} cases"

    def row(what: str, *values: float, unit: str = "", target: float | None = None) -> Row:
        return Row(measurement="scale", what=f"{said}: {what}", values=values, unit=unit, target=target)

    def per_case(ran: _Ran) -> tuple[float]:
        return (1e3 * max(0.0, ran.seconds - start.seconds) / cases,)

    first, again = (_ran(folder, "-m", "harness.cli", "check", "cases") for _ in range(2))
    yield row("reading the table, first and again", first.seconds, again.seconds, unit=" s")
    # What starts pytest and both engines is no matter of the number of cases.
    start = _ran(folder, *_BULK, "--suite=one", status=_UNACCEPTED)
    bulk = _ran(folder, *_BULK, "--suite=table", status=_UNACCEPTED)
    most = None if cases < _SMALL[-1] or real else 2.0
    yield row("in bulk, all asked, each case beyond starting", *per_case(bulk), unit=" ms", target=most)
    own = 1e3 * max(0.0, bulk.processor - start.processor) / cases
    yield row("of it processor time of the parent", own, unit=" ms")
    yield row("in bulk, peak memory of the parent", max(bulk.memory), unit=" MB", target=400.0)
    tenths = [bulk.memory[len(bulk.memory) * tenth // 10] for tenth in range(1, 10)]
    told = ", ".join(f"{memory:.0f}" for memory in tenths)
    yield row(f"in bulk, memory at each tenth of the time: {told}", *tenths, unit=" MB")
    size = sum(file.stat().st_size for file in (folder / ".harness").rglob("*.jsonl"))
    yield row("recordings of both engines, each case", size / cases, unit=" bytes")
    stored = _ran(folder, *_BULK, "--suite=table", status=_UNACCEPTED)
    yield row("in bulk, all stored, each case beyond starting", *per_case(stored), unit=" ms", target=most)
    if real:
        return
    if cases <= _MOST_TESTS:
        tests = cases * 8
        collected = _ran(folder, *_PYTEST, "--suite=table", "--collect-only")
        yield row("collecting a test for each check", collected.seconds, unit=" s")
        single = _ran(folder, *_PYTEST, "--suite=table", status=_UNACCEPTED)
        each = 1e3 * (single.seconds - start.seconds) / tests
        yield row("under pytest, all stored, each test beyond starting", each, unit=" ms", target=3.0)
    gate = _ran(folder, "-m", "harness.cli", *_GATE)
    yield row("gate of two sides", gate.seconds, unit=" s", target=60.0)
    yield row("gate, processor time", gate.processor, unit=" s")
    yield row("gate, peak memory", max(gate.memory), unit=" MB")
    page = folder / "report.html"
    paged = _ran(folder, "-m", "harness.cli", *_GATE, f"--report={page}")
    yield row("gate with a page, seconds", paged.seconds, unit=" s")
    yield row("page", page.stat().st_size / _MB, unit=" MB", target=15.0)


_PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "harness.suite", "--cases=cases")
_BULK = (*_PYTEST, "--bulk")


def _ran(folder: Path, *arguments: str, status: int = 0) -> _Ran:
    """Run Python in ``folder``; raises `HarnessError` where it ends with another status."""
    began = time.monotonic()
    output = folder / "output.txt"
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env=environ, stdout=file, stderr=file
        )
        memory, used = [0.0], [0.0]

        def look() -> None:
            while process.poll() is None:
                own = Path("/proc", str(process.pid))
                with suppress(OSError, IndexError):  # it has just ended
                    pages = int((own / "statm").read_text().split()[1])
                    ticks = (own / "stat").read_text().rpartition(") ")[2].split()[11:13]
                    memory.append(pages * os.sysconf("SC_PAGESIZE") / _MB)
                    used.append(sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"))
                time.sleep(_SECONDS)

        watch = threading.Thread(target=look)
        watch.start()
        found = process.wait()
        seconds = time.monotonic() - began
        watch.join()
    if found != status:
        told = "\n".join(output.read_text(errors="replace").splitlines()[-20:])
        raise HarnessError(f"{' '.join(arguments)}: found exit status {found}; allowed: {status}\n{told}")
    return _Ran(seconds, used[-1], memory)


def _write(folder: Path, cases: int, *, real: bool) -> None:
    """A folder of cases: a suite of a table, and one of a single case."""
    own = folder / "cases"
    (own / "model").mkdir(parents=True)
    (own / "model" / "config.json").write_text("{}")
    (own / "model" / "model.safetensors").write_text("none")
    stand_in = {} if real else {"patch": str(_STAND_IN)}
    engines = {name: stand_in | fields for name, fields in _ENGINES.items()}
    model = str(_EMBEDDED) if real else "model"
    profile = {"model": model, "dtype": "float32", "reference": "torch", "engines": engines}
    (own / "profiles.yaml").write_text(json.dumps({"profiles": {"scale": profile}}))
    (own / "one.yaml").write_text("cases: [{id: a, prompt: 'Say A.', letters: [A, B], expect: A}]\n")
    draw_table(own / "table.tsv", mmbench_rows(cases) if real else _told(mmbench_rows(cases)))
    (own / "table.yaml").write_text("source: {file: table.tsv}\n")
    (folder / "pytest.ini").write_text("[pytest]\n")  # no other configuration


def _told(rows: Iterator[dict[str, str]]) -> Iterator[dict[str, str]]:
    """The stand-in sees no picture and is told what to say."""
    for row in rows:
        yield {**row, "question": f"{row['question']} Say {row['answer']}."}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and say whether all targets are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--real", action="store_true", help="ask the engines of the embedded default")
    parser.add_argument("cases", type=int, nargs="*", default=_SMALL, metavar="N")
    options = parser.parse_args(arguments)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="scale-") as scratch:
        for count in options.cases:
            for row in scale_rows(Path(scratch) / str(count), count, real=options.real):
                print("\t".join(row.cells()), file=sys.stderr, flush=True)
                rows.append(row)
        profile = load(Path(scratch) / str(options.cases[0]) / "cases").profiles[0]
        command = f"python -m benchmarks.scale {'--real ' * options.real}{' '.join(map(str, options.cases))}"
        machine = f"{machine_line(sys.executable, profile)}; scratch folder in {tempfile.gettempdir()}"
    circumstances = Circumstances(date=f"{datetime.now(UTC):%Y-%m-%d}", machine=machine, command=command)
    print_table(Console(width=150), rows, circumstances)
    if not options.real:
        print("Both engines are stand-ins that answer at once: what is measured is the harness.")
    return 1 if missed(rows) else 0


if __name__ == "__main__":
    sys.exit(main())

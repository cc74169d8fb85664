"""Many failing tests: ten times as many must take about ten times as long."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

from benchmarks.ratios import interleaved
from benchmarks.results import Row
from benchmarks.workload import Workload
from harness.errors import HarnessError

__all__ = ["measure_failures"]

_REPEATS = 3
_FEW, _MANY = 100, 1_000
# In proportion it is 10, and less for what starting costs; as the square of their number it is up to 100.
_MOST = 12.0
_TESTS_FAILED = 1
_REASON = "it cannot be loaded"
_ERRORS = re.compile(r"\b(\d+) errors in ")


def measure_failures(workload: Workload, names: frozenset[str]) -> list[Row]:
    """The rows of ``failures``."""
    del names  # there is only one
    model = str(workload.profile.engines[0].settings.model)
    size = {}

    def fail(count: int) -> None:
        folder = write_failing(workload.scratch / f"failing-{count}", model, count)
        output = workload.pytest(
            *("--pyargs", "harness.suite", "--cases=cases", "-k", "expected_letter"),
            folder=folder,
            status=_TESTS_FAILED,
        )
        if failed(output) != count:
            raise HarnessError(f"found {failed(output)} errors; allowed: {count}, one for each case")
        if (told := times_told(output)) != 1:
            raise HarnessError(f"found the reason told {told} times; allowed: once for all tests")
        size[count] = output.stat().st_size

    seconds = interleaved(
        {"few": partial(fail, _FEW), "many": partial(fail, _MANY)}, workload.repeats or _REPEATS
    )
    return failure_rows(seconds, size[_MANY])


def failure_rows(seconds: dict[str, list[float]], size: int) -> list[Row]:
    """Rows from seconds of ``few`` and ``many`` failing tests, and the bytes that ``many`` of them tell."""
    rounds = list(zip(seconds["few"], seconds["many"], strict=True))
    return [
        Row(
            measurement="failures",
            what=f"run with {_MANY:,} failing tests / run with {_FEW}",
            values=tuple(many / few for few, many in rounds),
            target=_MOST,
        ),
        Row(
            measurement="failures",
            what="each further failing test",
            values=tuple(1e3 * (many - few) / (_MANY - _FEW) for few, many in rounds),
            unit=" ms",
        ),
        Row(
            measurement="failures",
            what="text that is told of each failing test",
            values=(size / _MANY,),
            unit=" bytes",
        ),
    ]


def times_told(output: Path) -> int:
    """How often pytest's output says why the engine could not be loaded; the log's lines say it again."""
    return output.read_text(encoding="utf-8").count(f"load: RuntimeError: {_REASON}")


def failed(output: Path) -> int:
    """The number of errors in pytest's last line; 0 without one."""
    found = _ERRORS.search(output.read_text(encoding="utf-8"))
    return 0 if found is None else int(found[1])


def write_failing(folder: Path, model: str, count: int) -> Path:
    """``folder`` with a folder ``cases`` of so many cases on one engine whose worker ends while it starts."""
    cases = folder / "cases"
    cases.mkdir(parents=True, exist_ok=True)
    # A configuration of its own, so that pytest reads no other.
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n", encoding="utf-8")
    (cases / "patch.py").write_text(f"raise RuntimeError({_REASON!r})\n", encoding="utf-8")
    profile = {
        "model": model,
        "dtype": "float32",
        "reference": "torch",
        "engines": {"torch": {"patch": "patch.py"}},
    }
    (cases / "profiles.yaml").write_text(json.dumps({"profiles": {"failing": profile}}), encoding="utf-8")
    (cases / "failing.yaml").write_text(
        "defaults: {letters: [A, B]}\ncases:\n"
        + "".join(
            f"  - {{id: c{number}, prompt: Which is {number}?, expect: A}}\n" for number in range(count)
        ),
        encoding="utf-8",
    )
    return folder

"""Collecting a large generated suite, against reading its YAML and collecting as many trivial tests."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from PIL import Image

from benchmarks.ratios import interleaved
from benchmarks.results import Row
from benchmarks.workload import Workload
from harness.errors import HarnessError

__all__ = ["measure_collection"]

_REPEATS = 5
_CASES = 10_000
_MOST = 3.0
_COLLECTED = re.compile(r"^(\d+) tests collected", re.MULTILINE)
_COLOURS = ("red", "blue", "green", "yellow")
_LETTERS = "ABCD"
_TRIVIAL = """\
import pytest


@pytest.mark.parametrize("number", range({count}))
def test_trivial(number):
    pass
"""


def measure_collection(workload: Workload, names: frozenset[str]) -> list[Row]:
    """The rows of ``collection``."""
    del names  # there is only one
    workload = workload.with_repeats(_REPEATS)
    folder, trivial = workload.scratch / "generated", workload.scratch / "trivial"
    suite = write_cases(folder, str(workload.profile.engines[0].settings.model))
    # A configuration of its own, so that pytest reads no other: both collect under the same conditions.
    for place in (folder, trivial):
        place.mkdir(exist_ok=True)
        (place / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n", encoding="utf-8")

    def collect() -> Path:
        return workload.pytest(
            "--collect-only", "--pyargs", "harness.suite", f"--cases={folder / 'cases'}", folder=folder
        )

    tests = collected(collect())
    (trivial / "test_trivial.py").write_text(_TRIVIAL.format(count=tests), encoding="utf-8")

    def collect_trivial() -> Path:
        return workload.pytest("--collect-only", "-p", "no:vlm-harness", "test_trivial.py", folder=trivial)

    if collected(collect_trivial()) != tests:
        raise HarnessError(f"found another number of trivial tests than {tests}; this is not the same work")
    seconds = interleaved(
        {"ours": collect, "trivial": collect_trivial, "yaml": lambda: _load(suite)},
        workload.repeats or _REPEATS,
    )
    return collection_rows(seconds, tests)


def collection_rows(seconds: dict[str, list[float]], tests: int) -> list[Row]:
    """Rows from seconds of ``ours``, ``trivial`` and ``yaml``."""
    rounds = list(zip(seconds["ours"], seconds["trivial"], seconds["yaml"], strict=True))
    what = f"{_CASES:,} cases, each with its image ({tests:,} tests) / YAML load and trivial tests"
    return [
        Row(
            measurement="collection",
            what=what,
            values=tuple(ours / (trivial + loaded) for ours, trivial, loaded in rounds),
            target=_MOST,
        ),
        Row(
            measurement="collection",
            what="collecting the cases, for each test",
            values=tuple(1e6 * ours / tests for ours, _, _ in rounds),
            unit=" µs",
        ),
    ]


def collected(output: Path) -> int:
    """The number of tests that ``pytest --collect-only -q`` tells; raises `HarnessError` without one."""
    found = _COLLECTED.search(output.read_text(encoding="utf-8"))
    if found is None:
        raise HarnessError(f"{output}: found no line 'N tests collected'; allowed: one, from pytest -q")
    return int(found[1])


def write_cases(folder: Path, model: str) -> Path:
    """Write a folder ``cases`` with a profile of two engines and one suite, whose file is returned."""
    cases = folder / "cases"
    (cases / "images").mkdir(parents=True, exist_ok=True)
    for number in range(_CASES):
        colour = (number % 256, number // 256, 0)
        Image.new("RGB", (56, 56), colour).save(cases / "images" / f"{number}.png")
    engines = {"torch": {"paths": ["forward"]}, "lmdeploy": {"paths": ["two-stage", "captured"]}}
    profile = {"model": model, "dtype": "float32", "device": "cpu", "reference": "torch", "engines": engines}
    (cases / "profiles.yaml").write_text(json.dumps({"profiles": {"generated": profile}}), encoding="utf-8")
    suite = cases / "generated.yaml"
    suite.write_text(
        "defaults:\n  letters: [A, B, C, D]\ncases:\n" + "".join(map(_case, range(_CASES))), encoding="utf-8"
    )
    return suite


def _case(number: int) -> str:
    """As people write them: a block of text, and what differs from the defaults."""
    options = "".join(
        f"      {letter}. {colour}\n" for letter, colour in zip(_LETTERS, _COLOURS, strict=True)
    )
    return (
        f"  - id: colour-{number}\n"
        f"    image: images/{number}.png\n"
        f"    prompt: |-\n      What colour is object {number}?\n{options}"
        "      Answer with the option's letter.\n"
        f"    expect: {_LETTERS[number % len(_LETTERS)]}\n"
        f"    tags: [generated, group-{number % 7}]\n"
    )


def _load(suite: Path) -> None:
    yaml.load(suite.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)

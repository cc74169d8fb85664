"""The results file, its page, and what may be kept as evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.results import as_markdown, keep_as_evidence, main, write
from harness.errors import HarnessError


def results(**changes: Any) -> dict[str, Any]:
    floor = {
        "left": "float32_alone",
        "right": "torch_float16",
        "cases": 7,
        "largest": 0.00123,
        "median": 1e-4,
        "log_odds": 2e-3,
        "flips": 0,
    }
    cost = {
        "engine": "torch",
        "path": "forward",
        "seconds": [0.01, 0.012],
        "device": "cuda (NVIDIA Example), bfloat16",
        "problem": None,
    }
    legs: dict[str, Any] = {
        "doctor": {
            "kind": "doctor",
            "status": "failed",
            "seconds": 1.0,
            "data": {"text": ["compiler: none"]},
            "said": ["compiler: none"],
        },
        "machine": {"kind": "machine", "status": "passed", "seconds": 1.0, "data": {}},
        "gate a..b": {
            "kind": "gate",
            "status": "passed",
            "seconds": 3.0,
            "data": {
                "verdicts": [
                    {
                        "name": "b against a",
                        "verdict": "SAME",
                        "status": "PASSED",
                        "sentence": "they are the same",
                        "noise": "the table's",
                        "suites": ["words: SAME: within the margin"],
                    }
                ]
            },
        },
        "floor p/e": {
            "kind": "floor",
            "status": "passed",
            "seconds": 9.0,
            "data": {"kept": ["p/e/cuda.floor.json"], "text": ["e: measured"]},
        },
        "checks embedded float16": {
            "kind": "checks",
            "status": "failed",
            "seconds": 30.2,
            "data": {
                "counts": {"passed": 3, "failed": 1},
                "table": ["case  torch", "s.a   A 0.9"],
            },
        },
        "temperature trap float16": {
            "kind": "trap",
            "status": "passed",
            "seconds": 9.0,
            "data": {"model": "embedded", "dtype": "float16", "trap": "on", "factors": [1.25, 1.249]},
        },
        "costs random": {
            "kind": "costs",
            "status": "passed",
            "seconds": 9.0,
            "data": {
                "profile": "random-bfloat16",
                "cases": 16,
                "rounds": 2,
                "paths": [cost, {**cost, "path": "generate", "seconds": [], "problem": "refused"}],
            },
        },
        "noise embedded": {
            "kind": "noise",
            "status": "failed",
            "seconds": 9.0,
            "data": {
                "model": "embedded",
                "floors": [floor],
                "devices": {"torch_float16": "cuda (NVIDIA Example), float16"},
                "errors": {"lmdeploy_float16": "it ended"},
            },
        },
        "noise random": {
            "kind": "noise",
            "status": "overran",
            "seconds": 1.0,
            "why": "ended | after\nx",
            "said": ["still measuring"],
        },
        "checks turbomind": {
            "kind": "checks",
            "status": "not run",
            "seconds": 0.0,
            "why": "no TurboMind library here",
        },
    }
    for name, entry in legs.items():
        entry |= {"command": f"python -m {name}", "estimate": 40}
    legs["checks embedded float16"]["exit"] = 1
    return {
        "version": 2,
        "rehearsal": False,
        "date": "2030-01-02 03:04 UTC",
        "command": "benchmarks/gpu/run",
        "commit": "abc",
        "seconds": 100.0,
        "machine": {
            "gpus": ["NVIDIA Example 9000, 1.2.3"],
            "processor": "a CPU",
            "cores": 16,
            "python": "3.12.1",
            "packages": {"torch": "2.11.0", "lmdeploy": None},
            "cuda": "13.0",
        },
        "legs": legs,
        **changes,
    }


def test_the_page_has_everything() -> None:
    page = as_markdown(results())
    assert page.startswith("# The suite on NVIDIA Example 9000, 1.2.3\n")
    assert "2030-01-02 03:04 UTC, `benchmarks/gpu/run`, 100 s in all" in page
    assert "| checks embedded float16 | failed | 30 s | 40 s |  |" in page
    assert "| noise random | overran | 1 s | 40 s | ended \\| after |" in page
    assert "| checks turbomind | not run |  | 40 s | no TurboMind library here |" in page
    assert "1 of 10 legs were not run; nothing is known of what they would have shown." in page
    assert "## checks turbomind" not in page
    assert "failed, 30 s; exit status 1: `python -m checks embedded float16`\n\n3 passed, 1 failed." in page
    assert "**SAME** (PASSED): b against a: they are the same\n\n- words: SAME: within the margin" in page
    assert "- in files.tar.gz: `snapshots/p/e/cuda.floor.json`" in page
    assert page.count("compiler: none") == 1
    assert "still measuring" in page
    assert "s.a   A 0.9" in page
    assert "**on** (factors 1.250, 1.249;" in page
    assert "| float32_alone | torch_float16 | 7 | 0.00123 | 0.0001 | 0.002 | 0 |" in page
    assert "- ERROR lmdeploy_float16: it ended" in page
    assert "| torch | forward | 10 12 | 1.00 | cuda (NVIDIA Example), bfloat16 |" in page
    assert "| torch | generate | not timed: refused |" in page


def test_a_rehearsal_says_so_first() -> None:
    assert as_markdown(results(rehearsal=True)).splitlines()[2].startswith("**A rehearsal on a CPU.")


def test_evidence_is_named_by_date_and_gpu(tmp_path: Path) -> None:
    write(results(), tmp_path / "results.json")
    page = keep_as_evidence(tmp_path / "results.json", tmp_path / "evidence")
    assert page.name == "2030-01-02-nvidia-example-9000.md"
    assert page.read_text() == as_markdown(results())
    assert json.loads(page.with_suffix(".json").read_text()) == results()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"rehearsal": True}, "found a rehearsal on a CPU"),
        ({"machine": {"gpus": []}}, "found a run that saw no GPU"),
        ({"version": 1}, "no results file"),
    ],
)
def test_what_is_no_evidence_is_refused(changes: dict[str, Any], found: str, tmp_path: Path) -> None:
    write(results(**changes), tmp_path / "results.json")
    with pytest.raises(HarnessError, match=found):
        keep_as_evidence(tmp_path / "results.json", tmp_path / "evidence")
    assert not (tmp_path / "evidence").exists()


def test_as_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.json"
    assert main([str(file), str(tmp_path)]) == 1
    assert "no results file" in capsys.readouterr().err
    write(results(), file)
    assert main([str(file), str(tmp_path / "evidence")]) == 0
    assert main([]) == 2

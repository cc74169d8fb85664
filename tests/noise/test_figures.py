"""What a floor says, in figures and as text."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.cases.folder import load
from harness.noise.figures import EngineFigures, figures_for
from harness.noise.measuring import Measured
from harness.noise.report import report
from tests.noise.folder import write_folder
from tests.verdicts.changes import floor_of

STILL = np.array([[1.0, 0.0, -1.0], [0.02, 0.0, -0.02]])


def figures(
    root: Path, *runs: list[list[float]], full: dict[str, dict[str, float]] | None = None
) -> EngineFigures:
    write_folder(root, prompts=("say A 0", "say B 1"))
    floor = replace(floor_of(STILL, [STILL + np.array(run) for run in runs]), full=full or {})
    measured = Measured(profile="p", engine="torch", floor=floor, made=3, notes=("left out: eager: no",))
    return figures_for(measured, load(root / "cases").cases)


def test_suites_variants_and_worst_cases(tmp_path: Path) -> None:
    found = figures(
        tmp_path,
        [[0.0, 0.0, 0.0], [-0.06, 0.0, 0.06]],
        [[0.003, 0.0, -0.003], [0.0, 0.0, 0.0]],
        full={"s.c0": {"kl": 1e-5}, "s.c1": {"kl": 1e-3}},
    )
    (suite,) = found.suites
    assert (suite.suite, suite.cases, suite.most, suite.kl) == ("s", 2, "undisturbed", 1e-3)
    assert suite.largest == pytest.approx(0.06)
    assert (suite.flips, suite.chances) == (1, 4)
    assert 0 < suite.sigma < suite.worst_sigma < 0.06
    assert [run.variant for run in found.variants] == ["undisturbed", "run-1"]
    # Two letters of one of two cases moved by 0.06: Σ/(L-1) is 0.0036, and half of that over the cases.
    assert found.variants[0].rms == pytest.approx(math.sqrt(0.0036 / 2))
    assert (found.variants[0].flips, found.variants[1].flips) == (1, 0)
    worst = found.worst[0]
    assert (worst.case, worst.variant, worst.letter) == ("s.c1", "undisturbed", "A")
    assert "s.yaml:" in worst.place


def test_the_text_has_all_of_it(tmp_path: Path) -> None:
    text = report([figures(tmp_path, [[0.0, 0.0, 0.0], [-0.06, 0.0, 0.06]])])
    lines = text.splitlines()
    assert lines[0] == "p/torch: noise floor of 2026-11-25, 1 run (measured in 3 runs)"
    assert "  warning: only 1 run of these tell of noise: undisturbed" in lines
    assert "  note: left out: eager: no" in lines
    assert any(line.split()[:2] == ["undisturbed", "2"] for line in lines)
    assert any(line.startswith("  moves most: s.c1, letter A, by 0.06 in undisturbed (") for line in lines)


def test_a_letter_that_was_not_seen_counts_for_nothing(tmp_path: Path) -> None:
    found = figures(tmp_path, [[math.nan, 0.01, -0.01], [0.0, 0.0, 0.0]])
    assert found.variants[0].largest == pytest.approx(0.01)
    assert found.variants[0].cases == 2


def test_without_a_floor_there_is_the_reason(tmp_path: Path) -> None:
    write_folder(tmp_path)
    measured = Measured(profile="p", engine="torch", floor=None, made=1, problem="it died")
    found = figures_for(measured, load(tmp_path / "cases").cases)
    assert report([found]) == "p/torch: no noise floor: it died\n"
    assert (found.suites, found.variants, found.worst) == ((), (), ())


def test_it_says_how_many_runs_tell_and_which(tmp_path: Path) -> None:
    three = [[[0.0, 0.0, 0.0], [s * 0.06, r * 0.06, -(s + r) * 0.06]] for s, r in ((1, 0), (0, 1), (-1, -1))]
    quiet = [[0.0, 0.0, 0.0], [0.001, 0.0, -0.001]]
    found = figures(tmp_path, *three, quiet)
    assert found.telling == ("undisturbed", "run-1", "run-2")
    text = report([found])
    assert "  3 runs of these tell of noise: undisturbed, run-1, run-2\n" in text
    assert "warning" not in text

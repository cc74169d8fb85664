"""The errors of paired accuracy: counted rightly, told, and a method that is wrong is caught by them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.calibration import upgrades
from benchmarks.calibration.upgrades import Errors, clustered, exact, table, told
from benchmarks.workload import ROOT
from harness.verdicts.paired_accuracy import AccuracyChange, accuracy_change

Sides = npt.NDArray[np.bool_]


def test_exact_shares_are_as_often_as_samples_have_it() -> None:
    found = exact(40, 0.2)
    assert found.passed == pytest.approx(0.051, abs=0.004)  # 20,000 samples
    assert found.covered == pytest.approx(0.963, abs=0.004)
    assert found.called < 0.01
    assert found.power > found.passed


def test_a_method_that_takes_images_for_cases_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_if_alone(before: Sides, after: Sides, images: list[int]) -> AccuracyChange:
        return accuracy_change(before, after, range(len(images)))

    honest = clustered(40, 0.1, 1.0, 150, np.random.default_rng(0))
    assert honest.covered >= 0.95
    monkeypatch.setattr(upgrades, "accuracy_change", as_if_alone)
    wrong = clustered(40, 0.1, 1.0, 150, np.random.default_rng(0))
    assert wrong.passed > 0.15
    assert wrong.covered < 0.85
    assert wrong.called > 0.05


def test_the_worst_rows_are_told() -> None:
    good = Errors("40", 0.1, 0.04, 0.96, 0.002, 0.5)
    bad = good._replace(cases="200", passed=0.09, covered=0.91)
    assert told([good, bad]) == (
        "Worst of 2 rows: passes with 2 points lost: 9.0% (200, 10%); REGRESSION with nothing lost: 0.2% "
        "(40, 10%); least coverage: 91.0% (200, 10%)."
    )
    assert table([good])[-1] == "| 40 | 10% | 4.0% | 96.0% | 0.2% | 50.0% |"
    page = (ROOT / "docs" / "calibration.md").read_text(encoding="utf-8")
    assert page.count("by `python -m benchmarks.calibration.upgrades --write` -->") == 1

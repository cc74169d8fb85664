"""Budgets and margins as they are written."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.cases.budgets import Budgets, margin_of
from tests.cases.writing import load_profiles


def test_a_margin_is_log_odds_or_a_share_of_probability_at_one_half() -> None:
    assert margin_of(0.05) == margin_of("0.05") == 0.05
    margin = margin_of("2.5%")
    assert 1 / (1 + math.exp(-margin)) == pytest.approx(0.525)


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "inf", "nan", "0%", "50%", "-2%", "much", "%"])
def test_what_is_no_margin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        margin_of(text)


def test_a_profile_has_budgets_for_a_whole_comparison(tmp_path: Path) -> None:
    file = tmp_path / "profiles.yaml"
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    head = "profiles:\n  p:\n    model: m\n    dtype: float32\n    device: cpu\n    reference: torch\n"
    file.write_text(f"{head}    engines: {{torch: {{}}}}\n")
    assert load_profiles(file, ())[0].budgets == Budgets()
    file.write_text(
        f"{head}    engines: {{torch: {{}}}}\n    budgets: {{margin: 0.2, noise: {{cases: 3}}}}\n"
    )
    assert load_profiles(file, ())[0].budgets == Budgets(margin=0.2, moved=3)

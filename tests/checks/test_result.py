"""Results print themselves and are true only without findings."""

from __future__ import annotations

import math

from harness.checks.result import Finding, Metric, Result, over_limit


def test_a_result_is_true_without_findings_and_prints_everything() -> None:
    finding = Finding("kl", 2.0, 1.0, "2 is over the limit of 1")
    metrics = (Metric("kl", 2.0, 1.0), Metric("p(A)", 0.5))
    failed = Result(
        case="s.c", subject="e", letters=("A",), findings=(finding,), metrics=metrics, notes=("by the way",)
    )
    assert not failed
    text = str(failed)
    assert text.startswith("check: s.c, e: 1 finding\n")
    for part in ("kl: 2 is over the limit of 1", "kl: 2; allowed: 1", "p(A): 0.5", "note: by the way"):
        assert part in text
    passed = Result(case="s.c", subject="e", letters=("A",), findings=())
    assert passed
    assert "passed" in str(passed)
    assert (
        Result(case="s.c", subject="e", letters=("A",), findings=(finding, finding)).headline == "2 findings"
    )


def test_limits_are_inclusive_and_nan_passes_none() -> None:
    assert Metric("kl", 1.0, 1.0).ok
    assert Metric("kl", 1e9).ok
    assert not Metric("kl", math.nan, 1.0).ok
    assert not Metric("kl", math.inf, 1.0).ok


def test_over_limit_says_value_place_and_limit() -> None:
    metrics = (Metric("kl", 0.5, 1.0), Metric("js", 2.0, 1.0, "letter B"), Metric("tv", math.nan, 1.0))
    found = over_limit(metrics)
    assert [finding.metric for finding in found] == ["js", "tv"]
    assert found[0].text == "2 at letter B is over the limit of 1"
    assert "not a number" in found[1].text

"""The figures of a verdict as short texts, the same in a terminal and in Markdown."""

from __future__ import annotations

import math

from harness.verdicts.verdict import ComparisonVerdict, Estimate, SuiteVerdict, Verdict

__all__ = ["HEADINGS", "context", "figures", "headline", "suite_words", "verdict_words"]

HEADINGS = ("cases", "spread × noise [90%]", "shift, log-odds [90%]", "accuracy", "flips (noise expects)")
"""What `figures` gives, in its order; in brackets the ends of a 90% interval."""

_UNKNOWN = "-"
_LEAST_COUNT = 0.001


def headline(verdict: ComparisonVerdict) -> str:
    """The verdict in a sentence, led by its word."""
    if verdict.sentence.startswith(verdict.verdict):
        return verdict.sentence
    return f"{verdict.verdict}: {verdict.sentence}"


def context(verdict: ComparisonVerdict) -> tuple[str, ...]:
    """What stands below the sentence: the sides, where it does not name them, and where the noise is from."""
    sides = (("baseline", verdict.baseline), ("candidate", verdict.candidate))
    unnamed = [f"{title} {name}" for title, name in sides if name not in verdict.sentence]
    return (*unnamed, f"noise: {verdict.noise}")


def suite_words(suite: SuiteVerdict) -> tuple[str, tuple[str, ...]]:
    """A suite's sentence, led by its name, and those of its reasons that the sentence does not say."""
    named = suite.sentence.startswith(f"{suite.suite}: ")
    sentence = suite.sentence if named else f"{suite.suite}: {suite.sentence}"
    return sentence, tuple(reason for reason in suite.reasons if reason not in sentence)


def verdict_words(suite: SuiteVerdict) -> str:
    """A verdict, and of a DRIFT or REGRESSION that passes by what."""
    if suite.verdict not in (Verdict.DRIFT, Verdict.REGRESSION):
        return suite.verdict.value
    if suite.within_budget:
        return f"{suite.verdict} within budget"
    return (
        f"{suite.verdict} within the margin" if suite.within_margin and suite.passes else suite.verdict.value
    )


def figures(suite: SuiteVerdict) -> tuple[str, ...]:
    """A suite's figures as texts, under `HEADINGS`; '-' for what is not known."""
    accuracy = _UNKNOWN
    if suite.accuracy is not None:
        baseline, candidate = suite.accuracy
        accuracy = f"{baseline:.1%} → {candidate:.1%}"
    return (
        str(suite.cases),
        _estimate(suite.spread),
        _estimate(suite.shift),
        accuracy,
        f"{suite.flips} ({_count(suite.expected_flips)})",
    )


def _count(expected: float) -> str:
    if math.isnan(expected):
        return _UNKNOWN
    return f"< {_LEAST_COUNT}" if 0 < expected < _LEAST_COUNT else f"{expected:.2g}"


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return _UNKNOWN
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"

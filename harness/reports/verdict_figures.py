"""The figures of a verdict as short texts, the same in a terminal and in Markdown."""

from __future__ import annotations

import math

from harness.verdicts.verdict import ComparisonVerdict, Estimate, ExitStatus, SuiteVerdict, Verdict

__all__ = [
    "HEADINGS",
    "context",
    "figures",
    "headline",
    "is_let_pass",
    "rows_of",
    "suite_words",
    "verdict_words",
]

HEADINGS = ("cases", "spread × noise [90%]", "shift, log-odds [90%]", "accuracy", "flips (noise expects)")
"""What `figures` gives, in its order; in brackets the ends of a 90% interval."""

_UNKNOWN = "-"
_LEAST_COUNT = 0.001
_MOST_PLACES = 10
_FOUND = (Verdict.DRIFT, Verdict.REGRESSION)


def headline(verdict: ComparisonVerdict) -> str:
    """The verdict in a sentence, led by its word."""
    if verdict.sentence.startswith(verdict.verdict) or f": {verdict.verdict}" in verdict.sentence:
        return verdict.sentence
    return f"{verdict.verdict}: {verdict.sentence}"


def context(verdict: ComparisonVerdict) -> tuple[str, ...]:
    """What stands below the sentence: the two answers of the gate, where something was found, and the noise.

    Before them the sides, where the sentence does not name them.
    """
    sides = (("baseline", verdict.baseline), ("candidate", verdict.candidate))
    unnamed = [f"{title} {name}" for title, name in sides if name not in verdict.sentence]
    return (*unnamed, *_answers(verdict), *_where(verdict), f"noise: {verdict.noise}")


def rows_of(verdict: ComparisonVerdict) -> tuple[SuiteVerdict, ...]:
    """All cases together, then the suites; one that is all cases, with their verdict, stands for both."""
    whole, suites = verdict.whole, verdict.suites
    if whole is None or (len(suites) == 1 and verdict_words(whole) == verdict_words(suites[0])):
        return suites
    return (whole, *suites)


def is_let_pass(verdict: ComparisonVerdict | SuiteVerdict | None) -> bool:
    """Whether something was found that passes as it is shown to be within the margin."""
    suite = verdict.whole if isinstance(verdict, ComparisonVerdict) else verdict
    return suite is not None and suite.within_margin and suite.passes and not suite.within_budget


def suite_words(suite: SuiteVerdict) -> tuple[str, tuple[str, ...]]:
    """A suite's sentence, led by its name, and those of its reasons that the sentence does not say."""
    named = suite.sentence.startswith(f"{suite.suite}: ")
    sentence = suite.sentence if named else f"{suite.suite}: {suite.sentence}"
    return sentence, tuple(reason for reason in suite.reasons if reason not in sentence)


def verdict_words(suite: SuiteVerdict | ComparisonVerdict) -> str:
    """A verdict, and of a DRIFT or REGRESSION that passes by what."""
    if isinstance(suite, ComparisonVerdict):
        return suite.verdict.value if suite.whole is None else verdict_words(suite.whole)
    if suite.verdict not in _FOUND:
        return suite.verdict.value
    if suite.within_budget:
        return f"{suite.verdict} within budget"
    return f"{suite.verdict} within the margin" if is_let_pass(suite) else suite.verdict.value


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


def _answers(verdict: ComparisonVerdict) -> list[str]:
    """Whether something was found, and whether it matters."""
    whole = verdict.whole
    if whole is None or {test.name for test in whole.evidence} == {"accuracy"}:
        return []  # two models are judged by accuracy alone, and their sentence says all of it
    names = [test.name for test in whole.evidence if test.found]
    if not names and (single := sum(whole.counts.get(word, 0) for word in _FOUND)):
        names = [f"{single} single case{'s' * (single > 1)}"]
    if not names and verdict.verdict not in _FOUND:
        return []
    told = f"found beyond noise: {', '.join(names) or 'yes'}; does it matter: {_matters(whole, verdict)}"
    return [f"{told} (exit status {verdict.status.value})"]


def _matters(whole: SuiteVerdict, verdict: ComparisonVerdict) -> str:
    cases = verdict.cases
    if verdict.status is ExitStatus.INCONCLUSIVE:
        return "not known, for what was found before the numbers"
    if whole.passes:
        return "no, budgets allow it" if whole.within_budget else "no, it is shown to be within the margin"
    if whole.verdict is Verdict.REGRESSION:
        return "yes, right answers were lost"
    if not whole.shown.within:
        return "yes, it is not shown to be within the margin"
    if any(case.flip is not None and case.verdict in _FOUND for case in cases):
        return "yes, a wide lead flipped"
    return "yes, with --strict every move does"


def _where(verdict: ComparisonVerdict) -> list[str]:
    """Where something was found, in one line."""
    places: dict[str, list[str]] = {}
    for one in verdict.where:
        places.setdefault(f"{one.kind} {one.name}", []).append(one.evidence.name)
    told = [f"{place} ({', '.join(names)})" for place, names in places.items()]
    more = [f"{len(told) - _MOST_PLACES} more"] if len(told) > _MOST_PLACES else []
    return [f"where: {'; '.join((*told[:_MOST_PLACES], *more))}"] if told else []


def _count(expected: float) -> str:
    if math.isnan(expected):
        return _UNKNOWN
    return f"< {_LEAST_COUNT}" if 0 < expected < _LEAST_COUNT else f"{expected:.2g}"


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return _UNKNOWN
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"

"""The verdict on a suite, from what its cases show."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.cases.budgets import Budgets
from harness.verdicts.case_judging import Look, decide
from harness.verdicts.evidence import lost_share, mean_of, spread_of, spread_power
from harness.verdicts.noise_model import NoiseShape
from harness.verdicts.rules import POWER, TESTS, UNSEEN
from harness.verdicts.suite_numbers import SuiteNumbers, suite_numbers, suite_tests
from harness.verdicts.verdict import CaseVerdict, Estimate, Evidence, SuiteVerdict, Verdict

__all__ = ["judge_suite"]

_MOST_CASES = 100_000  # beyond which more cases are no advice


@dataclass(frozen=True, slots=True, kw_only=True)
class _Suite:
    """Everything that a suite's verdict is made of; estimates are None where no case can be judged."""

    looks: Sequence[Look]
    verdicts: Sequence[CaseVerdict]
    counts: Mapping[Verdict, int]
    tests: Sequence[Evidence]
    numbers: SuiteNumbers
    shape: NoiseShape
    budgets: Budgets
    margin: float
    alpha: float
    spread: Estimate | None
    shift: Estimate | None
    log_odds: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decision:
    verdict: Verdict
    reasons: tuple[str, ...]
    within_budget: bool = True
    missing_cases: int | None = None


def judge_suite(
    name: str,
    looks: Sequence[Look],
    *,
    shape: NoiseShape,
    budgets: Budgets,
    margin: float,
    alpha: float,
) -> tuple[SuiteVerdict, tuple[CaseVerdict, ...]]:
    """Judge ``looks``, the cases of the suite ``name``; ``alpha`` is the suite's share of false alarms.

    ``margin`` is used where ``budgets`` name none. ``shape`` is that of the noise of the suite's cases.
    """
    margin = margin if budgets.margin is None else budgets.margin
    numbers = suite_numbers(looks)
    tests = suite_tests(looks, numbers, shape, spread=budgets.spread, alpha=alpha)
    verdicts = _case_verdicts(looks, tests, margin, alpha)
    suite = _Suite(
        looks=looks,
        verdicts=verdicts,
        counts=Counter(verdict.verdict for verdict in verdicts),
        tests=tests,
        numbers=numbers,
        shape=shape,
        budgets=budgets,
        margin=margin,
        alpha=alpha,
        spread=spread_of(numbers.roots, shape) if numbers.roots else None,
        shift=mean_of(numbers.moves, shape, numbers.sigma) if numbers.moves else None,
        log_odds=_log_odds(numbers, shape) if numbers.roots else None,
    )
    decision = _decide(suite)
    known = [look.right for look in looks if None not in look.right]
    verdict = SuiteVerdict(
        suite=name,
        verdict=decision.verdict,
        sentence=f"{name}: {decision.verdict}: {decision.reasons[0]}",
        reasons=decision.reasons,
        within_budget=decision.within_budget,
        evidence=tests,
        cases=len(looks),
        clusters=len(numbers.chances),
        counts={each: suite.counts.get(each, 0) for each in Verdict},
        spread=suite.spread,
        shift=suite.shift,
        log_odds=suite.log_odds,
        margin=margin,
        accuracy=(
            (sum(bool(a) for a, _ in known) / len(known), sum(bool(b) for _, b in known) / len(known))
            if known
            else None
        ),
        flips=sum(look.flip is not None for look in looks),
        expected_flips=math.fsum(look.chance or 0.0 for look in looks if look.judged),
        missing_cases=decision.missing_cases,
    )
    return verdict, verdicts


def _case_verdicts(
    looks: Sequence[Look], tests: Sequence[Evidence], margin: float, alpha: float
) -> tuple[CaseVerdict, ...]:
    found = [test.name for test in tests if test.found]
    count = max(1, sum(look.judged or look.broken for look in looks))
    first = alpha / len(TESTS) / count  # the limit of Holm's first step
    # Where another test was found as well, Holm's later step asks less of the cases.
    step = first if found == ["cases"] else alpha / (len(TESTS) - len(found) + 1) / count
    return tuple(
        decide(
            look,
            beyond=look.broken or ("cases" in found and look.p <= step),
            p_limit=first,
            margin=margin,
        )
        for look in looks
    )


def _log_odds(numbers: SuiteNumbers, shape: NoiseShape) -> Estimate:
    """The root mean square of the changes of log-odds, as uncertain as the spread is."""
    root = math.sqrt(statistics.fmean(numbers.mean_squares))
    unit = spread_of([shape.root] * len(numbers.roots), shape)
    return Estimate(value=root, low=root * unit.low, high=root * unit.high)


def _decide(suite: _Suite) -> _Decision:
    lost, moved = suite.counts.get(Verdict.REGRESSION, 0), suite.counts.get(Verdict.DRIFT, 0)
    found = [test for test in suite.tests if test.found]
    names = {test.name for test in found}
    told = [f"{TESTS[test.name]}: {test.text}, adjusted p = {test.adjusted:.2g}" for test in found]
    unanswered = _unanswered(suite.counts)
    if found or lost or moved:
        net = max(0, suite.numbers.lost - suite.numbers.gained) if "accuracy" in names else 0
        regression = bool(lost) or "accuracy" in names
        if most := max(lost, net):
            told.append(_budget("right answers lost beyond noise", most, suite.budgets.lost))
        if moved:
            told.append(_budget("other cases beyond noise", moved, suite.budgets.moved))
        return _Decision(
            verdict=Verdict.REGRESSION if regression else Verdict.DRIFT,
            reasons=(*told, *unanswered),
            within_budget=(
                most <= suite.budgets.lost
                and moved <= suite.budgets.moved
                and not (_found_in_rest(suite) - {"accuracy"})
            ),
        )
    if unanswered:
        none = suite.counts.get(Verdict.ERROR, 0) == len(suite.looks)
        return _Decision(verdict=Verdict.ERROR if none else Verdict.INCONCLUSIVE, reasons=tuple(unanswered))
    return _undisturbed(suite)


def _found_in_rest(suite: _Suite) -> set[str]:
    """What the tests find in the cases that are not beyond their own noise: those have a budget."""
    beyond = {Verdict.DRIFT, Verdict.REGRESSION}
    pairs = zip(suite.looks, suite.verdicts, strict=True)
    rest = [look for look, verdict in pairs if verdict.verdict not in beyond]
    tests = suite_tests(
        rest, suite_numbers(rest), suite.shape, spread=suite.budgets.spread, alpha=suite.alpha
    )
    return {test.name for test in tests if test.found}


def _undisturbed(suite: _Suite) -> _Decision:
    """The verdict where no test found anything: shown to be the same, noise, or not enough to say so."""
    spread, shift, log_odds = suite.spread, suite.shift, suite.log_odds
    if spread is None or shift is None or log_odds is None:
        return _Decision(verdict=Verdict.INCONCLUSIVE, reasons=("there is no case that can be judged",))
    flipped, margin = suite.numbers.flipped, suite.margin
    differ = (
        f"log-odds differ by {log_odds.value:.3g} (root mean square), at most {log_odds.high:.3g}, and the "
        f"expected letters moved by {shift.low:.3g} to {shift.high:.3g} (95% each end)"
    )
    if max(log_odds.high, abs(shift.low), abs(shift.high)) <= margin and not flipped:
        if (short := _accuracy_open(suite)) is not None:
            return short
        told = f"shown to be within the margin of {margin:.3g}: {differ}"
        return _Decision(verdict=Verdict.SAME, reasons=(told,))
    if (short := _spread_open(suite, spread) or _accuracy_open(suite)) is not None:
        return short
    flips = f"; {flipped} near-ties flipped" if flipped else ""
    within = (
        f"the spread is {spread.value:.3g} times the noise ({spread.low:.3g} to {spread.high:.3g}), and no "
        f"test found more than noise{flips}"
    )
    told = f"not shown to be within the margin of {margin:.3g}: {differ}"
    return _Decision(verdict=Verdict.NOISE, reasons=(within, told))


def _spread_open(suite: _Suite, spread: Estimate) -> _Decision | None:
    """INCONCLUSIVE where a spread far beyond its budget cannot be excluded, or could not have been found."""
    most, clusters = UNSEEN * suite.budgets.spread, len(suite.numbers.roots)
    enough = _enough(suite)
    if spread.high <= most and clusters >= enough:
        return None
    missing = max(enough, _enough_to_exclude(spread.value, clusters, suite.shape, most)) - clusters
    text = (
        f"the spread is {spread.value:.3g} times the noise and may be up to {spread.high:.3g} (95%), in "
        f"{clusters} independent groups of cases; {most:.3g} times must be excluded, and takes {enough} "
        "groups to be found"
    )
    if missing > _MOST_CASES:
        return _Decision(
            verdict=Verdict.INCONCLUSIVE,
            reasons=(f"{text}; no number of cases would do: the noise differs too much from run to run",),
        )
    return _Decision(
        verdict=Verdict.INCONCLUSIVE,
        reasons=(f"too few cases, about {missing} more are needed: {text}",),
        missing_cases=missing,
    )


def _enough(suite: _Suite) -> int:
    """The fewest clusters that find a spread of `UNSEEN` times its budget with power `POWER`.

    As far as the number of cases goes: what whole runs differ by no number of cases mends.
    """
    shape, count = replace(suite.shape, root_between=0.0), 1
    alpha = suite.alpha / len(TESTS)
    while count < _MOST_CASES and spread_power(UNSEEN, count, shape, alpha=alpha) < POWER:
        count += 1
    return count


def _accuracy_open(suite: _Suite) -> _Decision | None:
    """INCONCLUSIVE where the suite asks for a loss of accuracy to be excluded, and it cannot be."""
    cases = sum(None not in look.right for look in suite.looks)
    if suite.budgets.accuracy is None:
        return None
    share = lost_share(suite.numbers.lost, suite.numbers.gained, cases) if cases else 1.0
    if share <= suite.budgets.accuracy:
        return None
    text = (
        f"too few cases: a loss of accuracy of up to {share:.2%} (95%) cannot be excluded; the suite asks "
        f"for {suite.budgets.accuracy:.2%}"
    )
    return _Decision(verdict=Verdict.INCONCLUSIVE, reasons=(text,))


def _unanswered(counts: Mapping[Verdict, int]) -> list[str]:
    told = []
    if errors := counts.get(Verdict.ERROR, 0):
        told.append(f"{errors} case{'s' * (errors > 1)} without an answer on a side (ERROR)")
    if undecided := counts.get(Verdict.INCONCLUSIVE, 0):
        told.append(f"{undecided} case{'s' * (undecided > 1)} that cannot be judged (INCONCLUSIVE)")
    return told


def _budget(what: str, count: int, budget: int) -> str:
    return f"{what}: {count}; the suite's budget: {budget}"


def _enough_to_exclude(ratio: float, clusters: int, shape: NoiseShape, most: float) -> int:
    """How many clusters would exclude a spread of ``most``; over `_MOST_CASES` where none would."""
    count = clusters
    while count <= _MOST_CASES and spread_of([ratio * shape.root] * count, shape).high > most:
        count += max(1, count // 20)
    return count

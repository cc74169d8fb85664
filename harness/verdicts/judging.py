"""The judge: from the changes of all cases to the verdict on a candidate.

One judgement over all cases decides, whatever suites they stand in. Suites, tags and expected letters get
the same tests, with Holm's correction over all of them, to point at the place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.cases.budgets import Budgets
from harness.verdicts.case_judging import Look, look
from harness.verdicts.deciding import Found, Judged, Terms, case_verdicts, find, open_words, word_of
from harness.verdicts.evidence import found_from, holm, holm_levels
from harness.verdicts.findings import Finding, with_findings
from harness.verdicts.group_tests import FEWEST, GroupTests, group_tests
from harness.verdicts.moves import Index, Moves, moves_of
from harness.verdicts.noise_model import Noise
from harness.verdicts.rules import ALPHA, TESTS
from harness.verdicts.verdict import (
    Change,
    ComparisonVerdict,
    Estimate,
    Evidence,
    ExitStatus,
    Place,
    SuiteVerdict,
    Verdict,
)

__all__ = ["ALL", "judge", "judge_looks", "shares"]

ALL = "all cases"
"""What the whole of a comparison is called, where a suite has its name."""

_MOST_TAGS, _MOST_PLACES = 50, 5


def judge(
    changes: Sequence[Change],
    *,
    baseline: str,
    candidate: str,
    budgets: Mapping[str, Budgets],
    margin: float,
    noise: Noise,
    whole: Budgets | None = None,
    strict: bool = False,
    alpha: float = ALPHA,
    findings: Sequence[Finding] = (),
) -> ComparisonVerdict:
    """Judge all ``changes`` between two sides: `judge_looks` of what each case shows."""
    return judge_looks(
        [look(change) for change in changes],
        baseline=baseline,
        candidate=candidate,
        budgets=budgets,
        margin=margin,
        noise=noise,
        whole=whole,
        strict=strict,
        alpha=alpha,
        findings=findings,
    )


def judge_looks(
    looks: Sequence[Look],
    *,
    baseline: str,
    candidate: str,
    budgets: Mapping[str, Budgets],
    margin: float,
    noise: Noise,
    whole: Budgets | None = None,
    strict: bool = False,
    alpha: float = ALPHA,
    findings: Sequence[Finding] = (),
) -> ComparisonVerdict:
    """Judge the cases of two sides by their ``looks``; what ``findings`` do to it says `with_findings`.

    ``budgets`` are those of suites, and allow what was found in each; ``whole`` are those of the comparison.
    ``margin`` is used where neither names one. ``strict`` lets no margin excuse what was found. A comparison
    in which nothing changed is called DRIFT or REGRESSION with a probability of ``alpha`` at most.
    """
    if not looks:
        return _nothing(baseline, candidate, noise)
    moves, changes = moves_of(looks, noise), [each.change for each in looks]
    terms = _terms(changes, budgets, Budgets() if whole is None else whole, margin, alpha, strict=strict)
    index = np.arange(len(changes), dtype=np.int64)
    numbers = group_tests(moves, index, budgets=terms.spreads)
    tests = holm(numbers.tests, alpha=alpha)
    judged = case_verdicts(moves, tests, terms)
    found = find(judged, index, tests, numbers, terms)
    opened, missing = open_words(found, judged, terms, terms.whole)
    status = _status(found, opened)
    word = _word(found, status)
    own = _verdict(ALL, found, word, terms, opened, missing, passes=status is not ExitStatus.FAILED)
    where, suites = _breakdown(judged, found, own, terms)
    told = ComparisonVerdict(
        baseline=baseline,
        candidate=candidate,
        verdict=word,
        sentence="",
        status=status,
        suites=suites,
        cases=judged.verdicts,
        noise=noise.words,
        whole=own,
        where=where,
        findings=tuple(findings),
    )
    sentence = _sentence(baseline, candidate, own, found, told.pointed)
    return with_findings(replace(told, sentence=sentence))


def _nothing(baseline: str, candidate: str, noise: Noise) -> ComparisonVerdict:
    word = Verdict.INCONCLUSIVE
    return ComparisonVerdict(
        baseline=baseline,
        candidate=candidate,
        verdict=word,
        sentence=f"{word}: {candidate} against {baseline}, 0 cases: there is nothing to compare",
        status=ExitStatus.INCONCLUSIVE,
        suites=(),
        cases=(),
        noise=noise.words,
    )


def shares(verdicts: Sequence[ComparisonVerdict]) -> tuple[float, ...]:
    """Of `ALPHA`, what each of the comparisons of one call is to be judged with; ``verdicts`` had all of it.

    Holm over comparisons: that any in which nothing changed is called DRIFT or REGRESSION has a probability
    of at most `ALPHA`, however many there are. One alone has all of it.
    """
    return holm_levels([_p(verdict) for verdict in verdicts], alpha=ALPHA)


def _p(verdict: ComparisonVerdict) -> float:
    """The smallest share of false alarms with which something is found."""
    whole = () if verdict.whole is None else verdict.whole.evidence
    return min((test.adjusted for test in whole), default=1.0)


def _terms(
    changes: Sequence[Change],
    budgets: Mapping[str, Budgets],
    whole: Budgets,
    margin: float,
    alpha: float,
    *,
    strict: bool,
) -> Terms:
    usual = margin if whole.margin is None else whole.margin
    own = [budgets.get(change.suite, Budgets()) for change in changes]
    return Terms(
        suites=budgets,
        whole=whole,
        margins=np.array([usual if one.margin is None else one.margin for one in own], dtype=float),
        spreads=np.array([max(whole.spread, one.spread) for one in own], dtype=float),
        strict=strict or whole.strict or any(one.strict for one in own),
        alpha=alpha,
    )


def _status(found: Found, opened: Sequence[str]) -> ExitStatus:
    if not found.passes:
        return ExitStatus.FAILED
    if found.counts.get(Verdict.ERROR):
        return ExitStatus.ERROR
    return ExitStatus.INCONCLUSIVE if opened else ExitStatus.PASSED


def _word(found: Found, status: ExitStatus) -> Verdict:
    if status is ExitStatus.ERROR:
        return Verdict.ERROR
    if status is ExitStatus.INCONCLUSIVE:
        return Verdict.INCONCLUSIVE
    return word_of(found) or _undisturbed(found)


def _breakdown(
    judged: Judged, found: Found, whole: SuiteVerdict, terms: Terms
) -> tuple[tuple[Place, ...], tuple[SuiteVerdict, ...]]:
    """Where something was found, and the verdict on each suite; that on the whole is the only suite's."""
    groups = _groups(judged.moves)
    suites = [key for key in groups if key[0] == "suite"]
    if len(suites) == 1:
        del groups[suites[0]]
    tested = {key: group_tests(judged.moves, index, budgets=terms.spreads) for key, index in groups.items()}
    corrected = holm([test for numbers in tested.values() for test in numbers.tests], alpha=terms.alpha)
    by_group: dict[tuple[str, str], tuple[GroupTests, tuple[Evidence, ...]]] = {}
    for place, (key, numbers) in enumerate(tested.items()):
        by_group[key] = (numbers, corrected[place * len(TESTS) : (place + 1) * len(TESTS)])
    where = tuple(
        Place(kind=key[0], name=key[1], evidence=test)
        for key, (_, tests) in by_group.items()
        for test in tests
        if test.found and found.names  # what is not in the whole is nowhere
    )
    if len(suites) == 1:
        name = suites[0][1]
        return where, (replace(whole, suite=name, sentence=name + whole.sentence.removeprefix(ALL)),)
    verdicts = []
    for key in suites:
        numbers, tests = by_group[key]
        told = tests if found.names else _silent(tests)
        verdicts.append((key[1], find(judged, groups[key], told, numbers, terms)))
    # What all cases show together, and no suite by itself, is every suite's.
    alone = not whole.passes and all(own.passes for _, own in verdicts)
    return where, tuple(
        _suite(name, own, whole.verdict, terms, judged, together=alone) for name, own in verdicts
    )


def _groups(moves: Moves) -> dict[tuple[str, str], Index]:
    """The places of the cases of each suite, tag and expected letter that may be told apart."""
    places: dict[tuple[str, str], list[int]] = {}
    for place, one in enumerate(moves.looks):
        change = one.change
        keys = [("suite", change.suite), *(("tag", tag) for tag in change.tags), ("letter", change.expect)]
        for key in keys:
            places.setdefault(key, []).append(place)
    every = len(moves.looks)
    found = {key: np.array(own, dtype=np.int64) for key, own in places.items()}
    tags = sorted((key for key in found if key[0] == "tag"), key=lambda key: -len(found[key]))[_MOST_TAGS:]
    return {
        key: own
        for key, own in found.items()
        if key[0] == "suite"
        or (key not in tags and len(own) < every and len(np.unique(moves.cluster[own])) >= FEWEST)
    }


def _silent(tests: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """The same tests with nothing found: what is not in all cases together is in none of their groups."""
    return tuple(replace(test, found=False) for test in tests)


def _suite(
    name: str, own: Found, whole: Verdict, terms: Terms, judged: Judged, *, together: bool
) -> SuiteVerdict:
    """The verdict on one suite of a comparison that is ``whole``.

    ``together`` is whether the comparison fails though no suite does by itself.
    """
    word, opened = word_of(own), list[str]()
    together = together and bool(judged.moves.judged[own.index].any())
    if together:
        opened = ["what all cases show together does not pass, and it is part of that"]
    elif word is None and own.counts.get(Verdict.INCONCLUSIVE):
        opened, _ = open_words(own, judged, terms, terms.of(name))
    if word is None:
        if own.counts.get(Verdict.ERROR):
            word = Verdict.ERROR
        elif whole is Verdict.INCONCLUSIVE or (opened and not together):
            word, opened = Verdict.INCONCLUSIVE, opened or ["too little is known of all cases together"]
        else:
            word = _undisturbed(own)
    return _verdict(name, own, word, terms, opened, None, passes=own.passes and not together)


def _undisturbed(found: Found) -> Verdict:
    return Verdict.SAME if found.shown.within and not found.flipped else Verdict.NOISE


def _verdict(
    name: str,
    found: Found,
    word: Verdict,
    terms: Terms,
    opened: Sequence[str],
    missing: int | None,
    *,
    passes: bool,
) -> SuiteVerdict:
    reasons = _reasons(found, word, opened, terms)
    change, numbers = found.accuracy, found.numbers
    left = numbers.spread_open
    return SuiteVerdict(
        suite=name,
        verdict=word,
        sentence=f"{name}: {_titled(word, found)}: {reasons[0]}",
        reasons=reasons,
        within_budget=found.allowed,
        together=found.together,
        passes=passes,
        evidence=found.tests,
        cases=len(found.index),
        clusters=numbers.clusters,
        counts={each: found.counts.get(each, 0) for each in Verdict},
        spread=numbers.spread,
        found_from=None if left is None else found_from(left, alpha=terms.alpha / len(TESTS)),
        shown=found.shown,
        margin=float(terms.margins[found.index].min()) if len(found.index) else 0.0,
        accuracy=None if change is None else (change.baseline, change.candidate),
        accuracy_change=None
        if change is None
        else Estimate(value=change.change, low=change.low, high=change.high),
        flips=numbers.flips,
        expected_flips=found.expected_flips,
        missing_cases=missing,
        settled=found.settled,
    )


def _titled(word: Verdict, found: Found) -> str:
    """The word, and of DRIFT and REGRESSION whether it is let pass, and by what."""
    if word not in (Verdict.DRIFT, Verdict.REGRESSION):
        return word.value
    if found.allowed:
        return f"{word} within budget"
    return f"{word} within the margin" if found.passes else word.value


def _reasons(found: Found, word: Verdict, opened: Sequence[str], terms: Terms) -> tuple[str, ...]:
    errors = found.counts.get(Verdict.ERROR, 0)
    without = [f"{errors} case{'s' * (errors > 1)} without an answer on a side (ERROR)"] if errors else []
    if word in (Verdict.INCONCLUSIVE, Verdict.ERROR):
        told = [*without, *opened, *found.words]
    else:
        told = [*found.words, *without]
    told += [text for text in opened if text not in told]
    shown = found.shown
    if shown.log_odds is not None and not found.words:
        differ = f"log-odds differ by {shown.log_odds.value:.3g}, at most {shown.log_odds.high:.3g}"
        if shown.within:
            margin = float(terms.margins[found.index].min())
            told.append(f"shown to be within the margin of {margin:.3g}, on these cases: {differ} (RMS)")
        if not shown.within or found.flipped:
            flips = f"; {found.flipped} near-ties flipped" if found.flipped else ""
            told.append(f"no test found more than noise{flips}")
            told += [f"not shown to be within the margin: {text}" for text in shown.open]
    if found.numbers.spread is not None and found.numbers.spread_open is not None:
        least = found_from(found.numbers.spread_open, alpha=terms.alpha / len(TESTS))
        spread = found.numbers.spread
        told.append(
            f"the spread is {spread.value:.3g} times the noise ({spread.low:.3g} to {spread.high:.3g}); "
            f"found from {least:.3g} times"
        )
    return tuple(told) or ("there is nothing to judge",)


def _sentence(
    baseline: str, candidate: str, whole: SuiteVerdict, found: Found, pointed: Sequence[str]
) -> str:
    cases, word = whole.cases, whole.verdict
    head = f"{_titled(word, found)}: {candidate} against {baseline}, {cases} case{'s' * (cases != 1)}"
    lost, moved = whole.counts[Verdict.REGRESSION], whole.counts[Verdict.DRIFT]
    errors = whole.counts[Verdict.ERROR]
    if word is Verdict.ERROR and errors == cases:
        said = "no case has an answer on both sides"
    elif word in (Verdict.ERROR, Verdict.INCONCLUSIVE):
        said = whole.reasons[0]
    else:
        said = {
            Verdict.SAME: "the answers to these cases are shown to be the same within the margin of "
            f"{whole.margin:.3g}",
            Verdict.NOISE: "they differ no more than noise makes them",
            Verdict.DRIFT: f"the probabilities moved beyond noise ({_single(moved)})",
            Verdict.REGRESSION: f"right answers were lost beyond noise ({_single(lost)})",
        }[word]
    if word in (Verdict.DRIFT, Verdict.REGRESSION) and pointed:
        said += f", in {', '.join(pointed[:_MOST_PLACES])}"
    without = f"; {errors} without an answer" if errors and word is not Verdict.ERROR else ""
    return f"{head}: {said}{without}"


def _single(count: int) -> str:
    return f"{count} single case{'s' * (count != 1)}" if count else "all cases together, none by itself"

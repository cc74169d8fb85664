"""From what was found, and whether it matters, to a verdict: on all cases, and on those of a suite."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.cases.budgets import Budgets
from harness.verdicts.case_judging import CaseLimits, decide
from harness.verdicts.evidence import holm, t_beyond
from harness.verdicts.group_tests import GroupTests, group_tests
from harness.verdicts.margins import shown
from harness.verdicts.moves import Index, Moves, limits_at
from harness.verdicts.paired_accuracy import AccuracyChange, accuracy_change
from harness.verdicts.rules import CONFIDENCE, REST_MARGIN, TESTS, UNSEEN
from harness.verdicts.scale import Floats
from harness.verdicts.verdict import CaseVerdict, Evidence, Shown, Verdict

__all__ = ["Found", "Judged", "Terms", "case_verdicts", "find", "open_words", "word_of"]

_MOST_CASES = 100_000  # beyond which more cases are no advice


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms n cases are judged.

    ``suites`` are the budgets of suites, ``whole`` those of the comparison, ``margins`` and ``spreads`` [n]
    what they come to for each case. ``strict`` lets no margin excuse what was found. ``alpha`` is the share
    of false alarms.
    """

    suites: Mapping[str, Budgets]
    whole: Budgets
    margins: Floats
    spreads: Floats
    strict: bool
    alpha: float

    def of(self, suite: str) -> Budgets:
        """The budgets of a suite."""
        return self.suites.get(suite, Budgets())


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Every case with its verdict; ``beyond`` its noise, or flipped beyond noise (``wide``)."""

    moves: Moves
    verdicts: tuple[CaseVerdict, ...]
    beyond: npt.NDArray[np.bool_]
    wide: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found in a group of cases, and whether it matters.

    ``tests`` are corrected. ``words`` say what was found. ``rest`` are the numbers of the cases that are not
    beyond their own noise, and ``together`` is whether the tests find something there. ``allowed`` is whether
    budgets allow it and ``passes`` whether budgets or margin do; both hold where nothing was found. It is
    ``settled`` where it does not pass for what is shown, rather than for what is not shown yet.
    ``expected_flips`` counts those by noise in the cases that are not beyond it.
    """

    index: Index
    numbers: GroupTests
    tests: tuple[Evidence, ...]
    counts: Mapping[Verdict, int]
    shown: Shown
    accuracy: AccuracyChange | None
    regression: bool
    drift: bool
    rest: GroupTests
    together: bool
    allowed: bool
    passes: bool
    settled: bool
    words: tuple[str, ...]
    expected_flips: float

    @property
    def names(self) -> tuple[str, ...]:
        """The tests that found something."""
        return tuple(test.name for test in self.tests if test.found)

    @property
    def flipped(self) -> int:
        """Clusters with another top letter."""
        return int(next(test.statistic for test in self.tests if test.name == "flips"))


def case_verdicts(moves: Moves, tests: Sequence[Evidence], terms: Terms) -> Judged:
    """The verdict on each case, given the ``tests`` on all of them together."""
    found = [test.name for test in tests if test.found]
    count = max(1, len(moves.counted))
    first = terms.alpha / len(TESTS) / count  # the limit of Holm's first step
    # Where another test was found as well, Holm's later step asks less of the cases.
    step = first if found == ["cases"] else terms.alpha / (len(TESTS) - len(found) + 1) / count
    beyond = moves.broken | (moves.judged & ("cases" in found) & (moves.p <= step))
    told = ~np.isnan(moves.rest)
    by_letters = np.where(told, 2, 1) * moves.p_letters <= step
    wide = beyond & (moves.flipped > 0) & (moves.broken | by_letters | moves.by_rest)
    limit, rest_limit = limits_at(moves, first)
    sigma = np.sqrt(moves.noise.variance)
    rest_sigma = np.sqrt(moves.rest_noise.variance)
    rest_within = np.isnan(moves.rest_high) | (moves.rest_high <= REST_MARGIN)
    verdicts = tuple(
        decide(
            look,
            CaseLimits(
                beyond=bool(beyond[place]),
                wide=bool(wide[place]),
                sigma=float(sigma[place]),
                limit=float(limit[place]),
                chance=float(moves.chance[place]) if moves.judged[place] and not wide[place] else None,
                margin=float(terms.margins[place]),
                rest=(float(moves.rest[place]), float(rest_sigma[place]), float(rest_limit[place]))
                if told[place]
                else None,
                rest_margin=bool(rest_within[place]) and look.open <= REST_MARGIN and not look.unseen,
            ),
        )
        for place, look in enumerate(moves.looks)
    )
    return Judged(moves=moves, verdicts=verdicts, beyond=beyond, wide=wide)


def find(judged: Judged, index: Index, tests: Sequence[Evidence], numbers: GroupTests, terms: Terms) -> Found:
    """What the ``tests`` and cases of the group at ``index`` come to."""
    moves = judged.moves
    counts = Counter(judged.verdicts[place].verdict for place in index)
    lost, moved = counts.get(Verdict.REGRESSION, 0), counts.get(Verdict.DRIFT, 0)
    names = {test.name for test in tests if test.found}
    regression, drift = bool(lost) or "accuracy" in names, bool(moved or names)
    is_shown = shown(moves, index, margins=terms.margins, shift_open=numbers.shift_open)
    change = _accuracy(moves, index)
    found = regression or drift
    rest = numbers
    if found:
        rest = group_tests(judged.moves, index[~judged.beyond[index]], budgets=terms.spreads)
    corrected = holm(rest.tests, alpha=terms.alpha) if found else ()
    together = any(test.found and test.name != "accuracy" for test in corrected)
    allowed = not found or (not together and _allowed(judged, index, names, terms))
    surely = "accuracy" in names or bool(judged.wide[index].any()) or terms.strict
    matters = surely or not is_shown.within
    told = [f"{TESTS[t.name]}: {t.text}, adjusted p = {t.adjusted:.2g}" for t in tests if t.found]
    if lost:
        budget = _budget(index, judged, lambda own: own.lost, terms)
        told.append(f"right answers lost beyond noise: {lost}; allowed by budgets: {budget}")
    if moved:
        budget = _budget(index, judged, lambda own: own.moved, terms)
        which = "other cases" if lost else "cases"
        told.append(f"{which} beyond noise: {moved}; allowed by budgets: {budget}")
    if found and is_shown.within:
        told.append("what moved is shown to be within the margin, on these cases")
    elif found:
        told += [f"not shown to be within the margin: {text}" for text in is_shown.open]
    return Found(
        index=index,
        numbers=numbers,
        tests=tuple(tests),
        counts=counts,
        shown=is_shown,
        accuracy=change,
        regression=regression,
        drift=drift,
        rest=rest,
        together=together,
        allowed=allowed,
        passes=allowed or not matters,
        settled=not allowed and (surely or is_shown.beyond),
        words=tuple(told),
        expected_flips=float(moves.chance[index[~judged.beyond[index]]].sum()),
    )


def word_of(found: Found) -> Verdict | None:
    """REGRESSION or DRIFT where something was found."""
    return Verdict.REGRESSION if found.regression else Verdict.DRIFT if found.drift else None


def open_words(found: Found, judged: Judged, terms: Terms, budgets: Budgets) -> tuple[list[str], int | None]:
    """Why nothing can be said, in words, and how many cases are missing where that is all; [] if it can."""
    told = []
    if undecided := found.counts.get(Verdict.INCONCLUSIVE, 0):
        told.append(f"{undecided} case{'s' * (undecided > 1)} that cannot be judged (INCONCLUSIVE)")
    asked = [(budgets.accuracy, found.accuracy, "")] if budgets.accuracy is not None else []
    suites = dict.fromkeys(judged.moves.looks[place].change.suite for place in found.index)
    for suite in suites:
        own = terms.of(suite).accuracy
        if own is not None and (budgets.accuracy is None or len(suites) > 1 or own != budgets.accuracy):
            at = [place for place in found.index if judged.moves.looks[place].change.suite == suite]
            asked.append((own, _accuracy(judged.moves, np.array(at, dtype=np.int64)), f"{suite}: "))
    for most, change, where in asked:
        share = 1.0 if change is None else change.upper_loss
        if most is not None and share > most:
            told.append(
                f"{where}too few cases: a loss of accuracy of up to {share:.2%} ({CONFIDENCE:.0%}) cannot be "
                f"excluded; asked for: {most:.2%}"
            )
    if told or not found.passes or (found.shown.within and (word_of(found) is not None or not found.flipped)):
        return told, None
    if not judged.moves.judged[found.index].any():
        return ["there is no case that can be judged"], None
    return _spread_open(found, float(terms.spreads[found.index].min()))


def _spread_open(found: Found, budget: float) -> tuple[list[str], int | None]:
    """Where a spread far beyond its budget cannot be excluded; by what that would be."""
    numbers, most = found.rest, UNSEEN * budget
    if not numbers.clusters:
        return [], None
    if numbers.spread is None or numbers.spread_open is None:
        return [
            f"{numbers.clusters} independent groups of cases say too little of a spread, and they are not "
            f"shown to be within the margin ({'; '.join(found.shown.open)}); more cases would narrow it"
        ], max(1, 3 - numbers.clusters)
    spread, left = numbers.spread, numbers.spread_open
    if spread.high <= most:
        return [], None
    text = (
        f"the spread is {spread.value:.3g} times the noise and may be up to {spread.high:.3g} (95%), in "
        f"{numbers.clusters} independent groups of cases; {most:.3g} times must be excluded"
    )
    room = (
        math.log(most / spread.value) / t_beyond(1 - CONFIDENCE, left.freedom) if spread.value < most else 0.0
    )
    by_cases = room**2 - left.by_runs
    if room <= 0:
        return [f"{text}; it is about that itself, so a wider budget, or the cause, would settle it"], None
    if by_cases <= 0:
        return [f"{text}; more kinds of runs in the noise floor would narrow it, more cases would not"], None
    wanted = min(_MOST_CASES, math.ceil(left.by_cases * numbers.clusters / by_cases))
    missing = max(1, wanted - numbers.clusters)
    return [f"{text}; more cases would narrow it: about {missing} more independent groups"], missing


def _allowed(judged: Judged, index: Index, names: set[str], terms: Terms) -> bool:
    """Whether budgets allow the cases beyond their noise, and the right answers lost by number."""
    by_suite: dict[str, Counter[Verdict]] = {}
    net: Counter[str] = Counter()
    for place in index:
        suite = judged.moves.looks[place].change.suite
        by_suite.setdefault(suite, Counter())[judged.verdicts[place].verdict] += 1
        net[suite] += int(judged.moves.lost[place] - judged.moves.gained[place])
    total = sum(by_suite.values(), Counter[Verdict]())
    for verdict, most, whole in (
        (Verdict.REGRESSION, {s: terms.of(s).lost for s in by_suite}, terms.whole.lost),
        (Verdict.DRIFT, {s: terms.of(s).moved for s in by_suite}, terms.whole.moved),
    ):
        if total[verdict] > whole and any(own[verdict] > most[suite] for suite, own in by_suite.items()):
            return False
    beyond = any(count > terms.of(suite).lost for suite, count in net.items())
    return not ("accuracy" in names and sum(net.values()) > terms.whole.lost and beyond)


def _budget(index: Index, judged: Judged, most: Callable[[Budgets], int], terms: Terms) -> int:
    """What budgets allow at most in these cases."""
    suites = {judged.moves.looks[place].change.suite for place in index}
    return max(most(terms.whole), sum(most(terms.of(suite)) for suite in suites))


def _accuracy(moves: Moves, index: Index) -> AccuracyChange | None:
    known = [moves.looks[place] for place in index if None not in moves.looks[place].right]
    if not known:
        return None
    return accuracy_change(
        [bool(look.right[0]) for look in known],
        [bool(look.right[1]) for look in known],
        [look.change.cluster for look in known],
    )

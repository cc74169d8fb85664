"""The judge of another model: by paired accuracy, since kernel noise is no measure between two models."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from harness.cases.budgets import Budgets
from harness.verdicts.case_judging import CaseLimits, Look, decide, look
from harness.verdicts.findings import Finding, with_findings
from harness.verdicts.judging import ALL
from harness.verdicts.lost_and_gained import NOTHING
from harness.verdicts.paired_accuracy import MARGIN, AccuracyChange, accuracy_change, points
from harness.verdicts.rules import ALPHA
from harness.verdicts.verdict import (
    CaseVerdict,
    Change,
    ComparisonVerdict,
    Estimate,
    Evidence,
    ExitStatus,
    Flip,
    Shown,
    SuiteVerdict,
    Verdict,
)

__all__ = ["judge_upgrade"]

_NO_LIMITS = CaseLimits(
    beyond=False,
    wide=False,
    sigma=1.0,
    limit=math.inf,
    chance=None,
    margin=0.0,
    rest=None,
    rest_margin=False,
)
_NOT_SHOWN = Shown(within=False, open=(), log_odds=None, shift=None, rest=None, largest=math.nan)
_ORDER = (ExitStatus.FAILED, ExitStatus.ERROR, ExitStatus.INCONCLUSIVE, ExitStatus.PASSED)


class _Decision(NamedTuple):
    """On cases that are judged together; ``words`` say what decided."""

    verdict: Verdict
    status: ExitStatus
    words: str
    missing: int | None = None


def judge_upgrade(
    changes: Sequence[Change],
    *,
    baseline: str,
    candidate: str,
    models: tuple[str, str],
    budgets: Mapping[str, Budgets],
    margin: float = MARGIN,
    alpha: float = ALPHA,
    findings: Sequence[Finding] = (),
) -> ComparisonVerdict:
    """Judge ``changes`` between sides whose ``models`` differ, by the rules of docs/gate.md, 'Another model'.

    A loss of ``margin``, a share of the cases, must be excluded on all cases together, but for suites with
    `Budgets.accuracy`: each of them is judged by itself and by that. REGRESSION is said of sides as accurate
    as one another with a probability of at most ``alpha``.
    """
    looks = [look(change) for change in changes]
    margins = {name: own.accuracy for name, own in budgets.items() if own.accuracy is not None}
    suites: dict[str, list[Look]] = defaultdict(list)
    groups: dict[str, list[Look]] = defaultdict(list)  # '' is that of all suites that ask for nothing
    for each in looks:
        suites[each.change.suite].append(each)
        groups[each.change.suite if each.change.suite in margins else ""].append(each)
    level = alpha / max(1, len(groups))
    decisions = {name: _decide(own, margins.get(name, margin), level) for name, own in groups.items()}
    worst = min(
        decisions.values(),
        key=lambda one: (_ORDER.index(one.status), one.verdict is not Verdict.REGRESSION),
        default=_Decision(Verdict.INCONCLUSIVE, ExitStatus.INCONCLUSIVE, "there is nothing to compare"),
    )
    whole = _change(looks)
    before, after = models
    what = f"another model ({before} → {after})" if before != after else f"other weights of {after}"
    told = [] if whole is None else [f"accuracy {whole.words}"]
    told += [f"{name}: {one.words}" if name else one.words for name, one in decisions.items()] or [
        worst.words
    ]
    head = f"{worst.verdict}: {candidate} against {baseline}, {_count(len(looks))}: {what}"
    judged = ComparisonVerdict(
        baseline=baseline,
        candidate=candidate,
        verdict=worst.verdict,
        sentence=f"{head}, judged by paired accuracy: {'; '.join(told)}",
        status=worst.status,
        suites=tuple(
            _suite(name, own, decisions[group], level, together=groups[group])
            for name, own in suites.items()
            if (group := name if name in margins else "") in groups
        ),
        cases=tuple(map(_case, looks)),
        noise="no measure between two models",
        whole=_suite(ALL, looks, worst, level, together=looks) if looks else None,
        findings=tuple(findings),
    )
    return with_findings(judged)


def _decide(looks: Sequence[Look], margin: float, alpha: float) -> _Decision:
    change = _change(looks)
    errors = sum(each.change.agreement is None for each in looks)
    unknown = len(looks) - (0 if change is None else change.cases)
    if change is not None and not change.noninferior(margin):
        lost = change.p_lost <= alpha
        if lost or change.worse(margin, alpha=alpha):
            words = (
                _beyond("lost", change.p_lost) if lost else f"a loss of more than {_points(margin)} is shown"
            )
            return _Decision(Verdict.REGRESSION, ExitStatus.FAILED, f"{words}; beyond budget")
    if errors:
        return _Decision(Verdict.ERROR, ExitStatus.ERROR, f"{errors} without an answer (ERROR)")
    if change is None or unknown:
        words = f"{_count(unknown)} of which a side's answer is not known"
        return _Decision(Verdict.INCONCLUSIVE, ExitStatus.INCONCLUSIVE, words)
    able = f"{_count(change.cases)} can decide a margin of {_points(change.decides)}"
    shown, lost, gained = change.noninferior(margin), change.p_lost <= alpha, change.p_gained <= alpha
    if shown or gained:
        said = [f"no worse than {_points(margin)} shown"] * shown
        said += [_beyond("gained", change.p_gained)] * gained + [_beyond("lost", change.p_lost)] * lost
        verdict = Verdict.REGRESSION if lost else Verdict.DRIFT
        return _Decision(verdict, ExitStatus.PASSED, "; ".join((*said, "within budget", able)))
    missing = change.missing(margin)
    more = "no number of cases would do if what is seen is the change"
    if missing is not None:
        more = f"about {missing:,} more cases are needed"
    open_ = f"a loss of {_points(change.upper_loss)} (95%) cannot be excluded, {_points(margin)} must be"
    words = f"{open_}: {more}; {able}"
    return _Decision(Verdict.INCONCLUSIVE, ExitStatus.INCONCLUSIVE, words, missing)


def _suite(
    name: str, looks: Sequence[Look], decision: _Decision, alpha: float, *, together: Sequence[Look]
) -> SuiteVerdict:
    """``together`` are the cases that ``decision`` is about."""
    change, decided = _change(looks), _change(together)
    counts = Counter(_case(each).verdict for each in looks)
    words = decision.words
    if len(together) != len(looks):
        words = f"of {len(together)} cases together: {words}"
    told = words if change is None else f"accuracy {change.words}; {words}"
    return SuiteVerdict(
        suite=name,
        verdict=decision.verdict,
        sentence=f"{name}: {decision.verdict}: {told}",
        reasons=(told,),
        within_budget=decision.status is not ExitStatus.FAILED,
        evidence=() if decided is None else (_evidence(decided, alpha),),
        cases=len(looks),
        clusters=len({each.change.cluster for each in looks}),
        counts={each: counts.get(each, 0) for each in Verdict},
        together=False,
        passes=decision.status is not ExitStatus.FAILED,
        spread=None,
        found_from=None,
        shown=_NOT_SHOWN,
        margin=0.0,
        accuracy=None if change is None else (change.baseline, change.candidate),
        accuracy_change=None
        if change is None
        else Estimate(value=change.change, low=change.low, high=change.high),
        flips=sum(_flip(each) is not None for each in looks),
        expected_flips=math.nan,
        missing_cases=decision.missing,
    )


def _evidence(change: AccuracyChange, alpha: float) -> Evidence:
    p = change.p_lost
    return Evidence(
        name="accuracy",
        statistic=change.change,
        p=p,
        adjusted=p,
        alpha=alpha,
        found=p <= alpha,
        text=change.words,
    )


def _case(look: Look) -> CaseVerdict:
    """The flip alone decides, also where log-odds cannot be compared."""
    base = replace(decide(look, _NO_LIMITS), sigma=0.0)
    if None in look.right:
        return base
    old, new = (answer or NOTHING for answer in look.answers)
    if (flip := _flip(look)) is None:
        return replace(base, flip=None, verdict=Verdict.NOISE, reason=f"{old} stays")
    verdict = Verdict.REGRESSION if flip is Flip.LOST else Verdict.DRIFT
    return replace(base, flip=flip, verdict=verdict, reason=f"{old} became {new} ({flip.value})")


def _flip(look: Look) -> Flip | None:
    if None in look.right or look.answers[0] == look.answers[1]:
        return None
    return Flip.LOST if look.right[0] else Flip.GAINED if look.right[1] else Flip.NEUTRAL


def _change(looks: Sequence[Look]) -> AccuracyChange | None:
    known = [each for each in looks if None not in each.right]
    if not known:
        return None
    before, after = ([bool(each.right[side]) for each in known] for side in (0, 1))
    return accuracy_change(before, after, [each.change.cluster for each in known])


def _beyond(what: str, p: float) -> str:
    return f"right answers were {what} beyond chance (exact McNemar p = {p:.2g})"


def _points(share: float) -> str:
    return f"{(text := points(share))} point{'s' * (text != '1')}"


def _count(number: int) -> str:
    return f"{number} case{'s' * (number != 1)}"

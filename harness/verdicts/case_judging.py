"""What one case shows: `look` takes its numbers, `decide` gives its verdict.

Between the two the whole comparison is judged, since how far a case may move depends on how many there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.checks.agreement import Agreement
from harness.checks.intervals import Interval, apart
from harness.checks.log_odds import LogOdds, difference, largest, of_reading, rest_of, share_of
from harness.checks.side import Side
from harness.checks.target import raw_sizes
from harness.engines.contract import Request
from harness.verdicts.evidence import confident
from harness.verdicts.verdict import CaseVerdict, Change, Flip, Verdict

__all__ = ["OTHER", "CaseLimits", "Look", "decide", "look"]

OTHER = "something else"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The numbers of one case; see `harness.verdicts.verdict.CaseVerdict` for those of the same name.

    ``answers`` are what each side answered: a letter, `OTHER` for another token, None where it is not known
    or the letter was never reached. ``others`` are the log-odds of the most probable other token on each
    side, centred as the letters are, NaN where it is not told or the baseline's top token is none of the
    letters. ``unseen`` is the least that a letter moved which one side saw and the other knows a bound of
    only, ``open`` the most that the probability of a letter that a side did not see can have moved. ``rest``
    is `harness.checks.log_odds.REST` of both sides, None where it is not known. ``undecided`` says why a case
    cannot be judged, '' where it can. ``broken`` is whether one side alone reached the letter, which no noise
    of log-odds explains.
    """

    change: Change
    baseline: LogOdds
    candidate: LogOdds
    difference: LogOdds
    largest: float | None
    answers: tuple[str | None, str | None]
    others: tuple[float, float]
    right: tuple[bool | None, bool | None]
    gap: float | None
    flip: Flip | None
    unseen: float
    open: float
    rest: tuple[Interval, Interval] | None
    raw: float
    undecided: str
    broken: bool

    @property
    def judged(self) -> bool:
        """Whether there are log-odds on both sides to compare."""
        return self.largest is not None and not self.undecided

    @property
    def expected_move(self) -> float:
        """How far the expected letter's log-odds moved; NaN where a side did not see it."""
        return self.difference[self.change.letters.index(self.change.expect)]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseLimits:
    """What `decide` is told of a case: whether it is ``beyond`` its noise, and how far it may move.

    ``wide`` is whether it flipped beyond noise. ``sigma`` is the noise of one letter's difference, ``limit``
    the most that ``largest`` may be, ``chance`` the probability that noise flips it (None where that is not
    known), ``margin`` the log-odds within which it is the same. ``rest`` has the move of
    `harness.checks.log_odds.REST`, its σ and the most that it may be, None where it is not known, and
    ``rest_margin`` whether the probability outside the letters is shown to be within its margin.
    """

    beyond: bool
    wide: bool
    sigma: float
    limit: float
    chance: float | None
    margin: float
    rest: tuple[float, float, float] | None
    rest_margin: bool


def look(change: Change) -> Look:
    """Take the numbers of a case."""
    agreement = change.agreement
    if agreement is None:
        return _without_numbers(change, undecided="a side could not answer")
    a, b = agreement.a, agreement.b
    if not (a.reached or b.reached):
        return _without_numbers(change, undecided="neither side reached the letter")
    other_a, other_b = _other_token(a), _other_token(b)
    answers = _answers(agreement, other_a, other_b)
    right = tuple(None if answer is None else answer == change.expect for answer in answers)
    baseline, candidate = of_reading(a.reading), of_reading(b.reading)
    moved = difference(baseline, candidate)
    broken = a.reached != b.reached
    if broken:
        right = tuple(bool(r) if side.reached else False for r, side in zip(right, (a, b), strict=True))
    undecided = "" if broken else _why_undecided(agreement, answers, moved)
    flip = None
    if not undecided and (broken or answers[0] != answers[1]):
        flip = Flip.LOST if right[0] and not right[1] else Flip.GAINED if right[1] else Flip.NEUTRAL
    rests = [rest_of(side.reading, side.answer.letter_ids) for side in (a, b)]
    rest = None if rests[0] is None or rests[1] is None else (rests[0], rests[1])
    raw = [size for side in (a, b) for size in raw_sizes(side.reading)]
    return Look(
        change=change,
        baseline=baseline,
        candidate=candidate,
        difference=moved,
        largest=largest(moved),
        answers=answers,
        # From another token no letter's flip starts, see `_answers`.
        others=(_other(a), _other(b)) if other_a is False and other_b is not None else (math.nan, math.nan),
        right=(right[0], right[1]),
        gap=_gap(a, change.letters) if a.reached else None,
        flip=flip,
        unseen=_unseen(a, b),
        open=_open(a, b),
        rest=rest,
        raw=max(raw, default=1.0),
        undecided=undecided,
        broken=broken,
    )


def decide(look: Look, limits: CaseLimits) -> CaseVerdict:
    """The verdict on a case, within its ``limits``."""
    change = look.change
    verdict, reason = _verdict(look, limits)
    return CaseVerdict(
        case=change.case,
        suite=change.suite,
        place=change.place,
        verdict=verdict,
        reason=reason,
        letters=change.letters,
        expect=change.expect,
        tags=change.tags,
        baseline=look.baseline,
        candidate=look.candidate,
        difference=look.difference,
        largest=look.largest,
        sigma=limits.sigma,
        limit=limits.limit,
        answers=look.answers,
        right=look.right,
        rest=_rest_shares(look),
        gap=look.gap,
        flip=look.flip,
        flip_probability=limits.chance,
        cluster=change.cluster,
    )


def _verdict(look: Look, limits: CaseLimits) -> tuple[Verdict, str]:
    change = look.change
    if change.agreement is None:
        return Verdict.ERROR, "; ".join(change.errors) or "a side could not answer"
    if look.undecided:
        return Verdict.INCONCLUSIVE, look.undecided
    if look.broken:
        reached = change.agreement.a if change.agreement.a.reached else change.agreement.b
        wrote = change.agreement.b if change.agreement.a.reached else change.agreement.a
        lost = look.flip is Flip.LOST
        return (
            Verdict.REGRESSION if lost else Verdict.DRIFT,
            f"only {reached.engine} reached the letter; {wrote.engine} wrote {wrote.answer.text!r}",
        )
    told = _moved_words(look, limits)
    if limits.beyond:
        lost = limits.wide and look.flip is Flip.LOST
        return Verdict.REGRESSION if lost else Verdict.DRIFT, told
    far = 0.0 if look.largest is None else look.largest
    sure = 0.0 if far == 0.0 else confident(limits.sigma)
    if look.flip is None and limits.rest_margin and far + sure <= limits.margin:
        return Verdict.SAME, f"{told}; shown to be within the margin of {limits.margin:.3g}"
    return Verdict.NOISE, told


def _moved_words(look: Look, limits: CaseLimits) -> str:
    far = 0.0 if look.largest is None else look.largest
    told = f"log-odds moved by {far:.3g}, {far / limits.sigma:.3g} σ; noise allows {limits.limit:.3g}"
    if look.unseen > 0:
        told += f"; a letter that only one side saw moved by at least {look.unseen:.3g}"
    shares = _rest_shares(look)
    if limits.rest is not None and shares is not None and abs(limits.rest[0]) > limits.rest[2]:
        moved, sigma, limit = limits.rest
        outside = "of another text" if Request.ELSE in look.change.letters else "outside the letters"
        told += (
            f"; the probability {outside} went from {shares[0]:.3g} to {shares[1]:.3g}, "
            f"{abs(moved) / sigma:.3g} σ; noise allows {limit / sigma:.3g} σ"
        )
    if look.flip is None:
        return told
    old, new = (answer or "nothing" for answer in look.answers)
    gap = "" if look.gap is None else f", {look.gap:.3g} above the next"
    chance = "" if limits.chance is None else f", which noise does with probability {limits.chance:.2g}"
    return f"{told}; {old}{gap}, became {new} ({look.flip.value}{chance})"


def _rest_shares(look: Look) -> tuple[float, float] | None:
    """The most probability that each side can have outside the letters; None where that is not known."""
    if look.rest is None:
        return None
    before, after = (share_of(one.high) for one in look.rest)
    return before, after


def _without_numbers(change: Change, *, undecided: str) -> Look:
    return Look(
        change=change,
        baseline=(),
        candidate=(),
        difference=(),
        largest=None,
        answers=(None, None),
        others=(math.nan, math.nan),
        right=(None, None),
        gap=None,
        flip=None,
        unseen=0.0,
        open=0.0,
        rest=None,
        raw=1.0,
        undecided=undecided,
        broken=False,
    )


def _answers(agreement: Agreement, before: bool | None, after: bool | None) -> tuple[str | None, str | None]:
    """What each side answered: the letter of its row's most probable token, if that is one.

    ``before`` and ``after`` are the sides' `_other_token`.
    Where the baseline's is none, as with a model that is read among the letters only, the top letters count;
    and so where a side does not tell its most probable token, as what was accepted does not.
    """
    letters, sides = agreement.letters, (agreement.a, agreement.b)
    tops = tuple(None if side.top is None else letters[side.top] for side in sides)
    if before is None or after is None or before:
        return tops[0], tops[1]
    return tops[0], OTHER if after else tops[1]


def _other_token(side: Side) -> bool | None:
    """Whether the answer's row has a token that is more probable than every letter; None if not known.

    Of a text there are no letters, and all that is not it is one of the two answers.

    Where ids are not told, as by what was accepted, what is left beside the letters may be too little for it.
    """
    answer, reading = side.answer, side.reading
    step = answer.answer_step
    if step is not None and answer.letter_ids and step < len(reading.argmax):
        return reading.argmax[step] not in answer.letter_ids
    rest = rest_of(reading, answer.letter_ids)
    if rest is None or side.top is None or reading.target:
        return None
    left = share_of(rest.high)
    return False if left <= side.intervals[side.top].low else None


def _why_undecided(agreement: Agreement, answers: tuple[str | None, str | None], moved: LogOdds) -> str:
    for side, answer in zip((agreement.a, agreement.b), answers, strict=True):
        if any(math.isnan(logit) for logit in side.reading.letter_logits):
            return f"{side.engine}: NaN among the letters' logits"
        if answer is None:
            return f"{side.engine}: the top letter is not known, as it saw only the top of the row"
    if largest(moved) is None:
        return "fewer than two letters were seen on both sides"
    return ""


def _other(side: Side) -> float:
    """The log-odds of the best token that is no letter, centred as the letters are; NaN if not told."""
    reading = side.reading
    others = [entry.logprob for entry in reading.top if entry.id not in side.answer.letter_ids]
    seen = [logit for logit in reading.letter_logits if math.isfinite(logit)]
    if reading.log_z is None or not others or not seen or not side.answer.letter_ids:
        return math.nan
    return max(others) + reading.log_z - math.fsum(seen) / len(seen)


def _gap(side: Side, letters: Sequence[str]) -> float | None:
    """How far, in log-odds, a side's top letter is above the next one."""
    if side.top is None:
        return None
    logits = of_reading(side.reading) if side.reading.target else side.reading.letter_logits
    rivals = [logits[i] for i in range(len(letters)) if i != side.top]
    gap = logits[side.top] - max(rivals, default=-math.inf)
    return gap if math.isfinite(gap) else None


def _unseen(a: Side, b: Side) -> float:
    """The least that a letter moved that one side saw and the other has a ceiling of; 0 where it may not."""
    sides = (a.reading, b.reading)
    pairs = zip(a.reading.letter_logits, b.reading.letter_logits, strict=False)
    both = [place for place, pair in enumerate(pairs) if all(map(math.isfinite, pair))]
    if not both:
        return 0.0
    means = [math.fsum(reading.letter_logits[place] for place in both) / len(both) for reading in sides]
    least = 0.0
    for (seen, mean), (hidden, other) in (
        (pair := list(zip(sides, means, strict=True))),
        pair[::-1],
    ):
        for place, ceiling in enumerate(hidden.letter_ceilings):
            if hidden.letter_logits[place] == -math.inf and math.isfinite(seen.letter_logits[place]):
                least = max(least, (seen.letter_logits[place] - mean) - (ceiling - other))
    return least


def _open(a: Side, b: Side) -> float:
    """The most that the probability of a letter that a side did not see can have moved."""
    pairs = zip(a.intervals, b.intervals, strict=False)
    return max((apart(p, q).high for p, q in pairs if not (p.exact and q.exact)), default=0.0)

"""What one case shows: `look` takes its numbers and probabilities, `decide` gives its verdict.

Between the two the suite is judged, since how far a case may move depends on how many there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.checks.agreement import Agreement
from harness.checks.log_odds import LogOdds, difference, largest, mean_square, of_reading
from harness.checks.side import Side
from harness.verdicts.evidence import case_limit, case_p, confident, flip_p
from harness.verdicts.noise_floor import PairNoise
from harness.verdicts.rules import ALLOWANCE
from harness.verdicts.verdict import CaseVerdict, Change, Flip, Verdict

__all__ = ["Look", "decide", "look"]

OTHER = "something else"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The numbers of one case; see `harness.verdicts.verdict.CaseVerdict` for those of the same name.

    ``answers`` are what each side answered: a letter, `OTHER` for another token, None where it is not known
    or the letter was never reached. ``p`` is the probability that noise moves the case as far, or flips it, 1
    where it cannot be judged. ``chance`` is that of a flip to the nearest rival. ``undecided`` says why a
    case cannot be judged, '' where it can. ``broken`` is whether one side alone reached the letter, which no
    noise of log-odds explains.
    """

    change: Change
    baseline: LogOdds
    candidate: LogOdds
    difference: LogOdds
    largest: float | None
    answers: tuple[str | None, str | None]
    right: tuple[bool | None, bool | None]
    gap: float | None
    flip: Flip | None
    chance: float | None
    p: float
    undecided: str
    broken: bool

    @property
    def judged(self) -> bool:
        """Whether there are log-odds on both sides to compare."""
        return self.largest is not None and not self.undecided

    @property
    def root(self) -> float:
        """The root mean square of the moves, in units of the noise's standard deviation."""
        return math.sqrt(mean_square(self.difference)) / self.change.noise.sigma

    @property
    def expected_move(self) -> float:
        """How far the expected letter's log-odds moved; NaN where a side did not see it."""
        return self.difference[self.change.letters.index(self.change.expect)]


def look(change: Change) -> Look:
    """Take the numbers of a case."""
    agreement = change.agreement
    if agreement is None:
        return _without_numbers(change, undecided="a side could not answer")
    a, b = agreement.a, agreement.b
    if not (a.reached or b.reached):
        return _without_numbers(change, undecided="neither side reached the letter")
    answers = _answers(agreement)
    right = tuple(None if answer is None else answer == change.expect for answer in answers)
    baseline, candidate = of_reading(a.reading), of_reading(b.reading)
    moved = difference(baseline, candidate)
    broken = a.reached != b.reached
    if broken:
        right = tuple(bool(r) if side.reached else False for r, side in zip(right, (a, b), strict=True))
    undecided = "" if broken else _why_undecided(agreement, answers, moved)
    gap = _gap(a, change.letters) if a.reached else None
    noise = change.noise
    chance = None if gap is None else flip_p(gap, sigma=noise.sigma, freedom=noise.freedom)
    flip = None
    if not undecided and (broken or answers[0] != answers[1]):
        flip = Flip.LOST if right[0] and not right[1] else Flip.GAINED if right[1] else Flip.NEUTRAL
    far = largest(moved)
    return Look(
        change=change,
        baseline=baseline,
        candidate=candidate,
        difference=moved,
        largest=far,
        answers=answers,
        right=(right[0], right[1]),
        gap=gap,
        flip=flip,
        chance=chance,
        p=0.0 if broken else 1.0 if undecided else _p(agreement, far, flip, noise, answers),
        undecided=undecided,
        broken=broken,
    )


def decide(look: Look, *, beyond: bool, p_limit: float, margin: float) -> CaseVerdict:
    """The verdict on a case, given whether it is ``beyond`` its noise.

    ``p_limit`` is the probability below which a case is beyond it, ``margin`` the log-odds within which it is
    the same.
    """
    change, noise = look.change, look.change.noise
    limit = case_limit(
        p_limit, letters=len(change.letters), sigma=noise.sigma, freedom=noise.freedom, seen=noise.seen
    )
    verdict, reason = _verdict(look, beyond, limit, margin)
    return CaseVerdict(
        case=change.case,
        suite=change.suite,
        place=change.place,
        verdict=verdict,
        reason=reason,
        letters=change.letters,
        expect=change.expect,
        baseline=look.baseline,
        candidate=look.candidate,
        difference=look.difference,
        largest=look.largest,
        sigma=noise.sigma,
        limit=limit,
        right=look.right,
        gap=look.gap,
        flip=look.flip,
        flip_probability=look.chance,
    )


def _verdict(look: Look, beyond: bool, limit: float, margin: float) -> tuple[Verdict, str]:
    change = look.change
    if change.agreement is None:
        return Verdict.ERROR, "; ".join(change.errors) or "a side could not answer"
    flip = "" if look.flip is None else f"; {_flip_words(look)}"
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
    far = 0.0 if look.largest is None else look.largest
    moved = f"log-odds moved by {far:.3g}, {far / change.noise.sigma:.3g} σ; noise allows {limit:.3g}"
    if beyond:
        return Verdict.REGRESSION if look.flip is Flip.LOST else Verdict.DRIFT, f"{moved}{flip}"
    if look.flip is None and far + confident(change.noise.sigma) <= margin:
        return Verdict.SAME, f"{moved}; shown to be within the margin of {margin:.3g}"
    return Verdict.NOISE, f"{moved}{flip}"


def _flip_words(look: Look) -> str:
    old, new = (answer or "nothing" for answer in look.answers)
    gap = "" if look.gap is None else f", {look.gap:.3g} above the next"
    chance = "" if look.chance is None else f", which noise does with probability {look.chance:.2g}"
    return f"{old}{gap}, became {new} ({'' if look.flip is None else look.flip.value}{chance})"


def _without_numbers(change: Change, *, undecided: str) -> Look:
    return Look(
        change=change,
        baseline=(),
        candidate=(),
        difference=(),
        largest=None,
        answers=(None, None),
        right=(None, None),
        gap=None,
        flip=None,
        chance=None,
        p=1.0,
        undecided=undecided,
        broken=False,
    )


def _answers(agreement: Agreement) -> tuple[str | None, str | None]:
    """What each side answered: the letter of its row's most probable token, if that is one.

    Where the baseline's is none, as with a model that is read among the letters only, the top letters count.
    """
    letters, sides = agreement.letters, (agreement.a, agreement.b)
    tops = tuple(None if side.top is None else letters[side.top] for side in sides)
    if _other_token(sides[0]):
        return tops[0], tops[1]
    return tops[0], OTHER if _other_token(sides[1]) else tops[1]


def _other_token(side: Side) -> bool:
    """Whether the answer's row has a token that is more probable than every letter."""
    answer, reading = side.answer, side.reading
    step = answer.answer_step
    if step is None or not answer.letter_ids or step >= len(reading.argmax):
        return False
    return reading.argmax[step] not in answer.letter_ids


def _why_undecided(agreement: Agreement, answers: tuple[str | None, str | None], moved: LogOdds) -> str:
    for side, answer in zip((agreement.a, agreement.b), answers, strict=True):
        if any(math.isnan(logit) for logit in side.reading.letter_logits):
            return f"{side.engine}: NaN among the letters' logits"
        if answer is None:
            return f"{side.engine}: the top letter is not known, as it saw only the top of the row"
    if largest(moved) is None:
        return "fewer than two letters were seen on both sides"
    return ""


def _rivals(side: Side, letters: tuple[str, ...]) -> dict[str, float]:
    """The logits of all that could have been answered in place of a side's top letter, `OTHER` included."""
    reading = side.reading
    rivals = {letter: reading.letter_logits[i] for i, letter in enumerate(letters) if i != side.top}
    if reading.log_z is not None and side.answer.letter_ids and not _other_token(side):
        others = [entry.logprob for entry in reading.top if entry.id not in side.answer.letter_ids]
        if others:
            rivals[OTHER] = max(others) + reading.log_z
    return rivals


def _gap(side: Side, letters: tuple[str, ...], *, to: str | None = None) -> float | None:
    """How far, in log-odds, a side's top letter is above the answer ``to``, or the best of the others."""
    if side.top is None:
        return None
    rivals = _rivals(side, letters)
    rival = max(rivals.values()) if to is None else rivals.get(to, -math.inf)
    gap = side.reading.letter_logits[side.top] - rival
    return gap if math.isfinite(gap) else None


def _p(
    agreement: Agreement,
    far: float | None,
    flip: Flip | None,
    noise: PairNoise,
    answers: tuple[str | None, str | None],
) -> float:
    """Two ways to be beyond noise, so twice the smaller probability; 1 within twice what runs showed."""
    if far is None:
        return 1.0
    letters = len(agreement.letters)
    moved = case_p(far, letters=letters, sigma=noise.sigma, freedom=noise.freedom, seen=noise.seen)
    if flip is None:
        return moved
    gap = None if answers[1] is None else _gap(agreement.a, agreement.letters, to=answers[1])
    # To cross a gap, two letters move.
    if gap is None or gap <= 2 * ALLOWANCE * noise.seen:
        return moved
    return min(1.0, 2 * min(moved, flip_p(gap, sigma=noise.sigma, freedom=noise.freedom)))

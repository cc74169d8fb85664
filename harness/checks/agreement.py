"""Two engines' answers to one case side by side: `compare` has no limits, `check_agreement` has.

Before the numbers comes the question: where the two were not asked the same, that is told first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.checks.answers import Parting, by_text, id_text, parting
from harness.checks.full_vocabulary import FullVocabulary
from harness.checks.intervals import Interval, apart, overlapping
from harness.checks.log_odds import difference, largest, of_reading
from harness.checks.question.causes import QuestionDifference
from harness.checks.question.question import compare_questions
from harness.checks.result import Finding, Metric, Result
from harness.checks.side import Side, side_of
from harness.checks.target import first_other, tie, token_words, tokens_told
from harness.checks.tolerances import Tolerances
from harness.checks.undecided import over_limit_or_undecided
from harness.distributions import total_variation
from harness.engines.contract import Reading, Row
from harness.engines.readings import row_misfit
from harness.recordings.store import Recording

__all__ = ["Agreed", "Agreement", "check_agreement", "compare", "has_row", "paths_with_rows", "row_belongs"]

ROWS_MISSING = "full rows missing; run again with --fresh to make both recordings with their rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Two recordings of a case side by side: the numbers, no judgement. ``a`` is the reference.

    ``total_variation`` is that of the distribution over the letters and 'anything else', so it bounds the
    change of any letter's probability. ``worst`` is the largest change of one, ``worst_letter`` its index.
    These three are None unless both sides reached the letter. Where a reading is partial they are the most
    that the difference can be, and ``least`` and ``least_total_variation`` the least. ``full`` is None where
    rows are missing. ``generated`` says where the ids part, None if they are equal or not told; ``texts`` is
    what the two wrote where it differs and ids are not told. ``question`` is what differs between the
    questions that the two were asked (each in its side's answer), root causes first.
    """

    case: str
    letters: tuple[str, ...]
    a: Side
    b: Side
    total_variation: float | None
    worst: float | None
    worst_letter: int | None
    least: float | None
    least_total_variation: float | None
    full: FullVocabulary | None
    generated: Parting | None
    question: tuple[QuestionDifference, ...]
    texts: tuple[str, str] | None = None

    @property
    def log_odds(self) -> float | None:
        """The most that a letter's centred log-odds differ; None with fewer than two on both sides."""
        return largest(difference(of_reading(self.a.reading), of_reading(self.b.reading)))

    @property
    def partial(self) -> bool:
        """Whether one of the sides saw only the top of the answer's row."""
        return self.a.reading.partial or self.b.reading.partial


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed(Result):
    """The judgement of an `Agreement`.

    ``limits`` says where its limits come from, ``allowed`` is that of one letter's probability.
    """

    check: ClassVar[str] = "engines agree"

    agreement: Agreement
    limits: str = ""
    allowed: float | None = None


def compare(
    a: Recording,
    b: Recording,
    letters: Sequence[str],
    *,
    full: FullVocabulary | None = None,
) -> Agreement:
    """Set ``b`` beside the reference ``a``, each by its first path.

    ``full`` are the full-vocabulary metrics of the answer's rows of those paths, which `row_belongs` to.
    """
    side_a, side_b = side_of(a), side_of(b)
    distance = worst = least = least_distance = None
    worst_letter: int | None = None
    if side_a.reached and side_b.reached:
        changes = [apart(p, q) for p, q in zip(side_a.intervals, side_b.intervals, strict=True)]
        most = [change.high for change in changes]
        # NaN sorts nowhere: it is the worst wherever it is.
        worst_letter = max(range(len(most)), key=lambda i: (most[i] != most[i], most[i]))
        worst, least = most[worst_letter], max(change.low for change in changes)
        distance = worst if worst != worst else _coarse_total_variation(side_a, side_b)
        least_distance = 0.5 * math.fsum(change.low for change in changes)
    told = not (by_text(a.answer) or by_text(b.answer))
    texts = (a.answer.text, b.answer.text)
    return Agreement(
        case=a.case,
        letters=tuple(letters),
        a=side_a,
        b=side_b,
        total_variation=distance,
        worst=worst,
        worst_letter=worst_letter,
        least=least,
        least_total_variation=least_distance,
        full=full,
        generated=parting(a.answer.generated_ids, b.answer.generated_ids) if told else None,
        question=compare_questions(a.answer, b.answer, names=(a.engine, b.engine)),
        texts=texts if not told and texts[0] != texts[1] else None,
    )


def check_agreement(agreement: Agreement, tolerances: Tolerances) -> Agreed:
    """Hold an agreement to the limits; what is missing or NaN fails.

    Another top letter, or another token generated in the letter's place, is let through as a near-tie only
    where the two letters concerned are within twice the ``probability`` limit on both sides: each side may
    have moved by the limit, towards the other.
    """
    a, b = agreement.a, agreement.b
    findings: list[Finding] = []
    notes: list[str] = []
    if causes := [each.title for each in agreement.question if not each.note]:
        text = (
            f"the engines were asked different questions: {', '.join(causes)} (test_same_question shows "
            "them); what follows compares answers to different questions"
        )
        findings.append(Finding("question", None, None, text))
    notes += [f"question: {each.title}: {each.text}" for each in agreement.question if each.note]
    for side in (a, b):
        if not side.reached:
            text = f"{side.engine} never reached the letter: it wrote {side.answer.text!r}"
            findings.append(Finding("answer", None, None, text))
    if a.reached and b.reached:
        _judge_top(agreement, tolerances, findings, notes)
    _judge_generated(agreement, tolerances, findings, notes)
    metrics = _metrics(agreement, tolerances)
    least = {"probability": agreement.least, "total_variation": agreement.least_total_variation}
    findings += over_limit_or_undecided(metrics, least, (a, b), agreement.letters)
    if agreement.partial and agreement.full is None:
        names = ", ".join(side.engine for side in (a, b) if side.reading.partial)
        notes.append(
            f"KL and JS over the full vocabulary cannot be told: {names} saw the top of the row only"
        )
    elif agreement.full is None and a.reached and b.reached:
        findings.append(Finding("kl", None, tolerances.kl, ROWS_MISSING))
    if agreement.full is not None:
        notes += agreement.full.remarks(a.engine, b.engine)
    notes += _spelling_notes(agreement, tolerances)
    notes += [f"{s.engine}: {tokens_told(s.answer, s.reading)}" for s in (a, b) if s.reading.target]
    if tolerances.source:
        notes.append(f"limits: {tolerances.source}")
    return Agreed(
        case=agreement.case,
        subject=f"{b.engine} against {a.engine}",
        letters=agreement.letters,
        findings=tuple(findings),
        metrics=metrics,
        notes=tuple(notes),
        agreement=agreement,
        limits=tolerances.source,
        allowed=tolerances.probability,
    )


def paths_with_rows(recording: Recording) -> list[str]:
    """The paths that saw the answer's full row: none where the model never got there."""
    return [reading.path for reading in recording.answer.readings if has_row(reading)]


def has_row(reading: Reading) -> bool:
    """Whether the path of a ``reading`` saw the answer's full row."""
    return reading.log_z is not None and not reading.partial


def row_belongs(recording: Recording, row: Row) -> bool:
    """Whether ``row`` [V] is the answer's row of the recording's first path."""
    return not row_misfit(row, recording.answer.readings[0], recording.answer)


def _coarse_total_variation(a: Side, b: Side) -> float:
    """Over the letters and anything else; of intervals, the most that it can be."""
    if all(interval.exact for interval in (*a.intervals, *b.intervals)):
        p, q = ([*side.probabilities, max(0.0, 1.0 - sum(side.probabilities))] for side in (a, b))
        return float(total_variation(p, q))
    rests = [_rest(side) for side in (a, b)]
    pairs = [*zip(a.intervals, b.intervals, strict=True), (rests[0], rests[1])]
    return 0.5 * math.fsum(apart(p, q).high for p, q in pairs)


def _rest(side: Side) -> Interval:
    """The probability on anything but the letters."""
    low, high = (sum(interval[end] for interval in side.intervals) for end in (0, 1))
    return Interval(max(0.0, 1.0 - high), max(0.0, 1.0 - low))


def _near_tie(agreement: Agreement, first: int, second: int, limit: float) -> bool:
    if agreement.a.reading.target:
        step = min(first_other(side.reading) or 0 for side in (agreement.a, agreement.b) if side.top)
        places = [side.reading.target[step : step + 1] for side in (agreement.a, agreement.b)]
        return all(place and tie(place[0]) <= 2 * limit for place in places)
    sides = (agreement.a.intervals, agreement.b.intervals)
    return all(apart(p[first], p[second]).high <= 2 * limit for p in sides)


def _judge_top(
    agreement: Agreement, tolerances: Tolerances, findings: list[Finding], notes: list[str]
) -> None:
    a, b, letters = agreement.a, agreement.b, agreement.letters
    if a.top is None or b.top is None:
        for side in (a, b):
            if side.top is None:
                text = f"{side.engine}: {overlapping(side.reading, letters)}"
                findings.append(Finding("top letter", None, None, text))
        return
    if a.top == b.top:
        return
    if a.reading.target:
        other = a if a.top else b
        text = f"{other.engine} alone writes another text: {token_words(other.answer, other.reading)}"
        if _near_tie(agreement, 0, 1, tolerances.probability):
            notes.append(f"near-tie let through: {text}")
        else:
            findings.append(Finding("text", None, None, text))
        return
    gaps = [apart(side.intervals[a.top], side.intervals[b.top]).high for side in (a, b)]
    limit = 2 * tolerances.probability
    text = (
        f"{letters[a.top]} in {a.engine}, {letters[b.top]} in {b.engine}; the two letters are "
        f"{gaps[0]:.3g} and {gaps[1]:.3g} apart"
    )
    if _near_tie(agreement, a.top, b.top, tolerances.probability):
        notes.append(f"near-tie let through: top letter {text}, allowed for a near-tie: {limit:.3g}")
    else:
        findings.append(
            Finding("top letter", max(gaps), limit, f"{text}, over the {limit:.3g} of a near-tie")
        )


def _judge_generated(
    agreement: Agreement, tolerances: Tolerances, findings: list[Finding], notes: list[str]
) -> None:
    parted, a, b = agreement.generated, agreement.a.answer, agreement.b.answer
    if agreement.texts is not None:
        _judge_texts(agreement, agreement.texts, tolerances, findings, notes)
    if parted is None:
        return
    text = f"the generated ids part {parted}: {a.text!r} against {b.text!r}"
    one_writes_it = agreement.a.top != agreement.b.top and agreement.a.reading.target
    if one_writes_it and _near_tie(agreement, 0, 1, tolerances.probability):
        notes.append(f"near-tie let through: {text}")
        return
    at_answer = parted.step == a.answer_step == b.answer_step
    if at_answer and parted.left in a.letter_ids and parted.right in b.letter_ids:
        first, second = a.letter_ids.index(parted.left), b.letter_ids.index(parted.right)
        text = (
            f"{id_text(parted.left, a, agreement.letters)} against "
            f"{id_text(parted.right, b, agreement.letters)} in the letter's place (position {parted.step})"
        )
        reached = agreement.a.reached and agreement.b.reached
        if reached and _near_tie(agreement, first, second, tolerances.probability):
            notes.append(f"near-tie let through: generated {text}")
            return
    findings.append(Finding("generated ids", None, None, text))


def _judge_texts(
    agreement: Agreement,
    texts: tuple[str, str],
    tolerances: Tolerances,
    findings: list[Finding],
    notes: list[str],
) -> None:
    text = f"{texts[0]!r} in {agreement.a.engine}, {texts[1]!r} in {agreement.b.engine}"
    first, second = next((pair for pair in zip(*texts, strict=False) if pair[0] != pair[1]), ("", ""))
    both = first in agreement.letters and second in agreement.letters
    places = [agreement.letters.index(letter) for letter in (first, second)] if both else []
    reached = agreement.a.reached and agreement.b.reached
    if both and reached and _near_tie(agreement, places[0], places[1], tolerances.probability):
        notes.append(f"near-tie let through: generated {text}")
    else:
        findings.append(Finding("generated text", None, None, text))


def _metrics(agreement: Agreement, tolerances: Tolerances) -> tuple[Metric, ...]:
    metrics: list[Metric] = []
    if agreement.total_variation is not None:
        metrics.append(Metric("total_variation", agreement.total_variation, tolerances.total_variation))
    if agreement.worst is not None and agreement.worst_letter is not None:
        where = agreement.letters[agreement.worst_letter]
        where = "the text" if agreement.a.reading.target else f"letter {where}"
        metrics.append(Metric("probability", agreement.worst, tolerances.probability, where))
    if agreement.log_odds is not None:
        metrics.append(Metric("log_odds", agreement.log_odds, tolerances.log_odds))
    if agreement.full is not None:
        metrics.append(Metric("kl", agreement.full.kl, tolerances.kl))
        metrics.append(Metric("js", agreement.full.js, tolerances.js))
        if agreement.full.widths[0] != agreement.full.widths[1]:
            where = "columns only one side has"
            metrics.append(Metric("surplus mass", agreement.full.surplus, tolerances.probability, where))
    return tuple(metrics)


def _spelling_notes(agreement: Agreement, tolerances: Tolerances) -> list[str]:
    a, b = sum(agreement.a.spellings), sum(agreement.b.spellings)
    if max(a, b) <= tolerances.probability:
        return []
    return [
        f"on other spellings of the letters: {a:.3g} in {agreement.a.engine}, {b:.3g} in {agreement.b.engine}"
    ]

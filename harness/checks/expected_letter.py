"""Did the engine answer with the expected letter?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from harness.checks.answers import by_text, letter_probabilities, quoted, top_index, written_letter
from harness.checks.intervals import letter_intervals, overlapping
from harness.checks.result import Finding, Metric, Result
from harness.checks.target import lead, token_words, tokens_told, writes
from harness.recordings.store import Recording

__all__ = ["ExpectedLetter", "Question", "check_expected_letter"]

# Above this share of the probability, the other spellings of the letters are worth a word to the user.
NOTABLE_SPELLINGS = 0.01


class Question(Protocol):
    """What this check needs to know of a case."""

    @property
    def letters(self) -> tuple[str, ...]:
        """The letters on offer."""

    @property
    def expect(self) -> str:
        """The one that is right."""

    @property
    def answer_prefix(self) -> str:
        """What the model is to write before the letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedLetter(Result):
    """``probabilities`` [L] over the whole vocabulary; empty, and ``top`` None, if there was no answer.

    A letter outside a partial reading has NaN; ``top`` is None too where such a letter may be the top one.
    ``wrote`` is what stands for the answer where a text is asked for: what the model wrote.
    """

    check: ClassVar[str] = "expected letter"

    expected: str
    top: str | None
    probabilities: tuple[float, ...]
    wrote: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ExpectedText(ExpectedLetter):
    """The same of a text that is accepted."""

    check: ClassVar[str] = "expected text"


def check_expected_letter(recording: Recording, case: Question) -> ExpectedLetter:
    """The expected letter must be the most probable of those on offer and the token really generated."""
    answer, letters = recording.answer, case.letters
    reading = answer.readings[0] if answer.readings else None
    if reading is None or answer.answer_step is None or reading.log_z is None:
        return ExpectedLetter(
            case=recording.case,
            subject=recording.engine,
            findings=(Finding("answer", None, None, _not_reached(recording, case)),),
            letters=letters,
            expected=case.expect,
            top=None,
            probabilities=(),
        )
    if reading.target:
        return _text(recording, case)
    probabilities, intervals = letter_probabilities(reading), letter_intervals(reading)
    index = top_index(reading, answer.letter_ids)
    top = None if index is None else letters[index]
    findings = []
    share = intervals[letters.index(case.expect)]
    if index is None:
        findings.append(Finding("top letter", None, None, overlapping(reading, letters)))
    elif top != case.expect:
        text = f"found {top} ({probabilities[index]:.4g}), expected {case.expect} ({share})"
        findings.append(Finding("top letter", probabilities[index], share.high, text))
    written = written_letter(answer, letters, case.answer_prefix)
    if written != case.expect:
        findings.append(Finding("generated token", None, None, _generated(recording, case, written)))
    spellings = sum(reading.other_spellings)
    notes = []
    if spellings > NOTABLE_SPELLINGS:
        notes.append(
            f"{spellings:.3g} of the probability is on other spellings of the letters (such as ' A' or 'a'); "
            "set answer_prefix in the case to what the model writes before the letter"
        )
    return ExpectedLetter(
        case=recording.case,
        subject=recording.engine,
        findings=tuple(findings),
        metrics=(
            *(
                Metric(f"p({letter})" if p.exact else f"p({letter}) at most", p.high)
                for letter, p in zip(letters, intervals, strict=True)
            ),
            Metric("p(other spellings)" if not reading.partial else "p(other spellings) at least", spellings),
            # Of a partial reading this includes the letters that it did not see.
            Metric("p(everything else)", max(0.0, 1.0 - sum(p.low for p in intervals) - spellings)),
        ),
        notes=tuple(notes),
        letters=letters,
        expected=case.expect,
        top=top,
        probabilities=probabilities,
    )


def _text(recording: Recording, case: Question) -> ExpectedLetter:
    """The accepted text must be what greedy decoding writes, its end included."""
    answer, reading = recording.answer, recording.answer.readings[0]
    written = writes(reading)
    findings = []
    if written is None:
        text = f"the model wrote {quoted(answer.text)} and no more was asked for; raise max_new_tokens"
        findings.append(Finding("text", None, None, text))
    elif not written:
        text = f"the model wrote {quoted(answer.text)}, expected {quoted(case.expect)}"
        findings.append(Finding("text", None, None, f"{text}; {token_words(answer, reading)}"))
    shares = letter_intervals(reading)
    return _ExpectedText(
        case=recording.case,
        subject=recording.engine,
        findings=tuple(findings),
        metrics=(
            *(
                Metric(f"p({name})" if p.exact else f"p({name}) at most", p.high)
                for name, p in zip(("the text", case.letters[1]), shares, strict=True)
            ),
            Metric("log p(the text)", reading.letter_logits[0]),
            Metric("lead over the nearest other token", lead(reading)),
        ),
        notes=(tokens_told(answer, reading),),
        letters=case.letters,
        expected=case.expect,
        top=None if written is None else case.letters[0 if written else 1],
        probabilities=letter_probabilities(reading),
        wrote=case.expect if written else answer.text,
    )


def _not_reached(recording: Recording, case: Question) -> str:
    wrote = quoted(recording.answer.text)
    if not (recording.answer.generated_ids or recording.answer.text):
        return "the model ended its turn without writing anything"
    if case.answer_prefix:
        return (
            f"the model did not reach the letter: it wrote {wrote}, and answer_prefix asks for "
            f"{case.answer_prefix!r} first; if the reference writes so too, set answer_prefix to what stands "
            "before the letter, else this engine is at fault"
        )
    return (
        f"the model did not reach the letter: it wrote {wrote}, and the recording has no row for the answer"
    )


def _generated(recording: Recording, case: Question, written: str | None) -> str:
    answer = recording.answer
    if written is not None:
        return f"the model wrote {written}, expected {case.expect}"
    where = ""
    if not by_text(answer) and answer.answer_step is not None:
        where = f" (id {answer.generated_ids[answer.answer_step]} where the letter should be)"
    return (
        f"the model did not answer with a letter: it wrote {quoted(answer.text)}{where}, "
        f"expected {case.expect}"
    )

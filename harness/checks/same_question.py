"""The check of its own: two engines were asked the same. What it finds, `agreement` refers to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks.agreement import Agreement
from harness.checks.result import Finding, Result

__all__ = ["SameQuestion", "check_question"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SameQuestion(Result):
    """The judgement of what two engines were asked; probabilities play no part in it."""

    check: ClassVar[str] = "same question"

    agreement: Agreement


def check_question(agreement: Agreement) -> SameQuestion:
    """A finding for each difference that may change an answer, and notes for the others."""
    differences = agreement.question
    return SameQuestion(
        case=agreement.case,
        subject=f"{agreement.b.engine} against {agreement.a.engine}",
        letters=agreement.letters,
        findings=tuple(Finding(each.title, None, None, each.text) for each in differences if not each.note),
        notes=tuple(f"{each.title}: {each.text}" for each in differences if each.note),
        agreement=agreement,
    )

"""What a suite's YAML file may hold. The models check it, and the committed JSON Schema is made from them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from harness.schemas.budgets import BudgetsEntry
from harness.schemas.fields import CaseId, FileModel, Letter, Mark, NonBlank, Tag, Tolerances, optional

__all__ = ["CaseEntry", "Defaults", "SuiteFile"]

_Letters = Annotated[
    list[Letter], Field(min_length=2, max_length=26, json_schema_extra={"uniqueItems": True})
]
_NewTokens = Annotated[int, Field(ge=1, le=4096)]


class Defaults(FileModel):
    """What all cases of the suite share. A case's own value goes first; tolerances, tags and marks add up."""

    prompt: NonBlank = optional("What the model is asked, with the options written out.")
    image: NonBlank | None = optional(
        "Path of the image, relative to this file's folder and inside it; null for text only."
    )
    letters: _Letters = optional("The letters on offer, two or more of A to Z, such as [A, B, C, D].")
    system: NonBlank | None = optional("Text of the system message; null or left out to send none.")
    answer_prefix: str = optional("What the model writes before the letter, such as 'Answer: '.")
    max_new_tokens: _NewTokens | None = optional(
        "Most tokens to generate; null or left out to generate up to and including the letter."
    )
    tolerances: Tolerances = optional("Limits of the checks, where they differ from the dtype's own.")
    tags: list[Tag] = optional("Words to group cases by in reports, such as [colour, en].")
    marks: list[Mark] = optional("Marks of pytest to choose cases by with -m, such as [slow].")


class CaseEntry(Defaults):
    """One question to the model. `prompt` and `letters` may come from `defaults`."""

    id: CaseId = Field(description="Name of the case, unique in its suite.")
    expect: Letter = Field(description="The right answer, one of the letters on offer.")
    known_failure: NonBlank = optional(
        "Why the model gets this case wrong. The test fails on the day the case starts to pass."
    )


class SuiteFile(FileModel):
    """A suite of cases for the harness. Its name is that of the file."""

    description: NonBlank = optional("What the suite is about, for people.")
    defaults: Defaults = optional("What all cases of the suite share.")
    budgets: BudgetsEntry = optional("What a gate lets pass for this suite.")
    cases: Annotated[list[CaseEntry], Field(min_length=1, description="The cases.")]

"""What a suite's YAML file may hold. The models check it, and the committed JSON Schema is made from them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from harness.schemas.budgets import BudgetsEntry
from harness.schemas.fields import CaseId, FileModel, Letter, Mark, NonBlank, Tag, Tolerances, optional
from harness.schemas.source import SourceEntry

__all__ = ["ONE_ANSWER", "CaseEntry", "Defaults", "SuiteFile", "other_than_one"]

ONE_ANSWER = "one_answer"
"""The kind of error of a case with neither or both of expect and expect_text."""


def other_than_one(names: Collection[str]) -> tuple[str, str] | None:
    """What is found and what is allowed where the ``names`` of a case's fields hold not just one answer."""
    if "expect_text" in names and "expect" in names:
        return "expect beside expect_text", "letters and expect, or expect_text; take one of the two out"
    if "expect_text" in names or "expect" in names:
        return None
    return "nothing", "The right answer, one of the letters on offer. Or expect_text: a text that is accepted"


_Letters = Annotated[
    list[Letter], Field(min_length=2, max_length=26, json_schema_extra={"uniqueItems": True})
]
_Images = Annotated[list[NonBlank], Field(min_length=1, max_length=64)]
_NewTokens = Annotated[int, Field(ge=1, le=4096)]


class Defaults(FileModel):
    """What all cases of the suite share. A case's own value goes first; tolerances, tags and marks add up."""

    prompt: NonBlank = optional("What the model is asked, with the options written out.")
    image: NonBlank | None = optional(
        "Path of the image, relative to this file's folder and inside it; null for text only."
    )
    images: _Images = optional(
        "Paths of several images. They stand before the prompt in their order, unless it names the place of "
        "each once: {image:1}, {image:2}."
    )
    letters: _Letters = optional("The letters on offer, two or more of A to Z, such as [A, B, C, D].")
    system: NonBlank | None = optional("Text of the system message; null or left out to send none.")
    answer_prefix: str = optional("What the model writes before letter or text, such as 'Answer: '.")
    max_new_tokens: _NewTokens | None = optional(
        "Most tokens to generate; null or left out to generate no more than the answer."
    )
    tolerances: Tolerances = optional("Limits of the checks, where they differ from the dtype's own.")
    tags: list[Tag] = optional(
        "Words to choose cases by with -k; gate and report also look at each, such as [colour, en]."
    )
    marks: list[Mark] = optional("Marks of pytest to choose cases by with -m, such as [slow].")


class CaseEntry(Defaults):
    """One question to the model. `prompt` and `letters` may come from `defaults`."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["expect"]}, {"required": ["expect_text"]}]}
    )

    id: CaseId = Field(description="Name of the case, unique in its suite.")
    expect: Letter = optional("The right answer, one of the letters on offer.")
    expect_text: NonBlank = optional(
        "In place of letters: the text that is accepted, such as '1984', with which the answer must end."
    )
    known_failure: NonBlank = optional(
        "Why the model gets this case wrong. The test fails on the day the case starts to pass."
    )

    @model_validator(mode="after")
    def _one_answer(self) -> CaseEntry:
        if found := other_than_one(self.model_fields_set):
            raise PydanticCustomError(ONE_ANSWER, "{found}", {"found": found[0], "allowed": found[1]})
        return self


class SuiteFile(FileModel):
    """A suite of cases for the harness. Its name is that of the file."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["cases"]}, {"required": ["source"]}]}
    )

    description: NonBlank = optional("What the suite is about, for people.")
    defaults: Defaults = optional("What all cases of the suite share.")
    budgets: BudgetsEntry = optional("What a gate lets pass for this suite.")
    source: SourceEntry = optional("A table that cases come from, in place of `cases` or beside them.")
    cases: Annotated[list[CaseEntry], Field(min_length=1)] = optional("The cases.")

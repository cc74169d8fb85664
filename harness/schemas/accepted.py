"""What files for review hold: the lines of accepted outputs, and a noise floor that was kept.

See `harness.snapshots.files` and `harness.noise.kept`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, RootModel

from harness.schemas.fields import (
    Day,
    EngineName,
    FileModel,
    Letter,
    NonBlank,
    ProfileName,
    SuiteName,
    optional,
)

__all__ = ["LINES", "AcceptedLine", "KeptFloor"]

_Sum = Annotated[str, Field(description="Digits of the hash of all else.")]


class Bound(FileModel):
    """A letter outside the top that the engine told of."""

    at_most: float = Field(alias="at most", description="The most that the number can be.")


class Asked(FileModel):
    """What a case asks, field by field."""

    letters: list[Letter] = Field(description="The letters on offer.")
    version: int = Field(description="Of these fields.")
    kind: str = Field(description="What kind of answer is asked for.")
    images: list[str] = Field(description="Digits of the images' hashes, in order.")
    prompt: str = Field(description="Digits of the prompt's hash.")
    system: str | None = Field(description="Digits of the system message's hash, null for none.")
    answer_prefix: str = Field(description="Digits of the hash of what comes before the letter.")
    max_new_tokens: int | None = Field(description="Most tokens to generate, null for up to the letter.")
    target: str = optional("Digits of the hash of the text that is accepted, where there are no letters.")


class Rendered(FileModel):
    """What the engine made of the question, null where it does not tell."""

    version: int = Field(description="Of these fields.")
    ids: str | None = Field(description="Digits of the hash of the prompt's token ids.")
    text: str | None = Field(description="Digits of the hash of the prompt as rendered.")
    tokens: int | None = Field(description="Length of the prompt in tokens.")
    tiles: int | None = Field(description="Pieces of the image.")
    pixels: str | None = Field(description="Digits of the hash of their values.")


class HeadLine(FileModel):
    """The first line."""

    format: Literal["vlm-harness accepted"] = Field(description="What the file is.")
    version: Literal[2] = Field(description="Of this format.")
    about: str = Field(description="The same for people.")
    profile: ProfileName = Field(description="The engine's profile.")
    engine: EngineName = Field(description="The engine.")
    suite: SuiteName = Field(description="The name of the suite.")
    model: str = Field(description="What the profile calls the model, '' where that was not kept.")
    answer: Literal["letter"] = Field(description="The kind of answer.")
    coordinates: list[Literal["letters"]] = Field(description="What the numbers of a case are of.")
    sum: _Sum


class FingerprintLine(FileModel):
    """One part of the fingerprint of the engine that was written last."""

    fingerprint: NonBlank = Field(description="The name of the part.")
    value: Any = Field(description="What the part holds.")
    sum: _Sum


class DecisionLine(FileModel):
    """One acceptance by `harness accept`; its cases stand on the lines below it."""

    decision: Day = Field(description="The day of the decision.")
    author: NonBlank = Field(description="Who accepted.")
    reason: NonBlank = Field(description="Why it was accepted.")
    verdict: str = Field(description="The verdict from what was accepted to this, '' for the first.")
    sentence: str = Field(description="The same in a sentence.")
    lost: list[str] = Field(description="Cases whose right answer was given up.")
    sum: _Sum


class MovedLine(FileModel):
    """One case that a decision changed."""

    moved: NonBlank = Field(description="The name of the case.")
    why: NonBlank = Field(description="The verdict on the case, or what became of it.")
    old: dict[str, Any] | None = Field(description="The letters' probabilities before, null for a new case.")
    new: dict[str, Any] | None = Field(description="The letters' probabilities now, null for one removed.")
    sum: _Sum


class CaseLine(FileModel):
    """What was accepted of one case."""

    case: NonBlank = Field(description="The case's name, SUITE.ID.")
    top: NonBlank | None = Field(
        description="The most probable letter, or the accepted text or 'anything else'; null where undecided."
    )
    text: str = Field(description="What the model wrote.")
    letters: dict[str, float | Bound] = Field(description="Probabilities, rounded to six decimals.")
    logprobs: dict[str, float | Bound] | None = Field(
        description="Natural log-probabilities, to six decimals; null where only probabilities were kept."
    )
    token_ids: list[int] | None = Field(description="Ids of what was written, null where not kept.")
    tokens: list[list[float | None]] = optional(
        "Of each token of the accepted text and of the end its log-probability and that of the most probable "
        "other one, null where not told."
    )
    dtype: str = Field(description="What the engine computed in.")
    asked: Asked | None = Field(description="What the case asked, null where not kept.")
    rendered: Rendered | None = Field(description="What was made of the question, null where not kept.")
    lowered: str = optional("Why a right answer was given up.")
    sum: _Sum


LINES: dict[str, type[FileModel]] = {
    "format": HeadLine,
    "fingerprint": FingerprintLine,
    "decision": DecisionLine,
    "moved": MovedLine,
    "case": CaseLine,
}
"""The model of a line, by its first key."""


class AcceptedLine(RootModel[HeadLine | FingerprintLine | DecisionLine | MovedLine | CaseLine]):
    """A line of a file of accepted outputs."""


class KeptCase(FileModel):
    """The noise of one case."""

    asked: str = Field(description="The hash of what the case asks.")
    reference: list[float | None] = Field(description="Centred log-odds that runs are measured from.")
    runs: dict[str, list[float | None]] = Field(description="Those of each jittered run.")
    coordinates: list[str] = Field(description="The names of the values.")


class Floor(FileModel):
    """A noise floor but for its cases."""

    version: Literal[2] = Field(description="Of a floor's fields.")
    kind: str = Field(description="The kind of answer.")
    made: Day = Field(description="The day on which it was measured.")
    dtype: str = Field(description="What the engine computed in.")
    device: str = Field(description="Where it ran.")
    fingerprint: dict[str, Any] = Field(description="The engine's fingerprint.")
    repeats: dict[str, Any] = optional("What came of asking the same twice.")
    full: dict[str, dict[str, str]] = Field(description="By case, divergences over the whole vocabulary.")


class KeptFloor(FileModel):
    """A noise floor that `harness noise --keep` wrote."""

    format: Literal["vlm-harness floor"] = Field(description="What the file is.")
    version: Literal[1] = Field(description="Of this format.")
    author: NonBlank = Field(description="Who kept it.")
    kept: Day = Field(description="The day on which it was kept.")
    span: NonBlank = optional("Over which kernels, threads and batches of any CPU it is the widest.")
    floor: Floor = Field(description="The floor but for its cases.")
    cases: dict[str, KeptCase] = Field(description="The noise, by case.")
    sum: _Sum

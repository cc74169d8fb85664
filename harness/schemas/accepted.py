"""What the file of an accepted baseline holds (see `harness.gate.accepted`), for reading it back."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from harness.schemas.fields import EngineName, FileModel, Letter, NonBlank, ProfileName

__all__ = ["AcceptedFile"]


class Bound(FileModel):
    """A letter outside the top that the engine told of."""

    at_most: float = Field(alias="at most", description="The most that its log-probability can be.")


class Asked(FileModel):
    """What a case asks, field by field."""

    letters: list[Letter] = Field(description="The letters on offer.")
    version: int = Field(default=1, description="Of these fields; left out in the first.")
    kind: str = Field(default="letter", description="What kind of answer is asked for.")
    images: list[str] = Field(default_factory=list, description="Digits of the images' hashes, in order.")
    image: str | None = Field(default=None, description="The one image, in the first version.")
    prompt: str = Field(description="Digits of the prompt's hash.")
    system: str | None = Field(description="Digits of the system message's hash, null for none.")
    answer_prefix: str = Field(description="Digits of the hash of what comes before the letter.")
    max_new_tokens: int | None = Field(description="Most tokens to generate, null for up to the letter.")


class AcceptedEntry(FileModel):
    """One case."""

    asked: Asked = Field(description="What the case asks.")
    letters: dict[str, float | Bound] = Field(description="Natural log-probabilities of the letters.")
    text: str = Field(description="What the model wrote.")
    top: Letter | None = Field(description="The most probable letter, null where undecided.")
    sum: str = Field(description="Digits of the hash of this case.")


class MovedEntry(FileModel):
    """One case that an acceptance changed."""

    why: NonBlank = Field(description="The verdict on the case, or what became of it.")
    old: dict[str, Any] | None = Field(description="The letters' probabilities before, null for a new case.")
    new: dict[str, Any] | None = Field(description="The letters' probabilities now, null for one removed.")


class AcceptanceEntry(FileModel):
    """One decision."""

    date: str = Field(description="The day.", pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
    author: NonBlank = Field(description="Who accepted.")
    reason: NonBlank = Field(description="Why.")
    verdict: str = Field(description="The verdict from the old baseline to the new one, '' for the first.")
    sentence: str = Field(description="The same in a sentence.")
    lost: list[str] = Field(description="Cases whose right answer was given up.")
    moved: dict[str, MovedEntry] = Field(description="Cases that moved.")


class AcceptedFile(FileModel):
    """An accepted baseline."""

    about: str = Field(description="What the file is.")
    version: Annotated[int, Field(ge=1, le=1, description="Of this format.")]
    profile: ProfileName = Field(description="The engine's profile.")
    engine: EngineName = Field(description="The engine.")
    model: NonBlank = Field(description="What the profile calls the model.")
    fingerprint: dict[str, Any] = Field(description="The engine's fingerprint as it was loaded.")
    accepted: Annotated[list[AcceptanceEntry], Field(min_length=1, description="Decisions, oldest first.")]
    cases: dict[str, AcceptedEntry] = Field(description="What was accepted, by case.")
    sum: str = Field(description="Digits of the hash of everything else.")

"""Parts of the report's form: the kinds of its fields, and what is told of engines and of stored runs."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from harness.schemas.fields import FileModel

__all__ = [
    "CheckStatus",
    "Count",
    "EngineEntry",
    "Entry",
    "EstimateEntry",
    "Finite",
    "HistoryEntry",
    "HistoryLineEntry",
    "ImageEntry",
    "KindOfDifference",
    "Measured",
    "Number",
    "PaceEntry",
    "Share",
    "StatusName",
    "Text",
    "VerdictName",
]


def _storable(text: object) -> object:
    """Half a surrogate pair, which a model's output may hold, cannot be written; it becomes '?'."""
    return text.encode("utf-8", "replace").decode("utf-8") if isinstance(text, str) else text


def _finite(value: object) -> object:
    """A number that is infinite or none is not known, but where a metric tells it as text."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Text = Annotated[str, BeforeValidator(_storable)]
VerdictName = Literal["SAME", "NOISE", "DRIFT", "REGRESSION", "INCONCLUSIVE", "ERROR"]
StatusName = Literal["PASSED", "FAILED", "ERROR", "INCONCLUSIVE"]
CheckStatus = Literal["PASSED", "FAILED", "KNOWN", "ERROR"]
KindOfDifference = Literal["version", "package", "model", "setting", "as loaded", "machine", "other"]
Number = Annotated[float, Field(allow_inf_nan=False)]
Finite = Annotated[Number | None, BeforeValidator(_finite)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Measured = Number | Literal["nan", "inf", "-inf"]


class Entry(FileModel):
    """Made of what was judged by the names of its attributes."""

    model_config = ConfigDict(from_attributes=True, strict=False)


class EstimateEntry(Entry):
    """A number with the ends of its confidence interval: of 90%, or of 95% where the field says so."""

    value: Finite = Field(description="The estimate itself.")
    low: Finite = Field(description="The lower end of the interval.")
    high: Finite = Field(description="The upper end of the interval.")


class HistoryEntry(Entry):
    """What an earlier stored run answered."""

    when: Text = Field(description="When it was made, ISO.")
    fingerprint: Text = Field(description="Short name of the engine's fingerprint.")
    version: Text = Field(description="Version of the engine's library; empty if not known.")
    probability: Finite = Field(description="Probability of the expected letter.")
    log_odds: Finite = Field(description="Centred log-odds of the expected letter.")
    right: bool | None = Field(description="Whether the expected letter was on top.")


class HistoryLineEntry(Entry):
    """What stored runs in a row, which gave the same answers, answered over all cases."""

    when: Text = Field(description="When the first of them was made, ISO.")
    until: Text = Field(description="When the last of them was made, ISO.")
    runs: Count = Field(description="How many they are.")
    fingerprint: Text = Field(description="Short name of the engine's fingerprint.")
    version: Text = Field(description="Version of the engine's library; empty if not known.")
    cases: Count = Field(description="How many cases were asked what they ask now, and answered.")
    errors: Count = Field(description="How many cases got no answer.")
    accuracy: EstimateEntry | None = Field(description="Share of right answers, with a 95% interval.")
    spread: Finite = Field(
        description="Root mean square change of a letter's log-odds since the answers before; null for none."
    )
    largest: Finite = Field(description="The largest such change; null for none.")
    case: Text = Field(description="The case of the largest change; empty for none.")
    shown: bool = Field(description="Whether these are the candidate's answers in this comparison.")


class PaceEntry(Entry):
    """How fast an engine went, where one start of it on the machine of the report answered every case."""

    cases: Count = Field(description="How many cases it answered.")
    seconds: Number = Field(description="In so many seconds, loading not counted.")
    tokens: Count | None = Field(description="Their tokens, prompt and answer; null if not known.")


class EngineEntry(Entry):
    """One engine of the report: a candidate in its comparison, or what others are compared with."""

    label: Text = Field(description="How it was named.")
    against: Text = Field(description="What it is compared with; empty of what is a baseline.")
    comparison: Count = Field(
        description="Place in `comparisons`, from 0, of the one that its numbers are of."
    )
    verdict: VerdictName | None = Field(description="The verdict on it; null of a baseline.")
    words: Text = Field(description="The verdict with what lets it pass; empty of a baseline.")
    cases: Count = Field(description="How many cases it was asked.")
    accuracy: EstimateEntry | None = Field(description="Share of right answers, with a 95% interval.")
    spread: EstimateEntry | None = Field(description="Its spread in units of noise; null of a baseline.")
    flips: Count | None = Field(description="How many top letters changed; null of a baseline.")
    worst: Text = Field(description="Name of its worst case, or of the one that moved most; empty for none.")
    pace: PaceEntry | None = Field(
        description="How fast it went; null unless one start on one machine made all its answers."
    )


class ImageEntry(Entry):
    """An image that cases show."""

    file: Text = Field(description="Path of the image.")
    problem: Text = Field(description="Why it cannot be read; empty if it can.")

"""Types of fields that suites and profiles share, each with the words that messages use for it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "CASE_ID",
    "LETTER",
    "MEANINGS",
    "SUITE_NAME",
    "CaseId",
    "Day",
    "EngineName",
    "FileModel",
    "Letter",
    "Mark",
    "NonBlank",
    "ProfileName",
    "PythonVersion",
    "SuiteName",
    "Tag",
    "Tolerances",
    "optional",
]

LETTER = r"^[A-Z]$"
_NON_BLANK = r"\S"
_TAG = r"^\S+$"
_MARK = r"^[A-Za-z_][A-Za-z0-9_]*$"
CASE_ID = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
SUITE_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_-]*$"
_PROFILE_NAME = r"^[A-Za-z0-9_]+(-[A-Za-z0-9_]+)*$"
_ENGINE_NAME = r"^[A-Za-z0-9_]+$"
_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_PYTHON_VERSION = r"^3\.[0-9]{1,3}(\.[0-9]{1,3})?$"

# What each pattern allows. Test ids read suite.case-profile-engine: with no dot in a suite's name and no
# hyphen in an engine's, both ends can be told from the middle.
MEANINGS = {
    LETTER: "one capital letter, A to Z",
    _NON_BLANK: "text that is not empty",
    _TAG: "a word without spaces",
    _MARK: "a pytest mark: letters, digits and _, not beginning with a digit",
    CASE_ID: "letters, digits, _, . and -, beginning with a letter, a digit or _",
    SUITE_NAME: "letters, digits, _ and -, not beginning with - (the name is part of test ids)",
    _PROFILE_NAME: "letters, digits and _, with single - between them (the name is part of test ids)",
    _ENGINE_NAME: "letters, digits and _ (the name is part of test ids, where - comes before it)",
    _DAY: "a day such as 2026-06-01",
    _PYTHON_VERSION: "a version of Python such as '3.11'",
}

# Ids become names of files under snapshots/, of which most file systems take 255 bytes.
Letter = Annotated[str, Field(pattern=LETTER)]
NonBlank = Annotated[str, Field(pattern=_NON_BLANK)]
Tag = Annotated[str, Field(pattern=_TAG, max_length=60)]
Mark = Annotated[str, Field(pattern=_MARK, max_length=60)]
CaseId = Annotated[str, Field(pattern=CASE_ID, max_length=100)]
ProfileName = Annotated[str, Field(pattern=_PROFILE_NAME, max_length=50)]
EngineName = Annotated[str, Field(pattern=_ENGINE_NAME, max_length=30)]
Day = Annotated[str, Field(pattern=_DAY)]
PythonVersion = Annotated[str, Field(pattern=_PYTHON_VERSION)]
SuiteName = Annotated[str, Field(pattern=SUITE_NAME, max_length=50)]
_Tolerance = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class FileModel(BaseModel):
    """Base of all models of YAML: no unknown keys, and no value taken for another type than it has."""

    model_config = ConfigDict(extra="forbid", strict=True)


def optional(description: str) -> Any:  # noqa: ANN401 - the field's own annotation says its type
    """A field that may be left out but, unlike one of type ``X | None``, not be given as null."""
    return Field(default=None, description=description)


class Tolerances(FileModel):
    """Limits of the checks, where they differ from the dtype's own."""

    probability: _Tolerance = optional("Difference of a letter's probability between two engines.")
    total_variation: _Tolerance = optional(
        "Total variation between the letters' probabilities of two engines."
    )
    log_odds: _Tolerance = optional(
        "Difference of a letter's log-odds, centred over the letters, between two engines, in nats."
    )
    kl: _Tolerance = optional("Kullback-Leibler divergence over the whole vocabulary, in nats.")
    js: _Tolerance = optional("Jensen-Shannon divergence over the whole vocabulary, in nats.")
    logprob: _Tolerance = optional("Difference of a log-probability within one engine, in nats.")
    snapshot: _Tolerance = optional("Difference of a letter's probability from its snapshot.")

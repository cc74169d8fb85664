"""Why two engines were not asked the same: the causes, and a difference that names one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Cause", "QuestionDifference", "difference"]


class Cause(StrEnum):
    """Why two engines were not asked the same; the value is how it is told."""

    BEGIN_TWICE = "double begin-of-text"
    BEGIN_MISSING = "begin-of-text missing"
    SYSTEM_DROPPED = "system text dropped"
    SYSTEM_OTHER = "another system text"
    PLACEHOLDER = "placeholder of an image in the prompt"
    IMAGE_MISSING = "image missing"
    IMAGE_PLACE = "image after the question"
    QUESTION = "another question text"
    TEMPLATE = "another chat template"
    WHITE_SPACE = "white space in the template"
    HEADER = "assistant header"
    TILES = "number of tiles"
    THUMBNAIL = "thumbnail on one side only"
    PIXELS = "pixel values"
    PLACEHOLDERS = "placeholders per tile"
    IMAGE_MARKS = "marks around the image"
    TOKENISATION = "segment-wise tokenisation"
    IDS = "token ids"
    LENGTH = "prompt length"
    TARGET = "ids of the accepted text"
    ACCEPTED = "the prompt was rendered differently than when this was accepted"
    RENDERING = "rendering"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionDifference:
    """One way in which two engines were not asked the same.

    ``title`` names the cause in a few words, ``text`` says what was found and what to do. A ``note`` is worth
    knowing, and no difference that changes an answer by more than rounding, as far as can be told.
    """

    cause: Cause
    title: str
    text: str
    note: bool = False


def difference(
    cause: Cause, text: str, *, title: str | None = None, note: bool = False
) -> QuestionDifference:
    """A difference, under its cause's own name unless there is a better ``title``."""
    return QuestionDifference(cause=cause, title=title or cause.value, text=text, note=note)

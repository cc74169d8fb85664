"""Words of a text that a tokenizer may read as something else than words."""

from __future__ import annotations

import re

from harness.engines.images import PLACEHOLDERS

__all__ = ["read_otherwise"]

# The turns of the common chat templates, and what begins and ends a text; a vocabulary may have others.
_CONTROL = re.compile(
    r"<\|[A-Za-z][\w.-]{0,60}\|>|</?s>|<(?:bos|eos|pad|unk)>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>"
)

_NO_PLACE = re.compile(
    r"(?!\{image:[0-9]+\})(?i:\{\s*images?[\s:_-]*\d*\s*\}|<image[ _:]?\d+>)"
)  # what is meant for `IMAGE_MARK` and is not


def read_otherwise(text: str, *, image: str) -> tuple[str, str] | None:
    """What of ``text`` is found, and what would be better; None where all of it is words.

    ``image`` says what is better than a placeholder of an image.
    """
    if spelled := PLACEHOLDERS.search(text):
        return f"{spelled[0]}, by which a model or engine finds the place of an image", image
    if spelled := _NO_PLACE.search(text):
        return f"{spelled[0]}, which is asked as it stands", "{image:1} for the place of the first image"
    if spelled := _CONTROL.search(text):
        better = "other words, or `harness explain` to see by the ids what it became"
        return f"{spelled[0]}, which a tokenizer may read as a control token, as of the end of a turn", better
    return None

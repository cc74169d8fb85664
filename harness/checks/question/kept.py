"""Was the prompt rendered as when its answer was accepted? Of that time hashes are kept, and no text.

Text, ids and counts are exact on any machine. Pixel values are not: an image library may choose kernels by
the processor, which rounds them otherwise. So their hash is compared for a note only, and pictures by the
hash of the file, in what a case asks.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.checks.question.causes import Cause, QuestionDifference, difference
from harness.engines.contract import Json

__all__ = ["compare_kept"]

_WORDS = {
    "text": "text differs",
    "ids": "token ids differ",
    "tokens": "{} tokens then, {} now",
    "tiles": "{} tiles then, {} now",
    "pixels": "",
}
_WRITTEN = "written otherwise than when it was accepted, but the ids that entered the model are the same"
_ROUNDED = (
    "not bit-equal to what was accepted, as another processor or release of the image library makes them"
)


def compare_kept(
    accepted: Mapping[str, Json] | None, now: Mapping[str, Json] | None
) -> tuple[QuestionDifference, ...]:
    """What differs between two of `harness.recordings.fingerprint.rendered_of`, root causes first.

    What was not kept, or in another form, is a note.
    """
    if accepted is None or now is None or accepted.get("version") != now.get("version"):
        text = "what was rendered was not kept when this was accepted"
        return (difference(Cause.UNKNOWN, text, note=True),)
    both = {name: (accepted.get(name), now.get(name)) for name in _WORDS}
    unlike = {name: pair for name, pair in both.items() if None not in pair and pair[0] != pair[1]}
    known = None not in both["ids"]
    found = []
    if unlike.keys() & ({"ids", "tiles"} if known else {"text", "tokens", "tiles"}):
        parts = [_WORDS[name].format(*pair) for name, pair in unlike.items() if name != "pixels"]
        found.append(difference(Cause.ACCEPTED, "; ".join(parts)))
    elif "text" in unlike:
        found.append(difference(Cause.RENDERING, _WRITTEN, note=True))
    if "pixels" in unlike and "tiles" not in unlike:
        found.append(difference(Cause.PIXELS, _ROUNDED, note=True))
    missing = [name for name, pair in both.items() if (pair[0] is None) != (pair[1] is None)]
    if missing:
        found.append(difference(Cause.UNKNOWN, f"one side does not tell its {', '.join(missing)}", note=True))
    return tuple(found)

"""Where two rendered prompts differ, by name: system text, image's place, question, template, header.

Both are texts in which an image is `Question.IMAGE`, whatever stands for it in the model's own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from harness.checks.answers import quoted
from harness.checks.question.causes import Cause
from harness.engines.contract import Question
from harness.engines.images import PLACEHOLDERS

__all__ = ["TextDifference", "compare_renderings", "excerpts", "without_begin"]

# The headers of turns in the chat templates that are common; the role is the one group that matched.
_HEADER = re.compile(
    r"<\|im_start\|>(\w+)\n?"
    r"|<\|(?:start_header_id|header_start)\|>(\w+)<\|(?:end_header_id|header_end)\|>\n*"
    r"|<(?:start_of_turn|\|turn)>(\w+)\n?"
    r"|<\|(system|user|assistant)\|>\n?"
    r"|(\[INST\]) ?"
    r"|(?:(?<=\s)|^)(SYSTEM|USER|ASSISTANT|System|User|Human|Assistant): ?"
)
_ROLES = {"[inst]": "user", "human": "user", "model": "assistant"}
_SPECIAL = rf"(?:(?!{PLACEHOLDERS.pattern})<[^<>\s]+>|\[/INST\])"
_BEGIN = re.compile(rf"\s*({_SPECIAL})")
_CLOSING = re.compile(rf"(?:\s*{_SPECIAL})*\s*\Z")
_SPACE = re.compile(r"\s+")
_SHOWN = 24  # characters on either side of a difference


class TextDifference(NamedTuple):
    """A named difference; ``side`` is the index of the text that lacks something, None if neither does.

    ``shown`` are the parts of both texts that differ, '' for one that has none.
    """

    cause: Cause
    side: int | None
    shown: tuple[str, str]


class _Turn(NamedTuple):
    role: str
    header: str
    body: str
    closing: str


class _Rendering(NamedTuple):
    """A rendered prompt in its parts; ``preamble`` stands before the first turn."""

    preamble: str
    turns: tuple[_Turn, ...]

    def of(self, role: str) -> list[_Turn]:
        return [turn for turn in self.turns if turn.role == role]


def compare_renderings(a: str, b: str) -> list[TextDifference]:
    """The differences of two rendered prompts, each cause once and the weightiest first; [] if equal."""
    if a == b:
        return []
    found = list(_compared(_parts(a), _parts(b), a, b))
    if not found:  # in a turn that is neither the user's nor a system text
        found = [TextDifference(Cause.WHITE_SPACE if _bare(a) == _bare(b) else Cause.TEMPLATE, None, (a, b))]
    order = list(Cause)
    first = {difference.cause: difference for difference in reversed(found)}
    if {Cause.IMAGE_PLACE, Cause.IMAGE_MISSING} & first.keys():
        first.pop(Cause.WHITE_SPACE, None)  # that around the image went with it
    return sorted(first.values(), key=lambda difference: order.index(difference.cause))


def without_begin(text: str) -> str:
    """``text`` without special tokens in front of its first turn, which are for the ids to tell about."""
    parts = _parts(text)
    return text[len(parts.preamble) :] if re.fullmatch(rf"(?:{_BEGIN.pattern}\s*)*", parts.preamble) else text


def excerpts(a: str, b: str) -> tuple[str, str]:
    """Both texts around the place where they part, in quotes."""
    start = next((i for i, (x, y) in enumerate(zip_longest(a, b)) if x != y), 0)
    end = next((i for i, (x, y) in enumerate(zip_longest(a[::-1], b[::-1])) if x != y), 0)
    end = min(end, min(len(a), len(b)) - start)  # 'aa' against 'a': what is alike at both ends counts once
    shown = []
    for text in (a, b):
        before, behind = max(0, start - _SHOWN), min(len(text), len(text) - end + _SHOWN)
        shown.append(quoted(text[before:behind], limit=4 * _SHOWN))
    return shown[0], shown[1]


def _parts(text: str) -> _Rendering:
    headers = list(_HEADER.finditer(text))
    if not headers:
        return _Rendering("", (_Turn("user", "", *_split_closing(text)),))
    turns = []
    for header, following in zip_longest(headers, headers[1:]):
        role = next(group for group in header.groups() if group).lower()
        inside = text[header.end() : following.start() if following else len(text)]
        turns.append(_Turn(_ROLES.get(role, role), header[0], *_split_closing(inside)))
    return _Rendering(text[: headers[0].start()], tuple(turns))


def _split_closing(inside: str) -> tuple[str, str]:
    closing = _CLOSING.search(inside)
    end = closing.start() if closing else len(inside)
    return inside[:end], inside[end:]


def _bare(text: str) -> str:
    """Without images and white space."""
    return _SPACE.sub("", text.replace(Question.IMAGE, ""))


def _image_places(text: str) -> list[int]:
    """For each image, how many characters but white space stand before it."""
    pieces = text.split(Question.IMAGE)
    return [len(_bare("".join(pieces[:n]))) for n in range(1, len(pieces))]


def _joined(turns: Sequence[_Turn]) -> str:
    return "\n".join(turn.body for turn in turns)


def _compared(a: _Rendering, b: _Rendering, whole_a: str, whole_b: str) -> Iterator[TextDifference]:
    yield from _system(a, b)
    images = whole_a.count(Question.IMAGE), whole_b.count(Question.IMAGE)
    if images[0] != images[1] and 0 in images:
        yield TextDifference(Cause.IMAGE_MISSING, images.index(0), ("", ""))
    headed = any(each.of("system") for each in (a, b))
    yield from _question(
        _joined(a.of("user")), _joined(b.of("user")), both_images=0 not in images, headed=headed
    )
    yield from _header(a, b)
    yield from _template(a, b)


def _system(a: _Rendering, b: _Rendering) -> Iterator[TextDifference]:
    texts = [_joined(each.of("system")) for each in (a, b)]
    present = [bool(each.of("system")) for each in (a, b)]
    if present[0] != present[1]:
        yield TextDifference(Cause.SYSTEM_DROPPED, present.index(False), (texts[0], texts[1]))
    elif texts[0] != texts[1]:
        cause = Cause.WHITE_SPACE if _bare(texts[0]) == _bare(texts[1]) else Cause.SYSTEM_OTHER
        yield TextDifference(cause, None, (texts[0], texts[1]))


def _question(a: str, b: str, *, both_images: bool, headed: bool) -> Iterator[TextDifference]:
    """The user's turn; ``headed`` is whether a system text has a turn of its own."""
    if a == b:
        return
    places = _image_places(a), _image_places(b)
    same_words = _bare(a) == _bare(b)
    if both_images and (not same_words or len(places[0]) != len(places[1])):
        # A case has one image: what else looks like its place stood in the prompt, and only one side took it.
        spelled = [_bare(PLACEHOLDERS.sub("", text)) for text in (a, b)]
        if spelled[0] == spelled[1]:
            yield TextDifference(Cause.PLACEHOLDER, None, (a, b))
            return
    last = [bool(place) and place[-1] == len(_bare(text)) for place, text in zip(places, (a, b), strict=True)]
    if both_images and (places[0] != places[1] if same_words else last[0] != last[1]):
        later = places[1] > places[0] if same_words else last[1]
        yield TextDifference(Cause.IMAGE_PLACE, int(later), (a, b))
    if not same_words:
        words = a.replace(Question.IMAGE, ""), b.replace(Question.IMAGE, "")
        front = None if headed else _in_front(*words)
        yield front or TextDifference(Cause.QUESTION, None, words)
    elif places[0] == places[1]:
        yield TextDifference(Cause.WHITE_SPACE, None, (a, b))


def _in_front(a: str, b: str) -> TextDifference | None:
    """What one side alone has in front of the question: a system text of a template without a turn for it."""
    for side, (short, long) in enumerate(((a, b), (b, a))):
        if _bare(short) and _bare(long).endswith(_bare(short)):
            front = long[: len(long) - len(short.lstrip())].strip()
            return TextDifference(Cause.SYSTEM_DROPPED, side, ("", front) if side == 0 else (front, ""))
    return None


def _header(a: _Rendering, b: _Rendering) -> Iterator[TextDifference]:
    """The assistant's header, behind which the answer is written."""
    last = [each.turns[-1] if each.turns and each.turns[-1].role == "assistant" else None for each in (a, b)]
    texts = ["" if turn is None else turn.header + turn.body + turn.closing for turn in last]
    if (last[0] is None) != (last[1] is None):
        yield TextDifference(Cause.HEADER, last.index(None), (texts[0], texts[1]))
    elif texts[0] != texts[1]:
        cause = Cause.WHITE_SPACE if _bare(texts[0]) == _bare(texts[1]) else Cause.HEADER
        yield TextDifference(cause, None, (texts[0], texts[1]))


def _template(a: _Rendering, b: _Rendering) -> Iterator[TextDifference]:
    """What stands around the texts of both sides' turns."""
    if a.preamble != b.preamble:
        alike = _bare(a.preamble) == _bare(b.preamble)
        cause = Cause.WHITE_SPACE if alike else Cause.TEMPLATE
        yield TextDifference(cause, None, (a.preamble, b.preamble))
    # A system turn of one side only, and the assistant's header, are told already.
    left, right = ([t for t in each.turns if t.role not in ("system", "assistant")] for each in (a, b))
    left_system, right_system = a.of("system"), b.of("system")
    if left_system and right_system:
        left, right = left_system + left, right_system + right
    if [turn.role for turn in left] != [turn.role for turn in right]:
        names = [", ".join(turn.role for turn in turns) for turns in (left, right)]
        yield TextDifference(Cause.TEMPLATE, None, (names[0], names[1]))
        return
    for one, other in zip(left, right, strict=True):
        for x, y in ((one.header, other.header), (one.closing, other.closing)):
            if x != y:
                cause = Cause.WHITE_SPACE if _bare(x) == _bare(y) else Cause.TEMPLATE
                shown = (x + one.body, y + other.body) if x is one.header else (one.body + x, other.body + y)
                yield TextDifference(cause, None, shown)

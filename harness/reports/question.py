"""What two engines were asked, side by side where it differs: for the failure message."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

from harness.checks.question.causes import Cause
from harness.checks.question.ids import collapsed, placeholder_of, same_places, shown_ids, unlike
from harness.checks.question.tiles import count_of_tiles
from harness.checks.same_question import SameQuestion
from harness.checks.side import Side
from harness.engines.contract import Question

__all__ = ["question_lines"]

_MOST_LINES = 24
_LINE_END = "⏎"


def question_lines(
    result: SameQuestion, *, width: int, tokens: Sequence[Mapping[int, str]] = ()
) -> Iterator[str]:
    """Lines of up to ``width`` columns: the renderings' difference, ids where they part, tiles.

    ``tokens`` are the texts of ids, of the reference first, as far as they are known.
    """
    a, b = result.agreement.a, result.agreement.b
    causes = {each.cause for each in result.agreement.question}
    one, other = a.answer.question, b.answer.question
    if one.text is not None and other.text is not None and one.text != other.text:
        yield f"  rendered prompt, - {a.engine}, + {b.engine}; {_LINE_END} ends a line"
        yield from _difference(one.text, other.text, width)
        yield ""
    if causes & {Cause.BEGIN_TWICE, Cause.BEGIN_MISSING, Cause.TOKENISATION, Cause.IMAGE_MARKS, Cause.IDS}:
        for line in _ids((a, b), tokens or ({}, {})):
            yield line if len(line) <= width else f"{line[: width - 1]}…"
        yield ""
    room = max(len(a.engine), len(b.engine))
    yield "  what was asked"
    for side in (a, b):
        yield f"    {side.engine:<{room}}  {_in_short(side.answer.question)}"[:width]


def _difference(a: str, b: str, width: int) -> Iterator[str]:
    shown = list(difflib.unified_diff(_marked(a), _marked(b), n=1, lineterm=""))[2:]
    for line in shown[:_MOST_LINES]:
        if line.startswith("@@"):
            continue
        text = f"    {line[0]} {line[1:]}"
        yield text if len(text) <= width else f"{text[: width - 1]}…"
    if shown[_MOST_LINES:]:
        yield f"    and {len(shown) - _MOST_LINES} lines more"


def _marked(text: str) -> list[str]:
    """Lines in which an end of line can be seen; other white space at the end as well."""
    return [
        line.removesuffix("\n").replace("\r", "\\r").replace("\t", "\\t")
        + (_LINE_END if line.endswith("\n") else "")
        for line in text.splitlines(keepends=True)
    ]


def _ids(sides: tuple[Side, Side], tokens: Sequence[Mapping[int, str]]) -> Iterator[str]:
    one, other = (side.answer.prompt_ids for side in sides)
    images = [side.answer.question.has_image for side in sides]
    other = same_places(one, other) if all(images) else other
    placeholder = placeholder_of(one, other) if any(images) else None
    left, right = (collapsed(ids, placeholder) for ids in (one, other))
    chunk = unlike(left, right)
    if chunk is None:
        return
    room = max(len(side.engine) for side in sides)
    yield "  token ids where they part, the image counted as one"
    for side, ids, piece, texts in zip(sides, (left, right), (chunk.left, chunk.right), tokens, strict=True):
        yield f"    {side.engine:<{room}}  {shown_ids(ids, chunk.step, len(piece))}"
        if piece and all(token in texts for token in piece):
            yield f"    {'':<{room}}  {' '.join(repr(texts[token]) for token in piece)}"


def _in_short(question: Question) -> str:
    parts = ["tokens not known" if question.tokens is None else f"{question.tokens} tokens"]
    parts.append("tiles not known" if question.tiles is None else count_of_tiles(question.tiles))
    if question.pixels is not None:
        means = " ".join(f"{mean:.3g}" for mean in question.pixel_means)
        parts.append(f"pixels {question.pixels[:8]}, means {means}")
    return ", ".join(parts)

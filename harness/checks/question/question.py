"""Were two engines asked the same? Where not, why, by name: before any probability is compared.

What an engine does not tell is said to be not known; it is never taken for equal.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.checks.answers import quoted
from harness.checks.question.causes import Cause, QuestionDifference, difference
from harness.checks.question.ids import (
    begin_twice,
    collapsed,
    lacks_begin,
    placeholder_of,
    same_places,
    unlike,
)
from harness.checks.question.renderings import TextDifference, compare_renderings, excerpts, without_begin
from harness.checks.question.tiles import compare_pixels, compare_tiles
from harness.engines.contract import Answer, Question

__all__ = ["compare_questions"]

_MOST_IDS = 6
_PINNED_SYSTEM = "Pin it for both with system: in the profile"


def compare_questions(
    a: Answer, b: Answer, *, names: tuple[str, str] = ("the first", "the second")
) -> tuple[QuestionDifference, ...]:
    """What differs between what two engines were asked, root causes first; () if nothing does.

    What follows from a difference that is told (a longer prompt, other ids) is not told again. ``names`` are
    the engines'.
    """
    return tuple(_Comparison(a, b, names).differences())


class _Comparison:
    """``_ids`` have one id for all places of an image.

    They lose a first id that one side has too many, once that is told.
    """

    def __init__(self, a: Answer, b: Answer, names: tuple[str, str]) -> None:
        self._names = names
        self._asked = (a.question, b.question)
        self._ids = (a.prompt_ids, b.prompt_ids)
        if a.prompt_ids != b.prompt_ids and all(q.has_image for q in self._asked):
            self._ids = (a.prompt_ids, same_places(*self._ids))
        self._targets = (a.target_ids, b.target_ids)
        self._ids_known = bool(a.prompt_ids) and bool(b.prompt_ids)
        images = a.prompt_ids != b.prompt_ids and any(q.has_image for q in self._asked)
        self._placeholder = placeholder_of(*self._ids) if images else None  # which only other ids ask for

    def differences(self) -> Iterator[QuestionDifference]:
        found = list(self._begin())
        found += self._texts(begin_told=bool(found))
        if not any(each.cause is Cause.IMAGE_MISSING for each in found):
            tiles = compare_tiles(*self._asked, self._names)
            found += [] if tiles is None else [tiles]
        told = any(not each.note for each in found)
        pixels = compare_pixels(*self._asked)
        found += [] if pixels is None else [pixels]
        found += self._token_ids(told=told)
        if not any(not each.note for each in found):
            found += self._length()
        if all(self._targets) and self._targets[0] != self._targets[1]:
            both = [f"{_ids(ids)} in {name}" for ids, name in zip(self._targets, self._names, strict=True)]
            found.append(difference(Cause.TARGET, f"{', '.join(both)}: compare their tokenizer.json"))
        yield from sorted(found, key=lambda each: each.note)
        yield from self._not_known()

    def _begin(self) -> Iterator[QuestionDifference]:
        if not self._ids_known or self._ids[0] == self._ids[1]:
            return
        for side, (ids, other) in enumerate((self._ids, self._ids[::-1])):
            has, lacks = self._names[side], self._names[1 - side]
            if begin_twice(ids, other):
                yield difference(
                    Cause.BEGIN_TWICE,
                    f"{has} begins with id {ids[0]} twice, {lacks} once: the template writes it, and the "
                    "tokenizer adds it again. Take it out of the chat template, or switch off add_bos_token "
                    "or the post-processor of the tokenizer",
                )
            elif lacks_begin(other, ids) and self._same_texts():
                yield difference(
                    Cause.BEGIN_MISSING,
                    f"{has} begins with id {ids[0]}, {lacks} without it with id {other[0]}. See "
                    "add_bos_token in tokenizer_config.json, and the chat template",
                )
            else:
                continue
            self._ids = (ids[1:], other) if side == 0 else (other, ids[1:])
            return

    def _renderings(self) -> tuple[str, str] | None:
        """Both renderings as far as they are to be compared; None where one is not known."""
        left, right = (q.text for q in self._asked)
        if left is None or right is None:
            return None
        # What stands in front of the first turn is written by the template or added by the tokenizer.
        return (without_begin(left), without_begin(right)) if self._ids_known else (left, right)

    def _same_texts(self) -> bool:
        renderings = self._renderings()
        return renderings is None or renderings[0] == renderings[1]

    def _texts(self, *, begin_told: bool) -> Iterator[QuestionDifference]:
        left, right = (q.text or "" for q in self._asked)
        if left == right or (renderings := self._renderings()) is None:
            return
        if self._ids_known and self._ids[0] == self._ids[1]:
            if renderings[0] == renderings[1] and begin_told:
                return
            shown = excerpts(left, right)
            text = f"written {shown[0]} and {shown[1]}, but the ids that entered the models are the same"
            yield difference(Cause.RENDERING, text, note=True)
            return
        for each in compare_renderings(*renderings):
            if each.cause is Cause.PLACEHOLDER and self._image_lost():
                continue  # which the tiles tell
            if each.cause is Cause.IMAGE_MISSING and all(q.tiles for q in self._asked):
                # It entered both models, so one side writes its place in a way that was not recognised.
                each = each._replace(cause=Cause.IMAGE_MARKS)
            yield self._told(each)

    def _image_lost(self) -> bool:
        tiles = compare_tiles(*self._asked, self._names)
        return tiles is not None and tiles.cause is Cause.IMAGE_MISSING

    def _told(self, found: TextDifference) -> QuestionDifference:
        """A difference of the renderings in words."""
        cause, side, shown = found
        names = self._names
        has, lacks = names if side is None else (names[1 - side], names[side])
        parts = [part if text else "nothing" for text, part in zip(shown, excerpts(*shown), strict=True)]
        both = f"{parts[0]} in {names[0]}, {parts[1]} in {names[1]}"
        match cause:
            case Cause.SYSTEM_DROPPED:
                system = quoted(max(shown, key=len).strip(), limit=100)
                text = f"{has} was given {system} in front of the question, {lacks} was not. {_PINNED_SYSTEM}"
                return difference(cause, text)
            case Cause.SYSTEM_OTHER:
                told = f"{both}. {_PINNED_SYSTEM}; a date that the template writes, with template_date:"
                return difference(cause, told)
            case Cause.PLACEHOLDER:
                advice = "Take it out of the case's prompt: the image is put before the prompt by itself"
                return difference(cause, f"{both}. {advice}")
            case Cause.IMAGE_MISSING | Cause.IMAGE_MARKS:
                text = f"the prompt of {has} has a place for the image, that of {lacks} has none"
                return difference(cause, f"{text}; see its chat template")
            case Cause.IMAGE_PLACE:
                behind = shown[side or 0].rstrip().endswith(Question.IMAGE)
                text = f"{both}. See the chat template, and send messages in which the image comes first"
                return difference(cause, text, title=None if behind else "image in another place")
            case Cause.HEADER:
                title = "assistant header missing" if side is not None else "another assistant header"
                text = f"behind the question {both}; see add_generation_prompt and the chat template"
                return difference(cause, text, title=title)
            case Cause.QUESTION:
                return difference(cause, both)
            case _:
                return difference(cause, f"{both}. Give both engines the same chat template")

    def _token_ids(self, *, told: bool) -> Iterator[QuestionDifference]:
        """Ids that differ though nothing else explains it; ``told`` is whether something does already."""
        if not self._ids_known or self._ids[0] == self._ids[1] or not self._same_texts():
            return
        names = self._names
        left, right = (collapsed(ids, self._placeholder) for ids in self._ids)
        chunk = unlike(left, right)
        if chunk is None:
            if not told:
                counts = [ids.count(self._placeholder or 0) for ids in self._ids]
                yield difference(
                    Cause.PLACEHOLDERS,
                    f"the image has {counts[0]} places in the prompt of {names[0]}, {counts[1]} in that of "
                    f"{names[1]}",
                )
            return
        where = (
            f"at position {chunk.step}, the image counted as one: {_ids(chunk.left)} in {names[0]}, "
            f"{_ids(chunk.right)} in {names[1]}"
        )
        at_image = self._placeholder is not None and self._placeholder in {
            *chunk.left,
            *chunk.right,
            *left[max(0, chunk.step - 1) : chunk.step],
        }
        if self._renderings() is not None and not at_image:
            yield difference(
                Cause.TOKENISATION,
                f"the rendered prompt is the same, but its ids part {where}. One side tokenizes it in "
                "pieces, or with another tokenizer: compare tokenizer.json, and how the text meets the image",
            )
        elif not told:
            yield difference(Cause.IMAGE_MARKS if at_image else Cause.IDS, f"the prompts' ids part {where}")

    def _length(self) -> Iterator[QuestionDifference]:
        left, right = (q.tokens for q in self._asked)
        if left is not None and right is not None and left != right:
            yield difference(
                Cause.LENGTH,
                f"{left} tokens in {self._names[0]}, {right} in {self._names[1]}: system text, template or "
                "tiles differ. Pin system: and max_tiles: in the profile",
            )

    def _not_known(self) -> Iterator[QuestionDifference]:
        for name, asked, ids in zip(self._names, self._asked, self._ids, strict=True):
            known = {
                "its rendered prompt": asked.text is not None,
                "its token ids": bool(ids),
                "its number of tiles": asked.tiles is not None,
                "its pixel values": asked.pixels is not None or asked.tiles == 0,
            }
            missing = [what for what, told in known.items() if not told]
            if missing:
                listed = " and ".join(filter(None, [", ".join(missing[:-1]), missing[-1]]))
                yield difference(Cause.UNKNOWN, f"{name} does not tell {listed}", note=True)


def _ids(ids: tuple[int, ...]) -> str:
    if not ids:
        return "nothing"
    shown = " ".join(map(str, ids[:_MOST_IDS]))
    return f"[{shown}{' …' if ids[_MOST_IDS:] else ''}]"

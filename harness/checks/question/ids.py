"""Where two lists of prompt ids part, once the places of the image in them are left out of account."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import groupby, pairwise
from typing import NamedTuple

from harness.checks.answers import Parting, parting

__all__ = [
    "Chunk",
    "begin_twice",
    "collapsed",
    "lacks_begin",
    "placeholder_of",
    "same_places",
    "shown_ids",
    "unlike",
]

_AROUND = 4


class Chunk(NamedTuple):
    """The first piece of two id lists that is unlike, ``left`` and ``right``, and where it begins in both."""

    step: int
    left: tuple[int, ...]
    right: tuple[int, ...]


def placeholder_of(*prompts: Sequence[int]) -> int | None:
    """The id that stands for a piece of the image: that of the longest run of equal ids; None without one."""
    runs = [(len(list(run)), token) for ids in prompts for token, run in groupby(ids)]
    length, token = max(runs, default=(0, 0))
    return token if length > 1 else None


def collapsed(ids: Sequence[int], placeholder: int | None) -> tuple[int, ...]:
    """``ids`` with every run of placeholders written once."""
    return tuple(token for each, run in groupby(ids) for token in ([each] if each == placeholder else run))


def same_places(left: Sequence[int], right: Sequence[int]) -> tuple[int, ...]:
    """``right``, its places of an image written with the id that ``left`` has in its own.

    What an engine fills them with is its own affair, since the image's embeddings take their place: LMDeploy
    has LLaVA's padding there (lmdeploy/vl/model/base.py), Transformers the model's own image token.
    """
    mine, theirs = placeholder_of(left), placeholder_of(right)
    if mine is None or theirs is None or mine in _in_runs(right) or theirs in _in_runs(left):
        return tuple(right)
    runs = [(token, len(list(run))) for token, run in groupby(right)]
    return tuple(
        mine if token == theirs and count > 1 else token for token, count in runs for _ in range(count)
    )


def _in_runs(ids: Sequence[int]) -> set[int]:
    return {token for token, following in pairwise(ids) if token == following}


def begin_twice(ids: Sequence[int], other: Sequence[int]) -> bool:
    """Whether ``ids`` begin with an id twice that ``other`` begins with once."""
    return len(ids) > 1 and ids[0] == ids[1] and ids[:1] == other[:1] and other[:1] != other[1:2]


def lacks_begin(ids: Sequence[int], other: Sequence[int]) -> bool:
    """Whether ``other`` has one id in front of what ``ids`` begin with."""
    near = tuple(ids[:_AROUND])
    return bool(near) and ids[0] != other[0] and tuple(other[1 : 1 + len(near)]) == near


def unlike(left: Sequence[int], right: Sequence[int]) -> Chunk | None:
    """The first piece in which two id lists differ, None if they are equal."""
    parted: Parting | None = parting(left, right)
    if parted is None:
        return None
    start = parted.step
    matcher = SequenceMatcher(None, left[start:], right[start:], autojunk=False)
    for block in matcher.get_matching_blocks():
        if block.size > 1 or block.a == len(left) - start:
            return Chunk(start, tuple(left[start : start + block.a]), tuple(right[start : start + block.b]))
    return Chunk(start, tuple(left[start:]), tuple(right[start:]))


def shown_ids(ids: Sequence[int], start: int, count: int) -> str:
    """``count`` ids from ``start`` in brackets, with a few on either side; runs are written id×count."""
    before, inside = ids[:start], ids[start : start + count]
    behind = ids[start + count :]
    left, right = _runs(before)[-_AROUND:], _runs(behind)[:_AROUND]
    parts = ["…", *left] if len(_runs(before)) > _AROUND else left
    parts = [*parts, f"[{' '.join(_runs(inside))}]", *right]
    return " ".join([*parts, "…"] if len(_runs(behind)) > _AROUND else parts)


def _runs(ids: Sequence[int]) -> list[str]:
    written = []
    for token, run in groupby(ids):
        count = len(list(run))
        written += [f"{token}×{count}"] if count > 2 else [str(token)] * count
    return written

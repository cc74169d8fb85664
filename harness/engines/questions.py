"""What a model was really asked, in one form for every engine: see `harness.engines.contract.Question`.

Runs in workers: numpy and the standard library only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.engines.contract import Question
from harness.engines.images import MARKS

__all__ = ["one_mark", "question"]

Values = npt.NDArray[np.floating[Any]]

# More than one, since a change may leave the sum over one as it is by chance.
_PATTERNS = (b"first", b"second", b"third", b"fourth")
_BLOCKS = 8  # a side
_TILE = 3  # axes: [channels, height, width]
_PACKED = 2  # axes: [patches, values]
_BY_IMAGE = 5  # axes: [images, tiles, channels, height, width]


def question(
    *,
    text: str | None,
    prompt_ids: Sequence[int],
    placeholder: str | None,
    pixels: Sequence[Values] | None = (),
    images: int = 1,
) -> Question:
    """What was asked, from what entered the model.

    ``text`` is the prompt as rendered, its placeholders repeated or not yet; None where it is not known.
    ``placeholder`` is the token that stands for a piece of an image ('<IMG_CONTEXT>'), None for a model that
    takes text only. ``pixels`` are the arrays of values that entered the vision tower, in their order and
    after rounding to the model's dtype; none without an image, and None where they are not known. Where they
    are as many as the ``images``, each is one's own. Of an array [tiles, channels, height, width], with an
    axis of images before it or not, every tile counts. In the packed form of Qwen-VL, patches
    [patches, values], an image is not cut, and the whole array is one piece; with an axis of images before
    it, one for each.
    """
    known: dict[str, Any] = {
        "text": None if text is None else one_mark(text, placeholder),
        "tokens": len(prompt_ids),
    }
    if pixels is None:
        return Question(**known)
    by_image = [_pieces(np.asarray(values)) for values in pixels]
    pieces = [piece for own in by_image for piece in own]
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(np.ascontiguousarray(piece, dtype="<f4").tobytes())
    return Question(
        **known,
        tiles=len(pieces),
        pixels=digest.hexdigest() if pieces else None,
        pixel_means=tuple(float(piece.mean(dtype=np.float64)) for piece in pieces),
        pixel_marks=tuple(mark for piece in pieces for mark in _marks(piece, _PATTERNS[:2])),
        pixel_views=tuple(mark for view in _views(pieces) for mark in _marks(view, _PATTERNS)),
        pixel_steps=tuple(float(np.square(np.diff(piece)).mean(dtype=np.float64)) for piece in pieces),
        image_tiles=tuple(map(len, by_image)) if len(by_image) == images > 1 else (),
    )


def _marks(values: Values, patterns: Sequence[bytes]) -> tuple[float, ...]:
    flat = np.asarray(values, dtype=np.float64).ravel()
    return tuple(float(flat @ _signs(flat.size, pattern) / np.sqrt(flat.size)) for pattern in patterns)


def _views(pieces: Sequence[Values]) -> tuple[Values, ...]:
    """All tiles in blocks, once for each of `Question.VIEWS`."""
    sizes = {piece.shape for piece in pieces}
    if len(sizes) != 1 or len(size := sizes.pop()) != _TILE or min(size[1:]) < _BLOCKS:
        return ()
    channels, height, width = size
    high, wide = height // _BLOCKS, width // _BLOCKS
    top, left = height % _BLOCKS // 2, width % _BLOCKS // 2
    whole = np.stack(pieces)[:, :, top : top + _BLOCKS * high, left : left + _BLOCKS * wide]
    blocks = whole.reshape(-1, channels, _BLOCKS, high, _BLOCKS, wide).mean((3, 5), dtype=np.float64)
    turns = (np.rot90(blocks, quarters, (2, 3)) for quarters in (2, 1, 3))
    return (blocks, blocks[..., ::-1], blocks[:, :, ::-1], *turns, blocks[:, ::-1])


@lru_cache(maxsize=8)
def _signs(count: int, pattern: bytes) -> npt.NDArray[np.float64]:
    """``count`` signs, the same in every environment, which no release of a random generator promises."""
    bits = np.unpackbits(np.frombuffer(hashlib.shake_128(pattern).digest(-(-count // 8)), dtype=np.uint8))
    return 2.0 * bits[:count].astype(np.float64) - 1.0


def one_mark(text: str, placeholder: str | None) -> str:
    """``text`` with every run of placeholders, and the marks around it, written as `Question.IMAGE` once."""
    if not placeholder:
        return text
    run = f"(?:{re.escape(placeholder)})+"
    around = "|".join(f"{re.escape(before)}{run}{re.escape(behind)}" for before, behind in MARKS)
    return re.sub(f"{around}|{run}", lambda _: Question.IMAGE, text)


def _pieces(values: Values) -> Sequence[Values]:
    if values.ndim == _PACKED:
        return [values]
    if values.ndim == _BY_IMAGE:
        values = values.reshape(-1, *values.shape[2:])
    return list(values)

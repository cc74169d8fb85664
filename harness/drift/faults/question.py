"""Faults of the question and of pixels; each function plants the fault of its name."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import torch

from harness.drift.faults.ground import Ground, bits_kept
from harness.engines.lmdeploy_pipeline import stages

_HERE_AND_ON = 20
_CUT = 6


def system_lost(at: Ground, size: float) -> None:  # noqa: D103 - as the module says; so below
    del size
    at.wrap(
        stages,
        "messages",
        lambda old, request, *a, **k: old(dataclasses.replace(request, system=None), *a, **k),
    )


def image_behind_question(at: Ground, size: float) -> None:  # noqa: D103
    del size

    def reverse(old: Callable[..., list[dict[str, Any]]], *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        found = old(*args, **kwargs)
        found[-1]["content"].reverse()
        return found

    at.wrap(stages, "messages", reverse)


def old_template(at: Ground, size: float) -> None:  # noqa: D103
    del size

    def without_breaks(old: Callable[..., str], *args: Any, **kwargs: Any) -> str:
        return old(*args, **kwargs).replace("<|im_end|>\n", "<|im_end|>")

    at.wrap(at.prompts.chat_template, "messages2prompt", without_breaks)


def _encode(at: Ground, change: Callable[[list[int], bool], list[int]]) -> None:
    """Change the ids of each text that is tokenized; told is whether a prompt begins with it."""

    def encode(
        old: Callable[..., list[int]], text: str, add_bos: bool = True, *args: Any, **kwargs: Any
    ) -> list[int]:
        return change(old(text, add_bos, *args, **kwargs), add_bos)

    at.wrap(at.prompts.tokenizer, "encode", encode)


def begin_of_text_doubled(at: Ground, size: float) -> None:  # noqa: D103
    del size
    _encode(at, lambda ids, begins: [*ids[:1], *ids] if begins else ids)


def begin_of_text_dropped(at: Ground, size: float) -> None:  # noqa: D103
    del size
    _encode(at, lambda ids, begins: ids[1:] if begins else ids)


def prompt_truncated(at: Ground, size: float) -> None:  # noqa: D103
    del size
    _encode(at, lambda ids, _: ids[_CUT:] if len(ids) > 2 * _CUT else ids)


def tokenised_in_pieces(at: Ground, size: float) -> None:  # noqa: D103
    del size

    def in_pieces(old: Callable[..., list[int]], text: str, *args: Any, **kwargs: Any) -> list[int]:
        pieces = re.split(r"(?<=\n[^<][^<])", text)
        return [token for piece in pieces for token in old(piece, *args, **kwargs)]

    at.wrap(at.prompts.tokenizer, "encode", in_pieces)


def positions_behind_20(at: Ground, size: float) -> None:  # noqa: D103
    del size

    def later(old: Callable[..., dict[str, Any]], *args: Any, **kwargs: Any) -> dict[str, Any]:
        found = old(*args, **kwargs)
        places = found["position_ids"]
        return {**found, "position_ids": places + (places > _HERE_AND_ON).to(places.dtype)}

    at.wrap(at.model, "prepare_inputs_for_generation", later)


def channels_swapped(at: Ground, size: float) -> None:  # noqa: D103
    del size

    def swapped(old: Callable[..., Any], path: str) -> Any:
        from PIL import Image

        return Image.merge("RGB", old(path).split()[::-1])

    at.wrap(stages, "open_image", swapped)


def thumbnail_lost(at: Ground, size: float) -> None:  # noqa: D103
    del size
    at.wrap(
        at.pictures, "crop_image_to_patches", lambda old, *a, **k: old(*a, **{**k, "use_thumbnail": False})
    )


def tiles_reversed(at: Ground, size: float) -> None:  # noqa: D103
    del size

    def backwards(old: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        tiles = old(*args, **kwargs)  # [images, tiles, 3, h, w]
        return torch.cat([tiles[:, :-1].flip(1), tiles[:, -1:]], 1)

    at.wrap(at.pictures, "crop_image_to_patches", backwards)


def one_tile_only(at: Ground, size: float) -> None:  # noqa: D103
    del size
    at.put(at.pictures, "max_patches", 1)


def mean_off(at: Ground, size: float) -> None:  # noqa: D103
    at.put(at.pictures, "image_mean", [mean + size for mean in at.pictures.image_mean])


def deviation_off(at: Ground, size: float) -> None:  # noqa: D103
    at.put(at.pictures, "image_std", [deviation * (1 + size) for deviation in at.pictures.image_std])


def filter_bilinear(at: Ground, size: float) -> None:  # noqa: D103
    from PIL.Image import Resampling

    del size
    at.put(at.pictures, "resample", Resampling.BILINEAR)


def pixels_half(at: Ground, size: float) -> None:  # noqa: D103
    def fewer(old: Callable[..., dict[str, Any]], *args: Any, **kwargs: Any) -> dict[str, Any]:
        found = old(*args, **kwargs)
        pixels = found["pixel_values"]
        return {**found, "pixel_values": None if pixels is None else bits_kept(pixels, size)}

    at.wrap(at.model, "prepare_inputs_for_generation", fewer)

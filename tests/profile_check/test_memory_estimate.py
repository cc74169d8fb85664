"""The arithmetic of memory, on shapes whose figures are known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.profile_check.memory_estimate import (
    CARDS,
    GIB,
    Estimate,
    Part,
    Serving,
    Workload,
    estimate_memory,
    fitting_cards,
    gib,
    share_that_fits,
    usable,
)
from harness.profile_check.model_shapes import read_shapes
from tests.profile_check.test_model_shapes import INTERNVL2_8B

SHAPES = read_shapes(INTERNVL2_8B)
TILES = 13  # twelve and the thumbnail
IMAGE = Workload(
    cases=1,
    text_tokens=72,
    image_tokens=TILES * 256,
    tiles=TILES,
    vision_positions=TILES * 1025,
    rows=3300,
    row_bytes=2,
)
BF16 = Serving(dtype="bfloat16", cache_bits=16)


def reckon(work: Workload = IMAGE, serving: Serving = BF16) -> Estimate:
    parameters = SHAPES.parameters
    assert parameters is not None
    return estimate_memory(SHAPES, work, serving, weight_bytes=2 * parameters, weights_from="x")


def part(estimate: Estimate, name: str) -> Part:
    return next(p for p in estimate.parts if p.name == name)


def test_weights_and_cache_of_internvl2_8b() -> None:
    estimate = reckon()
    assert estimate.weights.size == pytest.approx(16.15e9, rel=0.001)
    # 128 KiB a token: 2 × 32 × 8 × 128 numbers of two bytes
    assert estimate.cache.size == 131_072 * 3400
    assert "2 × 32 layers × 8 heads × 128 × 16 bits × 1 case × 3,400 tokens" in estimate.cache.formula


def test_all_rows_of_twelve_tiles_are_six_tenths_of_a_gigabyte() -> None:
    assert part(reckon(), "rows of logits").size == pytest.approx(0.61e9, rel=0.01)


def test_a_quantised_cache_is_half() -> None:
    whole, half = reckon(), reckon(serving=replace(BF16, cache_bits=8))
    assert half.cache.size * 2 == whole.cache.size


def test_more_cases_need_more_of_everything_but_weights() -> None:
    one, four = reckon(), reckon(replace(IMAGE, cases=4))
    assert four.weights == one.weights
    assert four.cache.size == 4 * one.cache.size
    assert four.passing == 4 * one.passing


@pytest.mark.parametrize("name", ["vision tower", "language layers", "rows of logits"])
def test_a_pass_of_few_tokens_bounds_what_passes(name: str) -> None:
    bounded = reckon(replace(IMAGE, cases=4), replace(BF16, prefill_tokens=3400))
    assert part(bounded, name).size == part(reckon(), name).size
    assert bounded.cache.size == 4 * reckon().cache.size


def test_fixed_blocks_replace_the_need() -> None:
    fixed = reckon(serving=replace(BF16, cache_share=0.8, cache_tokens=4096))
    assert fixed.cache.size == 131_072 * 4096
    assert fixed.cache_share is None


def test_cards_that_fit_are_those_that_hold_the_total() -> None:
    estimate = reckon()
    fitting = fitting_cards(estimate)
    assert fitting == tuple(card for card in CARDS if usable(card) >= estimate.total)
    assert 24 in fitting
    assert 16 not in fitting


def test_a_share_for_the_cache_can_leave_too_little_beside_it() -> None:
    estimate = reckon(replace(IMAGE, cases=4), replace(BF16, cache_share=0.8))
    memory = usable(32)
    assert estimate.total < memory
    assert not estimate.fits(memory)
    share = share_that_fits(estimate, memory)
    assert share is not None
    assert replace(estimate, cache_share=share).fits(memory)
    assert share_that_fits(estimate, usable(16)) is None


def test_without_an_image_there_is_no_vision_tower() -> None:
    text = reckon(Workload(cases=1, text_tokens=72))
    assert [p.name for p in text.parts] == [
        "weights",
        "key/value cache",
        "language layers",
        "rows of logits",
        "margin",
    ]


@pytest.mark.parametrize(("size", "text"), [(16 * GIB, "16.00 GiB"), (3 * 2**20, "3.0 MiB")])
def test_sizes_for_people(size: int, text: str) -> None:
    assert gib(size) == text

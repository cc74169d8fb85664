"""The rule that names a stage, on traces made by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from harness.drift.distances import Distance, alike, apart, asked_alike, distances
from harness.drift.first_stage import Route, beyond, first_stage, reading_fault
from harness.drift.stage_noise import EPSILON, StageNoise, noise_of
from harness.engines.taps.sketches import SUMS, Sketch, Trace, signs

STEP = EPSILON["float32"]
NOISE = StageNoise(
    dtype="float32",
    plain={"patch": (1e-6, 1e-6), "layer.0.mlp": (1e-5, 1e-5), "norm": (1e-5, 2e-5)},
    local={"patch": (1e-6, 1e-6), "layer.0.mlp": (1e-6, 1e-6), "norm": (1e-6, 1e-6)},
)


def _off(**stages: float) -> dict[str, Distance]:
    return {name.replace("_", "."): Distance(size, size, 0, 1) for name, size in stages.items()}


def _route(local: bool, **stages: float) -> Route:
    return Route(name="B resynced" if local else "alone", distances=_off(**stages), local=local)


def test_nothing_beyond_noise_names_nothing() -> None:
    routes = [_route(True, patch=1.9e-6, norm=1.9e-6), _route(False, patch=2.9e-6, norm=2.9e-5)]
    assert first_stage(routes, NOISE) is None


def test_the_first_stage_that_errs_on_equal_input_is_named_before_what_shows_earlier() -> None:
    # The plain pass shows the embeddings first, but they were within their own noise when judged alone.
    routes = [_route(True, patch=1e-6, layer_0_mlp=9e-6), _route(False, patch=9e-6, layer_0_mlp=1e-3)]
    start = first_stage(routes, NOISE)
    assert start is not None
    assert (start.stage, start.born, start.route) == ("layer.0.mlp", True, "B resynced")


def test_without_a_stage_that_errs_alone_the_first_that_shows_is_named_and_not_said_to_be_born() -> None:
    routes = [_route(True, patch=1e-6, norm=1e-6), _route(False, patch=2e-6, layer_0_mlp=1e-3, norm=1e-2)]
    start = first_stage(routes, NOISE)
    assert start is not None
    assert (start.stage, start.born, start.also) == ("layer.0.mlp", False, ("norm",))


def test_the_worst_row_counts_where_the_whole_hides_it() -> None:
    route = Route(name="alone", distances={"norm": Distance(1e-6, 1e-3, 7, 100)})
    assert beyond(route, NOISE) == ["norm"]


@pytest.mark.parametrize("size", [math.nan, math.inf])
def test_what_is_no_number_is_beyond_noise(size: float) -> None:
    assert beyond(Route(name="alone", distances={"norm": Distance(size, size)}), NOISE) == ["norm"]


def test_ids_are_equal_or_not() -> None:
    route = Route(name="alone", distances={"ids": Distance(1e-9, 1e-9), "positions": Distance(0.0, 0.0)})
    assert beyond(route, NOISE) == ["ids"]


def test_rows_handed_out_otherwise_than_computed_are_named_where_all_stages_agree() -> None:
    route = Route(name="alone", distances=_off(norm=1e-6), told={"handed": 0.25})
    start = first_stage([route], NOISE)
    assert start is not None
    assert start.stage == "handed"
    assert "0.25" in start.why
    assert first_stage([Route(name="alone", distances={}, told={"handed": 0.0})], NOISE) is None


def test_the_reading_comes_last() -> None:
    told = {"reading": {"row": 0.0, "letters": 1e-3}}
    why = reading_fault(told, NOISE)
    assert "letters' logits" in why
    start = first_stage([_route(False, norm=1e-6)], NOISE, why)
    assert start is not None
    assert (start.stage, start.why) == ("reading", why)
    assert reading_fault({"reading": {"row": 0.0, "letters": STEP, "reported": 2 * STEP}}, NOISE) == ""
    assert "token 0" in reading_fault({"reading": {}, "wrote": "token 0 is another"}, NOISE)


def test_a_side_is_not_its_own_excuse() -> None:
    """A fault that shows in company only makes that side's company loud; the other's bounds it."""
    quiet, loud = [_off(norm=1e-6)], [_off(norm=1e-2)]
    noise = noise_of("float32", (quiet, loud), ({}, {}), {}, bounded=True)
    assert noise.plain["norm"][1] == pytest.approx(3e-6)
    free = noise_of("bfloat16", (quiet, loud), ({}, {}), {}, bounded=False)
    assert free.plain["norm"][1] == 1e-2


def _together(off: list[Distance], own: list[Distance]) -> StageNoise:
    """The noise of two sides that are alike, and B's distances from A at the final norm."""
    kinds = {"all states disturbed": [{"norm": each} for each in own]}
    return noise_of(
        "float32", ([], []), (kinds, kinds), {}, bounded=True, off=[{"norm": each} for each in off]
    )


OWN = [Distance(1e-5, 1e-5, 0, 9, along) for along in (-1e-6, 1e-6) * 4]


@pytest.mark.parametrize(
    ("off", "cases", "named"),
    [
        (Distance(1.1e-5, 1.1e-5, 0, 9, 1e-6), 8, None),
        (
            Distance(1.3e-5, 1.3e-5, 0, 9, 0.0),
            8,
            "norm",
        ),  # each within twice its noise, all of them beyond it
        (Distance(1.0e-5, 1.0e-5, 0, 9, -3e-6), 8, "norm"),  # no louder, but each time in one direction
        (Distance(1.3e-5, 1.3e-5, 0, 9, -3e-6), 3, None),  # too few to tell
    ],
)
def test_what_no_case_shows_alone_several_show_together(off: Distance, cases: int, named: str | None) -> None:
    route = Route(name="B resynced", distances={"norm": off}, local=True)
    start = first_stage([route], _together([off] * cases, OWN))
    assert (None if start is None else start.stage) == named
    assert start is None or ("over 8 cases together" in start.why and start.born)


def test_a_case_that_is_off_by_less_bears_no_part_in_what_others_show() -> None:
    noise = _together([Distance(1.0, 1.0, 0, 9, 1.0)] * 8, OWN)
    small = Distance(1e-6, 1e-6, 0, 9)
    assert first_stage([Route(name="B resynced", distances={"norm": small}, local=True)], noise) is None
    # Nor does a plain pass, which inherits.
    half = Distance(2e-6, 2e-6, 0, 9)
    assert beyond(Route(name="alone", distances={"norm": half}), replace(noise, plain=NOISE.plain)) == []


def test_re_synchronised_a_side_is_no_more_than_half_as_loud_again_as_the_other() -> None:
    quiet, loud = {"x": [_off(norm=1e-6)]}, {"x": [_off(norm=1e-2)]}
    assert noise_of("float32", ([], []), (quiet, loud), {}, bounded=True).local["norm"][1] == 1.5e-6


def test_rounding_has_no_direction_and_a_longer_state_has() -> None:
    drawn = np.random.default_rng(3)
    rows, noise = drawn.normal(size=(200, 64)), 0.01 * drawn.normal(size=(200, 64))
    assert apart(_sketch(rows), _sketch(1.01 * rows)).along == pytest.approx(0.01)
    rounded = apart(_sketch(rows), _sketch(rows + noise))
    assert rounded.whole == pytest.approx(0.01, rel=0.1)
    assert abs(rounded.along) < 0.001


def test_other_ids_are_another_question_and_other_logits_are_not() -> None:
    assert asked_alike({"ids": Distance(0.0, 0.0), "logits": Distance(math.inf, math.inf)})
    assert not asked_alike({"ids": Distance(math.inf, math.inf, 3, 9)})


def test_a_stage_without_noise_may_be_off_by_steps_of_its_dtype() -> None:
    limits = StageNoise(dtype="float32", plain={}, local={}).limits("norm", local=False, times=3.0)
    assert list(limits) == pytest.approx([3 * STEP / 4, 3 * STEP])


def _sketch(rows: np.ndarray, shape: tuple[int, ...] | None = None) -> Sketch:
    norms = np.linalg.norm(rows, axis=1)
    return Sketch(shape or rows.shape, norms=norms, sums=rows @ signs(rows.shape[1], SUMS))


def _trace(ids: list[int], rows: np.ndarray, logits: np.ndarray | None = None) -> Trace:
    stages: dict[str, Sketch] = {"ids": Sketch((len(ids),), exact=np.array(ids)), "norm": _sketch(rows)}
    if logits is not None:
        stages["logits"] = _sketch(logits)
    return Trace(stages=stages)


def test_a_small_branch_does_not_hide_behind_a_large_residual() -> None:
    drawn = np.random.default_rng(1)
    base, added = 1e3 * drawn.normal(size=(5, 64)), drawn.normal(size=(5, 64))
    a = Trace(stages={"inputs": _sketch(base), "layer.0.attention": _sketch(base + added)})
    b = Trace(stages={"inputs": _sketch(base), "layer.0.attention": _sketch(base + 1.1 * added)})
    assert distances(a, b)["layer.0.attention"].worst < 1e-3
    assert distances(a, b, local=True)["layer.0.attention"].worst == pytest.approx(0.1, rel=0.6)


def test_rows_behind_another_generated_id_are_another_question() -> None:
    drawn = np.random.default_rng(2)
    rows, logits = drawn.normal(size=(6, 64)), drawn.normal(size=(3, 64))
    other = rows.copy()
    other[5] += 1.0
    a = _trace([1, 2, 3, 4, 7, 8], rows, logits)
    b = _trace([1, 2, 3, 4, 7, 9], other, logits)
    found = distances(*alike(a, b, 4))
    assert (found["ids"].whole, found["norm"].whole, found["logits"].rows) == (0.0, 0.0, 2)
    # In the prompt another id is the question itself, and is not cut away.
    assert distances(*alike(_trace([9, 2, 3, 4, 7, 8], rows), b, 4))["ids"].whole == math.inf


def test_shapes_that_differ_are_no_distance_but_unequal_lengths_end_alike() -> None:
    rows = np.random.default_rng(4).normal(size=(6, 64))
    assert apart(_sketch(rows), _sketch(rows[1:])).whole < 1e-12
    tiles = _sketch(rows, (2, 3, 64)), _sketch(rows[:3], (1, 3, 64))
    assert apart(*tiles).whole == math.inf


def test_stage_names_are_kept_in_the_order_of_a_pass() -> None:
    found: Mapping[str, Distance] = _off(norm=1.0, patch=1.0, layer_0_mlp=1.0)
    assert beyond(Route(name="alone", distances=found), NOISE) == ["patch", "layer.0.mlp", "norm"]

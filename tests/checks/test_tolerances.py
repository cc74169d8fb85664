"""The table of limits, and how overrides are laid over it."""

from __future__ import annotations

import math

import pytest

from harness.checks.tolerances import DEFAULTS, NAMES, Tolerances, resolve


def test_a_coarser_dtype_never_has_a_tighter_limit() -> None:
    for name in NAMES:
        limits = [getattr(DEFAULTS[dtype], name) for dtype in ("float32", "float16", "bfloat16")]
        assert limits == sorted(limits), name
        assert limits[0] > 0, name


def test_float32_asks_for_five_digits_of_a_probability() -> None:
    assert DEFAULTS["float32"].probability == 1e-5


def test_limits_hold_what_was_measured() -> None:
    """Each measured worst from the table's reasons passes with room, and ten times as much does not."""
    measured = {"float32": (4e-6, 2.9e-6), "float16": (1.5e-3, 3e-3), "bfloat16": (1.45e-2, 0.025)}
    for dtype, (probability, logprob) in measured.items():
        limits = DEFAULTS[dtype]
        assert probability < limits.probability < 10 * probability
        assert logprob < limits.logprob < 10 * logprob


def test_the_loosest_dtype_decides() -> None:
    assert resolve("float32", "bfloat16") == DEFAULTS["bfloat16"]
    assert resolve("float32") == DEFAULTS["float32"]


def test_later_overrides_win_and_may_tighten() -> None:
    profile, suite, case = {"kl": 1.0, "js": 0.5}, {"kl": 2.0}, {"probability": 0.0}
    limits = resolve("float16", overrides=[profile, suite, case])
    assert (limits.kl, limits.js, limits.probability) == (2.0, 0.5, 0.0)
    assert limits.logprob == DEFAULTS["float16"].logprob


def test_loosening_a_probability_loosens_log_odds_unless_they_are_named() -> None:
    table = DEFAULTS["float32"]
    loose = resolve("float32", overrides=[{"probability": 10 * table.probability}])
    assert loose.log_odds == pytest.approx(10 * table.log_odds)
    assert resolve("float32", overrides=[{"probability": 0.1, "log_odds": 1e-6}]).log_odds == 1e-6
    assert resolve("float32", overrides=[{"probability": 1e-9}]).log_odds == table.log_odds


@pytest.mark.parametrize("value", [-1e-9, math.nan, math.inf])
def test_a_limit_that_never_or_always_holds_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="tolerance kl"):
        resolve("float32", overrides=[{"kl": value}])


def test_unknown_names_and_dtypes_are_refused() -> None:
    with pytest.raises(ValueError, match="found tolerance klx; allowed: probability"):
        resolve("float32", overrides=[{"klx": 1.0}])
    with pytest.raises(ValueError, match="found dtype int4; allowed: float32"):
        resolve("float32", "int4")
    with pytest.raises(ValueError, match="found dtype none"):
        resolve()


def test_the_names_are_the_fields() -> None:
    assert {*NAMES, "source", "step"} == set(Tolerances.__dataclass_fields__)


def test_what_was_measured_takes_the_tables_place_and_overrides_win() -> None:
    found = resolve("float32", measured={"kl": 0.5, "log_odds": 0.25}, overrides=[{"kl": 0.125}])
    assert (found.kl, found.log_odds) == (0.125, 0.25)
    assert found.probability == DEFAULTS["float32"].probability


@pytest.mark.parametrize("dtype", list(DEFAULTS))
def test_a_log_probability_may_move_by_steps_of_the_dtype_where_logits_are_large(dtype: str) -> None:
    limits = resolve(dtype)
    steps = {"float32": 16 * 2**-19, "float16": 2**-6, "bfloat16": 2**-3}[dtype]  # from 16 to 32
    assert limits.logprob_at(0.0) == limits.logprob_at(8.0) == limits.logprob
    assert limits.logprob_at(31.0) == max(limits.logprob, steps)
    assert limits.logprob_at(64.0) == 4 * steps
    assert limits.logprob_at(-64.0) == 4 * steps


def test_the_limit_holds_what_a_model_of_30_layers_showed() -> None:
    """SmolLM2-135M between batches and kernels, and a head of it scaled by 1.01."""
    assert 3.44e-5 < resolve("float32").logprob_at(33.0) < 0.004


def test_a_log_probability_that_is_said_or_measured_holds_for_logits_of_any_size() -> None:
    assert resolve("float32", overrides=[{"logprob": 1e-6}]).logprob_at(64.0) == 1e-6
    assert resolve("float32", measured={"logprob": 1e-6}).logprob_at(64.0) == 1e-6
    assert resolve("float32", overrides=[{"kl": 1.0}]).logprob_at(64.0) > 2e-5
    assert resolve("float32", "bfloat16").logprob_at(64.0) == resolve("bfloat16").logprob_at(64.0)

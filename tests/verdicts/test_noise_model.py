"""From noise floors to the noise between two sides."""

from __future__ import annotations

import math
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

from harness.checks.log_odds import REST
from harness.verdicts import noise_model
from harness.verdicts.noise_floor import UNDISTURBED, CaseNoise, NoiseFloor
from harness.verdicts.noise_model import LETTERS, CaseKey, Noise, dtype_step, quieter
from harness.verdicts.scale import scale_of
from tests.verdicts.changes import TABLE, Floats, floor_of, noise_of

SIGMA = 0.05


def _floor(
    seed: int, *, cases: int = 60, runs: int = 9, scale: float = 1.0, tail: float = math.inf
) -> NoiseFloor:
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 3, (cases, 4))

    def moved() -> Floats:
        raw = rng.normal(0, 1, truth.shape) if tail == math.inf else rng.standard_t(tail, truth.shape)
        moved: Floats = truth + SIGMA * scale * raw
        return moved

    return floor_of(truth, [moved() for _ in range(runs)])


def test_sigma_is_that_of_the_noise_of_both_sides() -> None:
    floor = _floor(1)
    sigmas = [noise_of(floor).of(case, "asked").sigma for case in floor.cases]
    assert np.mean(sigmas) == pytest.approx(SIGMA * math.sqrt(2), rel=0.05)
    quiet = Noise(floor, _floor(1, scale=1e-4), dtypes=("bfloat16", "bfloat16"), table=TABLE)
    assert np.mean([quiet.of(case, "asked").sigma for case in floor.cases]) == pytest.approx(SIGMA, rel=0.05)


def test_few_runs_give_no_tiny_sigma() -> None:
    floor = _floor(2)
    case = floor.cases["s.c0"]
    still = replace(case, runs=dict.fromkeys(case.runs, case.reference))
    floor = replace(floor, cases={**floor.cases, "s.c0": still})
    assert noise_of(floor).of("s.c0", "asked").sigma > 0.3 * SIGMA * math.sqrt(2)


def test_runs_that_disturb_nothing_do_not_make_noise_look_small() -> None:
    floor = _floor(3, runs=4)
    padded = {
        name: replace(case, runs={**case.runs, "repeat": case.reference, "same as run-1": case.runs["run-1"]})
        for name, case in floor.cases.items()
    }
    pair = noise_of(replace(floor, cases=padded))
    assert pair.of("s.c0", "asked") == noise_of(floor).of("s.c0", "asked")
    assert "4 telling runs of 6" in pair.words


def test_quiet_runs_say_nothing_of_how_loud_noise_is() -> None:
    rng = np.random.default_rng(12)
    truth = rng.normal(0, 3, (60, 4))
    loud = [truth + SIGMA * rng.normal(0, 1, truth.shape) for _ in range(3)]
    quiet = [truth + 0.3 * SIGMA * rng.normal(0, 1, truth.shape) for _ in range(6)]
    alone, padded = noise_of(floor_of(truth, loud)), noise_of(floor_of(truth, [*quiet, *loud]))
    assert padded.of("s.c0", "asked") == alone.of("s.c0", "asked")
    assert "3 telling runs of 9" in padded.words


def test_runs_that_share_their_rounding_count_once() -> None:
    rng = np.random.default_rng(13)
    truth = rng.normal(0, 3, (60, 4))
    kernels = [truth + SIGMA * rng.normal(0, 1, truth.shape) for _ in range(2)]
    alike = [kernels[0] + 0.1 * SIGMA * rng.normal(0, 1, truth.shape) for _ in range(6)]
    assert "2 telling runs of 8" in noise_of(floor_of(truth, [*kernels, *alike])).words


def test_a_case_that_was_edited_is_as_loud_as_is_typical_and_not_measured() -> None:
    pair = noise_of(_floor(4))
    found = pair.of("s.c0", "another question")
    assert not found.measured
    assert found.sigma == pytest.approx(SIGMA * math.sqrt(2), rel=0.1)
    assert found.freedom < pair.of("s.c0", "asked").freedom
    assert pair.of("s.unknown", "asked") == found


def test_without_floors_the_table_applies_and_says_so() -> None:
    pair = Noise(None, None, dtypes=("float32", "float32"), table=TABLE)
    assert pair.words == "the table's 1 on log-odds, no noise floor being there"
    assert not pair.measured
    found = pair.of("s.c0", "asked")
    assert found.sigma == pytest.approx(TABLE / 4)
    assert 2 * found.seen == pytest.approx(TABLE)


def test_a_side_without_a_floor_is_as_noisy_as_the_other_in_the_same_dtype_only() -> None:
    floor = _floor(5)
    lent = Noise(floor, None, dtypes=("bfloat16", "bfloat16"), table=TABLE)
    assert lent.of("s.c0", "asked") == noise_of(floor).of("s.c0", "asked")
    assert lent.words == "the noise floor of p/a, bfloat16, 2026-11-25, 9 telling runs of 9"
    other = Noise(floor, None, dtypes=("bfloat16", "float16"), table=TABLE)
    assert not other.of("s.c0", "asked").measured
    assert other.words.startswith("baseline: the noise floor of p/a, ")
    assert "; candidate: the table's" in other.words


def test_exact_repeats_leave_room_for_the_last_bit() -> None:
    floor = _floor(6, runs=2, scale=0.0)
    found = noise_of(floor).of("s.c0", "asked")
    assert found.sigma >= 2.0**-23
    assert math.isfinite(found.sigma)


def test_heavy_tails_are_seen() -> None:
    light, heavy = _floor(7, cases=200), _floor(7, cases=200, tail=3)
    freedoms = [noise_of(floor).of("s.c0", "asked").freedom for floor in (light, heavy)]
    assert freedoms[0] > 30
    assert freedoms[1] < 8


def test_a_reference_in_float32_is_known_and_an_own_run_is_none() -> None:
    floor = _floor(8)
    assert noise_of(floor).reference("s.c0", "asked") == floor.cases["s.c0"].reference
    assert noise_of(floor).reference("s.c0", "another question") is None
    assert noise_of(_own(floor)).reference("s.c0", "asked") is None


def _own(floor: NoiseFloor, **names: str) -> NoiseFloor:
    """The floor as one that has no reference but its undisturbed run; ``names`` are new ones of runs."""
    cases = {
        name: replace(
            case,
            runs={
                names.get(run.replace("-", "_"), run): v for run, v in case.runs.items() if run != UNDISTURBED
            },
        )
        for name, case in floor.cases.items()
    }
    return replace(floor, cases=cases)


def test_noise_within_one_kernel_is_no_less_than_the_tables() -> None:
    own = _own(_floor(9, scale=0.1))
    within = noise_of(own)
    assert within.of("s.c0", "asked").sigma == pytest.approx(TABLE / 4)
    assert "noise within one kernel only" in within.words
    other = noise_of(_own(_floor(9, scale=0.1), run_1="attention-eager"))
    assert other.of("s.c0", "asked").sigma < TABLE / 20
    assert "one kernel" not in other.words


def test_no_sigma_is_under_the_step_of_the_dtype_at_the_size_of_the_logits() -> None:
    noise = noise_of(_floor(10, scale=1e-3))
    found = noise.over([CaseKey("s.c0", "asked", largest=20.0)])[LETTERS]
    step = 0.125  # of bfloat16 from 16 to 32
    assert dtype_step("bfloat16", 20.0) == step
    assert math.sqrt(found.variances[0, 0]) == pytest.approx(step / math.sqrt(12))
    assert dtype_step("bfloat16+float32", 20.0) == step
    assert dtype_step("float32", 1.5) == 2.0**-23


def test_two_floors_are_two_estimates_and_the_louder_ones_runs_are_looked_at() -> None:
    loud, quiet = _floor(11), replace(_floor(12, scale=0.1), engine="b")
    key = [CaseKey(name, "asked") for name in loud.cases]
    both = Noise(quiet, loud, dtypes=("bfloat16", "bfloat16"), table=TABLE).over(key)[LETTERS]
    assert both.share.mean() > 0.9
    assert both.variance.mean() == pytest.approx(SIGMA**2 * 1.01, rel=0.1)
    assert quieter(loud, quiet)[0] is quiet
    assert quieter(loud, quiet)[1] == pytest.approx(10, rel=0.2)
    assert quieter(quiet, loud)[0] is quiet


def test_the_rest_has_a_noise_of_its_own_or_the_tables() -> None:
    rng = np.random.default_rng(13)
    truth = rng.normal(0, 3, (60, 4))
    rest = rng.normal(-4, 1, 60)
    runs = [truth + SIGMA * rng.normal(0, 1, truth.shape) for _ in range(9)]
    rests = [rest + 0.2 * rng.normal(size=60) for _ in range(9)]
    key = [CaseKey(f"s.c{i}", "asked") for i in range(60)]
    found = noise_of(floor_of(truth, runs, rest=(rest, rests))).over(key)[REST]
    assert found.variances[0].mean() == pytest.approx(0.2**2, rel=0.1)
    assert not found.table
    without = noise_of(floor_of(truth, runs)).over(key)[REST]
    assert without.table == TABLE
    # What is left is too little for a recording to tell: its log-odds are anything.
    tiny = noise_of(floor_of(truth, runs, rest=(rest, rests))).over([CaseKey("s.c0", "asked", rest=-18.0)])
    assert tiny[REST].variances[0, 0] > 1


def test_unseen_letters_are_left_out() -> None:
    case = CaseNoise(asked="asked", reference=(1.0, -1.0, math.nan), runs={"batch-1": (1.1, -1.1, math.nan)})
    floor = replace(_floor(11, cases=2), cases={"s.c0": case})
    assert noise_of(floor).of("s.c0", "asked").seen == pytest.approx(0.1 * math.sqrt(2))


def test_asking_for_each_case_of_a_suite_makes_one_scale_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    floor = _floor(13)
    noise, made = noise_of(floor), mock.Mock(wraps=scale_of)
    monkeypatch.setattr(noise_model, "scale_of", made)
    found = [noise.of(case, "asked") for case in floor.cases]
    assert made.call_count == 1
    together = noise_of(floor).over([CaseKey(case, "asked") for case in floor.cases])[LETTERS]
    assert [one.sigma**2 for one in found] == pytest.approx(list(together.variance))
    assert [one.freedom for one in found] == pytest.approx(list(together.freedom))


def test_a_quiet_case_alone_is_held_to_the_step_at_1_and_the_suite_to_those_of_its_own_logits() -> None:
    floor = _floor(14)
    case = replace(floor.cases["s.c0"], reference=(30.0, -10.0, -10.0, -10.0))
    still = replace(case, runs=dict.fromkeys(case.runs, case.reference))
    noise = noise_of(replace(floor, cases={**floor.cases, "s.c0": still}))
    together = noise.over([CaseKey("s.c0", "asked", largest=30.0)])[LETTERS]
    assert math.sqrt(together.variances[0, 0]) == pytest.approx(0.125 / math.sqrt(12))
    assert noise.of("s.c0", "asked").sigma < math.sqrt(together.variance[0])

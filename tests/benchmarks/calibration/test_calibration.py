"""The calibration: samples, planted effects, tables; and a judge that is broken is caught by it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.calibration import command
from benchmarks.calibration.effects import EFFECTS, lose, move, spread
from benchmarks.calibration.jitter import clean_runs, floor_runs
from benchmarks.calibration.page import PAGE, Circumstances, clean_table, effect_table, missed, with_tables
from benchmarks.calibration.rates import Interval, Rate, Source, clean_rate, effect_rates
from benchmarks.calibration.recording import ENGINES, Recorded, read
from benchmarks.calibration.replays import Replays
from benchmarks.calibration.sample import Sample
from benchmarks.calibration.simulation import World
from harness.checks.log_odds import difference
from harness.errors import HarnessError
from harness.verdicts.noise_floor import PairNoise
from harness.verdicts.noise_model import Noise
from harness.verdicts.rules import TESTS

NOW = Circumstances(
    date="2000-01-01", machine="CPU", command="a command", seed=1, recorded="then with another on a machine"
)


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return read()


@pytest.fixture
def sample() -> Sample:
    return World().drawn(np.random.default_rng(0), 30)


def _rate(found: int, *, promised: float | None = None, source: str = "torch twice") -> Rate:
    what = "clean" if promised is None else "spread 2 times the noise"
    return Rate(
        source=source,
        what=what,
        cases=20,
        replays=100,
        found=found,
        alarms=found,
        promised=promised,
        by_test=dict.fromkeys(TESTS, found),
    )


class TestRecorded:
    def test_all_engines_on_all_cases(self, recorded: Recorded) -> None:
        assert set(recorded.engines) == set(ENGINES)
        assert len(recorded.cases) == 88
        for name, (kind, _, count) in ENGINES.items():
            engine = recorded.engines[name]
            assert len(engine.clean) == count
            assert set(engine.floor) == {run.name for run in floor_runs(kind)}
            runs = [engine.reference, *engine.floor.values(), *engine.clean.values()]
            assert {len(run) for run in runs} == {88}
            for case, row in zip(recorded.cases, engine.reference, strict=True):
                assert len(row) == len(case.letters)
                assert sum(row) == pytest.approx(0, abs=1e-4)

    def test_no_clean_run_is_one_of_the_floor(self) -> None:
        floor = {(run.batch, run.seed) for run in floor_runs("torch")}
        clean = clean_runs("torch", 30, seed=1)
        assert not floor & {(run.batch, run.seed) for run in clean}
        assert len({run.seed for run in clean}) == 30
        assert clean == clean_runs("torch", 30, seed=1) != clean_runs("torch", 30, seed=2)

    def test_a_sample_has_as_many_cases_and_clusters_of_their_own(self, recorded: Recorded) -> None:
        replays = Replays(recorded, "torch-bfloat16", "torch-bfloat16")
        drawn = replays.drawn(np.random.default_rng(1), 60)
        names = [case.name for case in drawn.cases]
        assert len(set(names)) == 60
        assert len({name.partition("#")[0] for name in names}) < 60  # with replacement
        assert drawn.before != drawn.after
        assert all(noise.measured for noise in drawn.ground.pair_noise)

    def test_what_is_scaled_has_the_spread_that_is_asked_for(self, recorded: Recorded) -> None:
        replays = Replays(recorded, "torch-bfloat16", "torch-bfloat16")
        rng = np.random.default_rng(2)
        found = []
        for _ in range(12):
            loud = replays.loud(rng, 60)
            assert loud.typical >= 0.2
            wide = spread(loud, 2.0 / loud.typical)
            found.append(np.mean(wide.numbers.roots) / wide.ground.shape.root)
        assert np.mean(found) == pytest.approx(2.0, rel=0.1)


class TestEffects:
    def test_spread(self, sample: Sample) -> None:
        wide = spread(sample, 3.0)
        for old, near, far in zip(sample.before, sample.after, wide.after, strict=True):
            assert difference(old, far) == pytest.approx([3 * x for x in difference(old, near)])

    def test_move(self, sample: Sample) -> None:
        moved = move(sample, 0.5)
        for case, noise, old, new in zip(
            sample.cases, sample.ground.pair_noise, sample.after, moved.after, strict=True
        ):
            shift = difference(old, new)[case.letters.index(case.expect)]
            assert shift == pytest.approx(0.5 * noise.sigma)

    def test_lose(self, sample: Sample) -> None:
        rng = np.random.default_rng(0)
        assert lose(sample, 0.0, rng, right_only=True).after == sample.after
        numbers = lose(sample, 1.0, rng, right_only=True).numbers
        assert numbers.lost == len(numbers.losing)
        assert numbers.gained <= 1
        numbers = lose(sample, 1.0, rng, right_only=False).numbers
        assert numbers.flipped == len(numbers.chances)

    def test_the_tests_alone_alarm_where_the_judge_does(self, sample: Sample) -> None:
        for each in (
            sample,
            spread(sample, 3.0),
            lose(sample, 0.3, np.random.default_rng(1), right_only=True),
        ):
            assert any(test.found for test in each.tested()) == (
                each.judged().verdict in ("DRIFT", "REGRESSION")
            )


class TestJudge:
    def test_clean_samples_are_seldom_alarms(self, recorded: Recorded) -> None:
        replays = Replays(recorded, "torch-bfloat16", "lmdeploy-bfloat16")
        source = Source(name="recorded", draw=replays.drawn)
        assert clean_rate(source, 20, 40, np.random.default_rng(1)).found <= 2
        simulated = Source(name="simulated", draw=World().drawn)
        assert clean_rate(simulated, 20, 60, np.random.default_rng(2)).found <= 3

    def test_doubled_noise_is_found_in_twenty_cases(self) -> None:
        source = Source(name="simulated", draw=World().drawn)
        effects = [effect for effect in EFFECTS if effect.words == "spread 2 times the noise"]
        (rate,) = effect_rates(source, effects, 20, 40, np.random.default_rng(3))
        assert rate.share >= 0.9
        assert rate.promised is not None
        assert rate.promised > 0.9

    def test_a_judge_that_takes_half_of_sigma_is_caught(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = Noise.of

        def halved(self: Noise, case: str, asked: str) -> PairNoise:
            noise = whole(self, case, asked)
            return replace(noise, sigma=noise.sigma / 2)

        source = Source(name="simulated", draw=World().drawn)
        sound = clean_rate(source, 40, 30, np.random.default_rng(4))
        monkeypatch.setattr(Noise, "of", halved)
        broken = clean_rate(source, 40, 30, np.random.default_rng(4))
        assert not missed([sound])
        assert broken.found > 10
        assert missed([broken])


class TestTables:
    def test_the_interval_is_exact(self) -> None:
        # Of none in n the upper end is 1 - (α/2)^(1/n).
        assert Interval.of(0, 400) == pytest.approx((0.0, 1 - 0.025 ** (1 / 400)))
        assert Interval.of(5, 100) == pytest.approx((0.0164, 0.1128), abs=1e-4)

    def test_missed_targets_are_told(self) -> None:
        assert missed([_rate(1), _rate(0)]) == []
        assert "4 false alarms in 200 recorded clean samples" in missed([_rate(3), _rate(1)])[0]
        assert missed([_rate(95, promised=0.93)]) == []
        assert missed([_rate(86, promised=0.93)]) == []  # of a hundred, that leaves it open
        assert "| open |" in effect_table([_rate(86, promised=0.93)])[2]
        assert "found 0.80, promised 0.93" in missed([_rate(80, promised=0.93)])[0]
        assert "| NO |" in clean_table([_rate(3)])[2]
        assert "| NO |" in effect_table([_rate(80, promised=0.93)])[2]

    def test_the_page_has_a_place_for_them(self) -> None:
        page = PAGE.read_text()
        text = with_tables(page, [_rate(0), _rate(80, promised=0.93)], NOW)
        assert "2000-01-01, `a command`, seed 1" in text
        assert "- spread 2 times the noise, torch twice, 20 cases: found 0.80, promised 0.93" in text
        assert with_tables(text, [_rate(0), _rate(80, promised=0.93)], NOW) == text
        with pytest.raises(HarnessError, match="found no place for what is written"):
            with_tables("# Nothing", [], NOW)

    def test_the_command(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        sources = [Source(name="simulated normal noise", draw=World().drawn)]
        monkeypatch.setattr(command, "sources", lambda _: sources)
        status = command.main(["judge", "--clean", "3", "--planted", "2"])
        printed = capsys.readouterr()
        assert status == (1 if "missed: " in printed.err else 0)
        assert "| simulated normal noise | 88 | 3 |" in printed.out
        assert "| spread 2 times the noise | simulated normal noise | 20 | 2 |" in printed.out

    def test_a_file_of_another_version_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("benchmarks.calibration.recording._VERSION", 99)
        assert command.main(["judge"]) == 2
        assert "found version 1; allowed: 99" in capsys.readouterr().err

"""The calibration: samples, planted effects, tables; and a judge that is broken is caught by it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.calibration import command
from benchmarks.calibration.effects import EFFECTS, Found, found, lose, move, spread
from benchmarks.calibration.jitter import clean_runs, floor_runs
from benchmarks.calibration.page import (
    PAGE,
    Circumstances,
    Counted,
    closing,
    missed,
    open_targets,
    tables,
    with_tables,
)
from benchmarks.calibration.rates import CELLS, LARGE, Cell, Interval, Tallies, Tally, random_of, tally
from benchmarks.calibration.recording import ENGINES, Recorded, read
from benchmarks.calibration.replays import CLEAN_PAIRS, Replays
from benchmarks.calibration.sameness import SAME_CELLS, shown
from benchmarks.calibration.sample import sample_of
from benchmarks.calibration.worlds import Drawn, World, worlds
from harness.errors import HarnessError
from harness.verdicts.judging import judge_looks
from harness.verdicts.noise_model import CaseKey, KindNoise, Noise
from harness.verdicts.verdict import ExitStatus

NOW = Circumstances(date="2000-01-01", command="a command", seed=1, recorded="then with another")
WORLDS = {world.name: world for world in worlds()}
NORMAL = Cell(WORLDS["normal, 9 runs, float32"], 40)


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return read()


@pytest.fixture
def drawn() -> Drawn:
    return NORMAL.world.drawn(np.random.default_rng(0), 40)


def _tally(cell: Cell, alarms: int, samples: int = 200) -> Tally:
    by_test = Counter({"spread": alarms} if alarms else {})
    words = Counter({"DRIFT": alarms, "INCONCLUSIVE": 3, "SAME": samples - alarms - 3})
    return Tally(
        name=cell.name, cases=cell.cases, samples=samples, alarms=alarms, by_test=by_test, words=words
    )


def _counted(*alarms: int, own: int = 180, same: int = 5) -> Counted:
    """Cells with so many ``alarms`` of 200, an effect promised in 90% and found in ``own`` of 200."""
    power = Found(words="spread × 2", law="normal", runs=9, cases=40, samples=200, own=own, promised=0.9)
    (at_margin,) = shown(SAME_CELLS[:1], 0, seed=1)
    at_margin.samples, at_margin.shown = 100, same
    return Counted(
        grid=[(cell, _tally(cell, count)) for cell, count in zip(CELLS, alarms, strict=False)],
        large=[_tally(LARGE[0], 0)],
        replays=[Tally(name="torch twice, 20 cases", cases=20, samples=50)],
        power=[power],
        same=[at_margin],
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

    @pytest.mark.parametrize("pair", CLEAN_PAIRS)
    def test_a_replay_has_as_many_cases_and_is_no_alarm(
        self, recorded: Recorded, pair: tuple[str, str]
    ) -> None:
        replays = Replays(recorded, *pair)
        sample = replays.drawn(random_of(1, replays.name, 0), 60)
        names = {look.change.case for look in sample.looks}
        clusters = {look.change.cluster for look in sample.looks}
        assert len(names) == 60
        assert len(clusters) < 60
        assert {look.change.expect for look in sample.looks} > {"A", "B"}
        assert all(look.rest is None for look in sample.looks)
        assert "telling runs of 9" in sample.noise.words
        found = tally(replays.name, 60, lambda rng: replays.drawn(rng, 60), first=0, last=8, seed=1)
        assert found.alarms == 0


class TestEffects:
    def test_spread(self, drawn: Drawn) -> None:
        wide = spread(drawn, 3.0)
        near, far = (side.after.logits - side.before.logits for side in (drawn, wide))
        assert far == pytest.approx(3 * near)

    def test_move(self, drawn: Drawn) -> None:
        before, after = (sample_of(side) for side in (drawn, move(drawn, 0.5)))
        for old, new in zip(before.looks, after.looks, strict=True):
            assert new.expected_move - old.expected_move == pytest.approx(0.5 * 0.024 * 2**0.5)

    def test_lose(self, drawn: Drawn) -> None:
        right = np.flatnonzero(drawn.before.logits.argmax(1) == 0)
        looks = sample_of(lose(drawn, right)).looks
        assert sum(look.right == (True, False) for look in looks) == len(right)
        untouched = lose(drawn, right[:0])
        assert np.array_equal(untouched.after.logits, drawn.after.logits)

    def test_doubled_noise_is_found_as_promised_and_fails_nothing_within_the_margin(self) -> None:
        effects = [effect for effect in EFFECTS if effect.words in ("nothing", "spread × 2")]
        nothing, doubled = found(NORMAL, effects, 8, seed=1, plans=1)
        assert (nothing.alarms, nothing.promised) == (0, None)
        assert doubled.own == doubled.alarms == 8
        assert doubled.failed <= 1
        assert doubled.promised is not None
        assert doubled.promised > 0.95


class TestJudge:
    def test_clean_samples_are_seldom_alarms(self) -> None:
        for name in ("normal, 1 run, own run", "kernels, 2 runs, float32", "another token as probable, 20%"):
            for world in [WORLDS[own] for own in WORLDS if own.startswith(name)][:2]:
                cell = Cell(world, 40)
                assert tally(cell.name, 40, cell.sample, first=0, last=10, seed=1).alarms <= 1

    def test_a_judge_that_takes_half_of_the_noise_is_caught(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = Noise.over

        def halved(self: Noise, cases: list[CaseKey]) -> dict[str, KindNoise]:
            kinds = whole(self, cases)
            # As if the floor's runs had been half as far from the reference.
            return {
                kind: replace(
                    noise,
                    variances=noise.variances / 4,
                    squares=noise.squares / 4,
                    without=noise.without / 4,
                    moves=noise.moves / 2,
                    typical=noise.typical / 4,
                )
                for kind, noise in kinds.items()
            }

        sound = tally(NORMAL.name, 40, NORMAL.sample, first=0, last=12, seed=1)
        monkeypatch.setattr(Noise, "over", halved)
        broken = tally(NORMAL.name, 40, NORMAL.sample, first=0, last=12, seed=1)
        assert not missed(_counted()._replace(grid=[(NORMAL, sound)]))
        assert broken.alarms == 12
        told = missed(_counted()._replace(grid=[(NORMAL, broken)]))
        assert any(sentence.startswith(f"{NORMAL.name}: 12 of 12") for sentence in told)
        assert NORMAL.name in closing(_counted()._replace(grid=[(NORMAL, broken)]))

    def test_same_at_the_margin_is_seldom_said(self) -> None:
        for cell in shown(SAME_CELLS[:2], 10, seed=1):
            assert cell.shown <= 2

    def test_a_long_count_goes_on_where_it_stopped(self, tmp_path: Path) -> None:
        cell, file = Cell(WORLDS["t, 4 degrees, 1 run, float32"], 10), tmp_path / "tallies.jsonl"
        for upto in (2, 4, 4):
            Tallies(file, seed=3).upto(cell.name, 10, cell.sample, upto)
        Tallies(file, seed=4).upto(cell.name, 10, cell.sample, 1)
        assert len(file.read_text().splitlines()) == 3
        kept = Tallies(file, seed=3).by_name[cell.name]
        assert kept == tally(cell.name, 10, cell.sample, first=0, last=4, seed=3)


class TestTables:
    def test_the_interval_is_exact(self) -> None:
        # Of none in n the upper end is 1 - (α/2)^(1/n).
        assert Interval.of(0, 400) == pytest.approx((0.0, 1 - 0.025 ** (1 / 400)))
        assert Interval.of(5, 100) == pytest.approx((0.0164, 0.1128), abs=1e-4)
        assert Interval.of(3, 3)[1] == 1.0

    def test_the_grid_is_what_it_says(self) -> None:
        sizes = Counter(cell.cases for cell in CELLS)
        assert sizes[40] == sizes[200] == len(WORLDS)
        assert sizes[10] == sizes[1000] == 12 * 8
        assert len(LARGE) == 3
        assert {world.runs for world in WORLDS.values()} == {1, 2, 3, 9}
        assert all(isinstance(world, World) for world in WORLDS.values())

    def test_missed_targets_are_told(self) -> None:
        fine = _counted(1, 0, 2, 0)
        assert (missed(fine), open_targets(fine)) == ([], [])
        bad = _counted(20, 0, 2, 0)
        told = missed(bad)
        assert f"{CELLS[0].name}: 20 of 200, 10.00%" in " ".join(told)
        assert any(sentence.startswith("normal: 22 of 800") for sentence in told)
        assert f"The worst is {CELLS[0].name}: 20 of 200" in closing(bad)
        assert "1 of 4 cells (25.0%)" in closing(bad)
        few = _counted(5, 0, 0, 0)
        assert missed(few) == []
        assert f"{CELLS[0].name}: 5 of 200" in open_targets(few)[1]
        assert "spread × 2, normal, 9 telling runs, 40 cases: found 70%, promised 90%" in missed(
            _counted(0, own=140)
        )
        assert missed(_counted(0, own=168)) == []  # of two hundred, that leaves it open
        assert "84% / 90% (open)" in "\n".join(tables(_counted(0, own=168)))
        assert any(
            sentence.startswith("SAME at the margin: alike") for sentence in missed(_counted(0, same=20))
        )

    def test_the_page_has_a_place_for_them(self) -> None:
        text = with_tables(PAGE.read_text(), _counted(20, 0), NOW)
        assert "2000-01-01, `a command`, seed 1, CPU" in text
        assert f"- {CELLS[0].name}: 20 of 200" in text
        assert with_tables(text, _counted(20, 0), NOW) == text
        with pytest.raises(HarnessError, match="found no place for what is written"):
            with_tables("# Nothing", _counted(0), NOW)

    def test_the_command(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        few = command.Samples(grid={40: 2}, most={40: 4}, large=1, replays=1, power={40: 1}, same=1)
        for name, value in (
            ("FEW", few),
            ("CELLS", [NORMAL]),
            ("LARGE", [Cell(NORMAL.world, 100)]),
            ("CLEAN_PAIRS", CLEAN_PAIRS[:1]),
            ("POWER_CELLS", [NORMAL]),
            ("EFFECTS", EFFECTS[:2]),
            ("SAME_CELLS", SAME_CELLS[:1]),
        ):
            monkeypatch.setattr(command, name, value)
        page = tmp_path / "page.md"
        page.write_text(PAGE.read_text())
        monkeypatch.setattr(command, "PAGE", page)
        monkeypatch.setattr(command, "ROOT", tmp_path)
        assert command.main(["judge", "--write", "--tallies", str(tmp_path / "tallies.jsonl")]) == 0
        printed = capsys.readouterr()
        # Two samples leave 2% open, so there are more.
        assert "| normal | float32 | 0/4 | 0/4 |" in printed.out
        assert "2 to 2 samples a cell; the table in page.md has " in printed.out
        assert "0 of 1 cells (0.0%) have more than 1% of false alarms" in printed.err
        assert "| normal | float32 | 0/4 | 0/4 |" in page.read_text()
        command.main(["judge"])
        assert "2 to 2 samples a cell; the table in page.md has 4 to 4" in capsys.readouterr().out

    def test_a_file_of_another_version_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("benchmarks.calibration.recording._VERSION", 99)
        assert command.main(["judge"]) == 2
        assert "found version 1; allowed: 99" in capsys.readouterr().err


def test_what_is_judged_is_the_whole_verdict() -> None:
    sample = NORMAL.sample(np.random.default_rng(1))
    own = judge_looks(sample.looks, baseline="a", candidate="b", budgets={}, margin=0.1, noise=sample.noise)
    assert own.status is ExitStatus.PASSED
    assert sample.judged() == own

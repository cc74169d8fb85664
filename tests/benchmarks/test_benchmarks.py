"""The parts of the benchmarks that need no stopwatch: ratios, targets, tables, the workload."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import collection, command, failures, score_only
from benchmarks.command import MEASUREMENTS, README, main
from benchmarks.engine_paths import path_rows, stage_two_rows, torch_rows
from benchmarks.ratios import Figure, growth_exponent, interleaved, paired
from benchmarks.results import Circumstances, Row, as_json, missed, with_results
from benchmarks.whole_run import journal_rows, run_rows
from benchmarks.workload import Workload
from harness.cases.folder import load
from harness.engines.contract import Failure, Outcome
from harness.errors import EngineError, ErrorKind, HarnessError
from harness.scoring.subjects import SELECTIONS, subjects
from harness.workers.serving import ENGINE_MODULES

NOW = Circumstances(date="2000-01-01", machine="a machine", command="python benchmarks")


def row(values: tuple[float, ...] = (1.0,), *, target: float | None = None, name: str = "torch") -> Row:
    return Row(measurement=name, what="this / that", values=values, target=target)


class TestRatios:
    def test_figure(self) -> None:
        assert Figure.of([3.0, 1.0, 2.0, 9.0]) == Figure(2.5, 1.0, 9.0)

    def test_rounds_are_timed_in_turn_after_one_that_is_not(self) -> None:
        done: list[str] = []
        now = 0.0

        def work(name: str, seconds: float) -> None:
            nonlocal now
            done.append(name)
            now += seconds

        seconds = interleaved(
            {"a": lambda: work("a", 1), "b": lambda: work("b", 2), "c": lambda: work("c", 4)},
            4,
            clock=lambda: now,
        )
        assert "".join(done) == "abc" + "abc" + "bca" + "cab" + "abc"
        assert seconds == {"a": [1.0] * 4, "b": [2.0] * 4, "c": [4.0] * 4}

    def test_ratios_are_those_of_each_round(self) -> None:
        assert paired([2.0, 30.0], [1.0, 10.0]) == (2.0, 3.0)

    def test_a_lost_round_is_no_ratio(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            paired([1.0, 2.0], [1.0])

    @given(st.floats(-1, 3), st.floats(1e-4, 1e4))
    def test_growth_exponent_is_found(self, exponent: float, factor: float) -> None:
        sizes = (4, 8, 16, 32)
        assert growth_exponent(sizes, [factor * size**exponent for size in sizes]) == pytest.approx(
            exponent, abs=1e-6
        )


class TestTargets:
    @pytest.mark.parametrize(
        ("values", "target", "met"),
        [((1.0, 1.1, 5.0), 1.1, True), ((1.0, 1.2, 1.2), 1.1, False), ((9.0,), None, None)],
    )
    def test_the_median_decides(
        self, values: tuple[float, ...], target: float | None, met: bool | None
    ) -> None:
        assert row(values, target=target).met is met
        assert bool(missed([row(values, target=target)])) is (met is False)

    @pytest.mark.parametrize(("growth", "met"), [(0.1, True), (1.0, False), (2.0, False)])
    def test_a_pass_that_grows_with_its_tokens_misses(self, growth: float, met: bool) -> None:
        tokens = (4, 8, 16, 32)
        one = {f"one-pass {t}": [1e-3 * t**growth] * 3 for t in tokens}
        rows = stage_two_rows({**one, **{f"stepwise {t}": [float(t)] * 3 for t in tokens}}, tokens)
        assert [r.met for r in rows if "one-pass" in r.what] == [met]
        assert [r.figure.median for r in rows if "stepwise:" in r.what] == [pytest.approx(1)]

    def test_a_pass_slower_than_steps_misses(self) -> None:
        rows = stage_two_rows({"one-pass 4": [2.0], "stepwise 4": [1.0]} | _flat(8), (4, 8))
        assert [r.met for r in rows if "4 tokens" in r.what] == [False]

    @pytest.mark.parametrize(("captured", "both", "met"), [(1.05, 1.8, True), (1.06, 1.9, False)])
    def test_what_the_paths_may_cost(self, captured: float, both: float, met: bool) -> None:
        seconds = {
            "bare": [1.0],
            "captured": [captured],
            "two-stage": [both],
            "as-given": [3.0],
            "seed": [6.0],
        }
        rows = {r.what: r for r in path_rows(seconds)}
        assert rows["captured path / bare generation"].met is met
        assert rows["captured path / two stages"].met is True
        assert rows["two stages / bare generation"].met is met
        told = rows["paths and top k as in the profile / seed method"]
        assert (told.values, told.met) == ((0.5,), None)

    @pytest.mark.parametrize(("one_pass", "met"), [(1.1, True), (1.2, False)])
    def test_a_batched_forward_may_cost_a_tenth_more(self, one_pass: float, met: bool) -> None:
        seconds = {"bare": [1.0], "one pass": [one_pass], "forward": [1.5], "generate": [3.0], "seed": [6.0]}
        assert [r.met for r in torch_rows(seconds)] == [met, True, None]

    @pytest.mark.parametrize(("first", "met"), [(10.9, True), (11.2, False)])
    def test_the_harness_may_cost_a_tenth(self, first: float, met: bool) -> None:
        overhead, extra, second = run_rows({"first": [first], "bare": [10.0], "second": [1.0]})
        assert overhead.met is met
        assert extra.figure.median == pytest.approx(first - 10)
        assert second.met is True

    def test_a_second_run_that_starts_an_engine_misses(self) -> None:
        assert [r.met for r in run_rows({"first": [10.0], "second": [6.0]})] == [False]

    @pytest.mark.parametrize(("size", "met"), [(3000, True), (3200, False)])
    def test_bytes_for_each_case(self, tmp_path: Path, size: int, met: bool) -> None:
        (tmp_path / "recordings").mkdir()
        (tmp_path / "recordings" / "torch-0123456789ab.jsonl").write_bytes(b"x" * 1000)
        (tmp_path / "recordings" / "torch-0123456789ab.jsonl.lock").write_bytes(b"x" * 500)
        (tmp_path / "recordings" / "lmdeploy-0123456789ab.jsonl").write_bytes(b"x" * size)
        (tmp_path / "metrics.jsonl").write_bytes(b"x" * 600)
        found = {r.what: (r.values, r.met) for r in journal_rows(tmp_path, 2)}
        assert found == {
            "journal of torch, for each case": ((500.0,), None),
            "journal of lmdeploy, for each case": ((size / 2,), None),
            "all 2 engines, for each case": ((500.0 + size / 2,), met),
            "all 2 engines and their metrics, for each case": ((800.0 + size / 2,), None),
        }


def _flat(tokens: int) -> dict[str, list[float]]:
    return {f"one-pass {tokens}": [1.0], f"stepwise {tokens}": [1.0]}


class TestTable:
    def test_cells(self) -> None:
        assert row((1.0, 1.25, 2.0), target=1.1).cells() == (
            "torch",
            "this / that",
            "1.25×",
            "1 to 2",
            "≤ 1.1×",
            "NO",
        )

    def test_one_value_has_no_spread(self) -> None:
        bytes_row = Row(measurement="journals", what="bytes", values=(1234.4,), unit=" bytes", target=2048)
        assert bytes_row.cells()[2:] == ("1,234 bytes", "", "≤ 2,048 bytes", "yes")

    def test_results_take_the_place_of_earlier_ones(self) -> None:
        readme = "before\n" + "<!-- results, written by `python benchmarks --write` -->\nold\n"
        readme += "<!-- end of results -->\nafter\n"
        questions = {"torch": "fast / slow", "journals": "bytes"}
        new = with_results(readme, questions, [row((2.0,))], NOW)
        assert new.startswith("before\n")
        assert new.endswith("\nafter\n")
        assert "old" not in new
        assert "| torch | this / that | 2× |  |  |  |" in new
        assert "| journals | bytes | not measured yet |  |  |  |" in new
        assert "2000-01-01, `python benchmarks`, a machine." in new
        assert with_results(new, questions, [row((2.0,))], NOW) == new

    def test_a_page_without_a_place_is_refused(self) -> None:
        with pytest.raises(HarnessError, match="found no place for what is written"):
            with_results("text", {})

    def test_the_page_describes_every_measurement_and_has_a_place(self) -> None:
        page = README.read_text(encoding="utf-8")
        described = re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)
        assert [name for name in described if name in MEASUREMENTS] == list(MEASUREMENTS)
        assert "not measured yet" in with_results(page, MEASUREMENTS)

    def test_json_has_every_round(self) -> None:
        data = json.loads(as_json([row((1.0, 3.0), target=1.0)], NOW))
        assert data["machine"] == "a machine"
        assert data["results"][0]["values"] == [1.0, 3.0]
        assert (data["results"][0]["median"], data["results"][0]["met"]) == (2.0, False)


class TestWorkload:
    def test_the_first_profile_without_marks_and_its_suites(self, workload: Workload) -> None:
        assert workload.profile.name == "plain"
        assert [case.name for case in workload.cases] == ["small.one", "small.two"]

    def test_a_profile_by_name(self, cases: Path, tmp_path: Path) -> None:
        named = Workload.read(cases, profile="marked", scratch=tmp_path, repeats=2)
        assert (named.profile.name, len(named.cases)) == ("marked", 4)
        assert named.with_repeats(9).repeats == 2

    def test_an_unknown_profile_is_refused(self, cases: Path, tmp_path: Path) -> None:
        with pytest.raises(
            HarnessError, match="no profile gone; allowed: --profile with one of marked, plain"
        ):
            Workload.read(cases, profile="gone", scratch=tmp_path, repeats=None)

    def test_a_missing_engine_is_refused(self, workload: Workload) -> None:
        with pytest.raises(HarnessError, match="no engine of kind lmdeploy"):
            workload.engine("lmdeploy")

    def test_a_failed_command_is_no_measurement(self, workload: Workload) -> None:
        with pytest.raises(HarnessError, match=r"(?s)exit status 3; .*  \| told why"):
            workload.command([sys.executable, "-c", "print('told why'); raise SystemExit(3)"])

    def test_bytecode_is_kept(self, workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        monkeypatch.setenv("PYTEST_ADDOPTS", "--verbose")
        show = (
            "import os, sys; print(sys.dont_write_bytecode, sys.pycache_prefix, os.getenv('PYTEST_ADDOPTS'))"
        )
        printed = workload.command([sys.executable, "-c", show]).read_text().split()
        assert printed == ["False", str(workload.scratch / "bytecode"), "None"]


class TestCollection:
    def test_generated_cases_are_cases(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(collection, "_CASES", 30)
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "config.json").write_text("{}")
        suite = collection.write_cases(tmp_path, str(tmp_path / "model"))
        loaded = load(suite.parent)
        cases = loaded.suites[0].cases
        assert len({case.prompt for case in cases}) == 30
        assert [len(list(subjects(cases, loaded.profiles, selection=name))) for name in SELECTIONS] == [
            60,
            30,
            30,
            30,
        ]

    def test_the_number_of_tests_is_read(self, tmp_path: Path) -> None:
        output = tmp_path / "output.txt"
        output.write_text("suite.py::test[1]\n\n70001 tests collected in 9.51s\n")
        assert collection.collected(output) == 70001

    def test_no_number_is_an_error(self, tmp_path: Path) -> None:
        output = tmp_path / "output.txt"
        output.write_text("1 error in 9.51s\n")
        with pytest.raises(HarnessError, match="no line 'N tests collected'"):
            collection.collected(output)

    def test_the_ratio_is_to_both_together(self) -> None:
        rows = collection.collection_rows({"ours": [8.0], "trivial": [1.5], "yaml": [0.5]}, 1000)
        assert [(r.values, r.met) for r in rows] == [((4.0,), False), ((8000.0,), None)]


class TestFailures:
    def test_each_case_is_one_error(self, workload: Workload, tmp_path: Path) -> None:
        folder = failures.write_failing(
            tmp_path / "failing", str(workload.profile.engines[0].settings.model), 3
        )
        output = workload.pytest(
            *("--pyargs", "harness.suite", "--cases=cases", "-k", "expected_letter"), folder=folder, status=1
        )
        assert failures.failed(output) == 3
        assert failures.times_told(output) == 1

    def test_as_the_square_of_their_number_is_too_long(self) -> None:
        met = [failures.failure_rows({"few": [1.0], "many": [s]}, 10**6)[0].met for s in (10.0, 100.0)]
        assert met == [True, False]


class TestBareCalls:
    @pytest.fixture
    def order(self, workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(Workload, "command", lambda self, arguments: Path(arguments[3]))
        workload.script("score_only", workload.engine("torch"))
        return tmp_path / "score_only-order.json"

    def score(self, monkeypatch: pytest.MonkeyPatch, order: Path, result: object) -> object:
        class Engine:
            def score(self, requests: list[object]) -> Iterator[Outcome]:
                return (Outcome("case", result) for _ in requests)  # type: ignore[arg-type]

            def close(self) -> None:
                pass

        module = ModuleType("engine_of_a_test")
        module.load = lambda settings: Engine()  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(ENGINE_MODULES, "torch", module.__name__)
        score_only.main(str(order), str(order.with_name("result.json")))
        return json.loads(order.with_name("result.json").read_text())

    def test_every_case_is_scored(self, monkeypatch: pytest.MonkeyPatch, order: Path) -> None:
        assert self.score(monkeypatch, order, object()) == 2

    def test_a_case_without_an_answer_is_no_measurement(
        self, monkeypatch: pytest.MonkeyPatch, order: Path
    ) -> None:
        with pytest.raises(EngineError, match="the image is gone"):
            self.score(monkeypatch, order, Failure(kind=ErrorKind.FAILED, message="the image is gone"))


class TestCommand:
    @pytest.fixture(autouse=True)
    def measured(self, monkeypatch: pytest.MonkeyPatch) -> list[Row]:
        rows: list[Row] = []
        group = command._Group(lambda workload, names: rows, {"torch": "fast / slow"})
        monkeypatch.setattr(command, "_GROUPS", [group])
        monkeypatch.setattr(command, "machine_line", lambda python, profile: "a machine")
        return rows

    def test_all_met(self, cases: Path, measured: list[Row], capsys: pytest.CaptureFixture[str]) -> None:
        measured.append(row((1.0,), target=1.1))
        assert main(["--cases", str(cases), "--only", "torch"]) == 0
        shown = capsys.readouterr().out
        assert "this / that" in shown
        assert "a machine" in shown

    def test_one_missed(self, cases: Path, measured: list[Row], capsys: pytest.CaptureFixture[str]) -> None:
        measured += [row((1.0,), target=1.1), row((1.2,), target=1.1)]
        assert main(["--cases", str(cases)]) == 1
        assert "allowed: 1.1×; again: python benchmarks --only torch" in capsys.readouterr().out

    def test_something_did_not_work(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--cases", str(tmp_path / "gone")]) == 2
        assert "no folder to read" in capsys.readouterr().err

    def test_results_are_written(
        self, cases: Path, measured: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page, file = tmp_path / "page.md", tmp_path / "results.json"
        page.write_text(README.read_text(encoding="utf-8"), encoding="utf-8")
        monkeypatch.setattr(command, "README", page)
        measured.append(row((1.5,)))
        assert main(["--cases", str(cases), "--write", "--json", str(file)]) == 0
        assert "| torch | this / that | 1.5× |" in page.read_text(encoding="utf-8")
        assert json.loads(file.read_text())["results"][0]["values"] == [1.5]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--write", "--only", "torch"], "--write needs all measurements"),
            (["--write", "--model", "random-100m"], "--write needs all measurements"),
            (["--repeats", "0"], "found 0; allowed: 1 or more"),
            (["--only", "gone"], "invalid choice: 'gone'"),
        ],
    )
    def test_wrong_arguments(
        self, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert message in capsys.readouterr().err

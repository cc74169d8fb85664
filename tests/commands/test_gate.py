"""`harness gate` on a folder of cases that a stand-in engine answers, in real workers."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
import yaml

from harness.cli import main
from tests.gate_folder import Folder

TODAY = datetime.datetime.now().astimezone().date()


class TestExitStatus:
    def test_the_same_is_0(self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        gate_folder.clean()
        assert gate_folder.gate() == 0
        printed = capsys.readouterr()
        assert printed.out.startswith("SAME: p/lmdeploy against p/torch, 24 cases")
        assert "what changed:\n  setting kind: torch → lmdeploy" in printed.out
        assert "p-torch: 24 recorded, 0 unchanged" in printed.err
        # Full rows that only the gate needed are gone; their metrics are kept, and nothing is made again.
        assert not list((gate_folder.path / ".harness" / "rows").glob("*.npy"))
        assert gate_folder.gate() == 0
        assert "p-torch: 0 recorded, 24 unchanged" in capsys.readouterr().err

    def test_drift_is_1(self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        gate_folder.write_suite(*(f"say A {n} lmdeploy: wobble" for n in range(24)))
        assert gate_folder.gate() == 1
        printed = capsys.readouterr().out
        assert printed.startswith("DRIFT: ")
        assert "cases/s.yaml:7:3  DRIFT  s.c0" in printed
        assert "  harness gate --baseline p/torch --candidate p/lmdeploy --case s.c" in printed
        # The rows of what moved stay, for a closer look.
        assert list((gate_folder.path / ".harness" / "rows").glob("*.npy"))

    def test_drift_within_the_suites_budget_is_0(self, gate_folder: Folder) -> None:
        prompts = [f"say A {n}" for n in range(23)]
        budgets = {"noise": {"spread": 1e5, "cases": 24}}
        gate_folder.write_suite(*prompts, "say A lmdeploy: wobble")
        assert gate_folder.gate() == 1
        gate_folder.write_suite(*prompts, "say A lmdeploy: wobble", budgets=budgets)
        assert gate_folder.gate() == 0

    def test_a_lost_answer_is_1(self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        gate_folder.write_suite(*(f"say A {n}" for n in range(23)), "torch: say A lmdeploy: say B")
        assert gate_folder.gate() == 1
        assert capsys.readouterr().out.startswith("REGRESSION: ")

    def test_an_error_is_2(self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        gate_folder.write_suite("say A", "lmdeploy: die")
        assert gate_folder.gate() == 2
        printed = capsys.readouterr().out
        assert "cases/s.yaml:10:3  ERROR  s.c1" in printed
        assert "signal 9" in printed

    def test_too_few_cases_for_the_budget_is_3(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.write_suite("say A", "say A 2", budgets={"regression": {"accuracy": 0.02}})
        assert gate_folder.gate() == 3
        assert capsys.readouterr().out.startswith("INCONCLUSIVE: ")

    def test_a_broken_folder_is_2(self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        gate_folder.write_suite("say A", budgets={"noise": {"cases": -1}})
        assert gate_folder.gate() == 2
        assert "cases/s.yaml:8:12: budgets.noise.cases: found the number -1; allowed: 0 or more" in (
            capsys.readouterr().err
        )


class TestRefused:
    """What cannot be compared: status 2, nothing judged, the differing field named."""

    def test_another_system_message_in_another_profile(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.clean(2)
        gate_folder.write_profiles(q={"system": "Be brief."})
        assert gate_folder.gate("p/torch", "q/torch") == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert "p/torch and q/torch cannot be compared; nothing was judged" in printed.err
        assert "cases/s.yaml:7:3: s.c0: another system message\n" in printed.err

    @pytest.mark.parametrize(
        ("field", "after"),
        [
            ("letters", {"prompt": "say A", "letters": ["A", "C"]}),
            ("prompt", {"prompt": "say A again"}),
            ("answer prefix", {"prompt": "say A", "answer_prefix": "Answer: "}),
            ("image: cases/dot.png", {"prompt": "say A", "image": "dot.png"}),
        ],
    )
    def test_a_case_that_was_edited_since_the_stored_run(
        self,
        gate_folder: Folder,
        capsys: pytest.CaptureFixture[str],
        field: str,
        after: dict[str, object],
    ) -> None:
        from PIL import Image

        Image.new("RGB", (4, 4)).save(gate_folder.cases / "dot.png")
        gate_folder.write_suite("say A")
        assert gate_folder.gate() == 0
        capsys.readouterr()
        gate_folder.write_suite(after)
        assert gate_folder.gate(f"p/torch@{TODAY}") == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert f"cases/s.yaml:7:3: s.c0: another {field}\n" in printed.err

    def test_two_stored_sides_with_other_letters_than_the_suite_has_today(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.write_suite("say A")
        assert gate_folder.gate() == 0
        gate_folder.write_suite({"prompt": "say A", "letters": ["A", "C"]})
        assert gate_folder.gate(f"p/torch@{TODAY}", f"p/lmdeploy@{TODAY}") == 2
        assert "s.c0: another letters" in capsys.readouterr().err

    def test_other_weights_under_the_same_name(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.clean(4)
        assert gate_folder.gate("p/torch", "p/lmdeploy", "--allow", "weights") == 0
        assert "let pass" not in capsys.readouterr().out  # where there was nothing to let pass
        (gate_folder.cases / "m" / "model.safetensors").write_text("other")
        capsys.readouterr()
        assert gate_folder.gate("p/torch@previous", "p/torch") == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert "model.files.model.safetensors: other weights (" in printed.err
        assert (
            "allowed: the same weights; those of another model, to be judged by accuracy (--model-upgrade,"
            in (printed.err)
        )
        assert "quantised or converted (--allow weights)" in printed.err
        assert gate_folder.gate("p/torch@previous", "p/torch", "--model-upgrade") == 3  # four cases are few
        printed = capsys.readouterr()
        assert "other weights of m, judged by paired accuracy: accuracy 100.0% → 100.0%" in printed.out
        assert " more cases are needed; 4 cases can decide a margin of " in printed.out
        assert gate_folder.gate("p/torch@previous", "p/torch", "--allow", "weights") == 0
        printed = capsys.readouterr()
        assert "model files.model.safetensors: " in printed.out
        assert "note: let pass: other weights under one name" in printed.out

    def test_another_model_is_an_upgrade_that_the_profile_says(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.write_suite(*(f"say A {n}" for n in range(24)), budgets={"regression": {"accuracy": 0.2}})
        gate_folder.write_profiles(q={"engines": {"torch": {}, "next": {"kind": "torch", "model": "next"}}})
        assert gate_folder.gate("q/torch", "q/next", "--json", "report.json") == 0
        printed = capsys.readouterr().out
        assert printed.startswith(
            "DRIFT: q/next against q/torch, 24 cases: another model (m → next), judged by "
        )
        assert "no worse than 20 points shown" in printed
        assert "model files.model.safetensors: " in printed
        comparison = json.loads((gate_folder.path / "report.json").read_text())["comparisons"][0]
        assert comparison["accuracy"]["change"]["cases"] == 24
        assert comparison["cases"][0]["limit"] is None
        # The same model quantised: by noise, as ever, and SAME can be said.
        assert gate_folder.gate("q/torch", "q/next", "--allow", "weights") == 0
        assert capsys.readouterr().out.startswith("SAME: ")

    def test_after_an_upgrade_the_changed_side_alone_is_asked_again(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.clean(4)
        version = gate_folder.path / "version.py"
        version.write_text(gate_folder.stand_in.read_text())
        gate_folder.write_profiles(q={"engines": {"torch": {}, "lmdeploy": {"patch": str(version)}}})
        gate_folder.gate("q/torch", "q/lmdeploy")
        version.write_text(f"{version.read_text()}\nVERSION = 2\n")
        capsys.readouterr()
        gate_folder.gate("q/torch", "q/lmdeploy")
        told = capsys.readouterr().err
        assert "q-lmdeploy: 4 recorded, 0 unchanged" in told
        assert "q-torch: 0 recorded, 4 unchanged" in told

    def test_a_copy_of_the_model_is_no_upgrade(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.clean()
        (gate_folder.cases / "next" / "model.safetensors").write_text("m")
        gate_folder.write_profiles(q={"engines": {"torch": {}, "next": {"kind": "torch", "model": "next"}}})
        assert gate_folder.gate("q/torch", "q/next") == 0
        assert capsys.readouterr().out.startswith("SAME: ")

    def test_nothing_in_common(self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        gate_folder.clean(2)
        gate_folder.write_suite("say A", name="t")
        gate_folder.write_profiles(q={"suites": ["s"]}, r={"suites": ["t"]})
        assert gate_folder.gate("q/torch", "r/torch") == 2
        assert "found no case that q/torch (s.c0, s.c1) and r/torch (t.c0) were both asked" in (
            capsys.readouterr().err
        )


class TestStoredRuns:
    @pytest.mark.engines
    def test_last_months_run_is_a_side(self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        gate_folder.clean()
        assert gate_folder.gate() == 0
        gate_folder.date_back(gate_folder.runs.of("p", "torch")[-1], "2026-01-05T10:00:00+00:00")
        capsys.readouterr()
        assert gate_folder.gate("p/torch@2026-01-31", "p/lmdeploy") == 0
        assert "baseline: p/torch@2026-01-31, stand-in, float32, torch " in (
            printed := capsys.readouterr().out
        )
        assert ", of 2026-01-05" in printed

    def test_previous_is_the_last_with_another_fingerprint(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.clean(4)
        assert gate_folder.gate("p/torch", "p/torch") == 0
        assert gate_folder.gate("p/torch@previous", "p/torch") == 2
        assert "allowed: one with another fingerprint than torch-" in capsys.readouterr().err
        (gate_folder.cases / "m" / "config.json").write_text('{"changed": true}')
        assert gate_folder.gate("p/torch@previous", "p/torch") == 0
        assert "model files.config.json: " in capsys.readouterr().out
        # That run is stored, too, and is not taken for the one before it.
        assert gate_folder.gate("p/torch@previous", "p/torch") == 0
        assert "model files.config.json: " in capsys.readouterr().out

    def test_what_a_damaged_line_has_lost_is_told_once(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.write_suite("say A", "torch: say A lmdeploy: say B")
        assert gate_folder.gate() == 1
        assert "damaged" not in capsys.readouterr().out
        file = gate_folder.path / ".harness" / "runs.jsonl"
        file.write_bytes(file.read_bytes().replace(b'"engine":"torch"', b'"engine":"tarch"'))
        assert gate_folder.gate("p/torch@previous", "p/torch") == 2
        note = f"note: {file}: 1 damaged lines left out, first 2: runs that are not known any more"
        assert capsys.readouterr().err.count(note) == 1
        assert main(["gate", "p"]) == 1
        assert capsys.readouterr().out.count(note) == 1

    def test_what_runs_there_are_is_told(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.clean(2)
        assert gate_folder.gate("p/torch@2020-01-01", "p/torch") == 2
        assert "no run of p/torch is stored yet" in capsys.readouterr().err
        assert gate_folder.gate() == 0
        assert gate_folder.gate("p/torch@2020-01-01", "p/torch") == 2
        error = capsys.readouterr().err
        assert "allowed: one on or before 2020-01-01; stored runs of p/torch:" in error
        assert f"  {TODAY}T" in error
        assert "  2 cases" in error

    def test_a_run_of_one_case_is_completed_by_earlier_ones_of_the_same_engine(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.clean(4)
        assert gate_folder.gate() == 0
        assert gate_folder.gate("p/torch", "p/lmdeploy", "--case", "s.c1") == 0
        capsys.readouterr()
        assert gate_folder.gate(f"p/torch@{TODAY}") == 0
        assert capsys.readouterr().out.startswith(f"SAME: p/lmdeploy against p/torch@{TODAY}, 4 cases")

    def test_an_error_then_is_an_error_now(self, gate_folder: Folder) -> None:
        gate_folder.write_suite("say A", "torch: nan")
        assert gate_folder.gate() == 2
        assert gate_folder.gate(f"p/torch@{TODAY}") == 2

    def test_recordings_that_are_gone_are_named(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.clean(2)
        assert gate_folder.gate() == 0
        for journal in (gate_folder.path / ".harness" / "recordings").glob("torch-*.jsonl"):
            journal.unlink()
        assert gate_folder.gate(f"p/torch@{TODAY}") == 2
        assert "whose recordings are gone for 2 cases: s.c0, s.c1" in capsys.readouterr().err


class TestCases:
    def test_one_under_another_name_is_the_same_case(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.clean(3)
        assert gate_folder.gate() == 0
        gate_folder.write_suite("say A 0", {"id": "renamed", "prompt": "say A 1"}, "say A 2")
        # What it answers has changed since: by another name it would have gone by unseen.
        gate_folder.patch("+= 8\n", "+= 8 - 16 * (request.case == 's.renamed')\n")
        capsys.readouterr()
        assert gate_folder.gate(f"p/torch@{TODAY}") == 1
        told = "note: 1 case under another name, and asking the very same: s.c1 is now s.renamed"
        assert told in capsys.readouterr().out

    def test_new_cases_are_told_and_not_judged(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.clean(2)
        assert gate_folder.gate() == 0
        gate_folder.clean(3)
        capsys.readouterr()
        assert gate_folder.gate(f"p/torch@{TODAY}") == 0
        printed = capsys.readouterr().out
        assert "note: 1 case new, and so not judged: p/torch@" in printed
        assert "was not asked: s.c2" in printed

    def test_a_case_that_the_candidate_was_not_asked_is_an_error(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.clean(3)
        assert gate_folder.gate("p/lmdeploy", "p/lmdeploy", "--case", "s.c0") == 0
        assert gate_folder.gate("p/torch", f"p/lmdeploy@{TODAY}") == 2
        printed = capsys.readouterr().out
        assert "s.c1\n      p/lmdeploy@" in printed
        assert "which counts as ERROR: s.c1, s.c2" in printed

    def test_a_case_that_is_no_more_is_told(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.clean(3)
        assert gate_folder.gate() == 0
        gate_folder.clean(2)
        assert gate_folder.gate(f"p/torch@{TODAY}") == 0
        assert "removed: 1 case of p/torch@" in capsys.readouterr().out

    def test_one_case_is_shown_in_full(self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        gate_folder.write_suite("say A", "torch: say A lmdeploy: say B")
        assert gate_folder.gate("p/torch", "p/lmdeploy", "--case", "s.c1") == 1
        printed = capsys.readouterr().out
        assert "1 case:" in printed
        assert "cases/s.yaml:10:3: s.c1\n      p/torch                       p/lmdeploy\n  A < " in printed
        assert gate_folder.gate("p/torch", "p/lmdeploy", "--case", "s.c7") == 2
        assert "--case: found s.c7; allowed: SUITE.ID" in capsys.readouterr().err

    def test_the_margin_given_wins_over_the_suites(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.write_suite(*(f"say A {n}" for n in range(4)), budgets={"margin": 0.5})
        assert gate_folder.gate() == 0
        assert "within the margin of 0.5" in capsys.readouterr().out
        assert gate_folder.gate("p/torch", "p/lmdeploy", "--margin", "0.25") == 0
        assert "within the margin of 0.25" in capsys.readouterr().out


def test_the_report_as_data_and_as_a_page(gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    gate_folder.clean(2)
    files = ("--json", "out/g.json", "--report", "out/g.html")
    assert gate_folder.gate("p/torch", "p/lmdeploy", *files) in (0, 3)
    assert capsys.readouterr().out.splitlines()[0].partition(":")[0] in ("SAME", "INCONCLUSIVE")
    (comparison,) = json.loads(Path("out/g.json").read_text())["comparisons"]
    assert comparison["name"] == "p/lmdeploy against p/torch"
    assert comparison["status"] in ("PASSED", "INCONCLUSIVE")
    assert [case["case"] for case in comparison["cases"]] == ["s.c0", "s.c1"]
    assert comparison["cases"][0]["command"].endswith("--case s.c0")
    assert comparison["baseline"]["label"] == "p/torch"
    assert [one["path"] for one in comparison["changed"]].count("settings.kind") == 1
    assert "<script" in Path("out/g.html").read_text()
    gate_folder.gate("p/torch", "p/lmdeploy", "--json", "-")
    assert json.loads(capsys.readouterr().out)["comparisons"][0]["name"] == comparison["name"]


def test_fresh_makes_everything_again(gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    gate_folder.clean(2)
    assert gate_folder.gate() == 0
    assert gate_folder.gate("p/torch", "p/lmdeploy", "--fresh") == 0
    assert capsys.readouterr().err.count("p-torch: 2 recorded, 0 unchanged") == 2


def test_old_recordings_that_do_not_say_what_was_asked(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate_folder.clean(2)
    monkeypatch.setattr("harness.scoring.scoring.asked_of", lambda *_: None)
    assert gate_folder.gate("p/torch", "p/torch") == 0
    monkeypatch.undo()
    monkeypatch.chdir(gate_folder.path)
    # Its key tells that it answered what is asked today ...
    assert gate_folder.gate(f"p/torch@{TODAY}", "p/lmdeploy") == 0
    suite = yaml.safe_load((gate_folder.cases / "s.yaml").read_text())
    suite["cases"][0]["prompt"] = "say A differently"
    (gate_folder.cases / "s.yaml").write_text(yaml.safe_dump(suite))
    capsys.readouterr()
    # ... and that it did not.
    assert gate_folder.gate(f"p/torch@{TODAY}", "p/lmdeploy") == 2
    assert "recorded before the harness kept what was asked" in capsys.readouterr().err

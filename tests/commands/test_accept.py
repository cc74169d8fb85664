"""`harness accept`: what it writes, what it refuses, and the gate on what was accepted."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import GateError
from harness.snapshots.accepted import AcceptedSuite
from harness.snapshots.files import put_cases, read_suite
from tests.gate_folder import Folder

FILE = Path("snapshots/p/torch/s.jsonl")


def accepted() -> AcceptedSuite:
    return read_suite(FILE)


def test_the_first_acceptance_and_the_gate_on_it(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.clean()
    assert gate_folder.accept() == 0
    assert "accepted by Ann: first\nreview and commit snapshots/p/torch/s.jsonl" in (capsys.readouterr().out)
    suite = accepted()
    assert [(one.reason, one.author, dict(one.moved)) for one in suite.decisions] == [("first", "Ann", {})]
    assert suite.model == "m"
    assert suite.cases["s.c0"].top == "A"
    lines = FILE.read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.startswith('{"case": "s.c')]) == 24  # a line a case
    assert gate_folder.gate("accepted", "p/torch") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("SAME: p/torch against accepted p/torch, 24 cases")
    assert "what changed: nothing in the fingerprints" in printed
    assert gate_folder.gate(str(FILE), "p/lmdeploy") == 0
    assert gate_folder.gate("p/lmdeploy", str(FILE)) == 0


def test_what_moved_is_written_with_old_and_new_and_the_rest_stays(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.write_suite(
        *(f"say A {n} torch: wobble" for n in range(3)), *(f"say A {n}" for n in range(3))
    )
    assert gate_folder.accept() == 0
    before = accepted()
    # The same questions, answered otherwise: c0 to c2 move.
    gate_folder.patch('        if "wobble" in orders:', "        if False:")
    assert gate_folder.gate("accepted", "p/torch") == 1
    capsys.readouterr()
    assert gate_folder.accept(reason="new kernels") == 0
    after = accepted()
    entry = after.decisions[1]
    assert after.decisions[0] == before.decisions[0]
    assert entry.verdict == "DRIFT"
    assert entry.sentence.startswith("DRIFT: p/torch against accepted p/torch, 6 cases")
    assert list(entry.moved) == ["s.c0", "s.c1", "s.c2"]
    moved = entry.moved["s.c1"]
    assert moved.why == "DRIFT"
    assert moved.old == before.cases["s.c1"].letters
    assert moved.new == after.cases["s.c1"].letters
    assert after.cases["s.c4"] == before.cases["s.c4"]
    assert after.cases["s.c1"] != before.cases["s.c1"]
    assert "s.c1: DRIFT\n  old A 0." in capsys.readouterr().out
    assert gate_folder.gate("accepted", "p/torch") == 0


def test_a_baseline_does_not_creep(gate_folder: Folder) -> None:
    gate_folder.clean(4)
    assert gate_folder.accept() == 0
    before = accepted()
    # By a millionth: less than noise.
    gate_folder.patch("+= 8\n", "+= 8.000005\n")
    assert gate_folder.accept(reason="again") == 0
    after = accepted()
    assert after.cases == before.cases
    assert after.decisions[1].moved == {}
    assert after.fingerprint != before.fingerprint


def test_a_drift_of_all_cases_together_is_accepted_and_the_gate_is_silent_then(gate_folder: Folder) -> None:
    gate_folder.clean(12)
    assert gate_folder.accept() == 0
    # By 0.6 of the table's limit, each case; which of them is beyond noise none is.
    gate_folder.patch("+= 8\n", "+= 8.00012\n")
    assert gate_folder.gate("accepted", "p/torch", "--strict") == 1
    assert gate_folder.accept(reason="a new kernel") == 0
    moved = accepted().decisions[1].moved
    assert len(moved) == 12
    assert "with all cases together" in {one.why for one in moved.values()}
    assert gate_folder.gate("accepted", "p/torch", "--strict") == 0


def test_accepting_when_nothing_changed_decides_nothing(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.clean(4)
    assert gate_folder.accept() == 0
    before = accepted()
    assert gate_folder.accept(reason="again") == 0
    assert accepted() == before
    assert "there is nothing to decide" in capsys.readouterr().out


def test_of_the_last_ten_decisions_all_is_kept_and_of_older_ones_a_line(gate_folder: Folder) -> None:
    for number in range(12):
        gate_folder.clean(1 + number % 2)
        assert gate_folder.accept(reason=f"number {number}") == 0
    decisions = accepted().decisions
    assert [one.reason for one in decisions] == [f"number {number}" for number in range(12)]
    assert [list(one.moved) for one in decisions] == [[], [], *([["s.c1"]] * 10)]


class TestRefused:
    def test_an_error(self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        gate_folder.write_suite("say A", "torch: nan")
        assert gate_folder.accept() == 2
        assert "ERROR: p/torch could not answer s.c1, so nothing was accepted: not-finite" in (
            capsys.readouterr().err
        )
        assert not FILE.exists()

    def test_a_regression_unless_it_is_said(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gate_folder.write_suite("say A", "say A 2", "say A 3")
        assert gate_folder.accept() == 0
        before = FILE.read_text()
        gate_folder.patch("ord(said[1] if said else", 'ord("B" if "2" in orders else said[1] if said else')
        capsys.readouterr()
        assert gate_folder.accept(reason="faster") == 2
        error = capsys.readouterr().err
        assert "\nREGRESSION: p/torch against accepted p/torch" in error
        assert "right answers that would be given up: s.c1\n" in error
        assert "--regression" in error
        assert FILE.read_text() == before
        assert gate_folder.accept("--regression", reason="faster") == 0
        entry = accepted().decisions[1]
        assert (entry.verdict, entry.lost, entry.reason) == ("REGRESSION", ["s.c1"], "faster")
        assert list(entry.moved) == ["s.c1"]

    @pytest.mark.parametrize("reason", ["", "  "])
    def test_an_empty_reason(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str], reason: str
    ) -> None:
        gate_folder.clean(1)
        assert gate_folder.accept(reason=reason) == 2
        assert "--reason: found nothing; allowed: why" in capsys.readouterr().err
        assert not FILE.exists()

    def test_no_author_where_git_knows_none(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate_folder.clean(1)
        for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
            monkeypatch.setenv(name, "/dev/null")
        assert main(["accept", "p/torch", "--reason", "first"]) == 2
        assert "--author: found nothing; allowed: the name of who accepts" in capsys.readouterr().err
        subprocess.run(["git", "init", "-q", "."], check=True)
        subprocess.run(["git", "config", "user.name", "Gwen"], check=True)
        assert main(["accept", "p/torch", "--reason", "first"]) == 0
        assert accepted().decisions[0].author == "Gwen"

    def test_a_stored_run(self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        gate_folder.clean(1)
        assert gate_folder.accept(engine="p/torch@2026-01-01") == 2
        assert "allowed: PROFILE/ENGINE as it is now" in capsys.readouterr().err


def test_edited_new_and_removed_cases_are_named(gate_folder: Folder) -> None:
    gate_folder.write_suite("say A", "say A 2", "say A 3")
    assert gate_folder.accept() == 0
    gate_folder.write_suite("say A", "say A differently")
    gate_folder.write_suite("say A", name="t")
    assert gate_folder.accept(reason="clearer question") == 0
    both = [accepted(), read_suite(FILE.with_name("t.jsonl"))]
    moved = [suite.decisions[-1].moved for suite in both]
    assert [{case: one.why for case, one in own.items()} for own in moved] == [
        {"s.c1": "edited", "s.c2": "removed"},
        {"t.c0": "new"},
    ]
    assert moved[0]["s.c2"].new is None
    assert moved[1]["t.c0"].old is None
    assert [set(suite.cases) for suite in both] == [{"s.c0", "s.c1"}, {"t.c0"}]


def test_a_case_under_another_name_keeps_what_was_accepted_of_it(gate_folder: Folder) -> None:
    gate_folder.write_suite("say A", "say A 2", "say A 3")
    assert gate_folder.accept() == 0
    before = accepted()
    gate_folder.write_suite(
        "say A", {"id": "clearer", "prompt": "say A 2"}, {"id": "c2", "prompt": "say A 3"}
    )
    gate_folder.patch("+= 8\n", "+= 8.000005\n")
    assert gate_folder.accept(reason="a clearer name") == 0
    after = accepted()
    assert {case: one.why for case, one in after.decisions[-1].moved.items()} == {
        "s.clearer": "renamed from s.c1"
    }
    assert after.cases["s.clearer"] == before.cases["s.c1"]


def test_a_case_that_is_in_no_suite_any_more_is_counted_and_can_fail(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.clean(6)
    assert gate_folder.accept() == 0
    gate_folder.clean(4)
    capsys.readouterr()
    assert gate_folder.gate("accepted", "p/torch") == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert "removed: 2 cases of accepted p/torch in no suite any more: s.c4, s.c5" in first
    assert gate_folder.gate("accepted", "p/torch", "--strict") == 3
    assert "INCONCLUSIVE" in capsys.readouterr().out
    # That one case alone is wanted removes none.
    gate_folder.clean(6)
    assert gate_folder.gate("accepted", "p/torch", "--strict", "--case", "s.c0") == 0


def test_mere_probabilities_are_no_baseline_and_guard_a_right_answer(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.write_suite("say A", "say A 2")
    assert gate_folder.accept() == 0
    for name, case in accepted().cases.items():
        put_cases(Path("snapshots"), accepted(), {name: replace(case, logprobs=None, asked=None)})
    assert gate_folder.gate("accepted", "p/torch") == 2
    assert (
        "found probabilities only, as an earlier version kept them, of s.c0, s.c1" in capsys.readouterr().err
    )
    before = FILE.read_text()
    source = gate_folder.stand_in.read_text()
    gate_folder.patch("ord(said[1] if said else", 'ord("B" if "2" in orders else said[1] if said else')
    assert gate_folder.accept(reason="now in full") == 2
    assert "right answers that would be given up: s.c1\n" in capsys.readouterr().err
    assert FILE.read_text() == before
    gate_folder.stand_in.write_text(source)
    assert gate_folder.accept(reason="now in full") == 0
    assert all(case.logprobs for case in accepted().cases.values())
    assert accepted().decisions[-1].moved == {}  # not a number changed
    assert gate_folder.gate("accepted", "p/torch") == 0


class TestTheFile:
    def test_a_case_that_two_branches_added(self, gate_folder: Folder) -> None:
        gate_folder.clean(1)
        assert gate_folder.accept() == 0
        FILE.write_text(FILE.read_text() + FILE.read_text().splitlines()[-1] + "\n")
        with pytest.raises(GateError, match=r"s.c0: found it twice; allowed: one line a case"):
            read_suite(FILE)

    def test_there_is_none(self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        gate_folder.clean(1)
        assert gate_folder.gate("accepted", "p/torch") == 2
        assert "snapshots/p/torch: found no accepted outputs; make them:" in (capsys.readouterr().err)

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ('"top": "A"', '"top": "B"', "s.c0: found a line that was edited; allowed: what pytest"),
            ('"first"', '"because"', "found a line that was edited; allowed: what pytest"),
            ('"model": "m"', '"modle": "m"', "modle: found the unknown key 'modle'; allowed: model"),
            ('"version": 2', '"version": 3', "version: found the number 3; allowed: 2"),
            ('"text": "A"', '"text": 5', "text: found the number 5; allowed: text"),
            ('{"decision"', "{decision", "found no JSON ("),
        ],
    )
    def test_one_that_was_edited_is_told_with_its_place(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
    ) -> None:
        gate_folder.clean(2)
        assert gate_folder.accept() == 0
        text = FILE.read_text()
        assert old in text
        edited = text.replace(old, new, 1)
        FILE.write_text(edited)
        changed = zip(text.splitlines(), edited.splitlines(), strict=True)
        line = next(number for number, (a, b) in enumerate(changed, 1) if a != b)
        capsys.readouterr()
        asks: tuple[Callable[[], int], ...] = (
            lambda: gate_folder.gate("accepted", "p/torch"),
            lambda: gate_folder.accept(reason="over it"),
        )
        for ask in asks:
            assert ask() == 2
            error = capsys.readouterr().err
            assert f"snapshots/p/torch/s.jsonl:{line}:" in error
            assert "recorded" not in error  # no engine was asked
            assert said in error
            assert "Restore the file from version control" in error
        assert FILE.read_text() == edited

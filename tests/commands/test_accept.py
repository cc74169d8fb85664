"""`harness accept`: what it writes, what it refuses, and the gate on what was accepted."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from tests.gate_folder import Folder

FILE = Path("snapshots/baselines/p-torch.json")


def baseline() -> Any:
    return json.loads(FILE.read_text(encoding="utf-8"))


def test_the_first_acceptance_and_the_gate_on_it(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.clean()
    assert gate_folder.accept() == 0
    assert "accepted by Ann: first\nreview and commit snapshots/baselines/p-torch.json" in (
        capsys.readouterr().out
    )
    data = baseline()
    assert [entry["reason"] for entry in data["accepted"]] == ["first"]
    assert data["accepted"][0]["author"] == "Ann"
    assert data["model"] == "m"
    assert data["cases"]["s.c0"]["top"] == "A"
    lines = FILE.read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.startswith('  "s.c')]) == 24  # a line a case
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
    before = baseline()
    # The same questions, answered otherwise: c0 to c2 move.
    gate_folder.patch('        if "wobble" in orders:', "        if False:")
    assert gate_folder.gate("accepted", "p/torch") == 1
    capsys.readouterr()
    assert gate_folder.accept(reason="new kernels") == 0
    after = baseline()
    entry = after["accepted"][1]
    assert after["accepted"][0] == before["accepted"][0]
    assert entry["verdict"] == "DRIFT"
    assert entry["sentence"].startswith("DRIFT: p/torch against accepted p/torch, 6 cases")
    assert list(entry["moved"]) == ["s.c0", "s.c1", "s.c2"]
    moved = entry["moved"]["s.c1"]
    assert moved["why"] == "DRIFT"
    assert moved["old"]["A"] > moved["new"]["A"]
    assert after["cases"]["s.c4"] == before["cases"]["s.c4"]
    assert after["cases"]["s.c1"] != before["cases"]["s.c1"]
    assert "s.c1: DRIFT\n  old A 0." in capsys.readouterr().out
    assert gate_folder.gate("accepted", "p/torch") == 0


def test_a_baseline_does_not_creep(gate_folder: Folder) -> None:
    gate_folder.clean(4)
    assert gate_folder.accept() == 0
    before = baseline()
    # By a millionth: less than noise.
    gate_folder.patch("+= 8\n", "+= 8.000005\n")
    assert gate_folder.accept(reason="again") == 0
    after = baseline()
    assert after["cases"] == before["cases"]
    assert after["accepted"][1]["moved"] == {}
    assert after["fingerprint"] != before["fingerprint"]


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
        entry = baseline()["accepted"][1]
        assert (entry["verdict"], entry["lost"], entry["reason"]) == ("REGRESSION", ["s.c1"], "faster")
        assert list(entry["moved"]) == ["s.c1"]

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
        assert baseline()["accepted"][0]["author"] == "Gwen"

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
    data = baseline()
    why = {case: moved["why"] for case, moved in data["accepted"][1]["moved"].items()}
    assert why == {"s.c1": "edited", "s.c2": "removed", "t.c0": "new"}
    assert data["accepted"][1]["moved"]["s.c2"]["new"] is None
    assert data["accepted"][1]["moved"]["t.c0"]["old"] is None
    assert set(data["cases"]) == {"s.c0", "s.c1", "t.c0"}


class TestTheFile:
    def test_there_is_none(self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        gate_folder.clean(1)
        assert gate_folder.gate("accepted", "p/torch") == 2
        assert "snapshots/baselines/p-torch.json: found no accepted baseline; make one:" in (
            capsys.readouterr().err
        )

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ('"top": "A"', '"top": "B"', "cases.s.c0: found a case that was edited; allowed: what harness"),
            ('"first"', '"because"', "sum: found another sum than the file's content has"),
            (
                '\n "model"',
                '\n "modle"',
                "modle: found the unknown key 'modle'; allowed: model (the nearest)",
            ),
            ('"text": "A"', '"text": 5', "cases.s.c0.text: found the number 5; allowed: text"),
            ('\n "sum"', "\n sum", "found no JSON ("),
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
        if said.startswith("sum"):
            line = len(edited.splitlines()) - 1
        capsys.readouterr()
        asks: tuple[Callable[[], int], ...] = (
            lambda: gate_folder.gate("accepted", "p/torch"),
            lambda: gate_folder.accept(reason="over it"),
        )
        for ask in asks:
            assert ask() == 2
            error = capsys.readouterr().err
            assert f"snapshots/baselines/p-torch.json:{line}:" in error
            assert "recorded" not in error  # no engine was asked
            assert said in error
            assert "Restore the file from version control" in error
        assert FILE.read_text() == edited

"""Stored sides beside a suite that was edited since: not asked, by another name, or asked otherwise."""

from __future__ import annotations

import datetime
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.cli import main
from harness.errors import EngineError, ErrorKind
from tests.gate_folder import Folder
from tests.reports.page.test_page import document_of

TODAY = datetime.datetime.now().astimezone().date()
THEN = f"p/torch@{TODAY}"
STORED = THEN, f"p/lmdeploy@{TODAY}"
ANEW = "harness gate --baseline p/torch --candidate p/lmdeploy"


def picture(folder: Folder, name: str, colour: str) -> Path:
    file = folder.cases / name
    Image.new("RGB", (4, 4), colour).save(file)
    return file


@pytest.fixture
def asked(gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> Folder:
    """Both engines were asked 24 cases, the first of them about two pictures."""
    picture(gate_folder, "left.png", "red")
    picture(gate_folder, "right.png", "red")
    write(gate_folder)
    assert gate_folder.gate() == 0
    capsys.readouterr()
    return gate_folder


def write(folder: Folder, *more: str | dict[str, Any], first: dict[str, Any] | None = None) -> None:
    """The suite of 24 cases, with other fields in the ``first``, and ``more``."""
    own = {"prompt": "say A 0", "images": ["left.png", "right.png"], **(first or {})}
    folder.write_suite(own, *(f"say A {number}" for number in range(1, 24)), *more)


class TestAskedOfNeither:
    def test_is_told_with_the_command_that_asks(
        self, asked: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(asked, "say A 24", {"prompt": "say A 25", "id": "last"})
        asked.write_suite(*(f"say A {name}" for name in "uvwxyz"), name="t")
        assert asked.gate(*STORED, "--json", "g.json", "--report", "g.html") == 0
        names = "s.c24, s.last, t.c0, t.c1, t.c2 and 3 more"
        told = f"8 cases asked of neither {' nor '.join(STORED)}, not judged: {names}; to ask: {ANEW}"
        printed = capsys.readouterr().out
        assert f"note: {told}\n" in printed
        assert ", 24 cases: " in printed.splitlines()[0]
        for document in (json.loads(Path("g.json").read_text()), document_of(Path("g.html"))):
            (comparison,) = document["comparisons"]
            assert told in comparison["notes"]
            assert len(comparison["cases"]) == 24
        assert main(shlex.split(ANEW)[1:]) == 0
        capsys.readouterr()
        assert asked.gate(*STORED) == 0
        printed = capsys.readouterr().out
        assert ", 32 cases: " in printed.splitlines()[0]
        assert "asked of neither" not in printed

    def test_in_another_folder_of_recordings(self, asked: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        (asked.path / ".harness").rename(asked.path / "there")
        write(asked, "say A 24")
        assert asked.gate("p/torch@there", "p/lmdeploy@there") == 0
        assert f": s.c24; to ask: {ANEW} --recordings there\n" in capsys.readouterr().out

    def test_of_what_was_accepted(self, asked: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        assert asked.accept() == 0
        write(asked, "say A 24")
        path = str(Path("snapshots/p/torch"))
        assert asked.gate(path, STORED[1]) == 0
        accept = "harness accept p/torch --reason TEXT"
        ask = f"harness gate --baseline {path} --candidate p/lmdeploy; {accept}"
        assert f": s.c24; to ask: {ask}\n" in capsys.readouterr().out
        assert asked.gate(path, path) == 0
        assert f": s.c24; to ask: {accept}\n" in capsys.readouterr().out

    def test_not_what_the_profile_does_not_ask(
        self, asked: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked.write_suite("say A 24", name="t")
        assert asked.gate(*STORED) == 0
        assert "1 case asked of neither" in capsys.readouterr().out
        profiles = asked.cases / "profiles.yaml"
        profiles.write_text(profiles.read_text().replace("  p:\n", "  p:\n    suites: [s]\n"))
        assert asked.gate(*STORED) == 0
        assert "asked of neither" not in capsys.readouterr().out

    def test_and_nothing_else(self, asked: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        asked.write_suite("say A new", name="s")
        assert asked.gate(*STORED, "--case", "s.c0") == 2
        (asked.cases / "s.yaml").unlink()
        asked.write_suite("say A new", name="t")
        capsys.readouterr()
        assert asked.gate(*STORED) == 2
        told = f"allowed: sides with cases in common that a suite has now; to ask those: {ANEW}"
        assert told in capsys.readouterr().err


class TestAnotherName:
    def test_of_both_sides_is_the_same_case(self, asked: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        write(asked, first={"id": "renamed"})
        assert asked.gate(*STORED, "--strict") == 0
        printed = capsys.readouterr().out
        assert printed.startswith("SAME: ")
        assert ", 24 cases: " in printed.splitlines()[0]
        assert "note: 1 case under another name, and asking the very same: s.c0 is now s.renamed\n" in printed
        assert "removed" not in printed
        assert "asked of neither" not in printed

    def test_hides_no_answer_that_was_lost(
        self, gate_folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        prompts = [f"say A {number}" for number in range(23)]
        gate_folder.write_suite(*prompts, "torch: say A lmdeploy: say B")
        assert gate_folder.gate() == 1
        gate_folder.write_suite(*prompts, {"prompt": "torch: say A lmdeploy: say B", "id": "renamed"})
        capsys.readouterr()
        assert gate_folder.gate(*STORED) == 1
        printed = capsys.readouterr().out
        assert printed.startswith("REGRESSION: ")
        assert "REGRESSION  s.renamed" in printed

    def test_of_the_candidate_alone(self, asked: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        write(asked, first={"id": "renamed"})
        assert asked.gate("p/torch", STORED[1]) == 0
        assert "s.c0 is now s.renamed" in capsys.readouterr().out

    def test_of_a_suite(self, asked: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        (asked.cases / "s.yaml").rename(asked.cases / "t.yaml")
        assert asked.gate(*STORED) == 0
        assert "note: 24 cases under another name" in capsys.readouterr().out

    def test_is_not_removed_once_it_was_asked_by_the_new_one(
        self, asked: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(asked, first={"id": "renamed"})
        assert asked.gate() == 0
        capsys.readouterr()
        assert asked.gate(*STORED, "--strict") == 0
        assert "removed" not in capsys.readouterr().out

    def test_and_no_answer_by_it_is_an_error(self, asked: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        write(asked, first={"id": "renamed"})
        asked.patch('if "die" in orders', 'if request.case == "s.renamed"')
        assert asked.gate(THEN, "p/lmdeploy") == 2
        assert "ERROR  s.renamed" in capsys.readouterr().out


class TestAskedOtherwise:
    def test_a_picture_was_replaced(self, asked: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        right = picture(asked, "right.png", "blue")
        assert asked.gate(*STORED) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        told = f"s.c0: another image than is asked now: {right.relative_to(asked.path)}\n"
        assert f"cases/s.yaml:7:3: {told}" in printed.err
        assert f"compare with a run from after the edit; to ask it: {ANEW}\n" in printed.err
        assert asked.gate() == 0
        assert asked.gate(*STORED) == 0

    def test_a_picture_cannot_be_read(
        self, asked: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unreadable(path: Path) -> str:
            raise EngineError(ErrorKind.FAILED, f"cannot read the image {path.name}")

        monkeypatch.setattr("harness.scoring.subjects.image_fingerprint", unreadable)
        assert asked.gate(*STORED) == 2
        assert "cannot read the image left.png" in capsys.readouterr().err
        assert asked.gate(THEN, "p/torch") == 2
        assert "ERROR  s.c0" in capsys.readouterr().out

    def test_the_file_is_told_of_one_stored_side_too(
        self, asked: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        picture(asked, "left.png", "blue")
        assert asked.gate(THEN) == 2
        assert "s.c0: another image: cases/left.png\n" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("field", "first"),
        [
            ("letters", {"letters": ["A", "C"]}),
            ("image", {"images": ["left.png"]}),
            ("prompt", {"prompt": "say A again"}),
            ("system message", {"system": "Be brief."}),
            ("answer prefix", {"answer_prefix": "Answer: "}),
        ],
    )
    def test_the_field_is_named(
        self,
        asked: Folder,
        capsys: pytest.CaptureFixture[str],
        field: str,
        first: dict[str, Any],
    ) -> None:
        assert asked.accept() == 0
        write(asked, first=first)
        for baseline in (THEN, "snapshots/p/torch"):
            capsys.readouterr()
            assert asked.gate(baseline, STORED[1]) == 2
            printed = capsys.readouterr()
            assert printed.out == ""
            assert f"cases/s.yaml:7:3: s.c0: another {field} than is asked now" in printed.err

    def test_by_a_system_message_of_the_profile(
        self, asked: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked.write_profiles(q={"system": "Be brief."})
        profiles = asked.cases / "profiles.yaml"
        profiles.write_text(profiles.read_text().replace("  p:\n", "  p:\n    system: Be brief.\n"))
        assert asked.gate(*STORED) == 2
        assert "s.c0: another system message than is asked now\n" in capsys.readouterr().err

    def test_an_expected_letter_counts_as_it_is_now(
        self, asked: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(asked, first={"expect": "B"})
        assert asked.gate(*STORED) == 0
        assert "95.8% → 95.8%" in capsys.readouterr().out


def test_a_case_of_the_candidate_alone_that_is_no_more(
    asked: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = asked.cases / "s.yaml"
    suite.write_text(suite.read_text().partition("- id: c23")[0])
    assert asked.gate("p/torch", STORED[1]) == 0
    told = f"removed: 1 case of {STORED[1]} in no suite any more: s.c23; "
    assert capsys.readouterr().out.startswith(f"{told}let pass without --strict\n")
    assert asked.gate("p/torch", STORED[1], "--strict") == 3

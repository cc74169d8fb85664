"""`harness gate --explain`: where the worst cases begin to differ; the verdict stands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from harness.drift import run
from harness.reports.report_input import Explanation
from tests.gate_folder import Folder
from tests.reports.page.test_page import embedded


@pytest.mark.slow
def test_where_it_begins_is_named_and_asked_for_in_one_go(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.write_suite(*(f"say A {n} lmdeploy: wobble" for n in range(24)))
    page = gate_folder.path / "r.html"
    assert gate_folder.gate("p/torch", "p/lmdeploy", "--explain=1", "--report", str(page)) == 1
    printed = capsys.readouterr().out
    assert "where it begins:\n  harness explain p/torch..p/lmdeploy s.c" in printed
    # These engines are stand-ins, with no model to look into.
    assert printed.count("cannot be explained: ") == 1
    (told,) = embedded(page.read_text(encoding="utf-8"), "explanations")
    assert told["text"] in printed
    gate_folder.clean()
    assert gate_folder.gate("p/torch", "p/lmdeploy", "--explain") == 0
    assert "cannot be explained" not in capsys.readouterr().out


@pytest.mark.parametrize("data", ["-", "r.json"])
def test_what_was_explained_is_in_the_page_that_was_there_before(
    gate_folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: str
) -> None:
    page = gate_folder.path / "r.html"

    def explanations(_pairs: object, cases: Sequence[str], *_more: Any) -> Iterator[Explanation]:
        assert 'id="explanations"' not in page.read_text(encoding="utf-8")
        for case in cases:
            yield Explanation(
                case=case,
                sides=("p/torch", "p/lmdeploy"),
                sentences=["It begins."],
                text=f"{case}\n",
                picture="<svg/>",
            )

    monkeypatch.setattr(run, "explanations", explanations)
    monkeypatch.chdir(gate_folder.path)
    gate_folder.write_suite("say A", "torch: say A lmdeploy: say B")
    files = ("--report", str(page), "--json", data)
    assert gate_folder.gate("p/torch", "p/lmdeploy", *files, "--explain=1") == 1
    (told,) = embedded(page.read_text(encoding="utf-8"), "explanations")
    assert (told["case"], told["sides"], told["picture"]) == ("s.c1", ["p/torch", "p/lmdeploy"], "<svg/>")
    printed = capsys.readouterr()
    assert "\ns.c1\n" in (printed.err if data == "-" else printed.out)
    assert gate_folder.gate("p/torch", "p/lmdeploy", *files) == 1
    assert 'id="explanations"' not in page.read_text(encoding="utf-8")


def test_the_command_that_looks_closer_names_the_same_folders(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.write_suite(*(f"say A {n} lmdeploy: wobble" for n in range(12)))
    (gate_folder.path / "cases").rename(gate_folder.path / "mine")
    assert (
        gate_folder.gate("torch", "lmdeploy", "--cases", "mine", "--profile", "p", "--recordings", "r r") == 1
    )
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "harness explain" in line]
    pair, case, *rest = shlex.split(told)[2:]
    assert (pair, case[:3], rest) == (
        "p/torch..p/lmdeploy",
        "s.c",
        ["--cases", "mine", "--recordings", "r r"],
    )

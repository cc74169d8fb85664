"""`harness gate PROFILE`: every engine of a profile against its reference."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.cli import main
from tests.gate_folder import Folder


@pytest.fixture
def upgrade(gate_folder: Folder) -> Folder:
    """A reference with one that answers alike, one that drifts, and one that cannot be loaded."""
    gate_folder.write_suite(*(f"say A {n} lmdeploy: wobble" for n in range(24)))
    engines = {
        "torch": {},
        "same": {"kind": "torch"},
        "gone": {"kind": "torch", "device": "cuda"},
        "other": {"kind": "lmdeploy"},
    }
    gate_folder.write_profiles(q={"engines": engines})
    return gate_folder


def test_one_table_one_file_of_each_kind_and_the_worst_status(
    upgrade: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ("--json", "g.json", "--junit-xml", "g.xml", "--report", "g.html")
    assert main(["gate", "q", *files]) == 1
    printed = capsys.readouterr()
    table = printed.out.split("\n\n")[0].splitlines()
    rows = {line.split()[0]: line for line in table[2:]}
    assert list(rows) == ["q/same", "q/gone", "q/other"]
    assert "SAME" in rows["q/same"]
    assert "shown to be within the margin of" in rows["q/same"]
    assert "ERROR" in rows["q/gone"]
    assert "24 without an answer: q/gone: load: the engine (kind: torch, behind its patch " in rows["q/gone"]
    assert "DRIFT" in rows["q/other"]
    assert "cases, spread, shift, mass  " in rows["q/other"]
    ending = "exit status 1 (FAILED) by q/other; 3 comparisons share a false alarm rate of 0.01 (Holm)"
    assert f"\n\n{ending}\n" in printed.out
    assert "\nDRIFT: q/other against q/torch, 24 cases" in printed.out  # in full, as with two sides
    assert "SAME: q/same" not in printed.out
    assert "  harness gate --baseline q/torch --candidate q/other --case s.c" in printed.out
    comparisons = json.loads(Path("g.json").read_text())["comparisons"]
    assert [(one["candidate"]["label"], one["status"]) for one in comparisons] == [
        ("q/same", "PASSED"),
        ("q/gone", "ERROR"),
        ("q/other", "FAILED"),
    ]
    assert comparisons[0]["suites"][0]["evidence"][0]["alpha"] == pytest.approx(0.01 / 2)  # one was found
    assert [one["verdict"] for one in comparisons] == ["SAME", "ERROR", "DRIFT"]
    assert [one["suites"][0]["verdict"] for one in comparisons] == ["SAME", "ERROR", "DRIFT"]
    assert "\nERROR: q/gone against q/torch, 24 cases: no case has an answer on both sides" in printed.out
    told = printed.out.partition("\nERROR: q/gone")[2].partition("\nDRIFT: ")[0]
    assert "\ncandidate: q/gone, no answer\nwhat changed:\n  not known: an engine that gave no" in told
    assert "where it begins" not in told  # nothing to look into
    assert comparisons[1]["candidate"]["device"] == "no answer"
    assert comparisons[1]["changed"] == []
    parts = {suite.get("name"): suite for suite in ET.parse("g.xml").getroot()}
    of = ("q/same", "q/gone", "q/other")
    assert list(parts) == [f"{name}: {part}" for name in of for part in ("all cases", "s")]
    gone = parts["q/gone: s"]
    assert (gone.get("errors"), gone.get("failures")) == ("25", "0")
    assert "DRIFT: q/other against q/torch" in Path("g.html").read_text()


def test_the_reference_is_asked_once_and_rows_that_no_one_wants_are_gone(
    upgrade: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["gate", "q"])
    assert capsys.readouterr().err.count("q-torch: 24 recorded") == 1
    # q/same is quiet, so its rows are gone; the reference's are wanted for what moved beside it.
    rows = {file.name.partition("-")[0] for file in (upgrade.path / ".harness" / "rows").glob("*.npy")}
    assert rows == {"torch", "lmdeploy"}
    upgrade.write_profiles(q={"engines": {"torch": {}, "same": {"kind": "torch"}}})
    assert main(["gate", "q", "--fresh"]) == 0
    left = {file.name for file in (upgrade.path / ".harness" / "rows").glob("torch-*.npy")}
    main(["gate", "q"])
    assert left == {file.name for file in (upgrade.path / ".harness" / "rows").glob("torch-*.npy")}


def test_a_profile_of_two_engines_is_the_gate_of_two_sides(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.write_suite(*(f"say A {n} lmdeploy: wobble" for n in range(24)))
    gate_folder.gate()
    two = capsys.readouterr().out
    assert main(["gate", "p"]) == 1
    assert capsys.readouterr().out == two


def test_without_its_reference_no_other_is_asked_and_why_is_told_once(
    upgrade: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    engines = {"torch": {"device": "cuda"}, "same": {"kind": "torch"}, "other": {"kind": "lmdeploy"}}
    upgrade.write_profiles(q={"engines": engines})
    assert main(["gate", "q", "--json", "g.json", "--junit-xml", "g.xml", "--report", "g.html"]) == 2
    printed = capsys.readouterr()
    assert "q-same" not in printed.err
    assert "q-other" not in printed.err
    whole = printed.out.partition("\n\nexit status 2 (ERROR) by q/same, q/other; ")[2]
    told = "not asked, as q/torch gave no answer"
    assert (
        f"\nERROR: q/same against q/torch: {told}: load: the engine (kind: torch, behind its patch " in whole
    )
    assert f"\nERROR: q/other against q/torch: {told}, as told of q/same\n" in whole
    assert whole.count("this machine has no NVIDIA GPU") == 1
    assert len(upgrade.runs.of("q", "torch")) == 1
    assert not upgrade.runs.of("q", "other")
    comparisons = json.loads(Path("g.json").read_text())["comparisons"]
    assert [(one["verdict"], one["status"]) for one in comparisons] == [("ERROR", "ERROR")] * 2
    assert sum(case.find("error") is not None for case in ET.parse("g.xml").iter("testcase")) == 2


def test_what_cannot_be_compared_is_an_error_beside_the_others(
    upgrade: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    engines = {"torch": {}, "same": {"kind": "torch"}, "other": {"kind": "lmdeploy"}}
    upgrade.write_profiles(q={"engines": engines, "tolerance": "noise"})
    assert main(["gate", "q", "--json", "g.json", "--junit-xml", "g.xml", "--report", "g.html"]) == 2
    printed = capsys.readouterr().out
    assert printed.count("no noise floor") >= 2
    assert "exit status 2 (ERROR) by q/same, q/other; " in printed
    assert [one["status"] for one in json.loads(Path("g.json").read_text())["comparisons"]] == ["ERROR"] * 2
    errors = [case.find("error") for case in ET.parse("g.xml").iter("testcase")]
    assert len(errors) == 2
    assert all(error is not None and "no noise floor" in str(error.text) for error in errors)


def test_github_is_told_all_of_them(
    upgrade: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(upgrade.path))
    main(["gate", "q"])
    text = Path("summary.md").read_text()
    assert text.startswith("## exit status 1 \\(FAILED\\) by q/other; ")
    assert "\n\n| candidate | verdict | what decided |" in text
    for name in ("same", "gone", "other"):
        assert f"| q/{name} | " in text
    parts = text.split("\n## ")[1:]
    assert [part.partition(":")[0] for part in parts] == ["SAME", "ERROR", "DRIFT"]
    assert "setting kind: torch → lmdeploy" in parts[2]
    assert "setting kind" not in parts[0]
    assert "::error file=cases/s.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["pq"], "profile: found 'pq'; allowed: q (the nearest), p (from cases/profiles.yaml)"),
        ([], "found no side; allowed: PROFILE alone, or --baseline A with --candidate B"),
        (["--baseline", "p/torch"], "found --baseline; allowed: PROFILE alone, or"),
        (["q", "--baseline", "p/torch"], "found q and --baseline; allowed: PROFILE alone, or"),
        (["q", "--profile", "p"], "found q and --profile; allowed: PROFILE alone, or"),
    ],
)
def test_a_command_that_names_no_two_sides_is_2(
    upgrade: Folder, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert main(["gate", *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1
    assert not (upgrade.path / ".harness" / "recordings").exists()


def test_a_profile_of_one_engine_has_nothing_to_judge(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.clean(2)
    gate_folder.write_profiles(q={"engines": {"torch": {}}})
    assert main(["gate", "q"]) == 2
    assert (
        "profile q: found the engine torch alone; allowed: another one beside it" in capsys.readouterr().err
    )

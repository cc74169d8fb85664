"""Whether and where CI is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.reports.ci.github import MOST_BYTES
from harness.reports.ci.output import github_here, tell_checks, tell_refusal, tell_sentences, tell_verdicts
from tests.reports.ci.test_github_checks import check
from tests.reports.made_verdicts import made_case, made_comparison


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "GITHUB_WORKSPACE": str(Path.cwd()),
    }


def test_a_comparison_is_told_in_both_ways(environ: dict[str, str], tmp_path: Path) -> None:
    lines: list[str] = []
    tell_verdicts([made_comparison([made_case()])], environ=environ, write_line=lines.append, report="r.html")
    assert (tmp_path / "summary.md").read_text().startswith("## REGRESSION: ")
    assert lines == [
        "::error file=cases/shapes.yaml,line=1,col=5,title=REGRESSION shapes.case-1 (versions/lmdeploy_0_18)"
        "::cases/shapes.yaml:1:5: |Δ log-odds| 0.5 > 0.01"
    ]


def test_a_gate_without_a_comparison_at_hand_is_told_in_its_sentence(
    environ: dict[str, str], tmp_path: Path
) -> None:
    tell_sentences(["NOISE: nothing | moved"], environ=environ, write_line=lambda _: None)
    assert (tmp_path / "summary.md").read_text() == "## NOISE: nothing \\| moved\n\n"


def test_a_refusal_is_told_in_both_ways(environ: dict[str, str], tmp_path: Path) -> None:
    lines: list[str] = []
    tell_refusal("--set: found 'x'\nallowed: y", environ=environ, write_line=lines.append)
    assert lines == ["::error title=Nothing was judged::--set: found 'x' allowed: y"]
    assert "allowed: y" in (tmp_path / "summary.md").read_text()


@pytest.mark.parametrize("value", [None, "false", "1"])
def test_elsewhere_nothing_is_told(environ: dict[str, str], tmp_path: Path, value: str | None) -> None:
    del environ["GITHUB_ACTIONS"]
    if value is not None:
        environ["GITHUB_ACTIONS"] = value
    lines: list[str] = []
    tell_verdicts([made_comparison([made_case()])], environ=environ, write_line=lines.append)
    tell_checks([check()], environ=environ, write_line=lines.append, reasons={})
    tell_sentences(["NOISE"], environ=environ, write_line=lines.append)
    tell_refusal("why", environ=environ, write_line=lines.append)
    assert lines == []
    assert not (tmp_path / "summary.md").exists()
    assert github_here(environ) is None


def test_what_is_there_stays_and_the_limit_holds(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    file.write_text("x" * (MOST_BYTES - 200))
    tell_checks([check()], environ=environ, write_line=lambda _: None, reasons={})
    text = file.read_text()
    assert len(text.encode()) <= MOST_BYTES
    assert "There is more to tell" in text
    file.write_text("x" * MOST_BYTES)
    tell_checks([check()], environ=environ, write_line=lambda _: None, reasons={})
    assert file.read_text() == "x" * MOST_BYTES


def test_a_summary_that_cannot_be_written_is_told_and_loses_nothing(
    environ: dict[str, str], tmp_path: Path
) -> None:
    environ["GITHUB_STEP_SUMMARY"] = str(tmp_path / "gone" / "summary.md")
    lines: list[str] = []
    tell_verdicts([made_comparison([made_case()])], environ=environ, write_line=lines.append)
    assert [line.split(" ")[0] for line in lines] == ["::warning", "::error"]
    assert "cannot be written" in lines[0]


def test_without_a_summary_file_there_are_annotations_still(environ: dict[str, str]) -> None:
    del environ["GITHUB_STEP_SUMMARY"]
    lines: list[str] = []
    tell_verdicts([made_comparison([made_case()])], environ=environ, write_line=lines.append)
    assert len(lines) == 1

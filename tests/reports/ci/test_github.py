"""What GitHub shows of comparisons."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.reports.ci.github import (
    MOST_BYTES,
    MOST_SUITES,
    Level,
    annotation,
    annotations_of,
    cell,
    in_workspace,
    step_summary,
)
from harness.reports.worst_cases import MOST
from harness.verdicts.findings import Finding
from harness.verdicts.judging import ALL
from harness.verdicts.verdict import ExitStatus, Verdict
from tests.reports.made_verdicts import made_case, made_comparison, made_suite

HERE = Path("/w/repository")


class TestStepSummary:
    def test_the_verdict_comes_first_then_suites_then_the_worst_cases(self) -> None:
        cases = [made_case(number=1), made_case(Verdict.SAME, number=2)]
        text = step_summary([made_comparison(cases)])
        lines = text.splitlines()
        assert lines[0] == "## REGRESSION: the candidate loses right answers beyond noise"
        assert lines[2:9:2] == [
            r"baseline versions/lmdeploy\_0\_14",
            r"candidate versions/lmdeploy\_0\_18",
            "found beyond noise: 1 single case; does it matter: yes, right answers were lost "
            r"\(exit status 1\)",
            r"noise: measured floor of versions/lmdeploy\_0\_14",
        ]
        assert lines[10].startswith("| suite | verdict | cases |")
        assert lines[12].startswith(r"| shapes | REGRESSION | 2 | 2.12 \[1.5, 2.75\] |")
        assert lines.index("### Lost, gained and moved") < lines.index("### Worst cases")
        assert r"- lost \(2\): shapes.case\-1, shapes.case\-2" in lines
        assert r"| cases/shapes.yaml:1:5 | shapes.case\-1 | REGRESSION |" in text
        assert "| shapes.case\\-2 |" not in text

    def test_all_cases_come_before_the_suites(self) -> None:
        suites = [made_suite([], verdict, name=verdict.value) for verdict in (Verdict.SAME, Verdict.DRIFT)]
        whole = made_suite([made_case(tags=("small",))], Verdict.DRIFT, name=ALL, within_margin=True)
        text = step_summary([made_comparison([made_case(tags=("small",))], whole=whole, suites=suites)])
        rows = [line.split(" | ")[:2] for line in text.splitlines() if line.startswith("| ")]
        assert rows[2:5] == [
            ["| all cases", "DRIFT within the margin"],
            ["| DRIFT", "DRIFT"],
            ["| SAME", "SAME"],
        ]
        assert ["| small", "1"] in rows
        text = step_summary([made_comparison([], Verdict.NOISE, suites=suites)])
        rows = [line.split(" | ")[:1] for line in text.splitlines() if line.startswith("| ")]
        assert rows[2:5] == [["| all cases"], ["| DRIFT"], ["| SAME"]]

    def test_what_changed_and_the_report_are_told(self) -> None:
        text = step_summary([made_comparison([])], changed=[["lmdeploy 0.14.0 → 0.18.0"]], report="gate.html")
        assert "### What changed\n\n- lmdeploy 0.14.0 → 0.18.0\n" in text
        assert text.endswith("Full report: gate.html\n\n")
        assert "What changed" not in step_summary([made_comparison([])])

    def test_it_is_far_below_the_limit_however_much_there_is(self) -> None:
        cases = [made_case(number=n, reason="reason @ <b> | " * 1000) for n in range(2000)]
        suites = [made_suite(cases, name=f"suite-{n}-{'x' * 1000}") for n in range(2000)]
        comparison = made_comparison(cases, suites=suites, sentence="long " * 100_000)
        text = step_summary([comparison] * 2, changed=[["changed " * 1000] * 1000] * 2, report="r" * 100_000)
        assert len(text.encode()) < MOST_BYTES / 2
        assert text.count("\n| suite\\-") == 2 * (MOST_SUITES - 1)  # and all cases
        assert f"and {2001 - MOST_SUITES} more suites" in text
        assert f"and {2000 - MOST} more: {2000 - MOST} REGRESSION" in text
        assert "- and 970 more\n" in text

    def test_suites_with_something_to_tell_are_not_cut_away(self) -> None:
        suites = [made_suite([], Verdict.SAME, name=f"s{n}") for n in range(MOST_SUITES)]
        suites.append(made_suite([], Verdict.DRIFT, name="late"))
        assert "| late | DRIFT |" in step_summary([made_comparison([], suites=suites)])


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("a | b", r"a \| b"),
        ("<script>&", "&lt;script&gt;&amp;"),
        ("*a* _b_ `c` [d](e)", r"\*a\* \_b\_ \`c\` \[d\]\(e\)"),
        ("two\nlines", "two lines"),
        ("@someone https://example.org", "&#64;someone https&#58;//example.org"),
    ],
)
def test_text_stays_text(text: str, markdown: str) -> None:
    assert cell(text) == markdown


class TestAnnotation:
    def test_properties_and_message_are_escaped(self) -> None:
        line = annotation(
            Level.ERROR, title="50%: a, b", message="100%\nof: it, all", where=("cases/a,b.yaml", 3, 5)
        )
        assert line == (
            "::error file=cases/a%2Cb.yaml,line=3,col=5,title=50%25%3A a%2C b::100%25 of: it, all"
        )

    @example("a title", "a message", "two\nlines")
    @example("a title", "a message", "two\rlines")
    @given(st.text(), st.text(), st.text(min_size=1))
    def test_no_text_breaks_out_of_its_line(self, title: str, message: str, file: str) -> None:
        line = annotation(Level.WARNING, title=title, message=message, where=(file, 1, 1))
        assert len(line.splitlines()) == 1 or not {"\n", "\r"} & set(line)
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e]", line)
        properties = line.removeprefix("::warning ").split("::")[0]
        assert [part.partition("=")[0] for part in properties.split(",")] == ["file", "line", "col", "title"]

    @pytest.mark.parametrize(
        ("place", "workspace", "folder", "found"),
        [
            ("cases/s.yaml:3:5", HERE, HERE, ("cases/s.yaml", 3, 5)),
            ("s.yaml:3:5", HERE, HERE / "cases", ("cases/s.yaml", 3, 5)),
            ("/w/repository/cases/s.yaml:3:5", HERE, Path("/elsewhere"), ("cases/s.yaml", 3, 5)),
            ("/opt/cases/s.yaml:3:5", HERE, HERE, None),
            ("cases/s.yaml:3:5", None, HERE, None),
            ("recorded last month", HERE, HERE, None),
        ],
    )
    def test_places_are_relative_to_the_workspace(
        self, place: str, workspace: Path | None, folder: Path, found: tuple[str, int, int] | None
    ) -> None:
        assert in_workspace(place, workspace=workspace, folder=folder) == found


class TestAnnotations:
    def test_only_the_worst_are_annotated(self) -> None:
        cases = [made_case(number=n) for n in range(3 * MOST)]
        lines = annotations_of([made_comparison(cases)], workspace=HERE, folder=HERE)
        assert len(lines) == MOST
        assert lines[0].startswith("::error file=cases/shapes.yaml,line=")
        assert "title=REGRESSION shapes.case-" in lines[0]

    @pytest.mark.parametrize(
        ("verdict", "within", "level"),
        [
            (Verdict.REGRESSION, False, "error"),
            (Verdict.REGRESSION, True, "warning"),
            (Verdict.DRIFT, False, "error"),
            (Verdict.DRIFT, True, "warning"),
            (Verdict.INCONCLUSIVE, False, "warning"),
            (Verdict.ERROR, True, "error"),
        ],
    )
    def test_levels(self, verdict: Verdict, within: bool, level: str) -> None:
        cases = [made_case(verdict)]
        suite = made_suite(cases, verdict, within_budget=within)
        lines = annotations_of([made_comparison(cases, suites=[suite])], workspace=HERE, folder=HERE)
        assert [line.split(" ")[0] for line in lines] == [f"::{level}"]

    def test_what_passes_is_not_annotated(self) -> None:
        comparison = made_comparison([made_case(Verdict.NOISE)], Verdict.NOISE)
        assert annotations_of([comparison], workspace=HERE, folder=HERE) == []

    def test_a_suite_that_drifts_without_one_bad_case_is_annotated_itself(self) -> None:
        comparison = made_comparison([made_case(Verdict.NOISE)], Verdict.DRIFT)
        assert annotations_of([comparison], workspace=HERE, folder=HERE) == [
            "::error title=DRIFT versions/lmdeploy_0_18::the candidate loses right answers beyond noise"
        ]
        unsure = replace(comparison, verdict=Verdict.INCONCLUSIVE, status=ExitStatus.INCONCLUSIVE)
        (line,) = annotations_of([unsure], workspace=HERE, folder=HERE)
        assert line.startswith("::warning title=INCONCLUSIVE ")


@pytest.mark.parametrize("count", [1, 2])
def test_what_was_found_before_the_numbers_comes_first(count: int) -> None:
    finding = Finding(name="question", text="asked *otherwise*", cases=("shapes.case-1",), blocks=True)
    verdict = replace(made_comparison([made_case()]), findings=(finding,))
    first = step_summary([verdict] * count).splitlines()[0]
    assert first.startswith("**")
    assert first.endswith("asked \\*otherwise\\***")

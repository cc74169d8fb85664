"""What was explained, in the page: in words, as a picture, and nothing of it where nothing was."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page

from harness.drift.distances import Distance
from harness.drift.explaining import Explained, Row
from harness.drift.first_stage import Start
from harness.drift.grafting import Graft
from harness.drift.run import explanation_of
from harness.reports.page import page as page_module
from harness.reports.page.document import Report, make_report
from harness.reports.page.page import render_page
from harness.reports.report_files import write_page
from harness.reports.report_input import Explanation, PytestRun
from harness.reports.summary import Status, tallies_of
from tests.reports.conftest import Open
from tests.reports.page.test_page import embedded
from tests.reports.page.test_page_in_browser import CONTRAST
from tests.reports.report_data import BASELINE, CANDIDATE, make_input
from tests.reports.test_table import summary

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>&\ud800"
STAGES = ("pixels", "patch", *(f"vision.{n}.{half}" for n in range(4) for half in ("attention", "mlp")))
STAGES += ("projected", *(f"layer.{n}.{half}" for n in range(6) for half in ("attention", "mlp")), "norm")
BEGINS = "vision.2.mlp"


def explained(case: str) -> Explained:
    """One in which a vision block is off, with a proof that follows."""
    at = STAGES.index(BEGINS)
    far = [1e-7 if n < at else 4e-3 * 0.8 ** (n - at) for n in range(len(STAGES))]
    rows = [
        Row(
            stage=stage,
            plain=Distance(far[n] / 2, far[n], 7, 16),
            plain_limits=(4e-7, 1e-6),
            local=Distance(1e-7, 3e-3 if n == at else 2e-7, 7, 16),
            local_limits=(4e-7, 1e-6),
        )
        for n, stage in enumerate(STAGES)
    ]
    inputs = "vision.2.attention"
    return Explained(
        case=case,
        labels=(BASELINE, CANDIDATE),
        letters=("A", "B"),
        dtype="float32",
        question=(),
        answers=("P(A) 0.9; wrote 'A'", "P(A) 0.8; wrote 'A'"),
        gap=0.0029,
        start=Start(
            stage=BEGINS, route="B resynced", born=True, distance=rows[at].local, limits=(4e-7, 1e-6)
        ),
        rows=tuple(rows),
        grafts=(
            Graft(giver="A", stages=(BEGINS,), gap=0.0029, to_giver=1e-7, to_itself=0.0029),
            Graft(giver="A", stages=(inputs,), gap=0.0029, to_giver=0.0029, to_itself=0.0),
        ),
        proven=True,
        place="tile 0, patch 7",
    )


@pytest.fixture(scope="module")
def report(pictures: Path) -> Report:
    """Of 24 cases, two of which were explained, and one could not be."""
    names = [case.name for case in make_input(24, pictures).cases]
    lost = Explanation(
        case=names[2], sides=(BASELINE, CANDIDATE), sentences=["cannot be explained"], text="cannot"
    )
    found = [*(explanation_of(explained(name)) for name in names[:2]), lost]
    others = replace(found[0], sides=(BASELINE, "another"))
    return replace(made(pictures), explained=(*found, others))


def made(pictures: Path, *, day: str = "") -> Report:
    """Without what was explained; ``day`` is that of the baseline's answers, '' where they are of now."""
    given = make_input(24, pictures)
    baseline, candidate = replace(given.baseline, made=day), replace(given.candidate, made="")
    return make_report([replace(given, baseline=baseline, candidate=candidate)])


def begins(page: Page) -> list[str]:
    return page.locator("#explained article").all_inner_texts()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_each_has_its_sentences_its_proof_and_its_picture(
    report: Report, open_page: Open, tmp_path: Path, theme: str
) -> None:
    write_page(report, tmp_path / "r.html")
    page = open_page(tmp_path / "r.html", theme=theme)
    assert [text.splitlines()[0] for text in begins(page)] == [one.case for one in report.explained[:3]]
    lines = [line for line in begins(page)[0].splitlines() if line]
    assert lines[1] == f"It begins at vision block 2, behind its MLP: {BEGINS}"
    assert f"with {BASELINE}'s vision block 2, behind its MLP, {CANDIDATE} answers as {BASELINE}" in lines[4]
    assert "behind its attention" in lines[5]
    assert lines[6] == "proof: the gap goes with that stage, and not with what goes into it"
    drawn = page.get_by_role("img", name=f"{report.explained[0].case}: {BASELINE} and")
    assert drawn.locator("polyline").count() == 2
    assert drawn.locator(".start").count() == 1
    assert "vision.2.mlp" in (drawn.text_content() or "")
    assert page.locator("#explained svg").count() == 2
    contrasts = page.evaluate(CONTRAST)
    assert contrasts["worst"][0][0] >= 4.5, contrasts["worst"]
    # All of it, for who reads no picture.
    page.locator("#explained summary").first.click()
    assert page.locator("#explained pre").first.inner_text() == report.explained[0].text
    page.locator("#explained h3 a").first.click()
    assert page.locator("tr.is-open").get_attribute("data-case") == report.explained[0].case


def test_on_a_narrow_screen_the_picture_scrolls_and_not_the_page(
    report: Report, open_page: Open, tmp_path: Path
) -> None:
    write_page(report, tmp_path / "r.html")
    page = open_page(tmp_path / "r.html", width=360)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_where_nothing_was_explained_there_is_nothing_of_it(
    report: Report, open_page: Open, tmp_path: Path
) -> None:
    plain = render_page(replace(report, explained=()))
    assert re.findall(r'<script type="application/json" id="(\w+)">', plain) == ["document", "pictures"]
    both = [replace(report, explained=()), replace(report, explained=report.explained[3:])]
    for number, one in enumerate(both):
        write_page(one, tmp_path / f"{number}.html")
        assert open_page(tmp_path / f"{number}.html").locator("#explained").count() == 0


def test_an_answer_of_an_earlier_day_was_not_explained(
    pictures: Path, report: Report, open_page: Open, tmp_path: Path
) -> None:
    write_page(replace(made(pictures, day="2026-10-25"), explained=report.explained), tmp_path / "r.html")
    assert begins(open_page(tmp_path / "r.html")) == []


def test_hostile_text_and_drawings_stay_text_and_drawings(
    report: Report, open_page: Open, tmp_path: Path
) -> None:
    named = explanation_of(replace(explained(HOSTILE.replace("\ud800", "")), notes=(HOSTILE,)))
    xmlns = 'xmlns="http://www.w3.org/2000/svg"'
    script = f"<svg {xmlns}><script>document.title='owned'</script><text data-x='1' x='9'>t</text></svg>"
    wrong = [replace(named, picture=text) for text in (script, "<p/>", "")]
    write_page(replace(report, explained=(named, *wrong)), tmp_path / "r.html")
    page = open_page(tmp_path / "r.html")
    assert page.locator("script").count() == 4
    assert page.locator("#explained :is(script, img, [data-x])").count() == 0
    assert page.locator("#explained svg text[x='9']").text_content() == "t"
    assert page.locator("#explained svg").count() == 2
    assert (page.locator("#explained svg text").first.text_content() or "").startswith("</script><script>")
    assert "owned" not in page.title()


def test_drawings_leave_the_page_its_room(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    one = report.explained[0]
    monkeypatch.setattr(page_module, "_DRAWN", 2 * len(one.picture) + 1)
    told = embedded(render_page(replace(report, explained=(one,) * 4)), "explanations")
    assert [bool(each["picture"]) for each in told] == [True, True, False, False]
    assert {each["text"] for each in told} == {one.text}


RED = ("#ran strong", "h1")


def test_what_pytest_counted_comes_first_and_no_gate_is_claimed(
    report: Report, open_page: Open, tmp_path: Path
) -> None:
    checks = [
        summary(),
        summary(status=Status.FAILED),
        summary(check="agree", status=Status.FAILED),
        summary(status=Status.ERROR),
    ]
    ran = PytestRun.of(tallies_of(checks), gate=False)
    assert ran.sentence == (
        "pytest: of 4 checks 1 passed, 2 failed (letter 1, agree 1), 1 without an answer."
    )
    write_page(replace(report, explained=(), ran=ran), tmp_path / "red.html")
    page = open_page(tmp_path / "red.html")
    assert page.locator("main > :not(noscript)").first.inner_text() == f"3 failed\n{ran.sentence}"
    assert page.locator("#all .status").inner_text().startswith("As a gate this ")
    sizes = [page.locator(name).evaluate("e => parseFloat(getComputedStyle(e).fontSize)") for name in RED]
    assert sizes[0] > 1.5 * sizes[1]  # a red run is not told by a verdict, which may be green
    assert page.title().startswith("3 failed; ")

    write_page(
        replace(report, explained=(), ran=PytestRun.of(tallies_of(checks[:1]), gate=True)),
        tmp_path / "green.html",
    )
    page = open_page(tmp_path / "green.html")
    assert page.locator("#ran").inner_text() == "pytest: of 1 check 1 passed."
    assert page.locator("#all .status").inner_text().startswith("The gate ")
    assert "failed" not in page.title()

"""Many engines on one page, in a real Chromium: the worst first, all one click away, what leaves it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from harness.cases.suites import Case
from harness.reports.page.document import Report, make_report
from harness.reports.page.page import render_page
from harness.schemas.report import ComparisonEntry
from tests.reports.conftest import Open
from tests.reports.many_engines import nine_engines
from tests.reports.report_data import draw_image, make_input

CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")
LIMIT = 15_000_000
WORST_FIRST = ["REGRESSION", "ERROR", "DRIFT", "INCONCLUSIVE", "NOISE", "SAME"]


@pytest.fixture(scope="module")
def report(pictures: Path) -> Report:
    return make_report(nine_engines(60, pictures))


@pytest.fixture(scope="module")
def file(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("nine") / "report.html"
    file.write_text(render_page(report), encoding="utf-8")
    return file


def texts(page: Page, selector: str) -> list[str]:
    return [" ".join(text.split()) for text in page.locator(selector).all_inner_texts()]


def opens_with(report: Report) -> ComparisonEntry:
    return report.document.comparisons[report.document.engines[1].comparison]


def grid_cases(page: Page) -> list[str]:
    return texts(page, "#grid tbody th")


def listed(page: Page, kind: str = "") -> list[str]:
    rows = page.locator(f"#case-table tr.row{kind}")
    return [str(name) for name in rows.evaluate_all("all => all.map(one => one.dataset.case)")]


def opened(page: Page) -> list[str]:
    return listed(page, ".is-open")


def saved(page: Page, place: str) -> list[dict[str, str]]:
    with page.expect_download() as told:
        page.locator(place).get_by_role("button", name="Save as CSV").click()
    text = told.value.path().read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def test_it_opens_on_the_worst_and_every_row_and_cell_leads(
    file: Path, open_page: Open, report: Report
) -> None:
    page = open_page(file)
    reference, worst, *_ = report.document.engines
    assert page.locator("h1").inner_text().strip() == "REGRESSION"
    both = ", ".join(one.label for one in report.document.engines[1:3])
    assert f"2 of 8 engines do not pass: {both}." in page.locator("#all .sentence").inner_text()
    shown = page.locator("#verdict .label").first
    assert shown.inner_text() == report.document.comparisons[worst.comparison].name
    rows = texts(page, ".matrix tbody tr")
    assert len(rows) == 9
    assert rows[0].startswith(f"{reference.label} reference")
    assert rows[1].startswith(f"{worst.label} REGRESSION")
    assert worst.accuracy is not None
    share, low = worst.accuracy.value or 0, worst.accuracy.low or 0
    assert f"{100 * share:.1f}% {100 * low:.1f}–" in rows[1]
    assert rows[1].endswith(f"{worst.worst} 3 2400")  # 60 cases and 48,000 tokens in 20 s
    assert rows[0].endswith("– –")
    # A click anywhere in a row, and one on the case that is worst there.
    page.locator(".matrix tbody tr").nth(8).locator("td").nth(1).click()
    last = report.document.engines[8]
    assert shown.inner_text() == f"{last.label} against p/torch"
    assert page.locator(".tab[aria-current]").inner_text().split()[0] == last.label
    page.locator(".matrix tbody tr").nth(1).locator("td .leads").click()
    assert shown.inner_text() == f"{worst.label} against p/torch"
    assert opened(page) == [worst.worst]
    # A cell leads to its case in its engine's comparison.
    page.locator("#grid tbody tr").nth(2).locator(".cell").nth(8).click()
    assert shown.inner_text() == f"{last.label} against p/torch"
    assert opened(page) == [grid_cases(page)[2]]


def test_a_cell_tells_answer_and_verdict_without_a_colour(
    file: Path, open_page: Open, report: Report
) -> None:
    page = open_page(file)
    heads = texts(page, "#grid thead th")
    assert heads == ["case", "exp.", *(one.label.removeprefix("p/") for one in report.document.engines)]
    name = grid_cases(page)[0]
    for place, engine in enumerate(report.document.engines):
        entry = next(one for one in report.document.comparisons[engine.comparison].cases if one.case == name)
        answer = entry.candidate if engine.against else entry.baseline
        assert answer is not None
        cell = page.locator("#grid tbody tr").first.locator(".cell").nth(place)
        text = " ".join((cell.text_content() or "").split())
        top = "none" if not answer.reached else answer.top or "?"
        assert text.startswith(top)
        assert ("wrong" in text) == (answer.right is False) == bool(cell.locator(".wrong").count())
        assert cell.locator("svg").count() == bool(engine.against)
        if engine.against:
            assert entry.verdict.lower() in text
            assert cell.locator(f"svg.{entry.verdict}").count() == 1
    # The worst cases come first, and as many stand on a page as can be read.
    worst = dict.fromkeys((entry.case for entry in report.document.comparisons[0].cases), 9)
    for comparison in report.document.comparisons:
        for entry in comparison.cases:
            worst[entry.case] = min(worst[entry.case], WORST_FIRST.index(entry.verdict))
    ranks = [worst[name] for name in grid_cases(page)]
    assert ranks == sorted(worst.values())[:12]
    assert ranks[0] < ranks[-1]
    assert len(grid_cases(page)) == 12
    page.locator("#all .pager").get_by_role("button", name="Next").click()
    assert page.locator("#all .pager span").inner_text() == "13–24 of 60"


def test_the_grid_is_filtered_by_name_tag_engine_and_verdict(
    file: Path, open_page: Open, report: Report
) -> None:
    page, status = open_page(file), "#grid-count"
    entries = {
        engine.label: report.document.comparisons[engine.comparison].cases
        for engine in report.document.engines
    }
    page.select_option("#grid-verdict", "DRIFT")
    some = {one.case for cases in entries.values() for one in cases if one.verdict == "DRIFT"}
    assert set(grid_cases(page)) == some != set()
    page.select_option("#grid-engine", label="next")
    assert set(grid_cases(page)) == {one.case for one in entries["p/next"] if one.verdict == "DRIFT"}
    assert texts(page, "#grid thead th")[2:] == ["torch", "next"]
    page.select_option("#grid-verdict", "")
    page.select_option("#grid-tag", "rare")
    rare = {one.case for one in entries["p/next"] if "rare" in one.tags}
    assert page.locator(status).inner_text() == f"{len(rare)} of 60 cases, the worst first"
    page.select_option("#grid-tag", "")
    # A word that every prompt offers finds no case until prompts are asked for.
    page.fill("#grid-text", "option")
    expect(page.locator(status)).to_have_text("0 of 60 cases, the worst first")
    page.check("#grid-deep")
    expect(page.locator(status)).to_have_text("60 cases, the worst first")


def test_what_is_filtered_is_saved_as_csv(file: Path, open_page: Open, report: Report) -> None:
    page = open_page(file)
    page.select_option("#grid-engine", label="next")
    page.select_option("#grid-verdict", "REGRESSION")
    rows = saved(page, "#all")
    assert [row["case"] for row in rows] == grid_cases(page) != []
    assert {row["p/next verdict"] for row in rows} == {"REGRESSION"}
    assert not any(name.startswith("p/lost") for name in rows[0])
    page.select_option("#filter-suite", "documents")
    page.locator("#case-table [data-key=case]").click()
    rows = saved(page, "#cases")
    shown = listed(page)
    assert [row["case"] for row in rows] == shown
    comparison = opens_with(report)
    for row in rows:
        entry = next(one for one in comparison.cases if one.case == row["case"])
        assert (row["verdict"], row["expected"]) == (entry.verdict, entry.expect)
        assert float(row["Largest change of log-odds"] or "nan") == pytest.approx(
            float("nan") if entry.largest is None else entry.largest, nan_ok=True
        )


def test_a_text_that_a_spreadsheet_would_run_is_saved_as_text(
    pictures: Path, open_page: Open, tmp_path: Path
) -> None:
    given = make_input(6, pictures)
    name = given.verdict.cases[0].case
    cases = [replace(one, tags=('=HYPERLINK("x")', 'a,"b"')) for one in given.verdict.cases[:1]]
    verdict = replace(given.verdict, cases=(*cases, *given.verdict.cases[1:]))
    (tmp_path / "r.html").write_text(
        render_page(make_report([replace(given, verdict=verdict)])), encoding="utf-8"
    )
    (row,) = (one for one in saved(open_page(tmp_path / "r.html"), "#cases") if one["case"] == name)
    assert row["tags"] == '\'=HYPERLINK("x") a,"b"'


def test_a_case_is_copied_as_markdown(file: Path, open_page: Open, report: Report) -> None:
    page = open_page(file)
    page.locator("button.opens").first.click()
    (name,) = opened(page)
    comparison = opens_with(report)
    entry = next(one for one in comparison.cases if one.case == name)
    button = page.get_by_role("button", name="Copy case as Markdown")
    box = page.locator(".copy", has=button)
    assert box.locator("pre").is_hidden()
    button.click()
    expect(box.locator("[role=status]")).not_to_be_empty()
    text = box.locator("code").text_content() or ""
    if box.locator("[role=status]").inner_text().startswith("selected"):
        assert page.evaluate("String(getSelection())").strip() == text.strip()
    assert text.startswith(f"### {name}: {entry.verdict}\n\n{comparison.name}\n\n{entry.reason}\n")
    assert f"| {entry.expect} (expected) | " in text
    assert entry.prompt is not None
    assert f"~~~\n{entry.prompt}\n~~~" in text
    assert f"~~~\n{entry.command}\n~~~" in text


def test_keys_lead_through_the_cases_and_steal_nothing(file: Path, open_page: Open) -> None:
    page = open_page(file)
    order = listed(page)
    page.keyboard.press("j")
    assert opened(page) == order[:1]
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert opened(page) == [order[2]]
    assert page.evaluate("document.activeElement.textContent") == order[2]
    page.keyboard.press("k")
    assert opened(page) == [order[1]]
    page.keyboard.press("Control+j")
    assert opened(page) == [order[1]]
    page.locator("#filter-text").focus()
    page.keyboard.type("jk")
    assert page.locator("#filter-text").input_value() == "jk"
    page.fill("#filter-text", "")
    expect(page.locator("#case-count")).to_have_text("60 cases")
    assert opened(page) == [order[1]]
    page.uncheck("#keys")
    page.locator("button.opens").nth(5).focus()
    page.keyboard.press("j")
    assert opened(page) == [order[1]]
    assert "J next case, K previous case" in page.locator(".keys").inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_chosen_tab_can_be_read_under_the_pointer(file: Path, open_page: Open, theme: str) -> None:
    page = open_page(file, theme=theme)
    tab = page.locator(".tab").nth(3)
    tab.click()
    tab.hover()
    assert tab.evaluate("e => e.matches(':hover') && e.ariaCurrent") == "true"
    found = page.evaluate(CONTRAST)["worst"]
    assert found[0][0] >= 4.5, found
    # What was wrong once: the pointer's background under the chosen tab's ink.
    tab.evaluate(
        "e => { e.style.background = getComputedStyle(document.querySelector('.cell')).backgroundColor; }"
    )
    assert page.evaluate(CONTRAST)["worst"][0][0] < 4.5


def test_paper_has_every_row_that_matters_and_no_button(file: Path, open_page: Open, report: Report) -> None:
    page = open_page(file, theme="dark")
    wanted = {
        one.case
        for one in opens_with(report).cases
        if one.verdict not in ("SAME", "NOISE")
        or one.flip
        or (one.candidate and one.candidate.right is False)
    }
    page.select_option("#rows", "50")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    shown = listed(page)
    assert set(shown) == wanted != set()
    assert page.locator("#case-count").inner_text().startswith(f"{len(wanted)} of 60 cases: ")
    assert len(grid_cases(page)) > 12  # all of them, not a page
    seen = page.locator("button, input, select").evaluate_all(
        "all => all.filter(e => e.getClientRects().length).filter(e => {"
        "const s = getComputedStyle(e); return e.tagName !== 'BUTTON' || s.borderTopWidth !== '0px'"
        " || s.backgroundColor !== 'rgba(0, 0, 0, 0)'; }).map(e => e.outerHTML.slice(0, 80))"
    )
    assert seen == []
    assert page.locator("img[loading=lazy]").count() == 0  # what is out of sight would stay blank
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#case-table tr.row").count() == 50
    assert len(grid_cases(page)) == 12


def test_a_picture_is_seen_in_full(pictures: Path, open_page: Open, tmp_path: Path) -> None:
    given = make_input(6, pictures)
    draw_image(tmp_path / "small.jpg", 1)
    cases: list[Case] = [replace(one, images=(tmp_path / "small.jpg",)) for one in given.cases]
    (tmp_path / "r.html").write_text(
        render_page(make_report([replace(given, cases=cases)])), encoding="utf-8"
    )
    page = open_page(tmp_path / "r.html")
    page.locator("button.opens").first.click()
    width: Callable[[str], int] = lambda image: page.locator(image).evaluate("e => e.naturalWidth")  # noqa: E731
    assert width("img.large") < 180
    page.get_by_role("button", name=re.compile("^See .*small.jpg larger$")).click()
    assert width("dialog img") == 240  # all that the file has
    assert "small.jpg" in page.locator("dialog").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("dialog").count() == 0


def test_what_changed_is_folded_where_engines_differ_in_kind(
    file: Path, file60: Path, open_page: Open
) -> None:
    changed = open_page(file).locator("#changed")
    summary = changed.locator("summary")
    assert summary.inner_text() == "14 differences, as is to be expected between torch and lmdeploy"
    assert changed.locator("table").is_hidden()
    summary.click()
    assert changed.locator("table").is_visible()
    assert open_page(file60).locator("#changed table").is_visible()  # of two releases of one engine


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_with_nine_engines(file: Path, open_page: Open, theme: str, width: int) -> None:
    found = find_spec("axe_playwright_python")
    assert found is not None
    assert found.origin is not None
    page = open_page(file, theme=theme, width=width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("button.opens").first.click()
    page.locator(".zooms").first.click()
    page.evaluate(Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8"))
    in_dialog = page.evaluate("axe.run('dialog')")
    page.keyboard.press("Escape")
    results = page.evaluate("axe.run()")
    assert len(results["passes"]) > 30
    assert [
        (one["id"], one["nodes"][0]["html"]) for one in (*in_dialog["violations"], *results["violations"])
    ] == []


def test_a_thousand_cases_and_nine_engines_stay_small(
    pictures: Path, open_page: Open, tmp_path: Path
) -> None:
    """How long it takes to open: `python benchmarks --only page`."""
    text = render_page(make_report(nine_engines(1000, pictures)))
    assert len(text.encode()) < LIMIT
    (tmp_path / "large.html").write_text(text, encoding="utf-8")
    page = open_page(tmp_path / "large.html")
    assert page.locator("#grid-count").inner_text() == "1,000 cases, the worst first"
    assert page.locator("#grid tbody tr").count() == 12
    page.fill("#grid-text", "scenes.fence-09")
    expect(page.locator("#grid-count")).to_have_text("25 of 1,000 cases, the worst first")

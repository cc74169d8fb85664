"""The page in a real Chromium, opened from disk: what a reader does with it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from harness.reports.page.document import Report, make_report
from harness.reports.page.page import render_page
from tests.reports.conftest import Open
from tests.reports.report_data import make_input

WORST_FIRST = ["REGRESSION", "ERROR", "DRIFT", "INCONCLUSIVE", "NOISE", "SAME"]

CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")


def listed(page: Page) -> list[str]:
    """Names of the cases that are shown, in order."""
    return [
        str(name)
        for name in page.locator("#case-table tr.row").evaluate_all("r => r.map(x => x.dataset.case)")
    ]


def cells(page: Page, column: int) -> list[str]:
    return [
        text.strip() for text in page.locator(f"#case-table tr.row > :nth-child({column})").all_inner_texts()
    ]


def no_sideways_scroll(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_verdict_comes_first_in_words_and_shape(file60: Path, open_page: Open, report60: Report) -> None:
    page = open_page(file60)
    told = report60.document.comparisons[0]
    assert page.locator("h1").inner_text().strip() == told.verdict == "REGRESSION"
    assert page.locator("h1 svg path").count() == 1
    assert told.sentence.removeprefix("REGRESSION: ") in page.locator("#verdict .sentence").inner_text()
    assert "exit status 1" in page.locator("#verdict .status").inner_text()
    assert "1 of 2 engines does not pass: internvl/lmdeploy-0.18." in page.locator("#all").inner_text()
    reasons = page.locator("#verdict .reasons").inner_text()
    assert told.whole is not None
    assert told.whole.reasons[0] in reasons
    assert page.locator("#verdict .where").inner_text().startswith("Where: suite charts (")
    order = page.locator("main section").evaluate_all("all => all.map(one => one.id)")
    sections = "all verdict changed suites told charts cases flips coverage history"
    assert order == sections.split()


def test_what_changed_has_versions_first_and_all_of_it(file60: Path, open_page: Open) -> None:
    page = open_page(file60)
    rows = page.locator("#changed tbody tr")
    assert rows.first.inner_text().split() == ["version", "lmdeploy", "0.14.0", "0.18.0"]
    assert rows.count() == 10
    page.get_by_role("button", name="Show all 14 differences").click()
    assert rows.count() == 14


def test_of_a_side_without_an_answer_what_changed_is_not_known(
    pictures: Path, open_page: Open, tmp_path: Path
) -> None:
    given, file = make_input(24, pictures), tmp_path / "report.html"
    for fingerprint, told in (({}, "Not known: "), (given.candidate.fingerprint, "Nothing differs ")):
        candidate = replace(given.candidate, fingerprint=fingerprint)
        report = make_report([replace(given, candidate=candidate, changed=())])
        file.write_text(render_page(report), encoding="utf-8")
        assert open_page(file).locator("#changed p").inner_text().startswith(told)


def test_every_column_sorts_both_ways(file60: Path, open_page: Open) -> None:
    page = open_page(file60)
    page.select_option("#rows", "0")
    headers = page.locator("#case-table thead th")
    assert headers.count() == 10
    for place in range(10):
        name = headers.nth(place).inner_text().rstrip(" ▲▼").strip()
        states = set()
        for _ in range(2):
            headers.nth(place).locator("button").click()
            state = headers.nth(place).get_attribute("aria-sort")
            states.add(state)
            assert page.locator("#case-table th[aria-sort=none]").count() == 9
            values = cells(page, place + 1)
            assert len(values) == 60
            keys = [key_of(name, value) for value in values]
            known = [key for key in keys if key is not None]
            assert len(known) > 40
            assert known == sorted(known, reverse=state == "descending"), (name, state)
            assert None not in keys[: len(known)]  # what is not known comes last
        assert states == {"ascending", "descending"}


def key_of(column: str, text: str) -> Any:
    """What a column's cell sorts by; None where the number is not known."""
    if column == "verdict":
        return WORST_FIRST.index(text)
    if column == "case":
        text = text.splitlines()[-1]  # above it, "no image"
        return text.rpartition("-")[0].rpartition(".")[::2], int(text.rpartition("-")[2])
    if column in ("expected", "answer"):
        # As people sort: a dash and an arrow before letters.
        return [("?–→".find(part) < 0, part) for part in re.sub(r"\s*(right|wrong)$", "", text).split()]
    return None if text == "–" else float(text.replace("−", "-").removeprefix("≤ "))


def test_filters_by_text_verdict_suite_and_flips(file60: Path, open_page: Open, report60: Report) -> None:
    page = open_page(file60)
    entries = report60.document.comparisons[0].cases
    status = page.locator("#case-count")
    assert status.inner_text() == "60 cases"
    page.fill("#filter-text", "TOTAL invoice")
    expect(status).to_have_text("0 of 60 cases")
    assert "prompts were not looked through" in page.locator("#case-table").inner_text()
    page.check("#filter-deep")
    wanted = {
        e.case for e in entries if "total" in e.case + (e.prompt or "") and "invoice" in (e.prompt or "")
    }
    expect(status).to_have_text(f"{len(wanted)} of 60 cases")
    assert set(listed(page)) == wanted != set()
    page.fill("#filter-text", "")
    expect(status).to_have_text("60 cases")
    page.select_option("#filter-verdict", "DRIFT")
    assert set(listed(page)) == {e.case for e in entries if e.verdict == "DRIFT"} != set()
    page.select_option("#filter-verdict", "")
    page.select_option("#filter-suite", "documents")
    assert set(listed(page)) == {e.case for e in entries if e.suite == "documents"}
    page.check("#filter-flipped")
    assert set(listed(page)) == {e.case for e in entries if e.suite == "documents" and e.flip} != set()
    page.select_option("#filter-verdict", "SAME")
    assert "No case is like that." in page.locator("#case-table").inner_text()


def test_a_count_of_the_verdict_leads_to_its_cases(file60: Path, open_page: Open, report60: Report) -> None:
    page = open_page(file60)
    page.locator("#verdict button.count.DRIFT").click()
    drifted = {e.case for e in report60.document.comparisons[0].cases if e.verdict == "DRIFT"}
    assert set(listed(page)) == drifted
    assert page.locator("#filter-verdict").evaluate("e => e === document.activeElement")


def test_a_case_opens_with_everything_about_it(file60: Path, open_page: Open, report60: Report) -> None:
    page = open_page(file60)
    entry = next(e for e in report60.document.comparisons[0].cases if e.flip and e.images and e.history)
    button = page.get_by_role("button", name=entry.case)
    assert button.get_attribute("aria-expanded") == "false"
    button.click()
    button = page.get_by_role("button", name=entry.case)
    assert button.get_attribute("aria-expanded") == "true"
    box = page.locator(f"#{button.get_attribute('aria-controls')}")
    text = box.inner_text()
    assert entry.prompt is not None
    for wanted in (
        entry.prompt.splitlines()[0],
        entry.reason,
        entry.place,
        "total variation",
        "KL",
        entry.command,
    ):
        assert wanted in text
    assert page.locator(".distribution tbody tr").count() == len(entry.letters) + 1
    assert box.locator("img.large").evaluate("image => image.naturalWidth") > 40
    assert box.locator("svg.spark").get_attribute("aria-label")
    button.click()
    assert box.count() == 0


def test_bars_are_as_long_as_the_probabilities(file60: Path, open_page: Open, report60: Report) -> None:
    page = open_page(file60)
    entry = next(e for e in report60.document.comparisons[0].cases if e.candidate and e.candidate.partial)
    page.get_by_role("button", name=entry.case).click()
    widths = page.locator(".distribution .bar.candidate").evaluate_all(
        "bars => bars.map(bar => [...bar.children].map("
        "part => part.getBoundingClientRect().width / bar.clientWidth))"
    )
    assert entry.candidate is not None
    for parts, least, most in zip(widths, entry.candidate.least, entry.candidate.most, strict=False):
        assert parts[0] == pytest.approx(least, abs=0.01)
        assert len(parts) == (1 if least == most else 2)
        assert sum(parts) == pytest.approx(most, abs=0.01)
    assert "≤" in page.locator(".distribution").inner_text()


def test_an_error_shows_its_message_and_no_numbers(file60: Path, open_page: Open, report60: Report) -> None:
    page = open_page(file60)
    entry = next(e for e in report60.document.comparisons[0].cases if e.verdict == "ERROR")
    page.get_by_role("button", name=entry.case).click()
    assert entry.errors[0].splitlines()[0] in page.locator(".errors").inner_text()
    assert "no answer" in page.locator(".written").inner_text()


def test_the_command_can_be_copied(file60: Path, open_page: Open, report60: Report) -> None:
    page = open_page(file60)
    page.locator("button.opens").first.click()
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator(".copy [role=status]").first).not_to_be_empty()
    said = page.locator(".copy [role=status]").first.inner_text()
    command = page.locator(".copy code").first.inner_text()
    assert "harness gate" in command
    if said.startswith("selected"):
        assert page.evaluate("String(getSelection())") == command
    else:
        assert said == "copied"


def test_an_address_leads_to_a_case_on_a_later_page(file1000: Path, open_page: Open) -> None:
    page = open_page(file1000, fragment="#case=scenes.line-0988")
    row = page.locator("tr.row[data-case='scenes.line-0988']")
    assert row.get_attribute("class") == "row is-open"
    assert page.evaluate("document.activeElement.textContent") == "scenes.line-0988"
    box = row.bounding_box()
    assert box is not None
    assert 0 <= box["y"] < 900


def test_opening_a_case_writes_its_address(file60: Path, open_page: Open) -> None:
    page = open_page(file60)
    name = listed(page)[3]
    page.get_by_role("button", name=name).click()
    assert page.evaluate("location.hash") == f"#case={name}"
    page.goto(page.url)
    page.reload()
    assert page.get_by_role("button", name=name).get_attribute("aria-expanded") == "true"


def test_another_comparison_can_be_chosen_and_linked(file60: Path, open_page: Open, report60: Report) -> None:
    page = open_page(file60)
    second = report60.document.comparisons[1]
    tab = page.locator("#comparisons button").nth(1)
    tab.click()
    assert page.locator("#verdict-title").inner_text().strip() == second.verdict
    assert page.locator("#comparisons button").nth(1).get_attribute("aria-current") == "true"
    assert len(listed(page)) == 24
    told = [one.verdict for one in report60.document.comparisons]
    page.locator(".matrix .leads").first.click()
    assert page.locator("#verdict-title").inner_text().strip() == told[0]
    tab.click()
    name = listed(page)[0]
    opener = f"[data-case='{name}'] button.opens"
    page.locator(opener).click()
    again = open_page(file60, fragment=page.evaluate("location.hash"))
    assert again.locator("#verdict-title").inner_text().strip() == second.verdict
    assert again.locator(opener).get_attribute("aria-expanded") == "true"


def test_a_point_of_a_chart_leads_to_its_case(file60: Path, open_page: Open) -> None:
    page = open_page(file60)
    chart = page.locator("#gaps svg")
    chart.scroll_into_view_if_needed()
    place = chart.locator("path.mark.REGRESSION").bounding_box()
    assert place is not None
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    tip = page.locator("#gaps .tip").inner_text()
    assert "regression" in tip
    page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    name = tip.partition(":")[0]
    assert page.get_by_role("button", name=name).get_attribute("aria-expanded") == "true"


def test_all_letters_give_four_times_the_points(file60: Path, open_page: Open) -> None:
    page = open_page(file60)
    label = page.locator("#scatter svg").get_attribute("aria-label") or ""
    one = int(re.findall(r"(\d+) points", label)[0])
    page.check("#all-letters")
    label = page.locator("#scatter svg").get_attribute("aria-label") or ""
    assert int(re.findall(r"(\d+) points", label)[0]) > 3 * one


def test_flips_coverage_and_history_are_told(file60: Path, open_page: Open, report60: Report) -> None:
    page = open_page(file60)
    entries = report60.document.comparisons[0].cases
    flips = [e for e in entries if e.flip]
    assert page.locator("#flips tbody tr").count() == len(flips) > 2
    assert f"{len(flips)} top letters changed" in page.locator("#flips").inner_text()
    known = [e.baseline for e in entries if e.baseline and e.baseline.coverage.within is not None]
    within = sum(bool(one.coverage.within) for one in known)
    assert f"in {within} of {len(known)} cases" in page.locator("#coverage").inner_text()
    assert page.locator("#history tbody tr").count() == len(report60.document.comparisons[0].runs) == 3
    assert "plug-in" in page.locator("footer").inner_text()


def test_the_keyboard_is_enough(file60: Path, open_page: Open) -> None:
    page = open_page(file60)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#filter-text").focus()
    seen = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.dataset.key"))
        if page.evaluate("document.activeElement.className") == "opens":
            break
    assert {"filter-verdict", "filter-suite", "filter-flipped", "case", "gap"} <= seen
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    page.keyboard.press("Space")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false"
    page.locator("#case-table thead button").first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.closest('th').getAttribute('aria-sort')") == "ascending"


def test_theme_follows_the_system_and_the_button(file60: Path, open_page: Open) -> None:
    colours = {}
    for theme in ("light", "dark"):
        page = open_page(file60, theme=theme)
        button = page.get_by_role("button", name=f"Theme: {theme} (system)")
        assert button.count() == 1  # what the system prefers is seen, not only told to a screen reader
        colours[theme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    button.click()
    assert page.locator("#theme").inner_text() == "Theme: light"
    assert (
        page.evaluate("getComputedStyle(document.body).backgroundColor")
        == colours["light"]
        != colours["dark"]
    )
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == colours["light"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_has_contrast(file60: Path, open_page: Open, theme: str) -> None:
    page = open_page(file60, theme=theme)
    for place in (0, 2, 4):
        page.locator("button.opens").nth(place).click()
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    found = page.evaluate(CONTRAST)
    assert found["count"] > 500
    assert found["worst"][0][0] >= 4.5, found["worst"]


def test_pale_text_would_be_noticed(file60: Path, open_page: Open) -> None:
    page = open_page(file60)
    page.evaluate("document.querySelector('.sentence').style.color = 'rgb(170 170 170)'")
    assert page.evaluate(CONTRAST)["worst"][0][0] < 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_a_phone(file60: Path, open_page: Open, theme: str) -> None:
    page = open_page(file60, theme=theme, width=360, height=780)
    assert no_sideways_scroll(page)
    for place in (0, 2, 4):
        page.locator("button.opens").nth(place).click()
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert no_sideways_scroll(page)
    page.select_option("#sort-by", "gap")
    assert page.locator("#case-table th[aria-sort=ascending]").count() == 1
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<pre>' + 'x'.repeat(200) + '</pre>')")
    assert not no_sideways_scroll(page)  # a text that does not fit would be noticed


def test_a_thousand_cases_are_paged_sorted_and_filtered(file1000: Path, open_page: Open) -> None:
    page = open_page(file1000)
    assert len(listed(page)) == 50
    assert page.locator(".pager").inner_text().split("\n")[1] == "1–50 of 1000"
    page.get_by_role("button", name="Next").click()
    assert page.locator(".pager span").inner_text() == "51–100 of 1000"
    page.locator("#case-table thead button").first.click()
    assert listed(page)[0] == "charts.bar-0001"
    page.select_option("#rows", "0")
    assert len(listed(page)) == 1000
    page.fill("#filter-text", "scenes.fence-09")
    expect(page.locator("#case-count")).not_to_have_text("1,000 cases")
    assert all(name.startswith("scenes.fence-09") for name in listed(page))


def test_it_can_be_printed(file60: Path, open_page: Open) -> None:
    page = open_page(file60, theme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('.filters')).display") == "none"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(29, 32, 35)"


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 360)])
def test_axe_finds_nothing(file60: Path, open_page: Open, browser: Any, theme: str, width: int) -> None:
    found = find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.fail("axe-playwright-python is not installed; install the group of tests: tox run --notest")
    source = Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8")
    page = open_page(file60, theme=theme, width=width)
    for place in (0, 2, 4):
        page.locator("button.opens").nth(place).click()
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    page.evaluate(source)
    results = page.evaluate("axe.run()")
    assert len(results["passes"]) > 30
    told = [(one["id"], [node["target"] for node in one["nodes"]][:3]) for one in results["violations"]]
    assert told == [], json.dumps(told)

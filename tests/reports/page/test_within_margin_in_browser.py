"""The page of a drift that is shown to be within the margin, in a real Chromium."""

from __future__ import annotations

from pathlib import Path

from harness.reports.page.document import make_report
from harness.reports.page.page import render_page
from tests.reports.conftest import Open
from tests.reports.report_data import make_input


def test_a_drift_within_the_margin_has_words_and_a_colour_of_its_own(
    pictures: Path, open_page: Open, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    report = make_report([make_input(60, pictures, regress=False, spread=0.06), make_input(60, pictures)])
    assert [one.status for one in report.document.comparisons] == ["PASSED", "FAILED"]
    file.write_text(render_page(report), encoding="utf-8")
    # Of several the one that fails stands open, whatever their order.
    assert open_page(file).locator("h1").inner_text().strip() == "REGRESSION"
    page = open_page(file, fragment="#comparison=1")
    colour = "one => getComputedStyle(one).color"
    assert page.locator("#verdict-title").inner_text().strip() == "DRIFT within the margin"
    assert page.title().startswith("DRIFT within the margin: ")
    assert (
        "The gate passes: what moved is shown to be within the margin (exit status 0)"
        in page.locator("#verdict .status").inner_text()
    )
    badge = page.locator("#suites tbody tr").first.locator(".badge")
    assert badge.inner_text() == "DRIFT within the margin"
    own = page.locator("#verdict-title").evaluate(colour)
    assert own == badge.evaluate(colour)
    page.evaluate("document.querySelector('#verdict-title').className = 'verdict DRIFT'")
    assert page.locator("#verdict-title").evaluate(colour) != own  # that of a drift which matters
    assert page.locator("#suites tbody th").all_inner_texts()[:4] == [
        "all cases",
        "charts",
        "documents",
        "scenes",
    ]
    told = page.locator("#told").inner_text()
    lost = report.document.comparisons[0].accuracy
    assert lost is not None
    assert f"Lost ({len(lost.lost)}): {lost.lost[0]}" in told
    assert "rare" in told

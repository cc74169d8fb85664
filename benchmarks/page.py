"""Opening the largest page of a report in a browser: until all that is on it is drawn."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from playwright.sync_api import Browser, Error, sync_playwright

from benchmarks.ratios import interleaved
from benchmarks.results import Row
from benchmarks.workload import Workload
from harness.errors import HarnessError
from harness.reports.page.document import make_report
from harness.reports.report_files import write_page
from tests.reports.conftest import FLAGS, chromium_path
from tests.reports.many_engines import nine_engines
from tests.reports.report_data import make_input

__all__ = ["measure_page"]

_REPEATS = 5
_CASES = 1_000
_MOST_SECONDS = 2.0
_MOST_BYTES = 15e6
_DRAWN = "html[data-ready=true]"


def measure_page(workload: Workload, names: frozenset[str]) -> list[Row]:
    """The rows of ``page``."""
    del names  # there is only one
    pictures = workload.scratch / "pictures"
    pictures.mkdir()
    small, large = workload.scratch / "small.html", workload.scratch / "large.html"
    write_page(make_report([make_input(60, pictures)]), small)
    write_page(make_report(nine_engines(_CASES, pictures)), large)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
            seconds = interleaved(
                {"small": partial(_open, browser, small), "large": partial(_open, browser, large)},
                workload.repeats or _REPEATS,
            )
            browser.close()
    except Error as error:
        raise HarnessError(
            f"found no page that was drawn; allowed: a Chromium that shows it: {error}"
        ) from error
    return page_rows(seconds, large.stat().st_size)


def page_rows(seconds: dict[str, list[float]], size: int) -> list[Row]:
    """Rows from seconds of opening the ``small`` page and the ``large`` one, and the bytes of the latter."""
    pairs = zip(seconds["large"], seconds["small"], strict=True)
    what = f"{_CASES:,} cases of nine engines"
    return [
        Row(
            measurement="page",
            what=f"page of {what} / page of 60 cases of two",
            values=tuple(large / small for large, small in pairs),
        ),
        Row(
            measurement="page",
            what=f"opening the page of {what}",
            values=tuple(seconds["large"]),
            unit=" s",
            target=_MOST_SECONDS,
        ),
        Row(
            measurement="page",
            what=f"size of the page of {what}",
            values=(size / 1e6,),
            unit=" MB",
            target=_MOST_BYTES / 1e6,
        ),
    ]


def _open(browser: Browser, file: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(file.as_uri())
    page.wait_for_selector(_DRAWN, state="attached")
    page.close()

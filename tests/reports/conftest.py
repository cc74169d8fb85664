"""A Chromium to open reports in, and reports to open."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from harness.reports.page.document import Report, make_report
from harness.reports.page.page import render_page
from tests.reports.report_data import make_input

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")

Open = Callable[..., Page]
"""Opens a file: ``open(path, theme="light", width=1280, hash="")``."""


def chromium_path() -> str:
    """The installed Chromium; without one the test fails, for nothing would have been tested."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.fail(
            f"no Chromium: found none of {', '.join(NAMES)} and no CHROMIUM=PATH; install one, such as with\n"
            "  sudo apt-get install chromium"
        )
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens files; at the end, whatever a page asked of the network or complained of fails the test."""
    contexts, wrong = [], []

    def open_page(
        file: Path, *, theme: str = "light", width: int = 1280, height: int = 900, fragment: str = ""
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if theme == "dark" else "light",
            bypass_csp=False,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("request", lambda asked: _note_request(asked.url, file, wrong))
        page.goto(f"{file.as_uri()}{fragment}")
        page.wait_for_selector("html[data-ready=true]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def _note_request(url: str, file: Path, wrong: list[str]) -> None:
    if url.partition("#")[0] != file.as_uri() and not url.startswith("data:"):
        wrong.append(f"request: {url}")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="session")
def report60(pictures: Path) -> Report:
    """Two comparisons, of 60 and of 24 cases."""
    return make_report(
        [
            make_input(60, pictures),
            make_input(24, pictures, seed=9, regress=False, images=False, name="the same again"),
        ]
    )


@pytest.fixture(scope="session")
def file60(report60: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(render_page(report60), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def file1000(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "large.html"
    file.write_text(render_page(make_report([make_input(1000, pictures)])), encoding="utf-8")
    return file

"""Writing a report: the page for people, the document for machines. A file is there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.cases.kept import whole
from harness.recordings.journal import disk_error
from harness.reports.page.choosing import ROWS, all_rows
from harness.reports.page.document import Report
from harness.reports.page.page import render_page

__all__ = ["write_document", "write_page"]


def write_page(report: Report, file: Path) -> None:
    """Write the page to ``file``, whose folder is made; raises `RecordingError` if the disk refuses.

    Where it lacks cases, a row for each case goes into a file beside it.
    """
    _write(file, [render_page(report)])
    if report.whole:
        _write(file.with_suffix(ROWS), all_rows(report.whole))


def write_document(report: Report, file: Path) -> None:
    """Write the document to ``file`` as JSON, as `write_page` does."""
    _write(file, [report.to_json()])


def _write(file: Path, parts: Iterable[str]) -> None:
    try:
        with whole(file) as new, new.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(parts)
    except OSError as error:
        raise disk_error("write", file, error) from error

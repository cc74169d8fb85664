"""Writing a report: the page for people, the document for machines. A file is there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from harness.errors import RecordingError
from harness.recordings.journal import disk_error
from harness.reports.page.document import Report
from harness.reports.page.page import render_page

__all__ = ["write_document", "write_page"]


def write_page(report: Report, file: Path) -> None:
    """Write the page to ``file``, whose folder is made; raises `RecordingError` if the disk refuses."""
    _write(file, render_page(report))


def write_document(report: Report, file: Path) -> None:
    """Write the document to ``file`` as JSON, as `write_page` does."""
    _write(file, report.to_json())


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    except OSError as error:
        raise _refused(file, error) from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        os.chmod(name, 0o644)  # noqa: PTH101 - a temporary file is readable by its owner only
        os.replace(name, file)  # noqa: PTH105
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise _refused(file, error) from error


def _refused(file: Path, error: OSError) -> RecordingError:
    return disk_error("write", file, error)

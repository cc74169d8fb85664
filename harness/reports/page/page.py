"""The report as one HTML file that needs nothing else: no network, no other files, no framework.

The page holds the document, as compressed JSON, and draws itself from it. Its policy lets only the scripts
and styles run whose hashes it names, so nothing that a prompt or an answer contains can run.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from string import Template

from harness.reports.page.document import Report
from harness.reports.page.thumbnails import LARGEST, LARGEST_FULL, make_thumbnail
from harness.reports.report_input import Explanation, PytestRun

__all__ = ["BUDGET", "render_page"]

BUDGET = 14_500_000
"""Size in bytes that pictures must leave the page under; without them it may be larger."""

_PARTS = Path(__file__).with_name("parts")
_SCRIPTS = (
    *("elements.js", "filters.js", "charts.js", "case.js", "cases.js", "engines.js"),
    *("sections.js", "explained.js", "page.js"),
)
_DRAWN = 2_000_000  # bytes that the drawings of explained cases may take together
_LEAST_FULL = 60_000  # bytes of a large picture; where they do not suffice for all, the worst cases have them
_BASE64 = 4 / 3
_AROUND = 60  # bytes of key, quotes and address around each picture


def render_page(report: Report) -> str:
    """The whole page; a picture that cannot be shown is told in a word."""
    document = report.document
    data = base64.b64encode(gzip.compress(document.model_dump_json().encode(), mtime=0)).decode("ascii")
    explained = _explained(report.explained)
    room = BUDGET - len(data) - len(explained) - len(_style().encode()) - len(_script().encode())
    worst = "; ".join(f"{one.words}: {one.name}" for one in document.comparisons)
    failed = "" if report.ran is None or not report.ran.failed else f"{report.ran.failed} failed; "
    policy = (
        f"default-src 'none'; script-src {_hash(_script())}; style-src {_hash(_style())}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    page = Template((_PARTS / "page.html").read_text(encoding="utf-8"))
    return page.substitute(
        policy=policy,
        title=html.escape(failed + worst),
        ran=_ran(report.ran),
        style=_style(),
        document=data,
        pictures=_embedded(json.dumps(_pictures(report.pictures, room), ensure_ascii=False)),
        explained=explained,
        script=_script(),
    )


def _pictures(paths: Mapping[str, Path], room: int) -> dict[str, dict[str, str]]:
    """A small picture of each of ``paths``, and large ones of the first, as far as ``room`` bytes last."""
    small = min(LARGEST, int(room / max(1, len(paths)) / _BASE64) - _AROUND)
    left = room / _BASE64 - len(paths) * (small + _AROUND)
    pictures = {}
    for number, (key, path) in enumerate(paths.items()):
        large = int(min(LARGEST_FULL, max(_LEAST_FULL, left / (len(paths) - number)), left))
        found = make_thumbnail(path, most=small, full=large)
        left -= len(found.full) / _BASE64
        pictures[key] = found._asdict()
    return pictures


def _explained(found: Sequence[Explanation]) -> str:
    """The element, ASCII, that holds what was explained; '' where nothing was."""
    if not found:
        return ""
    room, told = _DRAWN, []
    for one in found:
        room -= len(one.picture)
        told.append(one if room >= 0 else replace(one, picture=""))
    data = _embedded(json.dumps([asdict(one) for one in told]))
    return f'<script type="application/json" id="explanations">{data}</script>\n'


def _ran(run: PytestRun | None) -> str:
    """The line that says what pytest counted; '' of a report that is not a run's."""
    if run is None:
        return ""
    attributes = f'data-failed="{run.failed}" data-gate="{"asked" if run.gate else "none"}"'
    blocks = " blocks" if run.failed else ""
    failed = f"<strong>{run.failed} failed</strong> " * bool(run.failed)
    return f'<p id="ran" class="finding{blocks}" {attributes}>{failed}{html.escape(run.sentence)}</p>\n  '


def _embedded(text: str) -> str:
    """JSON that can stand in a script element: no ``<``, so nothing ends it or begins a comment in it."""
    return text.replace("<", "\\u003c")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _style() -> str:
    return "\n" + (_PARTS / "page.css").read_text(encoding="utf-8")


@cache
def _script() -> str:
    sources = "\n".join((_PARTS / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    return f'\n(() => {{\n"use strict";\n{sources}\n}})();\n'

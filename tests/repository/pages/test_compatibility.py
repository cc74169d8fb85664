"""The page about formats has each that is written, with its version."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from harness.bundles import container
from harness.schemas import report
from harness.snapshots import files

ROOT = Path(__file__).parents[3]


def journals() -> Iterator[tuple[str, int]]:
    """Format and version of each journal, from the calls that open one."""
    for path in sorted((ROOT / "harness").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            given = {word.arg: word.value for word in node.keywords} if isinstance(node, ast.Call) else {}
            if "format_name" not in given:
                continue
            name, version = given["format_name"], given["version"]
            assert isinstance(name, ast.Constant)
            if isinstance(version, ast.Name):
                module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
                number = getattr(module, version.id)
            else:
                assert isinstance(version, ast.Constant)
                number = version.value
            yield str(name.value).removeprefix("vlm-harness "), number


def test_each_format_that_is_written_is_in_the_table_with_its_version() -> None:
    text = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8").partition("## Files")[2]
    rows = re.findall(r"^\| ([a-z ]+) \| (\d+) \|", text, re.MULTILINE)
    told = {name: int(version) for name, version in rows}
    written = dict(journals())
    assert len(written) >= 7
    others = {
        "accepted": files._HEAD["version"],
        "report": report.VERSION,
        "bundle": container._HEAD["version"],
    }
    assert told == {**written, **others}

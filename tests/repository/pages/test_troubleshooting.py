"""docs/troubleshooting.md: each message that it quotes is one that the harness writes."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (?!message|---)(.+?) \| .+ \| .+ \|$", PAGE, re.MULTILINE)
OF_OTHERS = {"error: externally-managed-environment", "harness: command not found", "No module named …"}
MESSAGES = sorted({message for row in ROWS for message in re.findall(r"`([^`]+)`", row)} - OF_OTHERS)


@cache
def texts() -> str:
    """All that stands in quotes in the harness's sources, … for what is filled in."""
    found = []
    for file in (ROOT / "harness").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
                    )
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_every_row_has_a_message() -> None:
    assert len(ROWS) >= 30
    assert len(MESSAGES) >= len(ROWS) - len(OF_OTHERS)


@pytest.mark.parametrize("message", MESSAGES)
def test_the_harness_says_it(message: str) -> None:
    assert re.search(re.escape(message).replace("…", ".*"), texts())


def test_what_is_said_nowhere_would_be_noticed() -> None:
    assert "this machine has no graphics card visible" not in texts()

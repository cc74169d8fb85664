"""The house rules that a machine can check: lint, format, types, and links."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PAGES = [
    *ROOT.glob("*.md"),
    *(page for folder in ("benchmarks", "cases", "docs") for page in (ROOT / folder).rglob("*.md")),
]


@pytest.mark.parametrize(
    "command",
    [("ruff", "check"), ("ruff", "format", "--check"), ("mypy",)],
    ids=["lint", "format", "types"],
)
def test_passes(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("command", "planted"),
    [
        (("ruff", "check"), "import os\n"),
        (("ruff", "format", "--check"), "x = {  'a':1 }\n"),
        (("mypy",), "def f() -> int:\n    return 'text'\n"),
    ],
    ids=["lint", "format", "types"],
)
def test_would_notice(command: tuple[str, ...], planted: str, tmp_path: Path) -> None:
    file = tmp_path / "planted.py"
    file.write_text(planted)
    config = ["--config-file" if command[0] == "mypy" else "--config", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:], *config, str(file)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr


def broken_links(page: Path) -> list[str]:
    """Targets of relative links in a Markdown page that do not exist."""
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    return [target for target in local if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)).replace("/", "."))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_broken_link_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[here](page.md) and [nowhere](gone.md) and [out](https://example.org)")
    assert broken_links(page) == ["gone.md"]

"""The house rules that a machine can check: lint, format, types, and links."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
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


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives a page's headings."""
    found: Counter[str] = Counter()
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found[name] += 1
    return {name + f"-{n}" * (n > 0) for name, times in found.items() for n in range(times)}


def broken_links(page: Path) -> list[str]:
    """Relative links in a Markdown page whose file, or the heading in it, does not exist."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    wrong = []
    for target in targets:
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if re.match(r"[a-z]+:", target):
            continue
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)).replace("/", "."))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_broken_link_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    links = (
        "page.md gone.md https://example.org page.md#the-end #the-end-1 #the-and page.md#gone other.md#page"
    )
    page.write_text(
        "# Page\n## The end\n## The end\n```\n# The and\n```\n"
        + "".join(f"[a]({link})\n" for link in links.split())
    )
    (tmp_path / "other.md").write_text("# A `page` of its own\n")
    assert broken_links(page) == ["gone.md", "#the-and", "page.md#gone", "other.md#page"]
    page.write_text("[a](other.md#a-page-of-its-own)")
    assert broken_links(page) == []

"""docs/design.md, the map: its paths are there, and so is what it says is in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (?P<question>[^|]+\?) \| `(?P<path>[\w./-]+)`(?:: `(?P<name>\w+)`)? \|$", re.MULTILINE)
ANSWERS = [match.groupdict() for match in ROW.finditer(PAGE)]


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def wrong_with(path: str, name: str | None) -> str:
    """Why an answer is none; '' for a good one."""
    file = ROOT / path
    if not file.exists():
        return f"{path} is not there"
    if name is not None and not re.search(
        rf"^\s*(def |class |async def )?{name}\b", file.read_text(), re.MULTILINE
    ):
        return f"{path} has no {name}"
    return ""


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer["path"].replace("/", "."))
def test_an_answer_is_where_the_page_says(answer: dict[str, str]) -> None:
    assert wrong_with(answer["path"], answer["name"]) == ""


def test_there_are_ten_questions() -> None:
    assert len(ANSWERS) >= 10
    assert len(ANSWERS) == sum(line.startswith("| ") for line in section("Where is …?").splitlines()) - 2


def test_a_wrong_answer_would_be_noticed() -> None:
    assert wrong_with("harness/gone.py", None)
    assert wrong_with("harness/errors.py", "NothingOfTheKind")


def test_every_room_is_on_the_page_and_nothing_else() -> None:
    there = {
        entry.name + "/" * entry.is_dir()
        for entry in (ROOT / "harness").iterdir()
        if not entry.name.startswith("__") and entry.suffix != ".typed"
    }
    picture = section("The rooms").partition("```")[2].partition("```")[0]
    told = set(re.findall(r"(?:^|(?<=  ))([a-z_]+(?:/|\.py))(?=\s|$)", picture, re.MULTILINE))
    assert told == there


def test_every_kind_of_engine_has_its_line() -> None:
    there = {
        f"{entry.name}/"
        for entry in (ROOT / "harness" / "engines").iterdir()
        if (entry / "__init__.py").exists()
    }
    assert set(re.findall(r"^\| `(\w+/)` \|", section("The rooms"), re.MULTILINE)) == there


def test_paths_in_the_page_are_there() -> None:
    named = set(re.findall(r"`((?:harness|tests|docs|benchmarks|cases)/[\w./-]+)`", PAGE))
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []

"""What pyproject.toml says of the distribution is so, and documentation names what is there."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import entry_points, metadata
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.version import Version

ROOT: Final = Path(__file__).parents[2]
PYPROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: Final[dict[str, Any]] = PYPROJECT["project"]
NAME: Final = "vlm-consistency-harness"
PAGES: Final = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES: Final = [*sorted((ROOT / "harness").rglob("*.py")), *sorted((ROOT / ".github").rglob("*.yml"))]
OF_AN_EXTRA: Final = re.compile(rf"(?:{NAME}|'\.|\$\{{file\}})\[([a-z,]+)\]")


def extras_in(text: str) -> set[str]:
    """Extras that a text has somebody install, or names as one in backquotes."""
    named = {extra for found in OF_AN_EXTRA.findall(text) for extra in found.split(",")}
    return named | set(re.findall(r"extras? `([a-z]+)`", text))


def test_extras_that_are_named_exist() -> None:
    texts = {
        path: path.read_text(encoding="utf-8") for path in (*PAGES, *SOURCES, ROOT / ".ci/distributions")
    }
    named = {path.name: extras_in(text) for path, text in texts.items()}
    assert named["starter.py"] == {"lmdeploy", "torch"}
    assert {name: found - set(PROJECT["optional-dependencies"]) for name, found in named.items()} == {
        name: set() for name in named
    }


def test_every_extra_is_documented() -> None:
    page = (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([a-z]+)` \|", page, re.MULTILINE)
    assert sorted(named) == sorted(PROJECT["optional-dependencies"])


def test_pythons_are_those_it_is_tested_on() -> None:
    named = {one.rpartition(" ")[2] for one in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", one)}
    assert PROJECT["requires-python"] == f">={min(named, key=Version)}"
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    (others,) = re.findall(r"^\[testenv:py\{([\d,]+)\}\]$", tox, re.MULTILINE)
    assert {f"3.{other.removeprefix('3')}" for other in others.split(",")} == named - {
        min(named, key=Version)
    }
    assert f"Python {min(named, key=Version)} or newer" in PAGES[0].read_text(encoding="utf-8")


def test_licence_and_types() -> None:
    assert all((ROOT / name).is_file() for name in PROJECT["license-files"])
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")[:200]
    assert ("Typing :: Typed" in PROJECT["classifiers"]) == (ROOT / "harness" / "py.typed").is_file()


def test_addresses_are_whole_ones() -> None:
    assert [url for url in PROJECT.get("urls", {}).values() if not url.startswith("https://")] == []


def test_no_file_holds_the_version() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert "version" not in PROJECT
    assert PYPROJECT["tool"]["hatch"]["version"]["source"] == "vcs"


def test_the_installed_one_says_the_same() -> None:
    said = metadata(NAME)
    assert set(said.get_all("Provides-Extra") or ()) == set(PROJECT["optional-dependencies"])
    assert (said["License-Expression"], said["Requires-Python"]) == ("Apache-2.0", PROJECT["requires-python"])
    assert said["Version"] != "0.0"


@pytest.mark.parametrize("group", ["console_scripts", "pytest11"])
def test_entry_points_are_there(group: str) -> None:
    ours = [each for each in entry_points(group=group) if each.dist is not None and each.dist.name == NAME]
    assert ours
    assert all(each.load() for each in ours)

"""Rooms: few and small, no circle between them, and in each of them lint and format are seen to work."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
RUFF = Path(sys.executable).with_name("ruff")
MOST_ROOMS, MOST_FILES, LONGEST = 28, 18, 400
# What another change is about to make smaller. What is small enough by now has to go from here.
ROOMS = sorted(
    str(file.parent.relative_to(ROOT / "harness")) for file in (ROOT / "harness").rglob("__init__.py")
)


def sources(*names: str, root: Path = ROOT) -> list[Path]:
    found = [path for name in names for path in (root / name).rglob("*") if path.is_file()]
    return [path for path in found if "__pycache__" not in path.parts]


def large_folders(root: Path) -> dict[str, int]:
    """Folders with too many files, and how many those are; what is frozen is data, not rooms."""
    files = [path for path in sources("harness", "tests", root=root) if "formats" not in path.parts]
    counts = Counter(str(path.parent.relative_to(root)) for path in files)
    return {name: count for name, count in counts.items() if count > MOST_FILES}


def long_files(root: Path) -> dict[str, int]:
    paths = [path for path in sources("harness", "tests", "benchmarks", root=root) if path.suffix == ".py"]
    lengths = {str(path.relative_to(root)): len(path.read_text().splitlines()) for path in paths}
    return {name: length for name, length in lengths.items() if length > LONGEST}


def circles(root: Path, monkeypatch: pytest.MonkeyPatch) -> set[frozenset[str]]:
    """Rooms on top of harness/ that use each other, by one or more arrows: each circle as a set of them."""
    monkeypatch.delitem(sys.modules, "harness", raising=False)  # else it is looked for where that came from
    monkeypatch.syspath_prepend(root)
    graph = grimp.build_graph("harness", cache_dir=None)
    used: dict[str, set[str]] = {}
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            if (a := room_of(module)) != (b := room_of(other)):
                used.setdefault(a, set()).add(b)

    def reached(room: str) -> set[str]:
        found, new = set(), used.get(room, set())
        while new:
            found |= new
            new = set().union(*(used.get(one, set()) for one in new)) - found
        return found

    below = {room: reached(room) for room in used}
    return {
        frozenset({room, *(one for one in below[room] if room in below.get(one, ()))})
        for room in used
        if room in below[room]
    }


def room_of(module: str) -> str:
    # The package itself offers what its rooms have, and imports none of them before it is asked.
    return ".".join(module.split(".")[:2])


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("harness", "snapshots"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_there_are_few_rooms() -> None:
    entries = {path.name for path in (ROOT / "harness").iterdir()} - {"__pycache__", "py.typed"}
    assert len(entries) <= MOST_ROOMS, sorted(entries)


def test_no_folder_is_too_large() -> None:
    assert large_folders(ROOT) == {}


def test_a_folder_that_is_too_large_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "tests" / "room").mkdir(parents=True)
    for number in range(MOST_FILES + 1):
        (tmp_path / "tests" / "room" / f"{number}.py").touch()
    assert large_folders(tmp_path) == {"tests/room": MOST_FILES + 1}


def test_files_can_be_read_in_a_sitting() -> None:
    assert long_files(ROOT) == {}


def test_a_file_that_is_too_long_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_long.py").write_text("\n" * (LONGEST + 1))
    assert long_files(tmp_path) == {"tests/test_long.py": LONGEST + 1}


def test_no_circle_between_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    assert circles(ROOT, monkeypatch) == set()


@pytest.mark.parametrize(
    ("module", "planted"),
    [("checks/result.py", "harness.verdicts.verdict"), ("engines/readings.py", "harness.scoring.scoring")],
    ids=["of two", "of more"],
)
def test_a_planted_circle_would_be_noticed(
    copy: Path, monkeypatch: pytest.MonkeyPatch, module: str, planted: str
) -> None:
    with (copy / "harness" / module).open("a") as stream:
        stream.write(f"\nimport {planted}\n")
    (found,) = circles(copy, monkeypatch)
    assert {f"harness.{module.split('/')[0]}", ".".join(planted.split(".")[:2])} <= found


def ruff(folder: Path, *command: str, config: str = "pyproject.toml") -> set[str]:
    """The files below ``harness/`` and ``snapshots/`` that ruff complains about, run as a person runs it."""
    done = subprocess.run(
        [str(RUFF), *command, "--no-cache", "--config", config],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return {match.removesuffix("/planted.py") for match in re.findall(r"[\w/]+/planted\.py", done.stdout)}


COMMANDS = {
    "lint": ("check", "--output-format=concise"),
    "format": ("format", "--check"),
}


def plant(copy: Path) -> set[str]:
    for room in ROOMS:
        (copy / "harness" / room / "planted.py").write_text("import os\nx = {  'a':1 }\n")
    return {str(Path("harness") / room) for room in ROOMS}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_planted_in_any_room_is_found(copy: Path, name: str) -> None:
    planted = plant(copy)
    assert len(planted) > 25
    assert "harness/snapshots" in planted
    assert ruff(copy, *COMMANDS[name]) == planted


@pytest.mark.parametrize("name", COMMANDS)
def test_a_room_that_is_left_out_would_be_noticed(copy: Path, name: str) -> None:
    """A pattern without its slash leaves out every folder of that name, the room among them."""
    planted = plant(copy)
    config = (copy / "pyproject.toml").read_text()
    assert '"/snapshots"' in config
    (copy / "pyproject.toml").write_text(config.replace('"/snapshots"', '"snapshots"'))
    assert ruff(copy, *COMMANDS[name]) == planted - {"harness/snapshots"}


def test_types_are_looked_at_in_every_room(copy: Path) -> None:
    for room in ROOMS:
        (copy / "harness" / room / "planted.py").write_text("def f() -> int:\n    return 'text'\n")
    planted = [str(Path("harness", room, "planted.py")) for room in ROOMS]
    # Named, since a run on everything takes half a minute; that it would be of them all is seen below.
    done = subprocess.run(
        [str(RUFF.with_name("mypy")), "--config-file", "pyproject.toml", "--follow-imports=silent", *planted],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(re.findall(r"^(\S+planted\.py):2: error", done.stdout, re.MULTILINE)) == set(planted)
    config = (copy / "pyproject.toml").read_text()
    files = re.search(r"^files = \[(.*)\]", config, re.MULTILINE)
    assert files is not None
    assert '"harness"' in files[1]
    assert (
        "exclude"
        not in (copy / "pyproject.toml").read_text().split("[tool.mypy]")[1].split("[tool.importlinter]")[0]
    )

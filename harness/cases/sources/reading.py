"""From a suite's ``source`` to entries as its ``cases`` would have them, each with its row.

What was made of a table is kept beside the pictures, so that the next run reads neither again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from harness.cases.images import CheckedImage, ImageProblem, Looked, looker
from harness.cases.kept import write_whole
from harness.cases.problems import Location, describe, is_file, nearest, shown
from harness.cases.sources.choosing import chosen, text_of
from harness.cases.sources.layout import (
    NAMES,
    PICTURES,
    Add,
    columns_in,
    columns_named,
    entry_of,
    index_of,
    list_in,
    pictures_in,
    placed,
    renamed,
)
from harness.cases.sources.pictures import Pictures
from harness.cases.sources.tables import SUFFIXES, Cells, Unreadable, rows_of
from harness.cases.special_tokens import read_otherwise
from harness.cases.yaml_document import Document

__all__ = ["Row", "read_source"]

_MOST_PROBLEMS: Final = 20
_SHORT: Final = 64  # characters: the index of a row that has the picture


@dataclass(frozen=True, slots=True)
class Row:
    """A row as an entry of ``cases`` would be, its pictures as ``images``, absolute paths; and its place."""

    entry: Mapping[str, Any]
    images: tuple[Path, ...]
    place: Location


def read_source(
    source: Mapping[str, Any], document: Document, letters: Sequence[str], looked: Looked
) -> Iterable[Row]:
    """The rows that a suite takes; problems and remarks go to ``document``, and what has some may lack rows.

    ``letters`` are on offer where a row has no options of its own. Pictures are ``looked`` at.
    """
    file = _beside(document.file, source["file"])
    for name, wanted in source.get("where", {}).items():
        values = wanted if isinstance(wanted, list) else [wanted]
        if not all(isinstance(value, str | int | float) for value in values):
            allowed = "a value, a list of values, true (anything) or false (nothing)"
            document.add(("source", "where", name), describe(wanted), allowed)
            return ()
    if not is_file(file):
        there = [path.name for path in file.parent.glob("*") if path.suffix.lower() in SUFFIXES]
        known = f"; in that folder: {nearest(file.name, there)}" if there else ""
        if is_file(here := Path(source["file"]).absolute()):
            known = (
                f"; it is there from the working folder: write {os.path.relpath(here, document.file.parent)}"
            )
        allowed = f"a table, its path relative to this file; looked for {shown(file)}{known}"
        document.add(("source", "file"), describe(source["file"]), allowed)
        return ()
    try:
        found = _read(source, document, file, letters, looked)
    except OSError as error:
        found = None
        allowed = "a folder that can be written to, for the pictures of its table"
        document.add(("source",), f"{error.filename} ({error.strerror})", allowed)
    if found is None:
        return ()
    for field, what, better in found["remarks"]:
        document.remark(("source", field), what, better)
    return _rows(found["rows"], file)


def _rows(found: list[Any], file: Path) -> Iterator[Row]:
    """The rows, of which a hundred thousand take the memory once: ``found`` is used up on the way."""
    found.reverse()
    shared: dict[Any, Any] = {}  # rows have pictures, questions and tags in common
    while found:
        number, entry, images = found.pop()
        for name, value in entry.items():
            if isinstance(value, str) and name != "id":
                entry[name] = shared.setdefault(value, value)
        paths = tuple(shared.setdefault((image,), Path(image)) for image in images)
        yield Row(entry, shared.setdefault(paths, paths), Location(file, number, 0, entry["id"]))


def _beside(suite: Path, name: str) -> Path:
    return Path(os.path.normpath(suite.parent.absolute() / Path(name).expanduser()))


def _read(
    source: Mapping[str, Any], document: Document, file: Path, letters: Sequence[str], looked: Looked
) -> dict[str, Any] | None:
    folder = looked.kept
    note = folder / f"{document.file.stem}.json"
    key = _key(source, file, letters)
    with FileLock(folder / f".{document.file.stem}.lock"):  # of several processes one does the work
        found = _kept(note, key)
        if found is None:
            found = _Reading(source, document, file, letters, looked).found()
            if found is not None:
                # In ASCII, as JSON may hold half a surrogate pair, which UTF-8 has no bytes for.
                write_whole(note, json.dumps({"key": key, **found}))
    return found


def _key(source: Mapping[str, Any], file: Path, letters: Sequence[str]) -> str:
    """What the rows depend on: the table's state, what the suite says, and how this package reads it."""
    state = file.stat()
    code = [looker(), *(path.read_text("utf-8") for path in sorted(Path(__file__).parent.glob("*.py")))]
    about = [str(file), state.st_size, state.st_mtime_ns, state.st_ctime_ns, source, list(letters), code]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _kept(note: Path, key: str) -> dict[str, Any] | None:
    """What was made of the table before, if it and its pictures are as they were."""
    with suppress(OSError, RecursionError, ValueError, KeyError):
        found: dict[str, Any] = json.loads(note.read_bytes())
        if found["key"] == key and all(_state(Path(path)) == own for path, own in found["files"].items()):
            return found
    return None


def _state(file: Path) -> list[int]:
    state = file.stat()
    return [state.st_size, state.st_mtime_ns]


class _Reading:
    """One reading of a table: for its texts, and once more for the pictures of the rows that are taken."""

    def __init__(
        self, source: Mapping[str, Any], document: Document, file: Path, letters: Sequence[str], seen: Looked
    ) -> None:
        self._source, self._document, self._file, self._letters = source, document, file, letters
        self._pictures = Pictures(seen, _beside(document.file, source.get("images", str(file.parent))))
        self._names: dict[int, str] = {}
        self._bad: set[int] = set()
        # By column and what would be better: what was found, and in which rows.
        self._remarks: dict[tuple[str, str], tuple[str, dict[int, None]]] = {}

    def found(self) -> dict[str, Any] | None:
        """Rows, remarks and files as JSON; None where there are problems."""
        before = len(self._document.problems)
        try:
            rows = dict(enumerate(self._rows(short=True), start=1))
            self._check_names(list(dict.fromkeys(name for cells in rows.values() for name in cells)))
            made = self._made(rows) if len(self._document.problems) == before else []
        except Unreadable as error:
            place = self._place(error.number) if error.number else self._file
            self._document.problems.add(place, field="", found=error.found, allowed=error.allowed)
            return None
        if (more := len(self._bad) - _MOST_PROBLEMS) > 0:
            found = f"{more} more rows with problems"
            self._document.problems.add(self._file, field="", found=found, allowed="rows without any")
        if len(self._document.problems) > before:
            return None
        if not made:
            found = f"no row of {len(rows)} that `where` keeps" if rows else "a table without rows"
            has = [f"{name} has {self._values(name, rows)}" for name in self._source.get("where", {}) if rows]
            self._document.add(("source",), found, "; ".join(["one row or more", *has]))
            return None
        remarks = []
        if not columns_named(self._source.get("prompt", "{question}")):
            better = "names of columns in braces, such as {question} and {options}"
            remarks.append(["prompt", "a text without a column's name, asked of every row", better])
        for (field, better), (what, (first, *others)) in self._remarks.items():
            and_more = f" and {len(others)} more rows" if others else ""
            remarks.append([field, f"{what} (row {first}{and_more})", better])
        files = {path: _state(Path(path)) for _, _, images in made for path in images}
        return {"rows": made, "files": files, "remarks": remarks}

    def _values(self, column: str, rows: Mapping[int, Cells]) -> str:
        values = dict.fromkeys(text_of(cells.get(column)).strip() for cells in rows.values())
        return nearest(str(self._source["where"][column]), filter(None, values))

    def _rows(self, *, short: bool = False) -> Iterator[Cells]:
        columns = self._source.get("columns", {})
        pictured = {*PICTURES, *(columns.get(name) for name in PICTURES)}
        for cells in rows_of(self._file):
            own = renamed(cells, columns)
            yield {n: _short(cell) if n in pictured else cell for n, cell in own.items()} if short else own

    def _check_names(self, known: Sequence[str]) -> None:
        for name in () if "sample" in self._source else ("per", "seed"):
            if name in self._source:
                allowed = f"a {name} beside `sample`"
                self._document.add(("source", name), describe(self._source[name]), allowed)
        for ours in self._source.get("columns", {}):
            if ours not in NAMES:
                steps = ("source", "columns", ours)
                self._document.add(steps, describe(ours), nearest(ours, NAMES), at_key=True)
        for place, name in columns_in(self._source).items():
            if name not in known:
                self._document.add(("source", *place), f"the column {describe(name)}", nearest(name, known))
        for name in {*columns_named(self._source.get("prompt", ""))}.intersection(PICTURES, known):
            allowed = "{image:1} for the picture's place, or no place at all"
            self._document.add(("source", "prompt"), f"{{{name}}}, a column of pictures", allowed)
        for name in [name for name in ("question", "answer") if known and name not in known]:
            allowed = f"a column {name}, or `columns: {{{name}: ITS NAME}}`; it has {nearest(name, known)}"
            self._document.add(("source", "file"), f"a table without {name}", allowed)

    def _made(self, rows: Mapping[int, Cells]) -> list[Any]:
        names = {number: index_of(cells, number) for number, cells in rows.items()}
        self._names = names
        numbers = {name: number for number, name in reversed(names.items())}
        taken = chosen(rows, self._source, names)
        seen: dict[str, int] = {}
        entries = {}
        for number in taken:
            entries[number] = entry_of(rows[number], number, self._source, self._letters, self._adder(number))
            first = seen.setdefault(names[number].casefold(), number)
            if first != number:
                allowed = f"each once, capitals aside; the first is in row {first}"
                self._adder(number)("index", f"{describe(names[number])} a second time", allowed)
        # The image may be the index of another row, which has the picture.
        named = {number: rows[number].get("image") for number in taken}
        at = {n: n if cell is True else numbers.get(text_of(cell).strip(), n) for n, cell in named.items()}
        pictures = self._decoded(set(at.values()))
        pictured = any(pictures.values())
        made = []
        for number in taken:
            add, entry = self._adder(number), entries[number]
            paths = []
            for picture in pictures.get(at[number], ()):
                if isinstance(picture, ImageProblem):
                    add("image", picture.found, picture.allowed)
                    continue
                paths.append(str(picture.path))
                for remark in picture.remarks:
                    self._remark("image", remark.found, remark.allowed, number)
            if pictured and not pictures.get(at[number]):
                better = "`where: {image: true}`, which leaves them out"
                self._remark("where", "rows without a picture", better, number)
            entry["prompt"], paths = placed(entry["prompt"], paths, add)
            if told := read_otherwise(
                entry["prompt"], image="`<image 1>`, which becomes the picture's place"
            ):
                self._remark("question", *told, number)
            made.append([number, entry, paths])
        return made

    def _decoded(self, wanted: set[int]) -> dict[int, list[CheckedImage | ImageProblem]]:
        found = {}
        for number, cells in enumerate(self._rows(), start=1):
            if number in wanted:
                found[number] = self._pictures.of(pictures_in(cells))
                if len(found) == len(wanted):
                    break
        return found

    def _place(self, number: int) -> Location:
        return Location(self._file, number, 0, self._names.get(number, ""))

    def _adder(self, number: int) -> Add:
        """Notes problems of a row, as long as no more rows had some than anybody reads."""

        def add(column: str, found: str, allowed: str) -> None:
            self._bad.add(number)
            if len(self._bad) <= _MOST_PROBLEMS:
                self._document.problems.add(self._place(number), field=column, found=found, allowed=allowed)

        return add

    def _remark(self, column: str, found: str, better: str, number: int) -> None:
        self._remarks.setdefault((column, better), (found, {}))[1][number] = None


def _short(cell: Any) -> Any:  # noqa: ANN401 - whatever a table holds
    """A cell without the picture in it, of which only matters that it is there."""
    if isinstance(cell, str):
        return cell if len(cell) <= _SHORT else True
    return True if list_in(cell) else None

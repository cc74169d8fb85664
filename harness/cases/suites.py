"""Suites and cases: from YAML files to validated objects that know their file and line."""

from __future__ import annotations

import difflib
import keyword
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.cases.budgets import Budgets, budgets_of
from harness.cases.images import CheckedImage, ImageProblem, Looked, check_image
from harness.cases.problems import Location, ProblemList, describe
from harness.cases.sources.reading import Row, read_source
from harness.cases.special_tokens import read_otherwise
from harness.cases.validation import Broken, validate
from harness.cases.yaml_document import Document, Steps
from harness.cases.yaml_source import read_document
from harness.engines.contract import IMAGE_MARK, Request
from harness.errors import Problem
from harness.schemas.fields import MEANINGS, SUITE_NAME
from harness.schemas.suite import Defaults, SuiteFile, other_than_one

__all__ = [
    "PROFILES_FILE",
    "Case",
    "Location",
    "Suite",
    "check_marks",
    "load_suite",
    "read_suites",
]

PROFILES_FILE = "profiles.yaml"

# Marks that would take a case out of the run or change what its result means.
_BUILT_IN_MARKS = frozenset(
    ("filterwarnings", "parametrize", "skip", "skipif", "tryfirst", "trylast", "usefixtures", "xfail")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Images or none, one prompt, the letters on offer and the expected letter; or an accepted text.

    ``images`` are absolute paths: before the prompt in their order, or where it names them (`IMAGE_MARK`).
    ``system`` None sends no system message; ``max_new_tokens`` None means up to and including the letter.
    ``tolerances`` maps names of `harness.checks.tolerances` to limits that differ from the dtype's own.
    ``known_failure`` is the reason why the case is expected to fail.

    Of a case whose ``kind`` is `Request.TEXT`, ``letters`` are the names of what its answer is read among:
    the text, which is ``expect`` too, and `Request.ELSE`.
    """

    id: str
    suite: str
    prompt: str
    letters: tuple[str, ...]
    expect: str
    location: Location = field(compare=False)
    images: tuple[Path, ...] = ()
    system: str | None = None
    answer_prefix: str = ""
    max_new_tokens: int | None = None
    tolerances: Mapping[str, float] = field(default_factory=dict, hash=False)
    tags: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    known_failure: str | None = None
    kind: str = Request.LETTER

    @property
    def name(self) -> str:
        """``suite.id``, unique among all cases of a folder."""
        return f"{self.suite}.{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A YAML file of cases; ``name`` is the file's stem and ``path`` is absolute.

    ``budgets`` are what a gate lets pass. ``remarks`` are on what may stand there and is rarely meant; what
    they allow is what would be better.
    """

    name: str
    path: Path
    cases: tuple[Case, ...]
    description: str = ""
    budgets: Budgets = field(default_factory=Budgets)
    remarks: tuple[Problem, ...] = field(default=(), compare=False)


def load_suite(path: Path) -> Suite:
    """Load one suite; raises `CaseFileError` with all its problems."""
    problems = ProblemList()
    with closing(Looked(path.parent)) as looked:
        suite = _read_suite(path, problems, looked)
    problems.raise_if_any()
    return suite


def read_suites(folder: Path, problems: ProblemList) -> tuple[Suite, ...]:
    """All suites of a folder, by their names; those that have problems, which are noted, may lack cases.

    They are its ``*.yaml`` and ``*.yml`` files except ``profiles.yaml`` and hidden files; folders within it
    are not searched.
    """
    try:
        files = sorted(p for p in folder.iterdir() if _is_yaml(p))
    except OSError as error:
        allowed = "a folder of suites; name it with --cases DIR, or as `harness check DIR`"
        problems.add(folder, field="", found=f"no folder to read ({error.strerror})", allowed=allowed)
        return ()
    by_name: dict[str, Path] = {}
    for file in files:
        if file.stem == "profiles":
            problems.add(
                file, field="", found=f"profiles in {file.name!r}", allowed=f"the name {PROFILES_FILE}"
            )
        elif (first := by_name.setdefault(file.stem.casefold(), file)) is not file:
            allowed = f"one file for each name, capitals aside; rename it or {first.name}"
            problems.add(file, field="", found=f"a second suite called {file.stem!r}", allowed=allowed)
    if not files:
        allowed = "at least one suite (a .yaml file with `cases:`); see docs/cases.md"
        problems.add(folder, field="", found="no suites", allowed=allowed)
    with closing(Looked(folder)) as looked:
        return tuple(_read_suite(file, problems, looked) for file in files if file.stem != "profiles")


def _is_yaml(path: Path) -> bool:
    return (
        path.suffix.lower() in {".yaml", ".yml"}
        and path.name != PROFILES_FILE
        and not path.name.startswith(".")
    )


def _read_suite(file: Path, problems: ProblemList, looked: Looked) -> Suite:
    document = read_document(file, problems)
    if not re.fullmatch(SUITE_NAME, document.file.stem):
        found = f"the file name {document.file.name!r}"
        problems.add(document.file, field="", found=found, allowed=MEANINGS[SUITE_NAME])
    if not document.complete:
        return Suite(name=document.file.stem, path=document.file, cases=())
    broken = validate(SuiteFile, document)
    data = document.data if isinstance(document.data, dict) else {}
    description = data.get("description")
    if isinstance(document.data, dict) and not {"cases", "source"} & data.keys():
        document.add(("cases",), "nothing", "the cases, or under `source` the table that they come from")
    cases = _SuiteReader(document, broken, looked).cases()
    return Suite(
        name=document.file.stem,
        path=document.file,
        cases=cases,
        remarks=document.remarks.in_file_order(),
        description=description if isinstance(description, str) else "",
        budgets=budgets_of({} if "budgets" in broken.get((), ()) else data.get("budgets")),
    )


_NONE: dict[str, float] = {}  # of one for all cases without


class _SuiteReader:
    """Applies the rules that concern more than one field, to whatever has the right type."""

    def __init__(self, document: Document, broken: Broken, looked: Looked) -> None:
        self._document = document
        self._looked = looked
        self._broken = broken
        data = document.data if isinstance(document.data, dict) else {}
        defaults = data.get("defaults")
        entries = data.get("cases")
        self._defaults: dict[str, Any] = defaults if isinstance(defaults, dict) else {}
        self._broken_defaults = set(broken.get(("defaults",), ()))
        if "defaults" in data and not isinstance(defaults, dict):
            self._broken_defaults.update(Defaults.model_fields)
        # One misspelt `prompt` there must not be followed by a missing one in each case.
        for name in tuple(self._broken_defaults):
            self._broken_defaults.update(difflib.get_close_matches(str(name), Defaults.model_fields))
        self._entries: list[Any] = entries if isinstance(entries, list) else []
        self._source = data.get("source")
        self._ids: dict[str, Steps] = {}
        self._images: dict[str, CheckedImage | ImageProblem] = {}
        self._name = document.file.stem
        self._texts: dict[tuple[str, ...], tuple[str, ...]] = {}

    def cases(self) -> tuple[Case, ...]:
        """All cases that have no problems of their own."""
        self._check_shared(self._defaults, ("defaults",), self._broken_defaults)
        found = []
        for index, entry in enumerate(self._entries):
            if not isinstance(entry, dict):
                continue
            steps: Steps = ("cases", index)
            broken = self._broken.get(steps, set())
            before = len(self._document.problems)
            self._check_shared(entry, steps, broken)
            broken = broken.union(b for b in self._broken_defaults if b not in entry)
            self._check_case(entry, steps, broken)
            if not broken and len(self._document.problems) == before:
                found.append(self._case(entry, self._document.place(steps)))
        return tuple(found + [self._case(row.entry, row.place, row.images) for row in self._rows()])

    def _rows(self) -> Iterator[Row]:
        """What the table gives, of which no id is that of a case that is written out."""
        if "source" in self._broken.get((), set()) or self._source is None:
            return
        broken = self._broken_defaults & {"letters"}
        letters = () if broken else self._defaults.get("letters", ())
        for row in read_source(self._source, self._document, letters, self._looked):
            if first := self._ids.get(row.entry["id"].casefold()):
                place = self._document.place((*first, "id"))
                found, allowed = (
                    f"{describe(row.entry['id'])} a second time",
                    f"each id once; it is at {place}",
                )
                self._document.problems.add(row.place, field="index", found=found, allowed=allowed)
            yield row

    def _check_shared(self, entry: dict[str, Any], steps: Steps, broken: set[str | int]) -> None:
        """The rules for what may stand in a case and in ``defaults`` alike."""
        letters = entry.get("letters", ())
        if "letters" not in broken and len(set(letters)) < len(letters):
            for number, letter in enumerate(letters):
                if letter in letters[:number]:
                    self._document.add(
                        (*steps, "letters", number), f"{letter} a second time", "each letter once"
                    )
        if "marks" in entry and "marks" not in broken:
            check_marks(self._document, steps, entry["marks"])
        for place, name in _images_in(entry, broken):
            image = self._image(name)
            if isinstance(image, ImageProblem):
                self._document.add((*steps, *place), image.found, image.allowed)
            else:
                for remark in image.remarks:
                    self._document.remark((*steps, *place), remark.found, remark.allowed)
        if {"image", "images"} <= entry.keys():
            self._document.add((*steps, "images"), "`image` beside it", "one of the two")
        for name in {"prompt", "system"}.intersection(entry).difference(broken):
            better = "the words alone; the image is put before the prompt by itself, or at {image:1}"
            if told := read_otherwise(entry[name] or "", image=better):
                self._document.remark((*steps, name), *told)

    def _check_case(self, entry: dict[str, Any], steps: Steps, broken: set[str | int]) -> None:
        letters = entry.get("letters", self._defaults.get("letters"))
        text = "expect_text" in entry
        if found := other_than_one(entry):
            self._document.add((*steps, "expect"), *found, at_key=True)
        if text:
            self._check_text(entry, steps, broken)
        for name in ("prompt",) if text else ("prompt", "letters"):
            if name not in broken and name not in entry and name not in self._defaults:
                self._document.add(
                    (*steps, name), "nothing", f"{name} here, or for all cases under `defaults:`"
                )
        known = "expect" in entry and not text and not broken & {"letters", "expect"}
        if letters and known and entry["expect"] not in letters:
            allowed = f"one of the letters on offer: {', '.join(letters)}"
            self._document.add((*steps, "expect"), describe(entry["expect"]), allowed)
        if not broken & {"prompt", "system", "image", "images"}:
            self._check_places(entry, steps)
        if "id" not in broken:
            first = self._ids.setdefault(entry["id"].casefold(), steps)
            if first != steps:
                place = self._document.place((*first, "id"))
                allowed = (
                    f"each id once, capitals aside (ids become names of files); the first one is at {place}"
                )
                self._document.add((*steps, "id"), f"{describe(entry['id'])} a second time", allowed)

    def _check_text(self, entry: dict[str, Any], steps: Steps, broken: set[str | int]) -> None:
        if "letters" in entry:
            allowed = "letters and expect, or expect_text; take one of the two out"
            self._document.add((*steps, "letters"), "letters beside expect_text", allowed, at_key=True)
        if "expect_text" not in broken and entry["expect_text"] == Request.ELSE:
            self._document.add(
                (*steps, "expect_text"), repr(Request.ELSE), "another text: reports say so of all others"
            )

    def _check_places(self, entry: dict[str, Any], steps: Steps) -> None:
        """What a prompt names by `IMAGE_MARK` is each image once, or none."""
        merged, count = {**self._defaults, **entry}, len(_images_of(self._defaults, entry))
        named = [int(number) for number in IMAGE_MARK.findall(merged.get("prompt") or "")]
        if named and sorted(named) != list(range(1, count + 1)):
            found = " ".join(f"{{image:{number}}}" for number in named)
            each = " ".join(f"{{image:{number}}}" for number in range(1, count + 1))
            allowed = f"each of its images once ({each})" if count else "none, as the case has no image"
            self._document.add((*steps, "prompt"), found, f"{allowed}, or no place at all")
        if mark := IMAGE_MARK.search(merged.get("system") or ""):
            self._document.add((*steps, "system"), mark[0], "a place of an image in the prompt only")

    def _case(self, entry: Mapping[str, Any], place: Location, images: tuple[Path, ...] = ()) -> Case:
        merged = {**self._defaults, **entry}
        text = entry.get("expect_text")
        if text is not None:
            merged |= {"expect": text, "letters": (text, Request.ELSE)}
        checked = [self._image(name) for _, name in _images_of(self._defaults, entry)]
        own: dict[str, float] = self._defaults.get("tolerances", _NONE)
        return Case(
            id=merged["id"],
            suite=self._name,
            prompt=merged["prompt"],
            letters=self._shared(tuple(merged["letters"])),
            expect=merged["expect"],
            location=place,
            images=images or tuple(image.path for image in checked if isinstance(image, CheckedImage)),
            system=merged.get("system"),
            answer_prefix=merged.get("answer_prefix", ""),
            max_new_tokens=merged.get("max_new_tokens"),
            tolerances={**own, **entry["tolerances"]} if "tolerances" in entry else own,
            tags=self._added_up("tags", entry),
            marks=self._added_up("marks", entry),
            known_failure=merged.get("known_failure"),
            kind=Request.LETTER if text is None else Request.TEXT,
        )

    def _added_up(self, name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
        return self._shared(tuple(dict.fromkeys((*self._defaults.get(name, ()), *entry.get(name, ())))))

    def _shared(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        """One for all cases that have equal ones."""
        return self._texts.setdefault(texts, texts)

    def _image(self, name: str) -> CheckedImage | ImageProblem:
        if name not in self._images:
            folder = self._document.file.parent
            self._images[name] = check_image(name, folder=folder, looked=self._looked)
        return self._images[name]


def _images_in(entry: Mapping[str, Any], broken: Collection[str | int]) -> Iterator[tuple[Steps, str]]:
    """The names of images that ``entry`` itself has, each with its place there."""
    if isinstance(entry.get("image"), str) and "image" not in broken:
        yield ("image",), entry["image"]
    if isinstance(entry.get("images"), list) and "images" not in broken:
        yield from ((("images", at), name) for at, name in enumerate(entry["images"]))


def _images_of(defaults: Mapping[str, Any], entry: Mapping[str, Any]) -> list[tuple[Steps, str]]:
    """The images of a case: its own, where it says anything of them."""
    return list(_images_in(entry if {"image", "images"} & entry.keys() else defaults, ()))


def check_marks(document: Document, steps: Steps, marks: list[str]) -> None:
    """Note the marks below ``steps`` that pytest could not select by or that have a meaning of their own."""
    for number, mark in enumerate(marks):
        if keyword.iskeyword(mark):
            allowed = "a name that pytest -m can select by, which is no word of Python"
        elif mark in _BUILT_IN_MARKS:
            allowed = "a mark of your own; a case that is expected to fail says why under known_failure"
        else:
            continue
        document.add((*steps, "marks", number), f"the mark {describe(mark)}", allowed)

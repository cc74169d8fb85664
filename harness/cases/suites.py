"""Suites and cases: from YAML files to validated objects that know their file and line."""

from __future__ import annotations

import difflib
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.cases.budgets import Budgets, budgets_of
from harness.cases.images import CheckedImage, ImageProblem, check_image
from harness.cases.problems import Location, ProblemList, describe
from harness.cases.validation import Broken, validate
from harness.cases.yaml_document import Document, Steps
from harness.cases.yaml_source import read_document
from harness.engines.images import PLACEHOLDERS
from harness.errors import Problem
from harness.schemas.fields import MEANINGS, SUITE_NAME
from harness.schemas.suite import Defaults, SuiteFile

__all__ = [
    "PROFILES_FILE",
    "Case",
    "Location",
    "Suite",
    "check_marks",
    "load_suite",
    "load_suites",
    "read_suites",
]

PROFILES_FILE = "profiles.yaml"

# Marks that would take a case out of the run or change what its result means.
_BUILT_IN_MARKS = frozenset(
    ("filterwarnings", "parametrize", "skip", "skipif", "tryfirst", "trylast", "usefixtures", "xfail")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One image (or none), one prompt, the letters on offer and the expected letter.

    ``image`` is an absolute path. ``system`` None sends no system message; ``max_new_tokens`` None means up
    to and including the letter. ``tolerances`` maps names of `harness.checks.tolerances` to limits that
    differ from the dtype's own. ``known_failure`` is the reason why the case is expected to fail.
    """

    id: str
    suite: str
    prompt: str
    letters: tuple[str, ...]
    expect: str
    location: Location = field(compare=False)
    image: Path | None = None
    system: str | None = None
    answer_prefix: str = ""
    max_new_tokens: int | None = None
    tolerances: Mapping[str, float] = field(default_factory=dict, hash=False)
    tags: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    known_failure: str | None = None

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
    suite = _read_suite(path, problems)
    problems.raise_if_any()
    return suite


def load_suites(folder: Path) -> tuple[Suite, ...]:
    """Load all suites of a folder, in order of their names.

    Those are its ``*.yaml`` and ``*.yml`` files except ``profiles.yaml`` and hidden files; folders within it
    are not searched. Raises one `CaseFileError` with the problems of all of them.
    """
    problems = ProblemList()
    suites = read_suites(folder, problems)
    problems.raise_if_any()
    return suites


def read_suites(folder: Path, problems: ProblemList) -> tuple[Suite, ...]:
    """`load_suites`, with problems noted instead of raised; what has problems may lack cases."""
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
        allowed = "at least one suite (a .yaml file with `cases:`); see 'How to write a case' in the README"
        problems.add(folder, field="", found="no suites", allowed=allowed)
    return tuple(_read_suite(file, problems) for file in files if file.stem != "profiles")


def _is_yaml(path: Path) -> bool:
    return (
        path.suffix.lower() in {".yaml", ".yml"}
        and path.name != PROFILES_FILE
        and not path.name.startswith(".")
    )


def _read_suite(file: Path, problems: ProblemList) -> Suite:
    document = read_document(file, problems)
    if not re.search(SUITE_NAME, document.file.stem):
        found = f"the file name {document.file.name!r}"
        problems.add(document.file, field="", found=found, allowed=MEANINGS[SUITE_NAME])
    if not document.complete:
        return Suite(name=document.file.stem, path=document.file, cases=())
    broken = validate(SuiteFile, document)
    data = document.data if isinstance(document.data, dict) else {}
    description = data.get("description")
    cases = _SuiteReader(document, broken).cases()
    return Suite(
        name=document.file.stem,
        path=document.file,
        cases=cases,
        remarks=document.remarks.in_file_order(),
        description=description if isinstance(description, str) else "",
        budgets=budgets_of({} if "budgets" in broken.get((), ()) else data.get("budgets")),
    )


class _SuiteReader:
    """Applies the rules that concern more than one field, to whatever has the right type."""

    def __init__(self, document: Document, broken: Broken) -> None:
        self._document = document
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
        self._ids: dict[str, Steps] = {}
        self._images: dict[str, CheckedImage | ImageProblem] = {}

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
                found.append(self._case(entry, steps))
        return tuple(found)

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
        if entry.get("image") is not None and "image" not in broken:
            image = self._image(entry["image"])
            if isinstance(image, ImageProblem):
                self._document.add((*steps, "image"), image.found, image.allowed)
            else:
                for remark in image.remarks:
                    self._document.remark((*steps, "image"), remark.found, remark.allowed)
        for name in {"prompt", "system"}.intersection(entry).difference(broken):
            if spelled := PLACEHOLDERS.search(entry[name] or ""):
                found = f"{spelled[0]}, by which a model or engine finds the place of an image"
                better = "the words alone; the image is put before the prompt by itself"
                self._document.remark((*steps, name), found, better)

    def _check_case(self, entry: dict[str, Any], steps: Steps, broken: set[str | int]) -> None:
        letters = entry.get("letters", self._defaults.get("letters"))
        for name in ("prompt", "letters"):
            if name not in broken and name not in entry and name not in self._defaults:
                self._document.add(
                    (*steps, name), "nothing", f"{name} here, or for all cases under `defaults:`"
                )
        if letters and not broken & {"letters", "expect"} and entry["expect"] not in letters:
            allowed = f"one of the letters on offer: {', '.join(letters)}"
            self._document.add((*steps, "expect"), describe(entry["expect"]), allowed)
        if "id" not in broken:
            first = self._ids.setdefault(entry["id"].casefold(), steps)
            if first != steps:
                place = self._document.place((*first, "id"))
                allowed = (
                    f"each id once, capitals aside (ids become names of files); the first one is at {place}"
                )
                self._document.add((*steps, "id"), f"{describe(entry['id'])} a second time", allowed)

    def _case(self, entry: dict[str, Any], steps: Steps) -> Case:
        merged = {**self._defaults, **entry}
        image = self._image(merged["image"]) if merged.get("image") is not None else None
        return Case(
            id=merged["id"],
            suite=self._document.file.stem,
            prompt=merged["prompt"],
            letters=tuple(merged["letters"]),
            expect=merged["expect"],
            location=self._document.place(steps),
            image=image.path if isinstance(image, CheckedImage) else None,
            system=merged.get("system"),
            answer_prefix=merged.get("answer_prefix", ""),
            max_new_tokens=merged.get("max_new_tokens"),
            tolerances={**self._defaults.get("tolerances", {}), **entry.get("tolerances", {})},
            tags=self._added_up("tags", entry),
            marks=self._added_up("marks", entry),
            known_failure=merged.get("known_failure"),
        )

    def _added_up(self, name: str, entry: dict[str, Any]) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self._defaults.get(name, ()), *entry.get(name, ()))))

    def _image(self, name: str) -> CheckedImage | ImageProblem:
        if name not in self._images:
            self._images[name] = check_image(name, folder=self._document.file.parent)
        return self._images[name]


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

"""A folder of suites and profiles, loaded as a whole: the one entry point for whatever runs cases."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.cases.problems import ProblemList, nearest, shown
from harness.cases.profiles import Profile, read_profiles
from harness.cases.suites import PROFILES_FILE, Case, Suite, read_suites
from harness.errors import UnknownName, UnknownProfile

__all__ = ["Loaded", "load"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Everything in a folder of cases; ``folder`` is absolute."""

    folder: Path
    suites: tuple[Suite, ...]
    profiles: tuple[Profile, ...]

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases of all suites, in file order."""
        return tuple(case for suite in self.suites for case in suite.cases)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is worth a word in the suites and fails nothing, a line each with its place."""
        found = [remark for suite in self.suites for remark in suite.remarks]
        return tuple(f"{r.place}: {r.field}: remark: {r.found}; better: {r.allowed}" for r in found)

    def suite(self, name: str | None) -> Suite:
        """The suite of this name. Raises `UnknownName`, which says what names there are."""
        for suite in self.suites:
            if suite.name == name:
                return suite
        known = nearest(str(name), [suite.name for suite in self.suites])
        raise UnknownName(f"suite: found {name!r}; allowed: {known}, of {shown(self.folder)}")

    def profile(self, name: str) -> Profile:
        """The profile of this name. Raises `UnknownProfile`, which says what names there are and where."""
        for profile in self.profiles:
            if profile.name == name:
                return profile
        known = nearest(name, [profile.name for profile in self.profiles])
        where = shown(self.folder / PROFILES_FILE)
        raise UnknownProfile(f"profile: found {name!r}; allowed: {known} (from {where})")


def load(folder: str | os.PathLike[str]) -> Loaded:
    """Load all suites and the profiles of ``folder``.

    Raises one `CaseFileError` with the problems of all files.
    """
    folder = Path(folder).absolute()
    problems = ProblemList()
    suites = read_suites(folder, problems)
    profiles: tuple[Profile, ...] = ()
    if folder.is_dir():
        profiles = read_profiles(folder / PROFILES_FILE, suites, problems)
    problems.raise_if_any()
    return Loaded(folder=folder, suites=suites, profiles=profiles)

"""A folder of suites and profiles, loaded as a whole: the one entry point for whatever runs cases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.case_problems import ProblemList
from harness.cases import PROFILES_FILE, Suite, read_suites
from harness.profiles import Profile, read_profiles

__all__ = ["Loaded", "load"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Everything in a folder of cases; ``folder`` is absolute."""

    folder: Path
    suites: tuple[Suite, ...]
    profiles: tuple[Profile, ...]


def load(folder: Path) -> Loaded:
    """Load all suites and the profiles of ``folder``.

    Raises one `CaseFileError` with the problems of all files.
    """
    folder = folder.absolute()
    problems = ProblemList()
    suites = read_suites(folder, problems)
    profiles: tuple[Profile, ...] = ()
    if folder.is_dir():
        profiles = read_profiles(folder / PROFILES_FILE, suites, problems)
    problems.raise_if_any()
    return Loaded(folder=folder, suites=suites, profiles=profiles)

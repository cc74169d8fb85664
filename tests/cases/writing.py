"""Texts of YAML: a good case, a marked place, a dumper without aliases, and what is wrong with a suite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cases.problems import ProblemList
from harness.cases.profiles import Profile, read_profiles
from harness.cases.suites import Suite, load_suite, read_suites
from harness.errors import CaseFileError, Problem

GOOD = "  - {id: good, prompt: Which?, letters: [A, B], expect: A}\n"


def place_in(name: str, text: str) -> tuple[str, str]:
    """Text with one § to the text without it, and the place of the mark."""
    before, _, after = text.partition("§")
    lines = before.split("\n")
    return before + after, f"{name}:{len(lines)}:{len(lines[-1]) + 1}"


class Dumper(yaml.SafeDumper):
    """Writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


# PyYAML leaves unquoted some text that YAML 1.2 reads as a number.
Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


def load_suites(folder: Path) -> tuple[Suite, ...]:
    problems = ProblemList()
    suites = read_suites(folder, problems)
    problems.raise_if_any()
    return suites


def load_profiles(path: Path, suites: Sequence[Suite]) -> tuple[Profile, ...]:
    problems = ProblemList()
    profiles = read_profiles(path, suites, problems)
    problems.raise_if_any()
    return profiles


def problems_of(path: Path) -> tuple[Problem, ...]:
    with pytest.raises(CaseFileError) as caught:
        load_suite(path) if path.is_file() else load_suites(path)
    return caught.value.problems

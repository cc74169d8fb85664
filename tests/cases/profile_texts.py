"""Texts of profiles, the suites beside them, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cases.suites import Case, Location, Suite
from harness.errors import CaseFileError, Problem
from tests.cases.writing import load_profiles

MODEL = "model: m, reference: torch"


def suite(name: str, *ids: str) -> Suite:
    place = Location(Path("/x.yaml"), 1, 1)
    cases = (
        Case(id=i, suite=name, prompt="x", letters=("A", "B"), expect="A", location=place, tags=("colour",))
        for i in ids or ("good",)
    )
    return Suite(name=name, path=Path(f"/{name}.yaml"), cases=tuple(cases))


SUITES = (suite("shapes"), suite("signs"))


def problems_of(folder: Path, suites: tuple[Suite, ...] = SUITES) -> tuple[Problem, ...]:
    with pytest.raises(CaseFileError) as caught:
        load_profiles(folder / "profiles.yaml", suites)
    return caught.value.problems


def profile(fields: str, *, model: str = MODEL) -> str:
    return f"profiles:\n  p: {{{model}, {fields}}}\n"


def engine(fields: str, *, kind: str = "torch", rest: str = "") -> str:
    return profile(f"{rest}engines: {{torch: {{}}, e: {{kind: {kind}, {fields}}}}}")

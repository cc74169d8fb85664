"""What an engine is asked for a case of a profile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.case_problems import Location
from harness.cases import Case
from harness.profiles import Profile
from harness.subjects import request_for

PLACE = Location(Path("/x.yaml"), 1, 1)
CASE = Case(id="one", suite="s", prompt="x", letters=("A", "B"), expect="A", location=PLACE)
PROFILE = Profile(name="p", reference="torch", engines=(), suites=("s",), location=PLACE)


@pytest.mark.parametrize(
    ("of_case", "pinned", "sent"),
    [(None, None, None), (None, "Pinned.", "Pinned."), ("Own.", "Pinned.", "Own."), ("Own.", None, "Own.")],
)
def test_a_pinned_system_text_serves_cases_without_one(
    of_case: str | None, pinned: str | None, sent: str | None
) -> None:
    request = request_for(replace(CASE, system=of_case), replace(PROFILE, system=pinned))
    assert request.system == sent
    assert (request.case, request.prompt, request.letters) == ("s.one", "x", ("A", "B"))

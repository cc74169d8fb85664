"""When another model is judged, and not the same one again; and another question."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.cases.problems import Location
from harness.cases.profiles import Profile
from harness.cases.suites import Case
from harness.engines.contract import Json, Request
from harness.gate.comparable import differing_question, is_upgrade
from harness.gate.side import GateSide
from harness.recordings.fingerprint import asked_of
from harness.scoring.subjects import request_for
from tests.text_answers import NAMES, text_recording

PLACE = Location(Path("/x.yaml"), 1, 1)
PROFILE = Profile(name="p", reference="a", engines=(), suites=("s",), location=PLACE)
TEXT = Case(id="year", suite="s", prompt="x", letters=NAMES, expect="1984", location=PLACE, kind=Request.TEXT)
LETTER = replace(TEXT, letters=("A", "B"), expect="A", kind=Request.LETTER)


def side(model: str, weights: str) -> GateSide:
    files: dict[str, Json] = {"model.safetensors": weights} if weights else {}
    return GateSide(
        label="p/a",
        profile="p",
        engine="a",
        live=True,
        made="",
        model=model,
        fingerprint={"model": {"hash": "h", "files": files}},
        recordings={},
        errors={},
        asked={},
    )


@pytest.mark.parametrize(
    ("after", "allow", "upgrade"),
    [
        (("m", "1"), (), False),
        (("m", "1"), ("model-upgrade",), False),  # nothing was upgraded
        (("moved", "1"), (), False),
        (("m", "2"), (), False),  # which is refused
        (("m", "2"), ("model-upgrade",), True),
        (("m", "2"), ("weights",), False),
        (("next", "2"), (), True),
        (("next", "2"), ("weights",), False),
        (("next", "2"), ("weights", "model-upgrade"), False),
        (("next", ""), (), True),  # served, by its name alone
        (("", "2"), (), False),
    ],
)
def test_other_weights_of_another_name_or_by_word(
    after: tuple[str, str], allow: tuple[str, ...], upgrade: bool
) -> None:
    assert is_upgrade(side("m", "1"), side(*after), allow) is upgrade


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(
    ("then", "now", "field"),
    [
        (TEXT, TEXT, None),
        (TEXT, replace(TEXT, expect="1985", letters=("1985", Request.ELSE)), "accepted text"),
        (TEXT, replace(TEXT, answer_prefix="In "), "accepted text"),
        (LETTER, TEXT, "letters"),
        (TEXT, LETTER, "letters"),
    ],
)
def test_another_text_is_another_question(then: Case, now: Case, field: str | None, *, live: bool) -> None:
    """Also where both sides are stored, and only today's case says what is expected."""

    def of(case: Case) -> GateSide:
        asked = {case.name: asked_of(request_for(case, PROFILE), ())}
        return replace(
            side("m", "1"), live=False, asked=asked, recordings={case.name: text_recording(1.0, 1.0, 1.0)}
        )

    after = replace(of(now), live=True) if live else of(then)
    today = asked_of(request_for(now, PROFILE), ())
    since = "" if live or field is None else " than is asked now"
    told = None if field is None else f"{field}{since}"
    assert differing_question(now, of(then), after, [PROFILE], today) == told

"""What an engine is asked for a case of a profile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.cases.problems import Location
from harness.cases.profiles import EngineSpec, Profile
from harness.cases.suites import Case
from harness.engines.codec import request_from_json, request_to_json
from harness.engines.contract import EngineSettings, Json, Request
from harness.recordings.fingerprint import asked_of
from harness.scoring.subjects import SELECTIONS, request_for, subjects

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


@pytest.mark.parametrize(
    ("options", "paths", "selections"),
    [
        ({}, ("captured",), {"every", "compared", "top-k", "staged"}),
        # TurboMind's list under greedy decoding is one token with 0.0: it could be neither right nor wrong.
        ({"backend": "turbomind"}, ("generation",), {"every", "compared"}),
        ({"backend": "turbomind"}, ("generation", "two-stage"), {"every", "compared", "staged"}),
        ({"backend": "turbomind"}, (), {"every", "compared", "staged"}),
    ],
)
def test_what_turbomind_cannot_report_is_not_tested(
    options: dict[str, Json], paths: tuple[str, ...], selections: set[str]
) -> None:
    settings = EngineSettings(
        kind="lmdeploy",
        model="/m",
        dtype="auto",
        device="cuda",
        paths=paths,
        top_k=20,
        batch_size=1,
        options=options,
    )
    spec = EngineSpec(name="lmdeploy", settings=settings, location=PLACE)
    profile = replace(PROFILE, engines=(spec,))
    assert {name for name in SELECTIONS if list(subjects([CASE], [profile], selection=name))} == selections


@pytest.mark.parametrize(
    ("kind", "paths", "top_k", "staged"),
    [
        ("torch", ("forward",), 20, False),
        ("torch", ("forward", "generate"), 20, True),
        ("lmdeploy", (), 0, True),
        ("lmdeploy", ("captured",), 0, False),
        ("lmdeploy", ("captured",), 20, True),
        ("lmdeploy", ("scored",), 20, True),
        # What the pipeline reports, next to itself.
        ("lmdeploy", ("top-k",), 20, False),
    ],
)
def test_an_engine_is_held_to_its_own_word_where_it_gives_it_twice(
    kind: str, paths: tuple[str, ...], top_k: int, staged: bool
) -> None:
    settings = EngineSettings(
        kind=kind, model="/m", dtype="auto", device="cpu", paths=paths, top_k=top_k, batch_size=1
    )
    spec = EngineSpec(name="torch", settings=settings, location=PLACE)
    found = subjects([CASE], [replace(PROFILE, engines=(spec,))], selection="staged")
    assert bool(list(found)) == staged


def test_a_text_is_asked_for_behind_its_prefix_and_letters_as_ever() -> None:
    """What a request of letters is as JSON is part of its recording's key: nothing may come to it."""
    text = replace(
        CASE, kind=Request.TEXT, letters=("1984", Request.ELSE), expect="1984", answer_prefix="In "
    )
    request = request_for(text, PROFILE)
    assert (request.kind, request.target, request.letters, request.answer_prefix) == (
        "text",
        "In 1984",
        (),
        "",
    )
    assert request_from_json(request_to_json(request)) == request
    assert "target" in asked_of(request, ())
    letters = request_for(CASE, PROFILE)
    assert [*request_to_json(letters)] == [
        "case", "prompt", "letters", "images", "system", "answer_prefix", "max_new_tokens", "kind",
    ]  # fmt: skip
    assert "target" not in asked_of(letters, ())

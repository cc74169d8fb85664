"""Both tracers on the embedded model: every stage of the two engines, equal where nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.cases.folder import load
from harness.drift.distances import distances
from harness.drift.gathering import Asked, company_of
from harness.drift.session import TracedEngine
from harness.engines.contract import Answer, EngineSettings
from harness.engines.taps.contract import SCORE
from harness.engines.taps.sketches import Trace
from harness.engines.taps.stages import ANSWERS
from harness.scoring.subjects import request_for
from harness.workers import Job, Scored, run

pytestmark = [pytest.mark.engines, pytest.mark.slow]
CASES = Path(__file__).parents[3] / "cases"
NAMES = (
    "answer_line.blue-ring-shape",  # several tokens are decoded
    "chinese.widest-yellow-circles-colour",  # several tiles
    "words.stated-count-zh",  # text only
)
SAME = 2e-6


def _settings(kind: str) -> EngineSettings:
    paths = {"torch": ("forward",), "lmdeploy": ("two-stage", "captured")}[kind]
    return EngineSettings(
        kind=kind,
        model=str(CASES / "models" / "embedded"),
        dtype="float32",
        device="cpu",
        paths=paths,
        top_k=20,
        batch_size=8,
        options={"threads": 1},
    )


@pytest.fixture(scope="module")
def asked() -> dict[str, Asked]:
    """The cases with what the torch engine wrote."""
    import sys

    loaded = load(CASES)
    requests = {
        case.name: request_for(case, loaded.profile("embedded"))
        for case in loaded.cases
        if case.name in NAMES
    }
    job = Job(
        python=sys.executable,
        settings=_settings("torch"),
        load_seconds=300,
        case_seconds=60,
        log=Path("/dev/null"),
    )
    answers: dict[str, Answer] = {}
    for event in run(job, list(requests.items())):
        if isinstance(event, Scored):
            answers[event.key] = event.answer
    return {
        name: Asked(
            name=name,
            a=request,
            b=request,
            forced=answers[name].generated_ids[:-1],
            letter_ids=(answers[name].letter_ids,) * 2,
            answer_step=answers[name].answer_step,
        )
        for name, request in requests.items()
    }


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, TracedEngine]]:
    """Both engines, each in a worker."""
    import sys

    folder = tmp_path_factory.mktemp("traces")
    made = {
        kind: TracedEngine(
            kind,
            Job(
                python=sys.executable,
                settings=_settings(kind),
                load_seconds=300,
                case_seconds=60,
                log=folder / f"{kind}.log",
            ),
            folder,
            say=lambda _: None,
        )
        for kind in ("torch", "lmdeploy")
    }
    yield made
    for each in made.values():
        each.close()


def _apart(a: Trace, b: Trace) -> dict[str, float]:
    return {stage: each.worst for stage, each in distances(a, b).items()}


@pytest.mark.parametrize("name", NAMES)
def test_the_two_engines_agree_at_every_stage(
    name: str, asked: dict[str, Asked], engines: dict[str, TracedEngine]
) -> None:
    a = engines["torch"].trace(asked[name].order(0))["alone"]
    b = engines["lmdeploy"].trace(asked[name].order(1))["alone"]
    assert {*a.stages} == {*b.stages}
    found = _apart(a, b)
    assert max(found.values()) < SAME, found
    assert len(found) == (27 if asked[name].a.images else 14)
    assert a.told["letters"] == pytest.approx(b.told["letters"], abs=1e-5)
    # What is handed out is what the head computed, and the answer's row is there in full.
    assert a.told["handed"] == b.told["handed"] == 0.0
    assert a.stages["norm"].answer.shape == (128,)
    for kind in engines:
        assert engines[kind].about["family"] == "InternVL"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["torch", "lmdeploy"])
def test_company_and_the_passes_of_a_score_are_the_case_itself(
    name: str, kind: str, asked: dict[str, Asked], engines: dict[str, TracedEngine]
) -> None:
    """Packed and padded passes hold other cases too; the rows of this one are picked."""
    case, beside = asked[name], company_of(asked[name], list(asked.values()))
    assert beside is not None
    alone = engines[kind].trace(case.order(0))["alone"]
    company = engines[kind].trace(replace(case.order(0), company=beside.a))["alone"]
    assert {*company.stages} == {*alone.stages}
    assert max(_apart(alone, company).values()) < SAME
    routes = engines[kind].trace(replace(case.order(0), route=SCORE, company=beside.a))
    assert [*routes] == {"torch": ["forward"], "lmdeploy": ["generation", "stage two"]}[kind]
    for trace in routes.values():
        found = {stage: each for stage, each in _apart(alone, trace).items() if stage not in ANSWERS}
        assert max(found.values()) < SAME, found
        assert trace.told["letters"] == pytest.approx(alone.told["letters"], abs=1e-5)
        assert trace.told["reading"]["row"] == trace.told["reading"]["letters"] == 0.0


def test_the_others_states_put_in_everywhere_make_it_the_other(
    tmp_path: Path, asked: dict[str, Asked], engines: dict[str, TracedEngine]
) -> None:
    one, other = asked[NAMES[0]], asked[NAMES[0]]
    changed = replace(other, a=replace(other.a, prompt=other.a.prompt.replace("A", "E", 1)))
    kept = str(tmp_path / "states")
    theirs = engines["torch"].trace(replace(changed.order(0), keep=kept))["alone"]
    ours = engines["lmdeploy"].trace(one.order(1))["alone"]
    put = engines["lmdeploy"].trace(replace(one.order(1), put=kept, stages=("inputs", "rope")))["alone"]
    assert not np.allclose(ours.told["letters"], theirs.told["letters"], atol=1e-4)
    assert put.told["letters"] == pytest.approx(theirs.told["letters"], abs=1e-5)

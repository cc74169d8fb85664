"""One way to ask every LMDeploy, on stand-ins that have the names of several versions."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.engines.lmdeploy_pipeline.steps.contract import Prepared
from harness.errors import EngineError, ErrorKind
from tests.engines.lmdeploy_pipeline.stand_in import PROMPT, New, Old, ResponseType, install, row, steps_on

TALK = [{"role": "user", "content": [{"type": "text", "text": "A"}]}]


def second(engine: Any, inputs: dict[str, Any], ids: list[int]) -> torch.Tensor:
    options: Any = None
    prepared = Prepared(conversation=[], inputs=inputs, options=options)
    return asyncio.run(steps_on(engine).rows_behind(prepared, ids, temperature=1.0))


@pytest.fixture(params=[Old, New])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    install(monkeypatch)
    return request.param()


def test_a_conversation_is_prepared_and_generated_from(engine: Any) -> None:
    steps = steps_on(engine)

    async def ask() -> Any:
        prepared = await steps.prepare(TALK)
        return prepared, await steps.generate(prepared, steps=2, logprobs=1, take=None)

    prepared, found = asyncio.run(ask())

    assert prepared.ids == PROMPT
    assert prepared.options.stop_token_ids == [7]
    assert found.ids == (4, 5)
    assert [list(each) for each in found.logprobs] == [[4], [5]]
    assert engine.session_mgr.open == {}


def test_the_image_outlives_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    steps = steps_on(New())

    async def ask() -> Any:
        prepared = await steps.prepare(TALK)
        await steps.generate(prepared, steps=1, logprobs=None, take=None)
        return prepared

    assert asyncio.run(ask()).has_image


def test_what_is_prepared_and_not_used_leaves_no_session(engine: Any) -> None:
    steps = steps_on(engine)
    steps.forget(asyncio.run(steps.prepare(TALK)))
    assert engine.session_mgr.open == {}


def test_stage_two_keeps_the_inputs_and_asks_for_its_temperature(engine: Any) -> None:
    logits = second(engine, {"multimodal": ["image"], "input_ids": [1, 2, 3]}, [4])
    (asked,) = engine.ran

    assert torch.equal(logits, torch.stack([row(token) for token in (1, 2, 3, 4)]))
    assert asked["multimodal"] == ["image"]
    assert (asked["gen_config"].temperature, asked["gen_config"].max_new_tokens) == (1.0, 0)
    assert engine.session_mgr.open == {}


def test_sequences_are_begun_and_ended_where_callers_do_that(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    for engine, ends in ((Old(), True), (New(), False)):
        second(engine, {"input_ids": [1]}, [2])
        (asked,) = engine.ran
        assert ("sequence_start" in asked, "sequence_end" in asked, "step" in asked) == (ends,) * 3
        assert engine.session_mgr.ended == ([1] if ends else [])


def test_a_row_too_few_is_no_answer(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "stack", lambda rows: torch.cat([each[None] for each in rows[1:]]))
    with pytest.raises(EngineError, match="got 1 rows of logits for 2 tokens"):
        second(engine, {"input_ids": [1]}, [2])


@pytest.mark.parametrize(
    ("status", "kind"),
    [(ResponseType.ENGINE_STOP_ERROR, "crash"), (ResponseType.INTERNAL_ENGINE_ERROR, "failed")],
)
def test_the_end_of_the_engine_is_told_from_a_failed_request(
    engine: Any, status: ResponseType, kind: str
) -> None:
    engine.status = status

    with pytest.raises(EngineError) as caught:
        second(engine, {"input_ids": [1]}, [2])

    assert caught.value.kind.value == kind
    assert status.name in caught.value.message
    assert engine.session_mgr.open == {}


def test_other_tokens_than_were_prepared_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    engine = Old()
    steps = steps_on(engine)
    original = engine.parts
    monkeypatch.setattr(engine, "parts", lambda ids, options, length: original(ids, options, length + 1))

    async def ask() -> None:
        await steps.generate(await steps.prepare(TALK), steps=1, logprobs=None, take=None)

    with pytest.raises(EngineError, match="generated from 4 tokens, but prepares 3"):
        asyncio.run(ask())


def test_inputs_are_scored_where_there_is_a_way(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    steps = steps_on(New())

    async def ask() -> Any:
        return await steps.score_ids(await steps.prepare(TALK), [4, 2], count=1)

    first, second = asyncio.run(ask())
    assert "scored" in steps.ways
    assert first == {4: pytest.approx(float(row(3).log_softmax(-1)[4]))}
    assert second == {
        2: pytest.approx(float(row(4).log_softmax(-1)[2])),
        5: pytest.approx(float(row(4).log_softmax(-1)[5])),
    }


@pytest.mark.parametrize(
    ("has_reset", "running", "resets"), [(True, [], 1), (True, ["listed"], 0), (False, [], 0)]
)
def test_state_is_dropped_only_where_lmdeploy_will_not(
    engine: Any, has_reset: bool, running: list[str], resets: int
) -> None:
    calls: list[int] = []
    if has_reset:
        engine.engine.executor.model_agent.reset_runtime_state = lambda: calls.append(1)
    maker = SimpleNamespace(running_seqs=running)
    engine.engine._engine_loop = SimpleNamespace(inputs_maker=maker)

    steps_on(engine).reset()

    assert len(calls) == resets


def test_missing_names_are_all_told_at_once(engine: Any) -> None:
    del engine.session_mgr, engine.engine.cache_config

    with pytest.raises(EngineError) as caught:
        steps_on(engine)

    assert caught.value.kind is ErrorKind.LOAD
    assert "AsyncEngine.session_mgr, AsyncEngine.engine.cache_config" in caught.value.message
    assert "0.12.3, 0.14.0, 0.16.0, 0.18.0" in caught.value.message
    assert "lmdeploy==0.18.0" in caught.value.message


@pytest.mark.parametrize(
    ("error", "raised"), [(ValueError("planted"), EngineError), (torch.OutOfMemoryError("planted"), None)]
)
def test_what_cannot_be_prepared_is_the_prompts_fault_unless_memory_ran_out(
    monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception] | None
) -> None:
    install(monkeypatch)
    engine: Any = Old()

    async def fail(**_: object) -> None:
        raise error

    engine.prompt_processor.get_prompt_input = fail
    with pytest.raises(raised or type(error), match="planted"):
        asyncio.run(steps_on(engine).prepare(TALK))

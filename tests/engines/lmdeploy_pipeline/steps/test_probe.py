"""What a loaded LMDeploy is found to give, on stand-ins; and which paths are gone then."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from harness.engines.lmdeploy_pipeline.steps.probe import Probe, choose_paths, probe
from harness.engines.lmdeploy_pipeline.steps.pytorch import PytorchSteps
from harness.errors import EngineError, ErrorKind
from tests.engines.lmdeploy_pipeline.stand_in import WIDTH, New, Old, install, settings_of, steps_on

TALK = [{"role": "user", "content": "A"}]
ALL = ("two-stage", "captured", "scored", "top-k")


def found(*paths: str) -> Probe:
    return Probe(
        dtype="float32",
        width=WIDTH,
        stop_ids=(),
        logprobs="raw",
        paths={path: f"way of {path}" for path in paths},
        lacking={path: f"no {path} here" for path in ALL if path not in paths},
        temperature_trap=True,
    )


def test_a_new_engine_has_all_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    seen = asyncio.run(probe(steps_on(New()), [TALK]))

    assert seen.paths == {
        "captured": "logits_processors",
        "two-stage": "preprocess, safe_run with output_logits=all",
        "scored": "logprob_start_len with max_new_tokens=0",
        "top-k": "logprobs while generating (raw)",
    }
    assert seen.lacking == {}
    assert (seen.dtype, seen.width, seen.stop_ids, seen.logprobs) == ("float32", WIDTH, (7,), "raw")
    assert seen.temperature_trap is True


def test_an_old_engine_has_others_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, without=["logprob_start_len"])
    seen = asyncio.run(probe(steps_on(Old()), [TALK]))

    assert seen.paths["two-stage"] == (
        "get_prompt_input, safe_run with output_logits=all, the sequence ended by the caller"
    )
    assert seen.lacking == {
        "scored": "GenerationConfig has no logprob_start_len",
    }


def with_executor(name: str) -> Any:
    """An engine whose model is in other processes: no ``model_agent``, as in executor/ray_executor.py."""
    engine: Any = New()
    engine.engine.executor = type(name, (), {})()
    return engine


def test_a_model_in_other_processes_has_the_paths_without_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    steps = PytorchSteps(with_executor("RayExecutor"), settings_of(tp=2))
    seen = asyncio.run(probe(steps, [TALK]))

    assert set(seen.paths) == {"scored", "top-k"}
    for path in ("captured", "two-stage"):
        assert "the model runs in processes of its own (RayExecutor)" in seen.lacking[path]
    assert choose_paths((), seen, reports=True) == ("scored",)
    assert seen.width is None


@pytest.mark.parametrize("paths", [(), ("captured",), ("scored", "two-stage")])
def test_a_variable_that_moved_the_model_is_named(
    paths: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    monkeypatch.setenv("LMDEPLOY_EXECUTOR_BACKEND", "ray")
    with pytest.raises(EngineError) as caught:
        PytorchSteps(with_executor("RayExecutor"), settings_of(paths=paths))
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert "(RayExecutor, by LMDEPLOY_EXECUTOR_BACKEND=ray in the environment)" in caught.value.message
    assert "unset LMDEPLOY_EXECUTOR_BACKEND, or write 'paths: [scored, top-k]'" in caught.value.message


def test_that_variable_does_no_harm_to_paths_without_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    monkeypatch.setenv("LMDEPLOY_EXECUTOR_BACKEND", "ray")
    PytorchSteps(with_executor("RayExecutor"), settings_of(paths=("scored", "top-k")))
    PytorchSteps(New(), settings_of(paths=("captured",)))


def test_with_a_prefix_cache_in_force_there_is_no_second_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    engine: Any = New()
    with pytest.raises(EngineError, match="LMDeploy turned prefix caching off for m"):
        PytorchSteps(engine, settings_of(prefix_cache="cold"))
    engine.engine.cache_config.enable_prefix_caching = True
    seen = asyncio.run(probe(PytorchSteps(engine, settings_of(prefix_cache="cold")), [TALK]))
    assert set(seen.paths) == {"captured", "scored", "top-k"}
    assert "may come from its prefix cache" in seen.lacking["two-stage"]


def test_a_processor_that_is_never_called_is_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    seen = asyncio.run(probe(steps_on(New(calls_processors=False)), [TALK]))

    assert "no row came" in seen.lacking["captured"]
    assert "two-stage" in seen.paths
    assert seen.width == WIDTH


def test_an_engine_that_leaves_the_last_row_alone_is_measured_so(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    assert asyncio.run(probe(steps_on(New(scales=False)), [TALK])).temperature_trap is False


@pytest.mark.parametrize(
    ("reports", "words"), [("none", "reports no log-probabilities"), ("one", "one token with 0.0")]
)
def test_a_list_that_tells_nothing_is_no_path(
    reports: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    seen = asyncio.run(probe(steps_on(New(reports=reports)), [TALK]))

    assert "top-k" not in seen.paths
    assert words in seen.lacking["top-k"]


def test_stage_two_that_fails_is_no_path_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    engine = New()

    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("planted")

    engine.safe_run = broken  # type: ignore[method-assign]
    seen = asyncio.run(probe(steps_on(engine), [TALK]))

    assert seen.lacking["two-stage"] == "RuntimeError: planted"
    assert seen.temperature_trap is None
    assert "captured" in seen.paths


def test_memory_that_ran_out_on_a_path_is_not_a_path_that_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    engine = New()

    def broken(*_: object, **__: object) -> Any:
        raise MemoryError("planted")

    engine.safe_run = broken  # type: ignore[method-assign]
    with pytest.raises(MemoryError, match="planted"):
        asyncio.run(probe(steps_on(engine), [TALK]))


class TooLongError(Exception):
    """LMDeploy 0.18's RequestError, as far as it is looked at (messages.py)."""

    code = SimpleNamespace(value="context_length_exceeded")


@pytest.mark.parametrize("refused", [True, False])
def test_the_first_that_the_limits_let_in_is_tried(monkeypatch: pytest.MonkeyPatch, refused: bool) -> None:
    """By LMDeploy's own refusal, or by a number of its options."""
    install(monkeypatch)
    steps = steps_on(New())
    tried: list[Any] = []
    dropped: list[Any] = []
    prepare = steps.prepare

    async def seen(conversation: Any) -> Any:
        tried.append(conversation)
        if refused and len(tried) == 1:
            raise TooLongError
        return await prepare(conversation)

    monkeypatch.setattr(steps, "prepare", seen)
    monkeypatch.setattr(steps, "forget", dropped.append)
    steps.limits["session_len"] = 4 if refused else 3  # the stand-in's prompt has three tokens
    talks = [[{"role": "user", "content": words}] for words in ("large", "half", "text")]
    asyncio.run(probe(steps, talks))

    assert tried == (talks[:2] if refused else talks)
    assert len(dropped) == (0 if refused else 2)


def test_what_no_room_explains_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    steps = steps_on(New())

    async def broken(_: object) -> Any:
        raise ValueError("planted")

    monkeypatch.setattr(steps, "prepare", broken)
    with pytest.raises(ValueError, match="planted"):
        asyncio.run(probe(steps, [TALK, TALK]))


@pytest.mark.parametrize(
    ("there", "reports", "chosen"),
    [
        (ALL, True, ("two-stage", "captured")),
        (("captured", "scored", "top-k"), True, ("captured",)),
        (("two-stage", "top-k"), True, ("two-stage",)),
        (("scored", "top-k"), True, ("scored",)),
        (("top-k",), True, ("top-k",)),
    ],
)
def test_without_a_wish_the_best_paths_are_taken(
    there: Sequence[str], reports: bool, chosen: Sequence[str]
) -> None:
    assert choose_paths((), found(*there), reports=reports) == chosen


def test_paths_asked_for_are_taken_in_their_order() -> None:
    assert choose_paths(("scored", "captured"), found(*ALL), reports=True) == ("scored", "captured")


def test_a_path_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(EngineError) as caught:
        choose_paths(("scored",), found("two-stage", "captured"), reports=True)

    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert "found scored" in caught.value.message
    assert "no scored here" in caught.value.message
    assert "allowed: two-stage, captured" in caught.value.message


@pytest.mark.parametrize(("there", "reports"), [((), True), (("top-k",), False)])
def test_no_path_at_all_is_an_error_with_all_reasons(there: Sequence[str], reports: bool) -> None:
    with pytest.raises(EngineError) as caught:
        choose_paths((), found(*there), reports=reports)

    assert caught.value.kind is ErrorKind.LOAD
    assert "captured: no captured here" in caught.value.message


def test_the_fingerprint_has_the_ways_that_are_gone_and_no_others() -> None:
    told = found(*ALL).to_json(("captured",))
    assert told["paths"] == {"captured": "way of captured"}
    assert told["temperature_trap"] is True

"""Settings for LMDeploy: what is passed on, and what is refused before anything is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.engines.contract import EngineSettings, Json
from harness.engines.lmdeploy_pipeline.options import (
    PATHS,
    PINNED,
    TURBOMIND_PATHS,
    check_settings,
    engine_options,
    stage_two,
)
from harness.errors import EngineError, ErrorKind
from harness.schemas import options as table
from harness.schemas.options import OPTIONS

ENGINE_OPTIONS = (
    "block_size",
    "cache_max_entry_count",
    "eager_mode",
    "hf_overrides",
    "max_batch_size",
    "max_prefill_token_num",
    "model_format",
    "num_gpu_blocks",
    "quant_policy",
    "session_len",
    "tp",
)
KNOWN = (*ENGINE_OPTIONS, *PINNED, "dtype")

PLAIN = EngineSettings(
    kind="lmdeploy",
    model="anywhere",
    dtype="float32",
    device="cpu",
    paths=("two-stage", "captured"),
    top_k=20,
    batch_size=16,
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"paths": ("forward",)}, ["paths: found 'forward'", "two-stage, captured, scored"]),
        (
            {"paths": ("captured",), "device": "cuda", "options": {"backend": "turbomind"}},
            ["paths: found 'captured'", "allowed: generation, two-stage"],
        ),
        (
            {"paths": (), "options": {"backend": "turbomind"}},
            ["options.backend: found turbomind with 'device: cpu'", "'device: cuda'"],
        ),
        ({"device": "cuda"}, ["dtype: found float32 on cuda", "float16, bfloat16 or auto"]),
    ],
)
def test_settings_that_would_go_wrong_without_a_word_are_refused(
    changes: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(EngineError) as caught:
        check_settings(replace(PLAIN, **changes))

    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert all(word in caught.value.message for word in words), caught.value.message


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"options": {"stage_two": "stepwise", "threads": 2, "num_gpu_blocks": 8, "trust_remote_code": True}},
        {"device": "cuda", "dtype": "bfloat16", "options": {"quant_policy": 8, "model_format": "fp8"}},
        {"device": "cuda", "dtype": "auto", "paths": ("captured",), "top_k": 0},
        {"paths": ()},
    ],
)
def test_settings_that_can_be_honoured_pass(changes: dict[str, Any]) -> None:
    check_settings(replace(PLAIN, **changes))


def test_on_a_cpu_the_cache_is_small_and_the_plug_in_keeps_the_dtype() -> None:
    options = engine_options(PLAIN, KNOWN)

    assert (options["num_gpu_blocks"], options["max_batch_size"], options["dtype"]) == (64, 16, "auto")


def test_on_a_gpu_lmdeploys_own_defaults_stay() -> None:
    options = engine_options(replace(PLAIN, device="cuda", dtype="float16"), KNOWN)

    assert options == {
        "dtype": "float16",
        "enable_metrics": False,
        "enable_prefix_caching": False,
        "logprobs_mode": "raw_logprobs",
        "max_batch_size": 16,
        "quant_policy": 0,
        "tp": 1,
    }


def test_options_of_the_profile_come_before_the_defaults() -> None:
    chosen: dict[str, Json] = {
        "num_gpu_blocks": 8,
        "max_batch_size": 2,
        "session_len": 99,
        "stage_two": "stepwise",
    }
    options = engine_options(replace(PLAIN, options=chosen), KNOWN)

    assert {name: options[name] for name in ("num_gpu_blocks", "max_batch_size", "session_len")} == {
        "num_gpu_blocks": 8,
        "max_batch_size": 2,
        "session_len": 99,
    }
    assert "stage_two" not in options
    assert stage_two(replace(PLAIN, options=chosen)) == "stepwise"
    assert stage_two(PLAIN) == "one-pass"


def test_what_an_lmdeploy_does_not_pin_is_left_out() -> None:
    known = [name for name in KNOWN if name != "logprobs_mode"]

    assert engine_options(PLAIN, KNOWN).keys() - engine_options(PLAIN, known).keys() == {"logprobs_mode"}


@pytest.mark.parametrize("kind", ["cold", "warm"])
def test_prefix_caching_is_on_where_it_is_asked_for(kind: str) -> None:
    asked = replace(PLAIN, paths=("captured",), options={"prefix_cache": kind})
    check_settings(asked)
    passed = engine_options(asked, KNOWN)
    assert passed["enable_prefix_caching"] is True
    assert "prefix_cache" not in passed
    assert engine_options(PLAIN, KNOWN)["enable_prefix_caching"] is False


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hf_overrides": {"a": 1}}, ["options.hf_overrides: found {'a': 1}, a field that", "session_len"]),
        ({"sesion_len": 9}, ["options.sesion_len: found 9, a field that", "session_len (the nearest)"]),
        (
            {"engine_config": {"prefil_interval": 8}},
            ["engine_config.prefil_interval: found 8", "PyTorch engine", "prefill_interval (the nearest)"],
        ),
        ({"backend": "turbomind", "engine_config": {"a": 1}}, ["engine_config.a: found 1", "TurboMind"]),
        ({"enable_prefix_caching": True}, ["options.enable_prefix_caching: found True", "harness sets it"]),
        ({"engine_config": {"dtype": "auto"}}, ["engine_config.dtype: found 'auto'", "harness sets it"]),
        ({"engine_config": {"device_type": "cuda"}}, ["engine_config.device_type", "harness sets it"]),
    ],
)
def test_a_field_that_an_lmdeploy_cannot_be_told_is_refused_and_not_left_out(
    options: dict[str, Json], words: list[str]
) -> None:
    known = [*(name for name in KNOWN if name != "hf_overrides"), "prefill_interval", "device_type"]
    with pytest.raises(EngineError) as caught:
        engine_options(replace(PLAIN, options=options), known)

    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert all(word in caught.value.message for word in words), caught.value.message


def test_what_is_the_harness_own_is_not_passed_and_engine_config_is() -> None:
    options: dict[str, Json] = {
        option.name: 1 for option in OPTIONS if not option.field and option.kinds != ("torch",)
    }
    options["engine_config"] = {"prefill_interval": 8}
    served = replace(PLAIN, kind="api", options={**options, "backend": "pytorch", "session_len": 9})

    passed = engine_options(served, (*KNOWN, "prefill_interval", *options))

    assert (passed["prefill_interval"], passed["session_len"]) == (8, 9)
    assert passed.keys().isdisjoint(options)


def test_names_are_those_of_the_table() -> None:
    fields = {option.name for option in OPTIONS if option.field}
    assert {*ENGINE_OPTIONS} == fields - {"cache_block_seq_len"}
    assert {*PINNED} <= {*table.PINNED}
    for backend, known in (("pytorch", PATHS), ("turbomind", TURBOMIND_PATHS)):
        side = table.Side("lmdeploy", backend, "cuda", "")
        assert tuple(path.name for path in table.PATHS if table.taken_by(path, side)) == known

"""Settings for LMDeploy: what is passed on, and what is refused before anything is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.engines.contract import EngineSettings, Json
from harness.engines.lmdeploy_pipeline.options import (
    ENGINE_OPTIONS,
    PINNED,
    check_settings,
    engine_options,
    stage_two,
)
from harness.errors import EngineError, ErrorKind

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
        ({"device": "mps"}, ["device: found 'mps'", "cpu, cuda"]),
        ({"dtype": "float64"}, ["dtype: found 'float64'", "auto, bfloat16, float16, float32"]),
        ({"paths": ("forward",)}, ["paths: found 'forward'", "two-stage, captured, scored"]),
        ({"paths": ("top-k",), "top_k": 0}, ["top_k: found 0 for the path top-k", "1 or more"]),
        ({"top_k": -1}, ["top_k: found -1", "0 or more"]),
        ({"batch_size": 0}, ["batch_size: found 0", "1 or more"]),
        ({"options": {"sesion_len": 9}}, ["sesion_len (did you mean session_len?)"]),
        ({"options": {"adapters": {"a": "b"}}}, ["options: found adapters", "session_len"]),
        (
            {"options": {"enable_prefix_caching": True}},
            ["options.enable_prefix_caching", "the harness sets it"],
        ),
        ({"options": {"dtype": "float16"}}, ["options.dtype", "the harness sets it"]),
        ({"options": {"stage_two": "twice"}}, ["options.stage_two: found 'twice'", "one-pass, stepwise"]),
        ({"options": {"threads": 0}}, ["options.threads: found 0", "whole number from 1"]),
        ({"options": {"threads": True}}, ["options.threads: found True"]),
        ({"options": {"trust_remote_code": "yes"}}, ["options.trust_remote_code: found 'yes'"]),
        ({"options": {"tp": 2}}, ["does not implement a model split over several devices (tp 2)"]),
        ({"options": {"quant_policy": 8}}, ["does not implement a quantised KV cache (quant_policy 8)"]),
        ({"options": {"model_format": "fp8"}}, ["does not implement quantised weights (model_format fp8)"]),
        ({"device": "cuda"}, ["dtype: found float32", "'dtype: float16'", "'device: cpu'"]),
        ({"device": "cuda", "dtype": "float16", "options": {"tp": 2}}, ["options.tp: found 2; allowed: 1"]),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(changes: dict[str, Any], words: list[str]) -> None:
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


def test_an_option_that_an_lmdeploy_does_not_have_is_refused_and_not_left_out() -> None:
    known = [name for name in KNOWN if name != "hf_overrides"]
    chosen: dict[str, Json] = {"hf_overrides": {"fp32_lm_head": True}}

    with pytest.raises(EngineError) as caught:
        engine_options(replace(PLAIN, options=chosen), known)

    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert "options.hf_overrides: found an option that this LMDeploy does not have" in caught.value.message
    assert "session_len" in caught.value.message

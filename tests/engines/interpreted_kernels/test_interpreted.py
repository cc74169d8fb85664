"""LMDeploy's interpreted kernels: what is stood in for, what is refused, and that kernels then compute."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.engines.interpreted_kernels.card import card_of, claim, is_interpreted
from harness.engines.lmdeploy_on_cpu.plugin import ENVIRONMENT
from tests.engines.interpreted_kernels.scenarios import ENGINE
from tests.scenario_runs import run_scenarios

SCENARIOS = Path(__file__).with_name("scenarios.py")


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the scenarios left behind."""
    path = tmp_path_factory.mktemp("interpreted") / "facts.json"
    run_scenarios(SCENARIOS, path, seconds=300, without=ENVIRONMENT)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_exactly_the_names_of_the_list_are_replaced(facts: dict[str, Any]) -> None:
    read = {
        "triton.runtime.driver.driver.set_active",  # called
        "triton.runtime.interpreter.interpreter_semantic",
    }
    listed = {*facts["mended"]["listed"]}

    assert len(listed) == len(facts["mended"]["listed"])
    touched = {*facts["mended"]["touched"]}
    # A class or function is also found where it is imported to.
    assert {name.rpartition(".")[2] for name in touched} <= {name.rpartition(".")[2] for name in listed}
    assert listed - read <= touched


def test_a_triton_that_lacks_a_name_is_refused_with_it(facts: dict[str, Any]) -> None:
    message = facts["mended"]["lacking"]

    assert message.startswith("load: ")
    assert "no triton.runtime.interpreter._patch_lang_tensor (takes int() of an array" in message
    assert "triton 3." in message


@pytest.mark.parametrize("name", ["float32", "float16", "w8a8"])
def test_what_runs_is_taken(facts: dict[str, Any], name: str) -> None:
    assert facts["refusals"][name] == "nothing was raised"


@pytest.mark.parametrize(
    ("name", "feature", "reason"),
    [
        ("bfloat16", "bfloat16", "integers of their bit patterns"),
        ("fa3", "FlashAttention 3", "it is compiled"),
        ("awq", "weights quantised by awq", "inline PTX"),
        ("fp8", "weights quantised by fp8", "Gluon"),
        ("mla", "multi-head latent attention", "FlashMLA"),
        ("devices", "a model split over 2 devices (tp, dp or ep)", "one processor"),
        ("LinearW4A16BuildSpec", "LMDeploy's operator LinearW4A16", "inline PTX"),
        ("LinearBlockedF8BuildSpec", "LMDeploy's operator LinearBlockedF8", "Gluon"),
        ("LoRABuildSpec", "LMDeploy's operator LoRA", "were not run"),
    ],
)
def test_what_cannot_run_is_refused_by_name(
    facts: dict[str, Any], name: str, feature: str, reason: str
) -> None:
    message = facts["refusals"][name]

    assert message.startswith(f"unsupported: 'kernels: interpreted' cannot run {feature}: ")
    assert reason in message


@pytest.mark.parametrize("kernel", ["rms_norm", "silu_and_mul", "flash_attn_with_kvcache"])
def test_kernels_compute_what_their_formula_says(facts: dict[str, Any], kernel: str) -> None:
    assert facts["kernels"][kernel] <= 2e-6


@pytest.mark.parametrize("kind", ["", "quantised "])
def test_lmdeploys_decoding_loses_a_sequence_to_a_nan_among_the_values_behind_its_end(
    facts: dict[str, Any], kind: str
) -> None:
    """A fault of LMDeploy's, in docs/findings.md: once it is mended this fails, and the entry may say so."""
    names = ("key", "value", "large value")
    lost = {name: facts["kernels"][f"lost to a stale {kind}{name}"] for name in names}
    assert lost == {"key": 0, "value": 1, "large value": 0}


def test_a_grid_may_be_a_list(facts: dict[str, Any]) -> None:
    assert facts["kernels"]["multinomial_sampling"] == 0


def test_nvidias_round_goes_away_from_zero(facts: dict[str, Any]) -> None:
    assert facts["library"]["round"] == [-2.0, -1.0, 1.0, 0.0, 3.0, 1e10]


def test_torch_triton_and_lmdeploy_are_told_of_the_card(facts: dict[str, Any]) -> None:
    assert facts["card"] == {
        "capability": [9, 0],
        "processors": 8,
        "target": 90,
        "name": "pretended sm90",
        "dependent launches": True,
    }


def test_a_card_has_its_own_number_of_processors_where_none_is_said() -> None:
    plain = replace(ENGINE, options={"kernels": "interpreted"})
    assert (card_of(plain).name, card_of(plain).processors) == ("sm80", 108)
    assert card_of(replace(ENGINE, options={"card": "sm90"})).processors == 132
    assert (is_interpreted(plain), is_interpreted(replace(ENGINE, options={}))) == (True, False)


def test_the_claim_says_what_it_is_no_evidence_of() -> None:
    assert claim(card_of(ENGINE)) == (
        "LMDeploy's Triton kernels, interpreted on a CPU as sm90: no evidence about compiled code"
    )

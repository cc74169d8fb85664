"""The CPU device plug-in: what it replaces, what it refuses, and its attention, in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.engines.lmdeploy_on_cpu import plugin as lmdeploy_on_cpu
from harness.machine.processor import processor_name
from tests.scenario_runs import run_scenarios

SCENARIOS = Path(__file__).with_name("scenarios.py")


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the scenarios left behind."""
    path = tmp_path_factory.mktemp("on-cpu") / "facts.json"
    run_scenarios(SCENARIOS, path, seconds=300, without=lmdeploy_on_cpu.ENVIRONMENT)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_exactly_the_names_of_the_list_are_replaced(facts: dict[str, Any]) -> None:
    names = sorted(replacement.name for replacement in lmdeploy_on_cpu.REPLACED)

    assert facts["touched"] == names
    # What is gone are the attributes of a class that a function took the place of.
    assert {name.rpartition(".")[0] for name in facts["dropped"]} <= {"torch.cuda.device"}


def test_no_stand_in_serves_two_names(facts: dict[str, Any]) -> None:
    assert facts["functions"] == len(lmdeploy_on_cpu.REPLACED)


def test_every_replacement_has_its_reason() -> None:
    assert all(replacement.reason for replacement in lmdeploy_on_cpu.REPLACED)
    assert len({replacement.name for replacement in lmdeploy_on_cpu.REPLACED}) == len(
        lmdeploy_on_cpu.REPLACED
    )


def test_all_missing_names_are_named_and_nothing_is_replaced(facts: dict[str, Any]) -> None:
    missing = facts["missing"]

    assert missing["kind"] == "load"
    assert "does not fit lmdeploy 0.18.0" in missing["message"]
    assert "no lmdeploy.pytorch.backends.selector._get_backend (chooses the operators" in missing["message"]
    assert "no lmdeploy.pytorch.config._update_torch_dtype (resolves the dtype" in missing["message"]
    assert "run on LMDeploy 0.12.3, 0.14.0, 0.16.0, 0.18.0" in missing["message"]
    assert "pip install lmdeploy==0.18.0" in missing["message"]
    assert missing["touched"] == []


def test_names_are_found_in_their_other_place_and_some_may_be_missing(facts: dict[str, Any]) -> None:
    assert facts["elsewhere"] == {"found": True, "left out": True}


def test_installing_after_lmdeploy_was_imported_is_refused(facts: dict[str, Any]) -> None:
    assert facts["late"]["kind"] == "load"
    assert "LMDEPLOY_SKIP_WARMUP" in facts["late"]["message"]


@pytest.mark.parametrize("name", ["paged", "no window", "window", "flash"])
def test_attention_is_built(facts: dict[str, Any], name: str) -> None:
    assert facts["operators"][name]["kind"] == "none"


@pytest.mark.parametrize(
    ("name", "feature"),
    [
        ("alibi", "ALiBi"),
        ("window ahead", "sliding window attention that is not causal (window (-1, 4))"),
        ("flash window", "sliding window attention that is not causal (window (4, 4))"),
        ("mla", "multi-head latent attention"),
        ("mla index", "sparse attention"),
        ("sinks", "attention sinks"),
        ("sparse", "block-sparse attention"),
        ("quantised", "LinearW4A16"),
        ("adapter", "LoRA"),
    ],
)
def test_operators_it_lacks_are_refused_by_name(facts: dict[str, Any], name: str, feature: str) -> None:
    refusal = facts["operators"][name]

    assert refusal["kind"] == "unsupported"
    assert f"does not implement {feature}" in refusal["message"].replace("LMDeploy's operator ", "")


def test_a_quantised_cache_is_refused_by_name(facts: dict[str, Any]) -> None:
    assert facts["caches"]["quantised"]["kind"] == "unsupported"
    assert "quant_policy 8" in facts["caches"]["quantised"]["message"]


@pytest.mark.parametrize("option", ["", " window 4", " window (3, 3)", " softcap", " window and softcap"])
@pytest.mark.parametrize("kind", ["paged", "flash causal=False", "flash causal=True"])
def test_attention_is_what_its_formula_says(facts: dict[str, Any], kind: str, option: str) -> None:
    """A token sees itself and as many before it as the window says, as in LMDeploy's Triton kernels."""
    if kind == "flash causal=False" and "window" in option:
        assert kind + option not in facts["attention"]  # refused, see above
    else:
        assert facts["attention"][kind + option] <= 1e-6


def test_cuda_means_the_cpu_within_the_engines_context_only(facts: dict[str, Any]) -> None:
    device = facts["device"]

    assert {device[name] for name in ("made", "moved", "by device", "module")} == {"cpu"}
    assert device["outside"] != "made"
    assert device["available"] is False


def test_a_transfer_makes_a_copy(facts: dict[str, Any]) -> None:
    assert facts["device"]["host"] == [0.0, 0.0]
    assert facts["device"]["copied"] == [1.0, 1.0]


def test_the_processor_has_a_name() -> None:
    assert processor_name().strip()


def test_without_lmdeploy_it_says_that_it_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="No module named 'lmdeploy'") as raised:
        lmdeploy_on_cpu.install()
    assert raised.value.name == "lmdeploy"

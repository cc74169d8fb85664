"""The engine ``lmdeploy`` on other versions, really run, on the CPU device plug-in."""

from __future__ import annotations

from typing import Any

import pytest

ROUNDING = 1e-5
pytestmark = pytest.mark.slow


def test_full_rows_come_on_two_paths(facts: dict[str, Any]) -> None:
    fingerprint = facts["fingerprint"]

    assert list(fingerprint["paths"]) == ["two-stage", "captured"]
    assert "output_logits=all" in fingerprint["paths"]["two-stage"]
    assert fingerprint["paths"]["captured"] == "logits_processors"
    assert fingerprint["reported_logprobs"] == "raw"
    assert (fingerprint["dtype"], fingerprint["logits"]["dtype"]) == ("float32", "float32")
    assert fingerprint["device"].startswith("CPU device plug-in")
    assert set(facts["lacking"]) <= {"scored"}


def test_every_account_of_an_answer_is_the_same(facts: dict[str, Any]) -> None:
    assert len(facts["answers"]) == 8
    for case, answer in facts["answers"].items():
        assert answer["paths"] == ["two-stage", "captured"], case
        assert answer["gap"] <= ROUNDING, case
    assert facts["stepwise"] <= ROUNDING


def test_the_model_answers_what_is_to_be_seen(facts: dict[str, Any]) -> None:
    texts = {case: answer["text"] for case, answer in facts["answers"].items() if "circle" in case}
    letters = {"red-circle-centre": "A", "blue-circle-top-left": "B", "red-circle-top-left-112x56": "A"}
    expected = {**letters, **{f"{case}-later": f"Answer: {letter}" for case, letter in letters.items()}}
    assert texts == expected
    assert [facts["answers"][case]["tiles"] for case in letters] == [1, 1, 3]


def test_generation_is_the_same_after_stage_two(facts: dict[str, Any]) -> None:
    for case, answer in facts["answers"].items():
        assert answer["again"] == answer["ids"], case


def test_the_temperature_trap_is_measured_and_is_there(facts: dict[str, Any]) -> None:
    assert facts["fingerprint"]["temperature_trap"] is True
    assert facts["unguarded"] == pytest.approx([1.25] * 4, rel=1e-4)


def test_python_files_of_a_model_never_run_unasked(facts: dict[str, Any]) -> None:
    # An LMDeploy that can be told not to is told so; for another it is refused.
    refusal = facts["remote code"]
    assert refusal["kind"] in ("none", "unsupported")
    if refusal["kind"] == "unsupported":
        assert "modeling_strange.py" in refusal["message"]
        assert "trust_remote_code: true" in refusal["message"]


@pytest.mark.parametrize(
    ("name", "feature"),
    [
        ("alibi", "ALiBi"),
        ("flash window", "sliding window attention that is not causal"),
        ("something new", "attention with tree_mask"),
    ],
)
def test_what_the_plug_in_lacks_is_refused_by_name(facts: dict[str, Any], name: str, feature: str) -> None:
    assert facts["attention"]["plain"]["kind"] == facts["attention"]["window"]["kind"] == "none"
    assert facts["attention"][name]["kind"] == "unsupported"
    assert f"does not implement {feature}" in facts["attention"][name]["message"]


def test_operators_and_caches_it_lacks_are_refused(facts: dict[str, Any]) -> None:
    assert facts["quantised cache"]["kind"] == "unsupported"
    assert "quant_policy 8" in facts["quantised cache"]["message"]
    assert facts["adapter"]["kind"] == "unsupported"
    assert "operator LoRA" in facts["adapter"]["message"]

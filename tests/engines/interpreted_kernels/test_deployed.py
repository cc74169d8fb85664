"""What users deploy, on LMDeploy's interpreted kernels: beside Transformers, and beside what quantises alike.

All engines answer once, in a process of deployed_scenarios.py. Where a number is rounded to a few levels,
noise of float32 takes one to the next level now and then, which is a large step: a case with such a number
is off by some thousandths, and the others are equal. A fault moves every case.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.engines.lmdeploy_on_cpu.plugin import ENVIRONMENT
from tests.engines.interpreted_kernels.deployed_models import QUESTIONS
from tests.scenario_runs import run_scenarios

pytestmark = [pytest.mark.slow, pytest.mark.engines]

SCENARIOS = Path(__file__).with_name("deployed_scenarios.py")
NOISE = 2e-5
"""Of float32, on a logit of about 15."""


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("deployed")
    run_scenarios(SCENARIOS, folder, seconds=900, without=ENVIRONMENT)
    found: dict[str, Any] = json.loads((folder / "deployed.json").read_text())
    return found


def distances(left: dict[str, Any], one: str, other: str, *, of: str = "letters") -> list[float]:
    """By case, the largest difference of the letters' logits, or of the written tokens' log-probabilities."""
    pairs = [(left[one]["answers"][case], left[other]["answers"][case]) for case in QUESTIONS]
    assert of == "letters" or [a["ids"] for a, _ in pairs] == [b["ids"] for _, b in pairs]
    return [max(abs(x - y) for x, y in zip(a[of], b[of], strict=True)) for a, b in pairs]


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("plain", "text, natively"),
        ("cold", "text, natively"),
        ("warm", "text, natively"),
        ("warm", "plain"),
        ("experts", "experts, natively"),
    ],
)
def test_what_quantises_nothing_is_equal(left: dict[str, Any], name: str, reference: str) -> None:
    assert max(distances(left, name, reference)) <= NOISE
    assert max(distances(left, name, reference, of="logprobs")) <= NOISE


def test_prompts_came_from_the_prefix_cache(left: dict[str, Any]) -> None:
    """Asked again, a prompt comes from it with all whole blocks of 16 but that of its last token."""
    lengths = [answer["tokens"] for answer in left["warm"]["answers"].values()]
    again = sum((length - 1) // 16 * 16 for length in lengths)
    assert left["plain"]["hits"] == 0
    for name in ("warm", "warm, kv8"):
        assert left[name]["hits"] - left["cold"]["hits"] >= again > 0


def test_prompts_in_chunks_are_refused_since_each_chunk_shows_a_row(left: dict[str, Any]) -> None:
    for path in ("captured", "top-k"):
        for answer in left[f"chunked, {path}, refused"].values():
            assert answer["failure"].startswith("unsupported: ")
            assert "32 together (max_prefill_token_num)" in answer["failure"]
    # With the refusal lifted: no row is taken for another.
    for answer in left["chunked, captured"]["answers"].values():
        assert "rows for 3 generated tokens; allowed: 3 or 4" in answer["failure"]


def test_what_is_reported_of_prompts_in_chunks_is_equal(left: dict[str, Any]) -> None:
    assert max(distances(left, "chunked, top-k", "plain", of="logprobs")) <= NOISE


@pytest.mark.parametrize(
    ("name", "full", "least"),
    [
        ("warm, kv8", "text, natively", 0.001),
        ("w8a8", "text, natively", 0.01),
        ("embedded, kv8", "embedded, natively", 0.001),
        ("embedded, kv4", "embedded, natively", 0.01),
        ("heads, kv8", "heads, natively", 0.001),
        ("heads, kv4", "heads, natively", 0.01),
    ],
)
def test_what_is_quantised_is_equal_to_what_quantises_alike(
    left: dict[str, Any], name: str, full: str, least: float
) -> None:
    far = distances(left, name, full)
    assert max(far) >= least  # quantised it is
    for of in ("letters", "logprobs"):
        near = distances(left, name, f"{name}, natively", of=of)
        assert min(near) <= NOISE
        assert max(near) <= max(far) / 4


def test_a_healthy_case_behind_one_with_nan_is_an_error_and_passes_alone(left: dict[str, Any]) -> None:
    """LMDeploy's decoding carries a NaN over in a page that is used again: docs/findings.md."""
    alone, behind = left["healthy alone"]["answers"], left["healthy behind"]["answers"]
    assert "failure" not in alone["colour"]
    assert alone["again"] == alone["colour"]
    for case in ("bad", "colour"):
        assert behind[case]["failure"].startswith("not-finite: ")
    assert "in the rows of generated tokens [1, 2]; allowed: none" in behind["colour"]["failure"]

"""Settings of deployments on the real LMDeploy, on the CPU device plug-in: that they are in force.

What needs the real engine is done once, by deployed_scenarios.py in a process of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.checks.question.ids import same_places
from tests.engines.lmdeploy_pipeline.deployed_scenarios import FEW_PIXELS, SAID
from tests.scenario_runs import run_scenarios

pytestmark = [pytest.mark.slow, pytest.mark.engines]

SCENARIOS = Path(__file__).with_name("deployed_scenarios.py")
ROUNDING = 1e-5


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("deployed")
    run_scenarios(SCENARIOS, folder, seconds=900)
    found: dict[str, Any] = json.loads((folder / "deployed.json").read_text())
    return found


def logprobs(run: dict[str, Any], path: str) -> list[float]:
    return [value for answer in run["answers"].values() for value in answer["readings"][path]["logprobs"]]


def ids(run: dict[str, Any]) -> list[list[int]]:
    return [answer["ids"] for answer in run["answers"].values()]


def test_a_warm_prefix_cache_is_hit_by_every_case_and_changes_nothing_in_float32(
    left: dict[str, Any],
) -> None:
    plain, cold, warm = left["plain"], left["cold"], left["warm"]
    lengths = [answer["question"]["tokens"] for answer in warm["answers"].values()]
    assert plain["hits"] == 0
    # All whole blocks but that of the last token come from the cache when a prompt is asked again.
    assert warm["hits"] - cold["hits"] >= sum((length - 1) // 16 * 16 for length in lengths)
    assert ids(plain) == ids(cold) == ids(warm)
    for run in (cold, warm):
        assert logprobs(run, "captured") == pytest.approx(logprobs(plain, "captured"), abs=ROUNDING, rel=0)
        assert run["fingerprint"]["engine_config"]["enable_prefix_caching"] is True


def test_with_a_prefix_cache_there_is_no_second_stage(left: dict[str, Any]) -> None:
    assert list(left["warm without paths"]["fingerprint"]["paths"]) == ["captured"]


def test_a_prefix_cache_that_lmdeploy_turns_off_is_refused(left: dict[str, Any]) -> None:
    found = left["prefix cache of an InternVL"]
    assert found["kind"] == "unsupported"
    assert "options.prefix_cache: found warm, but LMDeploy turned prefix caching off" in found["refused"]


def test_pixels_are_limited_alike_on_both_sides(left: dict[str, Any]) -> None:
    plain, few, native = (
        left[name]["answers"]["c0"]["question"] for name in ("plain", "few pixels", "few pixels natively")
    )
    assert plain["tokens"] - few["tokens"] == 8 - FEW_PIXELS // 28**2
    assert (few["tokens"], few["pixels"]) == (native["tokens"], native["pixels"])
    assert few["pixels"] != plain["pixels"]


def test_pixels_of_the_older_way_to_prepare_images_too(left: dict[str, Any]) -> None:
    """As LMDeploy prepares Qwen2-VL and Qwen2.5-VL; the numbers are another matter, see docs/lmdeploy.md."""
    ours, native = (
        left[f"few pixels of Qwen2-VL{name}"]["answers"]["c0"]["question"] for name in ("", " natively")
    )
    plain = left["plain"]["answers"]["c0"]["question"]
    assert (ours["tokens"], ours["pixels"]) == (native["tokens"], native["pixels"])
    assert ours["tokens"] == plain["tokens"] - (8 - FEW_PIXELS // 28**2)


def test_llavas_question_is_the_same_though_its_images_places_are_filled_with_padding(
    left: dict[str, Any],
) -> None:
    ours, native = (left[name]["answers"]["c0"] for name in ("LLaVA", "LLaVA natively"))
    assert ours["prompt"] != native["prompt"]
    assert len(ours["prompt"]) == len(native["prompt"])
    assert ours["question"]["text"] == native["question"]["text"]
    assert same_places(native["prompt"], ours["prompt"]) == tuple(native["prompt"])
    assert ours["readings"]["captured"]["letters"] == pytest.approx(
        native["readings"]["forward"]["letters"], abs=ROUNDING
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no chat template", "LMDeploy applied no chat template and would ask the bare text"),
        ("an end of text", "The tokenizer adds '<|endoftext|>' (ids [694]) behind every text"),
    ],
)
def test_prompts_that_are_not_the_chat_templates_are_refused(
    left: dict[str, Any], name: str, words: str
) -> None:
    assert [words in message for message in left[name]] == [True] * 3


def test_pixels_of_a_model_with_tiles_are_refused(left: dict[str, Any]) -> None:
    assert "min_pixels: this model's" in left["pixels of an InternVL"]["refused"]
    assert "has no limits of pixels" in left["pixels of an InternVL"]["refused"]


def test_fields_of_the_engine_are_in_force(left: dict[str, Any]) -> None:
    found = left["said"]["fingerprint"]["engine_config"]
    assert {name: found[name] for name in SAID} == SAID
    assert left["said"]["vision_batch"] == 8
    assert left["here"]["vision_batch"] == 1


def test_a_chat_template_is_in_force(left: dict[str, Any]) -> None:
    text = left["template"]["answers"]["c0"]["question"]["text"]
    assert text.startswith("USER: ")
    assert text.endswith("0\nBOT:")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no such template", "options.chat_template_config: found 'nobodys', which LMDeploy"),
        ("no such vision", "options.vision_config: found {'max_batch': 8}, which LMDeploy"),
    ],
)
def test_what_lmdeploy_cannot_be_built_with_is_refused(left: dict[str, Any], name: str, words: str) -> None:
    assert left[name]["kind"] == "unsupported"
    assert words in left[name]["refused"]


def test_overrides_of_the_config_reach_the_model(left: dict[str, Any]) -> None:
    assert left["overridden"]["kind"] == "load"

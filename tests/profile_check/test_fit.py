"""What is known to fail before anything is loaded: the model against cases, engine and settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from tests.profile_check.conftest import EMBEDDED, Checked

PICTURE = EMBEDDED.parents[1] / "images" / "red-circle-centre.png"


def text_only(checked: Checked, **changes: Any) -> None:
    """A configuration of the embedded model's language model alone."""
    import json

    file = checked.model / "config.json"
    config = json.loads(file.read_text())
    text = {**config["text_config"], "architectures": ["Qwen2ForCausalLM"], **changes}
    file.write_text(json.dumps(text))


def pictured(checked: Checked) -> None:
    (checked.folder / "red.png").write_bytes(PICTURE.read_bytes())
    case = {"id": "one", "image": "red.png", "prompt": "say A", "expect": "A"}
    suite = {"defaults": {"letters": ["A", "B"]}, "cases": [case, {**case, "id": "two"}]}
    (checked.folder / "s.yaml").write_text(yaml.safe_dump(suite))


def test_a_text_only_model_for_cases_with_images(checked: Checked) -> None:
    pictured(checked)
    assert checked.wrongs() == []
    text_only(checked)
    (found,) = checked.wrongs()
    assert "2 of 2 cases have an image, s.one the first, and the model takes text only" in found.text
    assert str(found.place) == "profiles.yaml:3:12"


def test_an_architecture_that_lmdeploy_has_no_class_for(checked: Checked) -> None:
    checked.write(engine={"kind": "lmdeploy"})
    known = ("InternVLForConditionalGeneration", "LlavaForConditionalGeneration")
    checked.loadable = replace(
        checked.loadable, found={"lmdeploy": "0.18.0"}, architectures=known, fields=("tp",)
    )
    assert checked.wrongs() == []
    checked.config(architectures=["LlavaOnevisionForConditionalGeneration"])
    (found,) = checked.wrongs()
    assert found.text == (
        "LlavaOnevisionForConditionalGeneration, for which the pytorch engine of LMDeploy 0.18.0 has no class"
    )
    assert "LlavaForConditionalGeneration" in found.allowed


@pytest.mark.parametrize(
    ("text", "lack"),
    [
        ({"model_type": "gemma2", "sliding_window": 4096, "attn_logit_softcapping": 50.0}, None),
        ({"model_type": "qwen3_moe", "num_experts": 8}, "a mixture of experts (num_experts 8)"),
        ({"n_routed_experts": 8, "first_k_dense_replace": 99}, None),
        ({"layer_types": ["linear_attention", "full_attention"]}, "linear attention"),
    ],
)
def test_what_the_plug_in_does_not_implement(
    checked: Checked, text: dict[str, Any], lack: str | None
) -> None:
    text_only(checked, **text)
    assert checked.wrongs() == []  # the engine torch runs all of it
    checked.write(engine={"kind": "lmdeploy"})
    assert [finding.text.startswith(lack or "") for finding in checked.wrongs()] == [True] * bool(lack)
    checked.write(engine={"kind": "lmdeploy", "options": {"kernels": "interpreted"}})
    found = [finding.text for finding in checked.wrongs()]  # LMDeploy's own kernels have experts
    linear = lack == "linear attention"
    assert [lack in text and "'kernels: interpreted'" in text for text in found if lack] == [True] * linear
    checked.write(engine={"kind": "lmdeploy", "device": "cuda", "dtype": "bfloat16"})
    assert checked.wrongs() == []


@pytest.mark.parametrize("devices", [2, 3])
def test_devices_that_do_not_divide_the_heads(checked: Checked, devices: int) -> None:
    """The embedded model has 4 heads."""
    checked.write(
        engine={"kind": "lmdeploy", "device": "cuda", "dtype": "bfloat16", "options": {"tp": devices}}
    )
    wanted = [f"tp: {devices} for a model of 4 attention heads"] if devices == 3 else []
    assert [finding.text for finding in checked.wrongs()] == wanted


def test_limits_of_pixels_for_a_model_with_tiles(checked: Checked) -> None:
    checked.write(max_pixels=50176)
    (found,) = checked.wrongs()
    assert found.text == "max_pixels for a model that cuts images into tiles"
    assert found.allowed == "max_tiles"
    assert str(found.place).startswith("profiles.yaml:")

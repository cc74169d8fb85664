"""Where a model has its stages, by the names of its modules alone."""

from __future__ import annotations

import pytest

from harness.engines.contract import EngineSettings
from harness.engines.taps.places import INPUT, LAST, find
from harness.engines.taps.stages import before, in_order, named, part_of, residual
from harness.recordings.sources import engine_sources


def _language(text: str, layers: str = "layers", count: int = 2) -> list[str]:
    names = [f"{text}.embed_tokens", f"{text}.norm", f"{text}.rotary_emb"]
    for number in range(count):
        names += [f"{text}.{layers}.{number}.input_layernorm"]
        names += [f"{text}.{layers}.{number}.post_attention_layernorm"]
    return names


@pytest.mark.parametrize(
    ("model_type", "tower", "norm", "extra", "text"),
    [
        (
            "internvl",
            "model.vision_tower.encoder.layer",
            "layernorm_after",
            "lm_head",
            "model.language_model",
        ),
        ("internvl", "vision_tower.encoder.layer", "layernorm_after", "lm_head", "language_model.model"),
        ("qwen2_vl", "model.visual.blocks", "norm2", "lm_head", "model.language_model"),
        ("qwen2_vl", "visual.blocks", "norm2", "lm_head", "model"),
        ("qwen3_vl", "visual.blocks", "norm2", "lm_head", "language_model"),
        (
            "llava",
            "vision_tower.vision_model.encoder.layers",
            "layer_norm2",
            "language_model.lm_head",
            "language_model.model",
        ),
    ],
)
def test_both_engines_names_give_the_same_stages(
    model_type: str, tower: str, norm: str, extra: str, text: str
) -> None:
    modules = [*_language(text), extra, *(f"{tower}.{number}.{norm}" for number in range(2))]
    found = find(model_type, modules, {tower: 2, f"{text}.layers": 2})
    assert found.family is not None
    stages = [place.stage for place in found.places]
    assert stages == [
        *("vision.embeddings", "vision.0.attention", "vision.0.mlp", "vision.1.attention", "vision.1.mlp"),
        *("tokens", "inputs", "rope"),
        *("layer.0.attention", "layer.0.mlp", "layer.1.attention", "layer.1.mlp", "norm", "logits"),
    ]
    assert stages == in_order(stages)
    # The sum behind a layer is what the next norm is given, also behind the last.
    assert {(p.module, p.how) for p in found.places if p.stage == "layer.1.mlp"} == {(f"{text}.norm", INPUT)}


def test_gemma_two_has_four_norms_in_a_layer_and_scales_its_embeddings_outside() -> None:
    layers = [f"model.layers.{number}.pre_feedforward_layernorm" for number in range(2)]
    found = find("gemma2", [*_language("model"), *layers, "lm_head"], {"model.layers": 2})
    assert found.family is not None
    places = {place.stage: (place.module, place.how) for place in found.places}
    assert places["layer.1.attention"] == ("model.layers.1.pre_feedforward_layernorm", INPUT)
    assert places["tokens"] == ("model.layers.0.input_layernorm", INPUT)
    three = find("gemma3_text", [*_language("model"), *layers, "lm_head"], {"model.layers": 2})
    assert {place.module for place in three.places if place.stage == "tokens"} == {"model.embed_tokens"}


def test_the_towers_own_output_is_the_last_that_it_returns() -> None:
    modules = [*_language("language_model.model"), "vision_tower", "multi_modal_projector", "lm_head"]
    found = find("internvl", modules, {"language_model.model.layers": 2})
    places = {place.stage: (place.module, place.how) for place in found.places}
    assert places["vision.out"] == ("vision_tower", LAST)
    assert places["shuffle"] == ("multi_modal_projector", INPUT)


def test_an_unknown_architecture_is_matched_by_order_and_says_so() -> None:
    modules = [*_language("model.decoder"), *(f"model.eyes.blocks.{n}.norm2" for n in range(3)), "lm_head"]
    found = find("owl_vl", modules, {"model.eyes.blocks": 3, "model.decoder.layers": 2, "model.experts": 9})
    assert found.family is None
    stages = [place.stage for place in found.places]
    assert "vision.2.attention" in stages
    assert "layer.1.mlp" in stages
    assert not any(stage.startswith("layer.2") for stage in stages)


def test_a_known_type_of_unknown_build_is_matched_by_order_too() -> None:
    found = find("internvl", [*_language("decoder"), "lm_head"], {"decoder.layers": 2})
    assert found.family is None
    assert "layer.0.attention" in [place.stage for place in found.places]


def test_stages_know_their_place() -> None:
    known = [
        "logits",
        "layer.10.mlp",
        "layer.2.attention",
        "pixels",
        "inputs",
        "vision.0.mlp",
        "ids",
        "patch",
    ]
    assert in_order(known) == [
        *("ids", "pixels", "patch", "vision.0.mlp", "inputs", "layer.2.attention", "layer.10.mlp", "logits")
    ]
    assert before("inputs", known) == "vision.0.mlp"
    assert before("ids", known) is None
    assert residual("layer.0.attention") == "inputs"
    assert residual("layer.3.attention") == "layer.2.mlp"
    assert residual("vision.0.attention") == "vision.embeddings"
    assert residual("norm") is None
    assert [part_of(stage) for stage in known[:5]] == ["head", "language", "language", "pixels", "language"]
    assert named("layer.2.attention") == "language layer 2, behind its attention"
    with pytest.raises(ValueError, match="no stage 'depth'"):
        in_order(["depth"])


@pytest.mark.parametrize("kind", ["torch", "lmdeploy"])
def test_tracing_shapes_no_answer(kind: str) -> None:
    """Off, nothing of it is imported, and it is in no engine's key."""
    settings = EngineSettings(
        kind=kind, model="m", dtype="float32", device="cpu", paths=(), top_k=0, batch_size=1
    )
    sources = engine_sources(settings)
    assert not [name for name in sources if "taps" in name or "tracing" in name]
    assert "workers.serving" in sources

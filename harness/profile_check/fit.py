"""Whether model, cases and engine fit one another, as far as config.json tells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from harness.cases.profiles import EngineSpec
from harness.cases.suites import Case
from harness.engines.interpreted_kernels.card import is_interpreted
from harness.engines.pixel_limits import pixel_limits
from harness.machine.findings import Finding, wrong
from harness.profile_check.model_files import ModelFiles
from harness.profile_check.model_shapes import ModelShapes
from harness.profile_check.places import Places

__all__ = ["look_at_fit"]

_EXPERTS: Final = ("num_experts", "num_local_experts", "n_routed_experts")


def look_at_fit(
    engine: EngineSpec,
    places: Places,
    files: ModelFiles,
    shapes: ModelShapes | None,
    cases: Sequence[Case],
) -> Iterator[Finding]:
    """A finding for each thing that would make the engine, or a case with an image, an error."""
    settings, options = engine.settings, engine.settings.options
    if not files.config or files.own_code:  # of its own code nothing is known
        return
    pictured = [case for case in cases if case.images]
    if pictured and not files.speaks_of_images:
        yield wrong(
            "images",
            f"{len(pictured)} of {len(cases)} cases have an image, {pictured[0].name} the first, and the "
            "model takes text only: its config.json says nothing of images",
            places.of(engine, "model"),
            allowed="a model that takes images, or cases without one",
            command="name another model, or limit the profile to other `suites:`",
        )
    if files.most_patches is not None and (pixels := pixel_limits(settings)):
        yield wrong(
            "settings",
            f"{' and '.join(pixels)} for a model that cuts images into tiles",
            places.of(engine, *(f"options.{name}" for name in pixels), *pixels),
            allowed="max_tiles",
            command="change the line in the profile",
        )
    devices, heads = options.get("tp"), 0 if shapes is None else shapes.language.heads
    if settings.kind == "lmdeploy" and isinstance(devices, int) and heads % devices:
        yield wrong(
            "settings",
            f"tp: {devices} for a model of {heads} attention heads",
            places.of(engine, "options.tp"),
            allowed=f"a number that divides {heads}",
            command="change the line in the profile",
        )
    if settings.kind == "lmdeploy" and settings.device == "cpu":
        interpreted = is_interpreted(settings)
        runs = "'kernels: interpreted'" if interpreted else "the CPU device plug-in for LMDeploy"
        for lack in _not_on_a_cpu(files.config, interpreted=interpreted):
            yield wrong(
                "model",
                f"{lack}, which {runs} does not implement",
                places.of(engine, "model"),
                allowed="device: cuda for this engine, or another model",
                command="run this engine on a GPU, or leave it out of the profile",
            )


def _not_on_a_cpu(config: Mapping[str, Any], *, interpreted: bool) -> Iterator[str]:
    """What the language model is made of that the CPU device plug-in lacks, or interpreted kernels."""
    text = next((found for name in ("text_config", "llm_config") if (found := config.get(name))), config)
    if "linear_attention" in (text.get("layer_types") or ()):
        yield "linear attention with causal convolutions (layer_types)"
    experts = next((name for name in _EXPERTS if (text.get(name) or 0) > 1), None)
    some = (text.get("first_k_dense_replace") or 0) < (text.get("num_hidden_layers") or 1)
    if experts and some and not interpreted:
        yield f"a mixture of experts ({experts} {text[experts]})"

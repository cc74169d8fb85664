"""Mends Triton's interpreter for test_interpreted.py, as ``python THIS FILE FILE``; FILE gets what it found.

What is replaced stays replaced until the process ends, so it is done in a process of its own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from harness.engines.contract import EngineSettings
from harness.engines.interpreted_kernels import installing
from harness.engines.lmdeploy_on_cpu import plugin
from harness.errors import EngineError

ENGINE = EngineSettings(
    kind="lmdeploy",
    model="m",
    dtype="float32",
    device="cpu",
    paths=("two-stage",),
    top_k=1,
    batch_size=1,
    options={"kernels": "interpreted", "card": "sm90", "processors": 8},
)


def refused(call: Callable[[], object]) -> str:
    try:
        call()
    except EngineError as error:
        return f"{error.kind.value}: {error.message}"
    return "nothing was raised"


def everything() -> dict[str, object]:
    """Every attribute of Triton's modules and of their classes, by dotted name."""
    found: dict[str, object] = {}
    for name, module in [*sys.modules.items()]:
        if name.partition(".")[0] != "triton" or not isinstance(module, ModuleType):
            continue
        for attribute, value in [*vars(module).items()]:
            found[f"{name}.{attribute}"] = value
            if isinstance(value, type) and value.__module__ == name:
                found |= {f"{name}.{attribute}.{k}": v for k, v in vars(value).items()}
    return found


def mended() -> dict[str, Any]:
    """What is replaced, and what is said where a name is lacking."""
    import triton.language as tl
    from triton.runtime import interpreter

    from harness.engines.interpreted_kernels import stand_ins
    from harness.engines.interpreted_kernels.card import card_of

    def watched() -> dict[str, object]:
        # Triton has two modules of that name.
        extra = {f"triton.language.extra.cuda.{name}": value for name, value in vars(tl.extra.cuda).items()}
        options = {"triton.runtime.interpreter.interpreter_builder.options": interpreter_options()}
        return {**everything(), **extra, **options}

    def interpreter_options() -> object:
        return interpreter.interpreter_builder.options

    kept = interpreter._patch_lang_tensor
    del interpreter._patch_lang_tensor
    lacking = refused(lambda: stand_ins.mend(card_of(ENGINE)))
    interpreter._patch_lang_tensor = kept
    before = watched()
    installing.install(ENGINE)
    after = watched()
    return {
        "listed": [each.name for each in stand_ins.REPLACED],
        "touched": sorted(name for name, value in after.items() if value is not before.get(name, value)),
        "lacking": lacking,
    }


def refusals() -> dict[str, str]:
    from lmdeploy.pytorch.backends.awq_modules import LinearW4A16BuildSpec
    from lmdeploy.pytorch.backends.blockedf8_modules import LinearBlockedF8BuildSpec
    from lmdeploy.pytorch.backends.cuda import attention
    from lmdeploy.pytorch.backends.lora import LoRABuildSpec

    from harness.engines.interpreted_kernels.backend import InterpretedOpsBackend, refuse_model

    def model(dtype: str = "float32", *, mla: bool = False, devices: int = 1, method: str = "") -> None:
        quantised = {"quant_method": method} if method else None
        hf_config = SimpleNamespace(text_config=SimpleNamespace(quantization_config=quantised))
        shared = SimpleNamespace(world_size=devices)
        config: Any = SimpleNamespace(hf_config=hf_config, use_flash_mla=mla, dist_config=shared)
        refuse_model(config, dtype)

    def with_flash_attention() -> None:
        attention.use_fa3 = True
        try:
            model()
        finally:
            attention.use_fa3 = False

    specs = {spec.__name__: spec for spec in (LinearW4A16BuildSpec, LinearBlockedF8BuildSpec, LoRABuildSpec)}
    return {
        "float32": refused(model),
        "float16": refused(lambda: model("float16")),
        "w8a8": refused(lambda: model(method="smooth_quant")),
        "bfloat16": refused(lambda: model("bfloat16")),
        "fa3": refused(with_flash_attention),
        "awq": refused(lambda: model(method="awq")),
        "fp8": refused(lambda: model(method="fp8")),
        "mla": refused(lambda: model(mla=True)),
        "devices": refused(lambda: model(devices=2)),
        **{
            name: refused(lambda spec=spec: InterpretedOpsBackend.build_op(spec.__new__(spec)))  # type: ignore[misc]
            for name, spec in specs.items()
        },
    }


def kernels() -> dict[str, float]:
    """Differences of LMDeploy's kernels from float64 where a stand-in decides, in float32."""
    import torch
    from lmdeploy.pytorch.kernels.cuda import flash_attn_with_kvcache, rms_norm
    from lmdeploy.pytorch.kernels.cuda.activation import silu_and_mul
    from lmdeploy.pytorch.kernels.cuda.multinomial_sampling import multinomial_sampling

    torch.manual_seed(0)
    x, weight = torch.randn(5, 96), torch.randn(96)
    root = x.double().pow(2).mean(-1, keepdim=True).add(1e-6).rsqrt()
    found = {"rms_norm": _far(rms_norm(x, weight, 1e-6), x.double() * root * weight)}
    half = x[:, :48].double()
    found["silu_and_mul"] = _far(
        silu_and_mul(x), half * half.sigmoid() * x[:, 48:]
    )  # an alias of tl.math.exp

    # Decoding on a card of capability 9 launches dependent kernels; its grid is a list.
    heads, groups, size, block, keys = 4, 2, 32, 16, 21
    query = torch.randn(1, heads, size)
    pages = torch.randn(2, 2, block, groups, size)

    def decode(keys_and_values: Any, **quantised: Any) -> Any:
        return flash_attn_with_kvcache(
            query,
            *keys_and_values,
            page_table=torch.tensor([[1, 0]], dtype=torch.int32),
            cache_seqlens=torch.tensor([keys], dtype=torch.int32),
            **quantised,
        )

    def decode_quantised(scales: Any) -> Any:
        levels = pages.mul(20).add(100).to(torch.uint8)
        return decode(levels, quant_policy=8, k_scales_zeros=scales[0], v_scales_zeros=scales[1])

    out = decode(pages)
    k, v = (pages[each][[1, 0]].flatten(0, 1)[:keys].double() for each in (0, 1))
    k, v = (each.repeat_interleave(heads // groups, 1) for each in (k, v))
    weights = (torch.einsum("hd,khd->hk", query[0].double(), k) * size**-0.5).softmax(-1)
    found["flash_attn_with_kvcache"] = _far(out[0], torch.einsum("hk,khd->hd", weights, v))

    # The last slot of the second page, 31, lies behind the sequence's 21 tokens.
    for kind, attend, before in (
        ("", decode, pages),
        ("quantised ", decode_quantised, torch.rand(2, 2, block, groups, 2)),
    ):
        for name, which, value in (("key", 0, torch.nan), ("value", 1, torch.nan), ("large value", 1, 1e9)):
            stale = before.clone()
            stale[which, 0, -1] = value
            lost = (attend(stale) - attend(before)).ne(0)
            found[f"lost to a stale {kind}{name}"] = float(lost.float().mean())

    scores = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    drawn = multinomial_sampling(scores, torch.tensor([3]), torch.tensor([0]))
    found["multinomial_sampling"] = float(drawn.item() - 1)
    return found


def _far(found: Any, wanted: Any) -> float:
    return float((found.double() - wanted).abs().max())


def library() -> dict[str, list[float]]:
    """NVIDIA's functions, where others would go wrong."""
    import numpy as np

    from harness.engines.interpreted_kernels import stand_ins

    below = float(np.nextafter(np.float32(0.5), np.float32(0)))
    halves = np.array([-1.5, -0.5, 0.5, below, 2.5, 1e10], dtype=np.float32)
    return {"round": stand_ins._half_away_from_zero(halves).tolist()}


def card() -> dict[str, Any]:
    import torch
    import triton
    from lmdeploy.pytorch.kernels.cuda.utils import get_device_props, supports_pdl

    properties = torch.cuda.get_device_properties(0)
    return {
        "capability": [*torch.cuda.get_device_capability()],
        "processors": get_device_props()["multi_processor_count"],
        "target": triton.runtime.driver.active.get_current_target().arch,
        "name": properties.name,
        "dependent launches": bool(supports_pdl()),
    }


def main() -> None:
    os.environ.update({**plugin.ENVIRONMENT, "TRITON_INTERPRET": "1"})
    facts: dict[str, Any] = {"mended": mended()}
    facts["refusals"] = refusals()
    facts["kernels"] = kernels()
    facts["library"] = library()
    facts["card"] = card()
    Path(sys.argv[1]).write_text(json.dumps(facts))


if __name__ == "__main__":
    main()

"""Puts the CPU device plug-in in place for test_lmdeploy_on_cpu.py, as ``python THIS FILE``.

What it replaces stays replaced until the process ends, so it is done in a process of its own, which leaves
what it found in FILE as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.engines.lmdeploy_on_cpu import plugin as lmdeploy_on_cpu
from harness.errors import EngineError

WATCHED = ("torch", "lmdeploy", "transformers")
MISSING = ("lmdeploy.pytorch.backends.selector._get_backend", "lmdeploy.pytorch.config._update_torch_dtype")


def refused(call: Callable[[], object]) -> dict[str, str]:
    try:
        call()
    except EngineError as error:
        return {"kind": error.kind.value, "message": error.message}
    return {"kind": "none", "message": "nothing was raised"}


def everything() -> dict[str, object]:
    """Every attribute of every module of the packages watched, and of every class in them, by dotted name."""
    found: dict[str, object] = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in WATCHED or not isinstance(module, types.ModuleType):
            continue
        for attribute, value in list(vars(module).items()):
            found[f"{name}.{attribute}"] = value
            if isinstance(value, type) and value.__module__ == name:
                found.update({f"{name}.{attribute}.{k}": v for k, v in list(vars(value).items())})
    return found


def install_late() -> dict[str, str]:
    """Installation after lmdeploy was imported without the environment that it reads then."""
    os.environ["LMDEPLOY_SKIP_WARMUP"] = "0"
    late = refused(lmdeploy_on_cpu.install)
    os.environ.update(lmdeploy_on_cpu.ENVIRONMENT)
    return late


def without_names() -> dict[str, Any]:
    """An LMDeploy that lacks two of the names."""
    removed = []
    for name in MISSING:
        module, _, attribute = name.rpartition(".")
        owner = importlib.import_module(module)
        removed.append((owner, attribute, vars(owner).pop(attribute)))
    before = everything()
    result: dict[str, Any] = refused(lmdeploy_on_cpu.replace_names)
    after = everything()
    result["touched"] = [name for name in after if after[name] is not before.get(name)]
    for owner, attribute, value in removed:
        setattr(owner, attribute, value)
    return result


def elsewhere() -> dict[str, bool]:
    """Names that are not in their place but in the other one, and names that may be missing."""
    agent: Any = importlib.import_module("lmdeploy.pytorch.engine.model_agent.agent")
    package: Any = importlib.import_module("lmdeploy.pytorch.engine.model_agent")
    vision: Any = importlib.import_module("lmdeploy.vl.engine")
    moved = agent._try_to_cuda
    optional = vision._resolve_mm_feature_dtype
    del agent._try_to_cuda, vision._resolve_mm_feature_dtype
    package._try_to_cuda = moved
    owners = lmdeploy_on_cpu.owners_of(lmdeploy_on_cpu.REPLACED)
    agent._try_to_cuda, vision._resolve_mm_feature_dtype = moved, optional
    del package._try_to_cuda
    return {
        "found": owners["lmdeploy.pytorch.engine.model_agent._try_to_cuda"] is package,
        "left out": "lmdeploy.vl.engine._resolve_mm_feature_dtype" not in owners,
    }


def operators() -> dict[str, dict[str, str]]:
    """What the backend says to operators that it has and has not."""
    from dataclasses import replace

    from lmdeploy.pytorch.backends.attention import PagedAttentionBuildSpec
    from lmdeploy.pytorch.backends.awq_modules import LinearW4A16BuildSpec
    from lmdeploy.pytorch.backends.flash_attention import FlashAttentionBuildSpec
    from lmdeploy.pytorch.backends.lora import LoRABuildSpec

    from harness.engines.lmdeploy_on_cpu.specs import CpuOpsBackend

    paged = PagedAttentionBuildSpec(
        num_heads=4, head_dim=8, scale=None, num_kv_heads=2, v_head_dim=8, alibi=False, sliding_window=None,
        logit_softcapping=0.0, causal=True, use_flash_mla=False, mla_index_topk=None, learnable_sink=False,
        block_sparse_size=1,
    )  # fmt: skip
    flash = FlashAttentionBuildSpec(
        num_heads=4, head_dim=8, scale=None, num_kv_heads=2, v_head_dim=8, causal=False, sliding_window=None,
        logit_softcapping=0.0,
    )  # fmt: skip
    specs = {
        "paged": paged,
        "no window": replace(paged, sliding_window=(-1, -1)),
        "flash": flash,
        "alibi": replace(paged, alibi=True),
        "window": replace(paged, sliding_window=16),
        "window ahead": replace(paged, sliding_window=(-1, 4), causal=False),
        "mla": replace(paged, use_flash_mla=True),
        "mla index": replace(paged, mla_index_topk=4),
        "sinks": replace(paged, learnable_sink=True),
        "sparse": replace(paged, block_sparse_size=2),
        "flash window": replace(flash, sliding_window=(4, 4)),
        "quantised": LinearW4A16BuildSpec.__new__(LinearW4A16BuildSpec),
        "adapter": LoRABuildSpec.__new__(LoRABuildSpec),
    }
    return {name: refused(lambda spec=spec: CpuOpsBackend.build_op(spec)) for name, spec in specs.items()}  # type: ignore[misc]


def caches() -> dict[str, dict[str, str]]:
    from types import SimpleNamespace

    from harness.engines.lmdeploy_on_cpu.specs import CpuOpsBackend

    def build(**cache: int) -> object:
        config = SimpleNamespace(**{"quant_policy": 0, "window_size": -1, **cache})
        return CpuOpsBackend.build_graph_runner(None, None, config, None, None)

    return {"quantised": refused(lambda: build(quant_policy=8))}


def attention() -> dict[str, float]:
    """The largest difference from attention as its formula has it, in float64, over pages in any order."""
    found: dict[str, float] = {}
    options: dict[str, dict[str, Any]] = {
        "": {},
        " window 4": {"sliding_window": 4},
        " window (3, 3)": {"sliding_window": (3, 3)},
        " softcap": {"logit_softcapping": 0.5},
        " window and softcap": {"sliding_window": 2, "logit_softcapping": 0.5},
    }
    for name, asked in options.items():
        found |= {kind + name: worst for kind, worst in attention_as(asked).items()}
    return found


def attention_as(asked: dict[str, Any]) -> dict[str, float]:
    """The same for attention that is asked for by LMDeploy's names in ``asked``."""
    import torch
    from lmdeploy.pytorch.backends.attention import AttentionMetadata

    from harness.engines.lmdeploy_on_cpu.ops import cacheless_attention, paged_attention

    torch.manual_seed(0)
    heads, groups, size, block = 4, 2, 8, 4
    kv_lengths, q_lengths = (
        [11, 4, 9, 1],
        [3, 4, 1, 1],
    )  # later tokens, a whole prompt, a decoded token, one only
    keys = [torch.randn(n, groups, size) for n in kv_lengths]
    values = [torch.randn(n, groups, size) for n in kv_lengths]
    queries = [torch.randn(n, heads, size) for n in q_lengths]

    window = asked.get("sliding_window")
    behind = window[0] if isinstance(window, tuple) else window
    cap = asked.get("logit_softcapping")

    def formula(q: Any, k: Any, v: Any, *, causal: bool) -> Any:
        k, v = (t.double().repeat_interleave(heads // groups, 1) for t in (k, v))
        scores = torch.einsum("qhd,khd->hqk", q.double(), k) * size**-0.5
        if cap is not None:
            scores = cap * torch.tanh(scores / cap)
        here = torch.arange(q.size(0))[:, None] + k.size(0) - q.size(0)
        there = torch.arange(k.size(0))[None]
        if causal:
            scores = scores.masked_fill(there > here, -torch.inf)
        if behind is not None:
            scores = scores.masked_fill(there < here - behind, -torch.inf)
        return torch.einsum("hqk,khd->qhd", scores.softmax(-1), v)

    order = torch.randperm(16)
    pages, used = torch.zeros(len(keys), 3, dtype=torch.int32), 0
    k_cache, v_cache = torch.full((2, 16, block, groups, size), torch.nan).unbind(0)
    for number, (k, v, new) in enumerate(zip(keys, values, q_lengths, strict=True)):
        for place in range(-(-len(k) // block)):
            pages[number, place] = page = order[used]
            used += 1
            here = slice(place * block, min((place + 1) * block, len(k) - new))
            old = max(0, here.stop - here.start)
            k_cache[page, :old], v_cache[page, :old] = k[here][:old], v[here][:old]
    plain = {"num_heads": heads, "head_size": size, "head_dim": size, "num_kv_heads": groups, **asked}
    paged = paged_attention(plain).forward(
        torch.cat(queries),
        torch.cat([k[-new:] for k, new in zip(keys, q_lengths, strict=True)]),
        torch.cat([v[-new:] for v, new in zip(values, q_lengths, strict=True)]),
        k_cache,
        v_cache,
        AttentionMetadata(
            is_decoding=False,
            block_offsets=pages,
            q_seqlens=torch.tensor(q_lengths),
            kv_seqlens=torch.tensor(kv_lengths),
        ),
    )
    wanted = torch.cat([formula(q, k, v, causal=True) for q, k, v in zip(queries, keys, values, strict=True)])
    found = {"paged": float((paged - wanted).abs().max())}

    for causal in (False, True) if window is None else (True,):
        start = torch.tensor([0, 3, 7, 8])
        flash = cacheless_attention({**plain, "causal": causal}).forward(
            torch.cat(queries),
            torch.cat(keys),
            torch.cat(values),
            q_start_loc=start,
            q_seqlens=torch.tensor(q_lengths),
            kv_start_loc=torch.tensor([0, 11, 15, 24]),
            kv_seqlens=torch.tensor(kv_lengths),
        )
        wanted = torch.cat(
            [formula(q, k, v, causal=causal) for q, k, v in zip(queries, keys, values, strict=True)]
        )
        found[f"flash causal={causal}"] = float((flash - wanted).abs().max())
    return found


def device() -> dict[str, Any]:
    """How calls that name 'cuda' end, within the context of LMDeploy's engine and outside."""
    import torch

    from harness.engines.lmdeploy_on_cpu.device import CudaReadAsCpu

    host = torch.zeros(2)
    with CudaReadAsCpu():
        copied = host.cuda(non_blocking=True)
        copied += 1
        inside = {
            "made": str(torch.zeros(1, device="cuda:0").device),
            "moved": str(host.to("cuda").device),
            "by device": str(host.to(torch.device("cuda", 0)).device),
            "module": str(torch.nn.Linear(1, 1).to("cuda").weight.device),
            "host": host.tolist(),
            "copied": copied.tolist(),
        }
    try:
        torch.zeros(1, device="cuda")
    except (RuntimeError, AssertionError) as error:
        outside = type(error).__name__
    else:
        outside = "made"
    return {**inside, "outside": outside, "available": torch.cuda.is_available()}


def main() -> None:
    facts: dict[str, Any] = {}
    os.environ.update(lmdeploy_on_cpu.ENVIRONMENT)
    for name in (
        "lmdeploy.pytorch.engine.model_agent",
        "lmdeploy.vl.engine",
        "lmdeploy.pytorch.engine.engine",
    ):
        importlib.import_module(name)
    facts["late"] = install_late()
    for name in ("device", "specs"):
        importlib.import_module(f"harness.engines.lmdeploy_on_cpu.{name}")
    facts["missing"] = without_names()
    facts["elsewhere"] = elsewhere()
    before = everything()
    lmdeploy_on_cpu.install(dtype="float32")
    after = everything()
    facts["touched"] = sorted(name for name in after if after[name] is not before.get(name))
    facts["dropped"] = sorted(before.keys() - after.keys())
    facts["functions"] = len({id(after[each.name]) for each in lmdeploy_on_cpu.REPLACED})
    facts["operators"] = operators()
    facts["caches"] = caches()
    facts["attention"] = attention()
    facts["device"] = device()
    Path(sys.argv[1]).write_text(json.dumps(facts))


if __name__ == "__main__":
    main()

"""The CPU device plug-in: LMDeploy's unmodified PyTorch engine on a machine without a GPU.

Scheduler, chat template, preprocessing, model code, sampling and logits stay LMDeploy's own; only the device
and the GPU kernels are replaced, and `REPLACED` names every name that is touched. What the plug-in does not
implement it refuses (EngineError, UNSUPPORTED): quantised weights or KV cache, ALiBi, windows that are not
causal, attention sinks, adapters, mixtures of experts, several devices. It is never evidence about a GPU:
GPU kernels and CUDA graphs are what it does not run.

Call `install` before lmdeploy is imported, which reads `ENVIRONMENT` then and never again. The replacements
stay until the process ends, so a process that used them can serve no GPU.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.engines.dtypes import named_dtype
from harness.engines.lmdeploy_on_cpu.refusal import unsupported
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    import torch
    from lmdeploy.messages import PytorchEngineConfig
    from lmdeploy.pytorch.config import ModelConfig
    from transformers import PretrainedConfig

__all__ = [
    "ENVIRONMENT",
    "MEASURED",
    "REPLACED",
    "Operators",
    "Replacement",
    "install",
    "owners_of",
    "replace_names",
]

MEASURED = ("0.12.3", "0.14.0", "0.16.0", "0.18.0")
"""The versions of LMDeploy that were run on it. Others work as far as they have the names of `REPLACED`."""


class Replacement(NamedTuple):
    """A name that `install` replaces, and why.

    ``elsewhere`` is where else the same is found. ``lacking`` says why an LMDeploy may do without; where it
    is empty, one without the name is refused.
    """

    name: str
    reason: str
    elsewhere: str = ""
    lacking: str = ""


REPLACED = (
    Replacement("torch.cuda.Stream", "the engine makes streams when it is built; on a CPU nothing is queued"),
    Replacement("torch.cuda.Event", "marks on those streams: always reached"),
    Replacement("torch.cuda.stream", "enters a stream"),
    Replacement("torch.cuda.current_stream", "asks for the stream in use"),
    Replacement("torch.cuda.synchronize", "waits for the device"),
    Replacement("torch.cuda.empty_cache", "gives the device's memory back"),
    Replacement("torch.cuda.set_device", "chooses a device"),
    Replacement("torch.cuda.device", "enters a device"),
    Replacement("torch.cuda.current_device", "asks which device is in use"),
    Replacement("torch.cuda.mem_get_info", "memory of the device, which limits the cache: the host's"),
    Replacement("torch.cuda.get_device_name", "decides the default batch size: the processor's name"),
    Replacement("torch.cuda.get_device_capability", "decides whether bfloat16 is possible: it is"),
    Replacement("torch.cuda.get_device_properties", "the same"),
    Replacement(
        "lmdeploy.pytorch.backends.selector._get_backend",
        "chooses the operators: LMDeploy's own torch backend, with the two kinds of attention added that it "
        "has for GPUs only, or what `Operators` names",
    ),
    Replacement(
        "lmdeploy.pytorch.engine.model_agent.agent.BaseModelAgent.all_context",
        "the context in which everything on the device runs: reads the device 'cuda' as 'cpu' inside",
        elsewhere="lmdeploy.pytorch.engine.model_agent.BaseModelAgent.all_context",
    ),
    Replacement(
        "lmdeploy.pytorch.engine.model_agent.agent._try_to_cuda",
        "moves each step's inputs to the device, in a task that is not within that context: the same for it",
        elsewhere="lmdeploy.pytorch.engine.model_agent._try_to_cuda",
    ),
    Replacement(
        "lmdeploy.pytorch.config._update_torch_dtype",
        "resolves the dtype and knows 16-bit ones only: keeps the dtype asked for, float32 included, and "
        "refuses quantised weights and several devices before anything is built",
    ),
    Replacement(
        "lmdeploy.vl.engine._resolve_mm_feature_dtype",
        "the dtype that pixels are rounded to: the same as the model's",
        lacking="pixels stay float32 then, until the model rounds them to its own dtype",
    ),
)

ENVIRONMENT = {
    "LMDEPLOY_ENABLE_CHECK_ENV": "0",  # looks for a working CUDA and Triton
    "LMDEPLOY_SKIP_WARMUP": "1",  # would run every batch size once to capture graphs
    "TORCHDYNAMO_DISABLE": "1",  # compiling the small helpers takes longer than all the work
    "TRITON_INTERPRET": "0",  # no Triton kernel may run here, interpreted or not
}


class Operators(NamedTuple):
    """Operators in the place of the plug-in's own: how they are made, and what goes with them.

    ``environment`` adds to `ENVIRONMENT`. ``prepare`` is called before anything imports lmdeploy,
    ``backend`` after it. ``stand_ins`` are more of those of `device.cuda_stand_ins`, and ``refuse`` gets
    LMDeploy's configuration of a model, and the dtype that it will be in, before anything is built.
    """

    environment: Mapping[str, str]
    prepare: Callable[[], None]
    backend: Callable[[], type]
    stand_ins: Mapping[str, object]
    refuse: Callable[[ModelConfig, str], None]


_originals: dict[str, Any] = {}  # of what was replaced: a second installation replaces them, not the first


def install(*, dtype: str = "auto", operators: Operators | None = None) -> None:
    """Make LMDeploy run on the CPU, in ``dtype`` ('auto': the checkpoint's own), until the process ends.

    Raises EngineError(LOAD) where lmdeploy was imported without `ENVIRONMENT`, or lacks a name of `REPLACED`,
    and ModuleNotFoundError where it is not there at all.
    """
    if importlib.util.find_spec("lmdeploy") is None:
        raise ModuleNotFoundError("No module named 'lmdeploy'", name="lmdeploy")
    wanted = {**ENVIRONMENT, **(operators.environment if operators else {})}
    late = sorted(name for name, value in wanted.items() if os.environ.get(name) != value)
    if late and "lmdeploy" in sys.modules:
        raise EngineError(
            ErrorKind.LOAD,
            f"lmdeploy was imported before the CPU device plug-in could set {', '.join(late)}; call "
            "harness.engines.lmdeploy_on_cpu.plugin.install() before anything that imports lmdeploy",
        )
    os.environ.update(wanted)
    replace_names(dtype=dtype, operators=operators)


def replace_names(*, dtype: str = "auto", operators: Operators | None = None) -> None:
    """Put everything of `REPLACED` in its place, all of it or, with an EngineError(LOAD), nothing."""
    if operators is not None:
        operators.prepare()
    owners = owners_of(REPLACED)

    from harness.engines.lmdeploy_on_cpu import device

    backend = _backend() if operators is None else operators.backend()
    refuse = _refuse_model if operators is None else operators.refuse
    makers: dict[str, Callable[[Any], object]] = {
        "_get_backend": lambda _: lambda: backend,
        "all_context": device.all_context_on_cpu,
        "_try_to_cuda": device.on_cpu,
        "_update_torch_dtype": lambda original: _keep_dtype(original, dtype, refuse),
        "_resolve_mm_feature_dtype": lambda original: _keep_pixel_dtype(original, dtype),
    }
    stand_ins = {**device.cuda_stand_ins(), **(operators.stand_ins if operators else {})}
    for name, owner in owners.items():
        last = name.rpartition(".")[2]
        original = _originals.setdefault(name, getattr(owner, last))
        setattr(owner, last, makers[last](original) if last in makers else stand_ins[last])


def _backend() -> type:
    """The backend of operators, made the way in which this LMDeploy asks for them."""
    from lmdeploy.pytorch.backends.default import DefaultOpsBackend

    try:
        if hasattr(DefaultOpsBackend, "build_op"):
            from harness.engines.lmdeploy_on_cpu import specs

            return specs.CpuOpsBackend
        from harness.engines.lmdeploy_on_cpu import layers

        return layers.CpuOpsBackend
    except (ImportError, AttributeError) as error:
        raise _refusal(str(error)) from error


def owners_of(replacements: Sequence[Replacement]) -> dict[str, ModuleType | type]:
    """The module or class that holds each name, by where the name was found.

    Raises EngineError(LOAD) that tells all that are lacking and may not be.
    """
    owners: dict[str, ModuleType | type] = {}
    missing: list[Replacement] = []
    for each in replacements:
        for name in filter(None, (each.name, each.elsewhere)):
            if (owner := _owner(name)) is not None:
                owners[name] = owner
                break
        else:
            if not each.lacking:
                missing.append(each)
    if missing:
        raise _refusal("; ".join(f"no {each.name} ({each.reason})" for each in missing))
    return owners


def _owner(name: str) -> ModuleType | type | None:
    """The module or class that has the name, None where there is none."""
    path, _, last = name.rpartition(".")
    owner: ModuleType | type
    try:
        try:
            owner = importlib.import_module(path)
        except ModuleNotFoundError:
            module, _, attribute = path.rpartition(".")
            owner = getattr(importlib.import_module(module), attribute)
        getattr(owner, last)
    except (ImportError, AttributeError):
        return None
    return owner


def _refusal(missing: str) -> EngineError:
    versions = ", ".join(_version(package) for package in ("lmdeploy", "torch", "transformers", "triton"))
    return EngineError(
        ErrorKind.LOAD,
        f"the CPU device plug-in does not fit {versions}, which lacks names that it replaces or builds on: "
        f"{missing}. It was run on LMDeploy {', '.join(MEASURED)}: "
        f"{sys.executable} -m pip install lmdeploy=={MEASURED[-1]}",
    )


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} (not installed)"


def _keep_dtype(
    original: Callable[..., ModelConfig], asked: str, refuse: Callable[[ModelConfig, str], None]
) -> Callable[..., ModelConfig]:
    def update_torch_dtype(config: ModelConfig, dtype: str, **others: str) -> ModelConfig:
        import torch

        named = named_dtype(config.hf_config) or ""
        refuse(config, named if asked == "auto" else asked)
        own = getattr(torch, named, None)
        config = original(config, dtype, **others)
        if asked != "auto":
            config.dtype = getattr(torch, asked)
        elif own is not None:
            config.dtype = own
        return config

    return update_torch_dtype


def _keep_pixel_dtype(original: Callable[..., torch.dtype], asked: str) -> Callable[..., torch.dtype]:
    def resolve_mm_feature_dtype(
        hf_config: PretrainedConfig, backend_config: PytorchEngineConfig
    ) -> torch.dtype:
        import torch

        return original(hf_config, backend_config) if asked == "auto" else getattr(torch, asked)

    return resolve_mm_feature_dtype


def _refuse_model(config: ModelConfig, dtype: str) -> None:
    del dtype  # torch computes in each of them
    for part in _parts(config.hf_config):
        quantisation = getattr(part, "quantization_config", None)
        if quantisation:
            method = quantisation.get("quant_method") if isinstance(quantisation, dict) else quantisation
            raise unsupported(f"quantised weights ({method})")
    devices = getattr(getattr(config, "dist_config", None), "world_size", 1)
    if devices > 1:
        raise unsupported(f"a model split over {devices} devices (tp, dp or ep)")


def _parts(hf_config: PretrainedConfig) -> list[PretrainedConfig]:
    """A model's config and that of its language model, under the names that it has in use."""
    return [hf_config, *(getattr(hf_config, name, None) for name in ("text_config", "llm_config"))]

"""What a pipeline of LMDeploy is, as far as versions from 0.5 on tell it: dtype, options, template."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.engines.contract import EngineSettings, Json
from harness.engines.lmdeploy_on_cpu import plugin as lmdeploy_on_cpu
from harness.engines.lmdeploy_pipeline.backends import version
from harness.engines.lmdeploy_pipeline.eras import Core
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "described",
    "hub_tokenizer",
    "plain",
    "probe_image",
    "takes_images",
    "templates",
    "where_it_runs",
]

_UNVERIFIED: Final = (
    "read in LMDeploy's sources and tested against stand-ins of them; not verified on a GPU by the harness"
)
_SHORT: Final = {"fp16": "float16", "bf16": "bfloat16"}
"""How configurations of LMDeploy 0.5 and 0.6 write a dtype."""


def described(settings: EngineSettings, engine: Core, tokenizer: PreTrainedTokenizerBase) -> dict[str, Json]:
    """The part of a fingerprint that does not depend on the paths.

    Raises EngineError(LOAD) where LMDeploy took another dtype than was asked for.
    """
    config = vars(engine.backend_config)
    return {
        **where_it_runs(settings),
        **templates(engine, tokenizer),
        "dtype": _dtype(settings, engine),
        "verified": f"on a CPU, with LMDeploy {version()}" if settings.device == "cpu" else _UNVERIFIED,
        "engine_config": {name: plain(config[name]) for name in sorted(config) if not name.startswith("_")},
    }


def where_it_runs(settings: EngineSettings) -> dict[str, Json]:
    """The device, of which a CPU is never shown as a GPU."""
    import torch

    on_cpu = settings.device == "cpu"
    plug_in = f"CPU device plug-in ({lmdeploy_on_cpu.processor_name()})"
    return {"device": plug_in if on_cpu else torch.cuda.get_device_name(), "device_plugin": on_cpu}


def templates(engine: Core, tokenizer: PreTrainedTokenizerBase) -> dict[str, Json]:
    """LMDeploy's chat template by its class, and the tokenizer's by its hash."""
    template = json.dumps(getattr(tokenizer, "chat_template", None), sort_keys=True)
    return {
        "chat_template": type(engine.chat_template).__name__,
        "template_sha256": hashlib.sha256(template.encode()).hexdigest(),
    }


def hub_tokenizer(engine: Core) -> PreTrainedTokenizerBase:
    """The Hugging Face tokenizer within LMDeploy's. Raises EngineError(LOAD) where there is another one."""
    found = getattr(getattr(engine.tokenizer, "model", None), "model", None)
    if hasattr(found, "get_vocab") and hasattr(found, "all_special_ids"):
        return found
    raise EngineError(
        ErrorKind.LOAD,
        f"LMDeploy {version()} took a tokenizer of the type {type(found).__name__}; allowed: one of "
        "Transformers, with which letters are found in their context. Put a tokenizer_config.json in the "
        "model's folder",
    )


def takes_images(engine: Core) -> bool:
    """Whether LMDeploy loaded a vision tower."""
    owners = (engine, getattr(engine, "prompt_processor", None))
    return any(getattr(owner, "vl_encoder", None) is not None for owner in owners)


def probe_image() -> Image:
    """A plain picture to try an engine with."""
    from PIL import Image

    return Image.new("RGB", (64, 64), (90, 120, 150))


def _dtype(settings: EngineSettings, engine: Core) -> str:
    """The dtype of weights and activations; of TurboMind as configured, or by LMDeploy's rule."""
    inner = engine.engine
    config = getattr(inner, "config", None)
    owners = (getattr(inner, "model_config", None), config, getattr(config, "model_config", None))
    told = (
        str(getattr(owner, name, "")).removeprefix("torch.")
        for owner in owners
        for name in ("dtype", "data_type", "weight_type")
    )
    known = [_SHORT.get(each, each) for each in told]
    found = next((each for each in known if each in ("float16", "bfloat16", "float32")), None)
    if found is None:
        found = settings.dtype if settings.dtype != "auto" else _automatic(Path(settings.model))
    if settings.dtype not in ("auto", found):
        raise EngineError(ErrorKind.LOAD, f"dtype: asked for {settings.dtype}, but LMDeploy loaded {found}")
    return found


def _automatic(model: Path) -> str:
    """LMDeploy's documented rule for 'auto': bfloat16 stays, all else becomes float16."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    parts = [config, *(config.get(name) or {} for name in ("text_config", "llm_config"))]
    names = {part.get(name) for part in parts for name in ("dtype", "torch_dtype")}
    return "bfloat16" if "bfloat16" in names else "float16"


def plain(value: object) -> Json:
    """An engine option as JSON; in words what is not data, such as an enumeration."""
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return int(value)
    plain: Json = json.loads(json.dumps(value, default=str))
    return plain

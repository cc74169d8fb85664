"""What a pipeline of LMDeploy is: where it runs, its options, its templates."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from harness.engines.contract import EngineSettings, Json
from harness.engines.gpu import gpus_in_use
from harness.engines.interpreted_kernels.card import card_of, claim, is_interpreted
from harness.engines.letters import require_vocabulary
from harness.errors import EngineError, ErrorKind
from harness.machine.processor import processor_name

if TYPE_CHECKING:
    from lmdeploy import PytorchEngineConfig, TurbomindEngineConfig
    from lmdeploy.serve.core.async_engine import AsyncEngine
    from transformers import PreTrainedTokenizerBase

__all__ = ["engine_config", "hub_tokenizer", "templates", "where_it_runs"]


def where_it_runs(settings: EngineSettings) -> dict[str, Json]:
    """The device, of which a CPU is never shown as a GPU."""
    if settings.device != "cpu":
        return {"device": gpus_in_use(settings), "device_plugin": False}
    if not is_interpreted(settings):
        return {"device": f"CPU device plug-in ({processor_name()})", "device_plugin": True}
    card = card_of(settings)
    return {
        "device": f"{claim(card)} ({processor_name()})",
        "device_plugin": True,
        "kernels": {"card": card.name, "processors": card.processors},
    }


def templates(engine: AsyncEngine, tokenizer: PreTrainedTokenizerBase) -> dict[str, Json]:
    """LMDeploy's chat template by its class, and the tokenizer's by its hash."""
    template = json.dumps(getattr(tokenizer, "chat_template", None), sort_keys=True)
    return {
        "chat_template": type(engine.chat_template).__name__,
        "template_sha256": hashlib.sha256(template.encode()).hexdigest(),
    }


def hub_tokenizer(engine: AsyncEngine) -> PreTrainedTokenizerBase:
    """The Hugging Face tokenizer within LMDeploy's. Raises EngineError(LOAD) for another, or an empty one."""
    found: Any = getattr(getattr(engine.tokenizer, "model", None), "model", None)
    if hasattr(found, "get_vocab") and hasattr(found, "all_special_ids"):
        tokenizer: PreTrainedTokenizerBase = found
        require_vocabulary(found, str(getattr(found, "name_or_path", "the model")))
        return tokenizer
    raise EngineError(
        ErrorKind.LOAD,
        f"LMDeploy took a tokenizer of the type {type(found).__name__}; allowed: one of Transformers, with "
        "which letters are found in their context. Put a tokenizer_config.json in the model's folder",
    )


def engine_config(config: PytorchEngineConfig | TurbomindEngineConfig) -> dict[str, Json]:
    """LMDeploy's options in force."""
    return {name: _plain(value) for name, value in sorted(vars(config).items()) if name[0] != "_"}


def _plain(value: object) -> Json:
    """An engine option as JSON; in words what is not data, such as an enumeration."""
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return int(value)
    plain: Json = json.loads(json.dumps(value, default=str))
    return plain

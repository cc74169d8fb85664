"""Loading a Transformers checkpoint whole, or saying what is missing.

Transformers is lenient where a comparison must not be: it makes up missing weights at random, gives a bare
tokenizer where the processor's class is unknown, and lets a checkpoint's generation defaults change scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from harness.engines.contract import EngineSettings, Json
from harness.engines.tile_limits import limit_tiles, refuse_tiles
from harness.errors import EngineError, ErrorKind

__all__ = ["Checkpoint", "load_checkpoint", "neutral_generation_config", "require_known"]

_DTYPES = ("auto", "bfloat16", "float16", "float32")
_DEVICES = ("cpu", "cuda")
_PATHS = ("forward", "generate")
_OPTIONS = ("attention", "threads", "trust_remote_code")

# Of a generation config, what does not touch the scores of greedy decoding.
_HARMLESS = frozenset({
    "_from_model_config", "bos_token_id", "cache_implementation", "do_sample", "eos_token_id", "max_length",
    "max_new_tokens", "output_attentions", "output_hidden_states", "output_logits", "output_scores",
    "pad_token_id", "return_dict_in_generate", "temperature", "top_k", "top_p", "transformers_version",
    "use_cache",
})  # fmt: skip


class Checkpoint(NamedTuple):
    """A model on the CPU in evaluation mode, and its processor; its tokenizer where it takes text only."""

    model: transformers.PreTrainedModel
    processor: transformers.ProcessorMixin | transformers.PreTrainedTokenizerBase
    takes_images: bool


class Generation(NamedTuple):
    """A generation config that leaves scores alone, and what was dropped for it."""

    config: transformers.GenerationConfig
    stop_ids: tuple[int, ...]
    dropped: dict[str, Json]


def require_known(settings: EngineSettings) -> None:
    """Raise EngineError (UNSUPPORTED) for a value of ``settings`` that this engine does not know."""
    wrong = []
    if settings.dtype not in _DTYPES:
        wrong.append(f"dtype {settings.dtype!r}; allowed: {', '.join(_DTYPES)}")
    if settings.device not in _DEVICES:
        wrong.append(f"device {settings.device!r}; allowed: {', '.join(_DEVICES)}")
    if not set(settings.paths) <= set(_PATHS):
        wrong.append(f"paths {list(settings.paths)}; allowed: one or more of {', '.join(_PATHS)}")
    if unknown := sorted(set(settings.options) - set(_OPTIONS)):
        wrong.append(f"options {unknown}; allowed: {', '.join(_OPTIONS)}")
    threads = settings.options.get("threads", 1)
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        wrong.append(f"options.threads {threads!r}; allowed: a whole number from 1")
    if wrong:
        raise EngineError(ErrorKind.UNSUPPORTED, "the engine torch was given " + "; ".join(wrong))


def load_checkpoint(settings: EngineSettings) -> Checkpoint:
    """The checkpoint in the folder ``settings.model``, in ``settings.dtype`` ('auto': as it was saved).

    Raises EngineError (LOAD) if weights are missing or misshapen, if there is no processor for a model that
    takes images, or no chat template; EngineError (UNSUPPORTED) if there is no way to keep to ``max_tiles``;
    and whatever Transformers raises for a folder it cannot read.
    """
    trust = settings.options.get("trust_remote_code") is True
    if not Path(settings.model).is_dir():
        raise EngineError(
            ErrorKind.LOAD, f"there is no model folder {settings.model}; see `model` in the profile"
        )
    config = transformers.AutoConfig.from_pretrained(settings.model, trust_remote_code=trust)
    takes_images = config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES or (
        "AutoModelForImageTextToText" in getattr(config, "auto_map", {})
    )
    processor = _load_processor(settings, takes_images=takes_images, trust=trust)
    if settings.max_tiles is not None:
        if not takes_images:
            raise refuse_tiles("the model takes text only")
        limit_tiles(processor.image_processor, settings.max_tiles)
    kind = transformers.AutoModelForImageTextToText if takes_images else transformers.AutoModelForCausalLM
    model, info = kind.from_pretrained(
        settings.model,
        dtype=settings.dtype if settings.dtype == "auto" else getattr(torch, settings.dtype),
        attn_implementation=settings.options.get("attention"),
        trust_remote_code=trust,
        output_loading_info=True,
    )
    for problem in ("missing_keys", "mismatched_keys"):
        if found := sorted(map(str, info.get(problem, ()))):
            raise EngineError(
                ErrorKind.LOAD,
                f"{settings.model}: {len(found)} weights are {problem.removesuffix('_keys')}, among them "
                f"{', '.join(found[:3])}; they would be made up at random. Fetch the checkpoint again, or "
                "check that config.json belongs to it",
            )
    return Checkpoint(model.eval(), processor, takes_images)


def neutral_generation_config(model: transformers.PreTrainedModel, tokenizer_stop: int | None) -> Generation:
    """The model's own stop ids (else the tokenizer's end-of-text), and none of its score processors."""
    own = model.generation_config
    stop = own.eos_token_id if own.eos_token_id is not None else tokenizer_stop
    stop_ids = () if stop is None else (stop,) if isinstance(stop, int) else tuple(stop)
    pad_id = own.pad_token_id if own.pad_token_id is not None else stop_ids[0] if stop_ids else 0
    dropped = {name: value for name, value in own.to_diff_dict().items() if name not in _HARMLESS}
    config = transformers.GenerationConfig(eos_token_id=list(stop_ids) or None, pad_token_id=pad_id)
    return Generation(config, stop_ids, dropped)


def _load_processor(
    settings: EngineSettings, *, takes_images: bool, trust: bool
) -> transformers.ProcessorMixin | transformers.PreTrainedTokenizerBase:
    auto = transformers.AutoProcessor if takes_images else transformers.AutoTokenizer
    processor = auto.from_pretrained(settings.model, trust_remote_code=trust)
    if takes_images and not (
        isinstance(processor, transformers.ProcessorMixin) and hasattr(processor, "image_processor")
    ):
        raise EngineError(
            ErrorKind.LOAD,
            f"{settings.model}: AutoProcessor gave a {type(processor).__name__} and no processor of "
            f"images and text; Transformers {transformers.__version__} does not know the processor_class in "
            "processor_config.json, preprocessor_config.json or tokenizer_config.json",
        )
    tokenizer = processor.tokenizer if takes_images else processor
    if tokenizer.chat_template is None and getattr(processor, "chat_template", None) is None:
        raise EngineError(
            ErrorKind.LOAD,
            f"{settings.model} has no chat template; put a chat_template.jinja into the folder",
        )
    return processor

"""Loading a Transformers checkpoint whole, or saying what is missing.

Transformers is lenient where a comparison must not be: it makes up missing weights at random, gives a bare
tokenizer where the processor's class is unknown, and lets a checkpoint's generation defaults change scores.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import transformers
from transformers.models.auto import modeling_auto

from harness.engines.contract import EngineSettings
from harness.engines.tile_limits import limit_tiles, refuse_tiles
from harness.engines.torch_native.conversation import OWN, TOKENIZER
from harness.engines.torch_native.passes import Passes, ProcessorPasses
from harness.engines.torch_native.remote import chat_class, load_chat_model
from harness.engines.torch_native.weights import load_weights
from harness.errors import EngineError, ErrorKind

__all__ = ["load_passes", "require_known"]

_PATHS = ("forward", "generate")
_OPTIONS = ("attention", "template", "threads", "trust_remote_code")


def require_known(settings: EngineSettings) -> None:
    """Raise EngineError (UNSUPPORTED) for a path or an option that this engine would not look at."""
    for what, found, known in (("path", settings.paths, _PATHS), ("option", settings.options, _OPTIONS)):
        if wrong := sorted({*found} - {*known}):
            message = f"the engine torch was given the {what} {wrong[0]!r}; allowed: {', '.join(known)}"
            raise EngineError(ErrorKind.UNSUPPORTED, message)


def load_passes(settings: EngineSettings) -> Passes:
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
    if trust and (chat := chat_class(settings, config)) is not None:
        return load_chat_model(settings, *chat)
    if settings.options.get("template") == OWN:
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            f"options.template: found {OWN}, but {settings.model} brings no conversation template of its own "
            f"as code; allowed: {TOKENIZER}, or nothing",
        )
    # The class's own: some of Transformers 4.5x answer for their text model when asked as objects.
    takes_images = type(config).model_type in _image_text_types() or (
        "AutoModelForImageTextToText" in getattr(config, "auto_map", {})
    )
    processor = _load_processor(settings, takes_images=takes_images, trust=trust)
    if settings.max_tiles is not None:
        if not takes_images:
            raise refuse_tiles("the model takes text only")
        limit_tiles(processor.image_processor, settings.max_tiles)
    kind = _image_text_kind() if takes_images else transformers.AutoModelForCausalLM
    model = load_weights(kind, settings, attn_implementation=settings.options.get("attention"))
    return ProcessorPasses(model, processor, takes_images=takes_images)


def _image_text_types() -> Collection[str]:
    """Types of configuration that Transformers knows as models of images and text, by older names too."""
    for name in ("MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES", "MODEL_FOR_VISION_2_SEQ_MAPPING_NAMES"):
        found: Collection[str] | None = getattr(modeling_auto, name, None)
        if found:
            return found
    return ()


def _image_text_kind() -> type:
    for name in ("AutoModelForImageTextToText", "AutoModelForVision2Seq"):
        found: type | None = getattr(transformers, name, None)
        if found:
            return found
    raise EngineError(
        ErrorKind.LOAD, f"Transformers {transformers.__version__} has no AutoModelForImageTextToText"
    )


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

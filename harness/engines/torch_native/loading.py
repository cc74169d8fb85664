"""Loading a Transformers checkpoint whole, or saying what is missing.

Transformers is lenient where a comparison must not be: it makes up missing weights at random, gives a bare
tokenizer where the processor's class is unknown, and lets a checkpoint's generation defaults change scores.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Collection
from pathlib import Path
from typing import Final

import torch
import transformers
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.models.auto import modeling_auto

from harness.engines.contract import EngineSettings
from harness.engines.letters import require_vocabulary
from harness.engines.pixel_limits import limit_pixels, pixel_limits, refuse_pixels
from harness.engines.remote_code import environment_advice
from harness.engines.template_date import TEMPLATE_DATE, pin_template_date
from harness.engines.tile_limits import limit_tiles, refuse_tiles
from harness.engines.torch_native.conversation import OWN, TOKENIZER
from harness.engines.torch_native.passes import Passes, ProcessorPasses
from harness.engines.torch_native.remote import ChatPasses
from harness.errors import EngineError, ErrorKind

__all__ = ["load_passes", "require_known"]

_KINDS: Final = ("AutoModel", "AutoModelForCausalLM", "AutoModelForImageTextToText")
_OFFERED: Final = ("img_context_token_id", "num_image_token")
_PATHS = ("forward", "generate")
_OPTIONS = (
    "attention", "max_pixels", "min_pixels", TEMPLATE_DATE, "template", "threads", "trust_remote_code",
)  # fmt: skip


def require_known(settings: EngineSettings) -> None:
    """Raise EngineError (UNSUPPORTED) for a path or an option that this engine would not look at."""
    for what, found, known in (("path", settings.paths, _PATHS), ("option", settings.options, _OPTIONS)):
        if wrong := sorted({*found} - {*known}):
            message = f"the engine torch was given the {what} {wrong[0]!r}; allowed: {', '.join(known)}"
            raise EngineError(ErrorKind.UNSUPPORTED, message)


def load_passes(settings: EngineSettings) -> Passes:
    """The checkpoint in the folder ``settings.model``, in ``settings.dtype`` ('auto': as it was saved).

    Raises EngineError (LOAD) if weights are missing or misshapen, if there is no processor for a model that
    takes images, no chat template, or no way to pin its date; EngineError (UNSUPPORTED) if there is no way to
    keep to ``max_tiles`` or limits of pixels; and whatever Transformers raises for a folder it cannot read.
    """
    trust = settings.options.get("trust_remote_code") is True
    if not Path(settings.model).is_dir():
        raise EngineError(
            ErrorKind.LOAD, f"there is no model folder {settings.model}; see `model` in the profile"
        )
    pin_template_date(settings)
    config = transformers.AutoConfig.from_pretrained(settings.model, trust_remote_code=trust)
    if trust and (chat := _chat_class(settings, config)) is not None:
        if pixels := pixel_limits(settings):
            raise refuse_pixels(pixels, "a model with code of its own cuts images into tiles")
        return _load_chat_model(settings, *chat)
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
    if pixels := pixel_limits(settings):
        if not takes_images:
            raise refuse_pixels(pixels, "the model takes text only")
        limit_pixels(processor.image_processor, pixels)
    kind = _image_text_kind() if takes_images else transformers.AutoModelForCausalLM
    model = _load_weights(kind, settings, attn_implementation=settings.options.get("attention"))
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
    if takes_images and processor.chat_template is None:
        # Where many a fine-tuned folder has it; LMDeploy looks there, too.
        found = processor.tokenizer.chat_template
        processor.chat_template = found.get("default", found) if isinstance(found, dict) else found
    if processor.chat_template is None:
        raise EngineError(
            ErrorKind.LOAD,
            f"{settings.model} has no chat template; put a chat_template.jinja into the folder",
        )
    require_vocabulary(processor.tokenizer if takes_images else processor, settings.model)
    return processor


def _chat_class(settings: EngineSettings, config: transformers.PretrainedConfig) -> tuple[str, type] | None:
    """The class of a chat-style model and the kind by which ``config.auto_map`` names it; None if it is none.

    This imports the checkpoint's code: only for one whose code may run.
    """
    named = getattr(config, "auto_map", None) or {}
    kind = next((kind for kind in _KINDS if kind in named), None)
    if kind is None:
        return None
    found: type = get_class_from_dynamic_module(named[kind], settings.model)
    takes = inspect.signature(getattr(found, "generate", lambda: None)).parameters
    return (kind, found) if {"pixel_values", "input_ids"} <= takes.keys() else None


def _load_chat_model(settings: EngineSettings, kind: str, found: type) -> ChatPasses:
    """The model of class ``found`` with its tokenizer.

    Raises EngineError: LOAD if either is not whole, UNSUPPORTED for a kernel that its code cannot be told.
    """
    options = {}
    asked = settings.options.get("attention")
    tells = "use_flash_attn" in inspect.signature(found).parameters
    if asked is not None and (asked, tells) != ("flash_attention_2", True):
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            f"options.attention: found {asked}, but {settings.model} chooses its kernel by its own code; "
            f"allowed: {'flash_attention_2, or ' * tells}no attention under options",
        )
    if tells:
        # Its code would take FlashAttention wherever that is installed, on a CPU too.
        options["use_flash_attn"] = asked == "flash_attention_2"
    model = _load_weights(getattr(transformers, kind), settings, **options)
    if lacking := [name for name in _OFFERED if not hasattr(model, name)]:
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            f"{settings.model}: {type(model).__name__} by its own code has a generate that takes "
            f"pixel_values, but no {' and no '.join(lacking)}; allowed: models that say how many places of "
            "the prompt a tile takes (num_image_token), and take such a place's id (img_context_token_id)",
        )
    _refuse_unset_buffers(model)
    return ChatPasses(settings, model, _load_tokenizer(settings))


def _load_weights(
    kind: type[transformers.PreTrainedModel], settings: EngineSettings, **options: object
) -> transformers.PreTrainedModel:
    """A model in evaluation mode, on the CPU or where it is to be, by ``kind.from_pretrained``.

    Raises EngineError (LOAD) if weights are missing or misshapen.
    """
    # The option has another name since the configuration has.
    dtype = "dtype" if hasattr(transformers.PretrainedConfig(), "dtype") else "torch_dtype"
    options[dtype] = settings.dtype if settings.dtype == "auto" else getattr(torch, settings.dtype)
    model, info = kind.from_pretrained(
        settings.model,
        trust_remote_code=settings.options.get("trust_remote_code") is True,
        output_loading_info=True,
        **_placement(settings.device),
        **options,
    )
    for problem in ("missing_keys", "mismatched_keys"):
        if found := sorted(map(str, info.get(problem, ()))):
            raise EngineError(
                ErrorKind.LOAD,
                f"{settings.model}: {len(found)} weights are {problem.removesuffix('_keys')}, among them "
                f"{', '.join(found[:3])}; they would be made up at random. Fetch the checkpoint again, or "
                "check that config.json belongs to it",
            )
    return model.eval()


def _placement(device: str) -> dict[str, object]:
    """What makes Transformers read weights straight into a GPU, not all of them into host memory first.

    Where accelerate, which it takes for that, is not there, the weights go the longer way.
    """
    straight = device != "cpu" and importlib.util.find_spec("accelerate") is not None
    return {"device_map": {"": device}} if straight else {}


def _load_tokenizer(settings: EngineSettings) -> transformers.PreTrainedTokenizerBase:
    """The slow tokenizer, which is what such checkpoints' own instructions say, else the fast one."""
    options = {"trust_remote_code": settings.options.get("trust_remote_code") is True}
    try:
        return transformers.AutoTokenizer.from_pretrained(settings.model, use_fast=False, **options)
    except (ImportError, OSError, TypeError, ValueError):  # no files for it, or no sentencepiece
        return transformers.AutoTokenizer.from_pretrained(settings.model, **options)


def _refuse_unset_buffers(model: transformers.PreTrainedModel) -> None:
    """Refuse what Transformers 5 leaves unset without a word: it builds models without memory for anything.

    Weights come from the checkpoint afterwards, and its own models' buffers are computed again; those that
    other code has computed while it was built, and that are not in the checkpoint, are lost.
    """
    if int(transformers.__version__.partition(".")[0]) < 5:
        return
    lost = [
        f"{place}.{name}".lstrip(".")
        for place, module in model.named_modules()
        if type(module).__module__.startswith("transformers_modules")
        for name in sorted(module._non_persistent_buffers_set)  # noqa: SLF001 - PyTorch offers no other way
        if getattr(module, name, None) is not None
    ]
    if lost:
        raise EngineError(
            ErrorKind.LOAD,
            f"{len(lost)} buffers that the checkpoint's own code computes, among them {lost[0]}, are not set "
            f"when Transformers {transformers.__version__} loads it, so its numbers would be arbitrary."
            + environment_advice(transformers.__version__),
        )

"""The two ways through a loaded model: `generate`, and one forward pass over prompt and forced ids.

`Passes` is what the engine needs of a model of any kind. `ProcessorPasses`, here, are those of a model with a
processor of Transformers' making, or with a tokenizer only; `harness.engines.torch_native.remote` has those
of a model that is chatted with. Rows of logits are float32 [V] on the CPU, and come one at a time: all of a
long answer's would take gigabytes there.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
import transformers

from harness.engines.contract import Failure, Json, Request, Row
from harness.engines.images import trial_pictures
from harness.engines.tile_limits import most_tiles
from harness.engines.torch_native.inputs import Forced, Prepared, Prompts, pad_together
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from transformers.generation import GenerateDecoderOnlyOutput

__all__ = [
    "Generated",
    "Passes",
    "ProcessorPasses",
    "attention",
    "generated",
    "go",
    "greedy",
    "neutral_generation",
    "placed",
    "to_numpy",
]

# Of a generation config, what does not touch the scores of greedy decoding.
_HARMLESS = frozenset({
    "_from_model_config", "bos_token_id", "cache_implementation", "do_sample", "eos_token_id", "max_length",
    "max_new_tokens", "output_attentions", "output_hidden_states", "output_logits", "output_scores",
    "pad_token_id", "return_dict_in_generate", "temperature", "top_k", "top_p", "transformers_version",
    "use_cache",
})  # fmt: skip


class Generated(NamedTuple):
    """What greedy decoding wrote, [T], and the scores [V] by which it did, one after another.

    To take them raises EngineError (UNSUPPORTED) where they are not the raw logits.
    """

    ids: tuple[int, ...]
    scores: Iterator[Row]


class Neutral(NamedTuple):
    """A generation config that leaves scores alone, and what was dropped for it."""

    config: transformers.GenerationConfig
    stop_ids: tuple[int, ...]
    dropped: dict[str, Json]


class Passes(Protocol):
    """A loaded model with all that is needed to put a request to it."""

    model: transformers.PreTrainedModel
    tokenizer: transformers.PreTrainedTokenizerBase
    stop_ids: tuple[int, ...]
    most_together: int | None
    """The most cases of one forward pass, None for as many as the settings say."""

    @property
    def can_pad(self) -> bool:
        """Whether cases of different length can go together."""
        ...

    def prepare(self, request: Request) -> Prepared | Failure:
        """The request as tensors, or why it has none."""
        ...

    def generate(self, prepared: Prepared) -> Generated:
        """Greedy decoding of one case."""
        ...

    def rows(self, batch: Sequence[Forced]) -> list[Iterator[Row]]:
        """Raw logits, 1 + ids forced rows per case: those that predict the forced ids and the one after."""
        ...

    def try_out(self, paths: Sequence[str]) -> None:
        """Go each of ``paths`` once, with an image as large as cases may have where the model takes one.

        What the model does not survive is then told once, and of no case. Raises what the model raises.
        """
        ...

    def fingerprint(self) -> dict[str, Json]:
        """What of the model, its processor and its template an answer may depend on."""
        ...

    def advice(self) -> str:
        """What to add to the message of a failure within the model; '' for nothing."""
        ...


class ProcessorPasses:
    """Passes of a model whose processor, or tokenizer where it takes text only, prepares everything."""

    most_together: int | None = None

    def __init__(  # noqa: D107
        self,
        model: transformers.PreTrainedModel,
        processor: transformers.ProcessorMixin | transformers.PreTrainedTokenizerBase,
        *,
        takes_images: bool,
    ) -> None:
        self.model = model
        self._processor = processor
        self._takes_images = takes_images
        self._forward_takes = frozenset(inspect.signature(model.forward).parameters)
        tokenizer = getattr(processor, "tokenizer", processor) if takes_images else processor
        self._neutral = neutral_generation(model, tokenizer.eos_token_id)
        model.generation_config = self._neutral.config
        self.stop_ids = self._neutral.stop_ids
        place_ids = (getattr(model.config, name, None) for name in ("image_token_id", "image_token_index"))
        self._prompts = Prompts(
            processor,
            takes_images=takes_images,
            dtype=model.dtype,
            model_takes=self._forward_takes,
            image_token_id=next((place for place in place_ids if isinstance(place, int)), None),
            stop_ids=self.stop_ids,
        )
        self.tokenizer = self._prompts.tokenizer
        # Positions in several dimensions are computed by the model itself, padding included; before
        # Transformers 4.47 its `forward` leaves that to `generate`.
        self._own_positions = any(hasattr(module, "get_rope_index") for module in model.modules())
        self._positions_asked = (
            hasattr(model, "get_rope_index") and "cache_position" not in self._forward_takes
        )

    @property
    def can_pad(self) -> bool:
        """Whether positions can be said where there is padding."""
        return self._own_positions or "position_ids" in self._forward_takes

    def prepare(self, request: Request) -> Prepared | Failure:
        """The request as tensors, or why it has none."""
        return self._prompts.prepare(request)

    def generate(self, prepared: Prepared) -> Generated:
        """Greedy decoding, in the method's own words."""
        output = self.model.generate(**placed(self.model, prepared.tensors), **greedy(prepared.most_tokens))
        return generated(self.model, output)

    def rows(self, batch: Sequence[Forced]) -> list[Iterator[Row]]:
        """One pass over a batch, padded on the left."""
        inputs = placed(self.model, pad_together(batch, pad_id=self.model.generation_config.pad_token_id))
        mask = inputs["attention_mask"]
        if self._positions_asked:
            takes = inspect.signature(self.model.get_rope_index).parameters
            known = {name: inputs[name] for name in takes if name in inputs}
            inputs["position_ids"], _ = self.model.get_rope_index(**known)
        elif not self._own_positions and not bool(mask.all()):
            inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        keep = 1 + max(len(case.ids) for case in batch)
        # Called num_logits_to_keep by Transformers up to 4.49.
        for name in ("logits_to_keep", "num_logits_to_keep"):
            if name in self._forward_takes:
                inputs[name] = keep
                break
        logits = self.model(**inputs).logits
        return [map(to_numpy, logits[place, -len(case.ids) - 1 :]) for place, case in enumerate(batch)]

    def try_out(self, paths: Sequence[str]) -> None:
        """See `Passes`. Where a template or a processor refuses it nothing is tried: their cases say why."""
        with NamedTemporaryFile(suffix=".png") as file:
            if self._takes_images:
                next(trial_pictures(most_tiles(self._processor.image_processor))).save(file, "PNG")
                file.flush()
            images = (file.name,) if self._takes_images else ()
            prepared = self.prepare(Request(case="probe", prompt="A", letters=("A",), images=images))
        if not isinstance(prepared, Failure):
            go(self, prepared, paths)

    def fingerprint(self) -> dict[str, Json]:
        """Classes, attention, template, stop ids."""
        image_processor = getattr(self._processor, "image_processor", None)
        template = getattr(self._processor, "chat_template", None) or self.tokenizer.chat_template
        return {
            "model_class": type(self.model).__name__,
            "processor_class": type(self._processor).__name__,
            "image_processor_class": type(image_processor).__name__,
            "attention": attention(self.model.config),
            "template": template,
            "stop_ids": list(self.stop_ids),
            "generation_settings_dropped": self._neutral.dropped,
        }

    def advice(self) -> str:
        """Nothing: this is Transformers' own code."""
        return ""


def neutral_generation(model: transformers.PreTrainedModel, tokenizer_stop: int | None) -> Neutral:
    """The model's own stop ids (else the tokenizer's end-of-text), and none of its score processors."""
    own = getattr(model, "generation_config", None) or transformers.GenerationConfig()
    stop = own.eos_token_id if own.eos_token_id is not None else tokenizer_stop
    stop_ids = () if stop is None else (stop,) if isinstance(stop, int) else tuple(stop)
    pad_id = own.pad_token_id if own.pad_token_id is not None else stop_ids[0] if stop_ids else 0
    dropped = {name: value for name, value in own.to_diff_dict().items() if name not in _HARMLESS}
    config = transformers.GenerationConfig(
        # Transformers 4.37 asks for one beside embeddings, which it then puts nowhere.
        bos_token_id=own.bos_token_id if own.bos_token_id is not None else pad_id,
        eos_token_id=list(stop_ids) or None,
        pad_token_id=pad_id,
    )
    return Neutral(config, stop_ids, dropped)


def greedy(most: int) -> dict[str, Any]:
    """Options of `generate` for up to ``most`` tokens with all their scores."""
    options: dict[str, Any] = {
        "max_new_tokens": most,
        "do_sample": False,
        "output_scores": True,
        "return_dict_in_generate": True,
    }
    if hasattr(transformers.GenerationConfig(), "output_logits"):  # from Transformers 4.38 on
        options["output_logits"] = True
    return options


def generated(model: transformers.PreTrainedModel, output: GenerateDecoderOnlyOutput) -> Generated:
    """What `generate` gave for one case; its sequence may begin with the prompt or not."""

    def scores() -> Iterator[Row]:
        raw = getattr(output, "logits", None) or output.scores
        for row, logits in zip(map(to_numpy, output.scores), map(to_numpy, raw), strict=True):
            if not np.array_equal(row, logits, equal_nan=True):
                raise EngineError(
                    ErrorKind.UNSUPPORTED,
                    f"{type(model).__name__}.generate changes the scores by itself (up to "
                    f"{np.nanmax(np.abs(row - logits)):.3g}), so they are not the raw logits; "
                    "use paths: [forward] for this model",
                )
            yield row[0]

    return Generated(tuple(output.sequences[0, -len(output.scores) :].tolist()), scores())


def go(passes: Passes, prepared: Prepared, paths: Sequence[str]) -> None:
    """Go each of ``paths`` to its last row: what a GPU fails at shows where a row is fetched from it."""
    if "generate" in paths:
        list(passes.generate(prepared).scores)
    if "forward" in paths:
        list(passes.rows([Forced(prepared, ())])[0])


def placed(
    model: transformers.PreTrainedModel, tensors: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """``tensors`` where the model is, those of fractions in its dtype."""
    device, dtype = model.device, model.dtype
    return {
        name: tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in tensors.items()
    }


def to_numpy(tensor: torch.Tensor) -> Row:
    """``tensor`` as float32 on the CPU."""
    array: Row = tensor.cpu().float().numpy()
    return array


def attention(config: transformers.PretrainedConfig) -> dict[str, Json]:
    """The attention implementation of the whole and of each part that has a configuration of its own."""
    names = getattr(config, "sub_configs", None) or [
        name for name, value in vars(config).items() if isinstance(value, transformers.PretrainedConfig)
    ]
    parts = {"model": config, **{name: getattr(config, name, None) for name in names}}
    return {name: str(getattr(part, "_attn_implementation", None)) for name, part in parts.items() if part}

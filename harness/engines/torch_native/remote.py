"""Models that bring their own code and are chatted with, such as InternVL's before its `-hf` checkpoints.

They are known by what they offer, not by name: a ``generate`` that takes ``pixel_values`` beside
``input_ids`` and gives new tokens only, ``num_image_token`` places in the prompt for each tile of an image,
and ``img_context_token_id``, to be set to the id that marks such a place. No processor comes with them: tiles
are made here (`harness.engines.torch_native.tiles`), and so are prompts
(`harness.engines.torch_native.conversation`).

Cases go through such a model one at a time: its code knows no padding.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import transformers

from harness.engines.contract import EngineSettings, Failure, Json, Request, Row
from harness.engines.images import open_image, trial_pictures
from harness.engines.letters import LetterIds, LetterResolver
from harness.engines.questions import question
from harness.engines.remote_code import environment_advice
from harness.engines.torch_native.conversation import TOKENIZER, Wording
from harness.engines.torch_native.inputs import (
    REQUEST_ERRORS,
    Forced,
    Prepared,
    pad_together,
    request_failure,
)
from harness.engines.torch_native.passes import (
    Generated,
    attention,
    generated,
    go,
    greedy,
    neutral_generation,
    placed,
    to_numpy,
)
from harness.engines.torch_native.tiles import Tiling
from harness.errors import EngineError, ErrorKind

__all__ = ["ChatPasses"]

_BEGIN, _PLACE, _END = "<img>", "<IMG_CONTEXT>", "</img>"


class ChatPasses:
    """Passes of a chat-style model; see `harness.engines.torch_native.passes.Passes`."""

    most_together: int | None = 1

    def __init__(
        self,
        settings: EngineSettings,
        model: transformers.PreTrainedModel,
        tokenizer: transformers.PreTrainedTokenizerBase,
    ) -> None:
        """Raises EngineError (LOAD) if the tokenizer lacks a token or there is no template."""
        self.model = model
        self.tokenizer = tokenizer
        self._place_id = self._special_id(_PLACE)
        for mark in (_BEGIN, _END):
            self._special_id(mark)
        model.img_context_token_id = self._place_id
        template = settings.options.get("template")
        self._wording = Wording(model, tokenizer, kind=template if isinstance(template, str) else None)
        self._tiling = Tiling.of(model.config, Path(settings.model), max_tiles=settings.max_tiles)
        self._resolver = LetterResolver(tokenizer)
        self._text_model = getattr(model, "language_model", model)
        self._neutral = neutral_generation(self._text_model, tokenizer.eos_token_id)
        if (stop := self._wording.stop_id) is not None:
            self._neutral.config.eos_token_id = [stop]
        self.stop_ids = tuple(self._neutral.config.eos_token_id or ())
        self._text_model.generation_config = self._neutral.config
        self._forward_takes = frozenset(inspect.signature(model.forward).parameters)

    @property
    def can_pad(self) -> bool:
        """No."""
        return False

    def prepare(self, request: Request) -> Prepared | Failure:
        """The request as ids [1, S] and tiles [n, 3, size, size], or why it has none."""
        started = time.perf_counter()
        try:
            own = [self._tiling.values(open_image(image)) for image in request.shown]
            # What the letters follow is the prompt's end; thousands of places before it are not needed.
            short = self._wording.render(request, [f"{_BEGIN}{_PLACE}{_END}"] * len(own))
            letter_ids = self._resolver.of_request(short, request, self.stop_ids)
            text = self._wording.render(request, [self._places(values) for values in own])
            return self._prepared(request, text, own, letter_ids, started)
        except REQUEST_ERRORS as error:
            return request_failure(request, error)

    def generate(self, prepared: Prepared) -> Generated:
        """Greedy decoding by the model's own `generate`, which is given no more than its `chat` gives."""
        inputs = placed(self.model, prepared.tensors)
        inputs.setdefault("pixel_values", None)
        output = self.model.generate(
            **inputs, generation_config=self._neutral.config, **greedy(prepared.most_tokens)
        )
        return generated(self.model, output)

    def rows(self, batch: Sequence[Forced]) -> list[Iterator[Row]]:
        """One pass over one case; one of text goes to the language model, as `generate` sends it there."""
        (case,) = batch
        inputs = placed(self.model, pad_together(batch, pad_id=self._neutral.config.pad_token_id))
        if "pixel_values" not in inputs:
            output = self._text_model(**inputs)
        else:
            if "image_flags" in self._forward_takes:
                flags = torch.ones(len(inputs["pixel_values"]), 1, dtype=torch.long)
                inputs["image_flags"] = flags.to(self.model.device)
            output = self.model(**inputs)
        return [map(to_numpy, output.logits[0, -len(case.ids) - 1 :])]

    def try_out(self, paths: Sequence[str]) -> None:
        """See `Passes`; text alone is tried too, as it goes another way."""
        values = self._tiling.values(next(trial_pictures(self._tiling.most)))
        text = f"{self._places(values)}A"
        nothing = LetterIds(("A",), (), (0,), ((),))
        request = Request(case="", prompt="", letters=("A",))
        for pixels in ([values], []):
            asked = text if pixels else "A"
            prepared = self._prepared(request, asked, pixels, nothing, time.perf_counter())
            go(self, prepared, paths)

    def fingerprint(self) -> dict[str, Json]:
        """Classes, attention, template, stop ids, tiles."""
        tiling = self._tiling
        return {
            "model_class": type(self.model).__name__,
            "tokenizer_class": type(self.tokenizer).__name__,
            "attention": attention(self.model.config),
            "template": [self._wording.kind, self._wording.source],
            "stop_ids": list(self.stop_ids),
            "generation_settings_dropped": self._neutral.dropped,
            "tiles": {
                "size": tiling.size,
                "least": tiling.least,
                "most": tiling.most,
                "thumbnail": tiling.thumbnail,
                "mean": list(tiling.mean),
                "spread": list(tiling.spread),
            },
        }

    def advice(self) -> str:
        """Which Transformers its code is known to work with, if this is a newer one."""
        return environment_advice(transformers.__version__)

    def _prepared(
        self,
        request: Request,
        text: str,
        by_image: Sequence[torch.Tensor],
        letter_ids: LetterIds,
        started: float,
    ) -> Prepared:
        options = {}
        begin = self.tokenizer.bos_token
        if self._wording.kind == TOKENIZER and begin and text.startswith(begin):
            # What apply_chat_template does when it tokenizes; `chat` lets the tokenizer add what it adds.
            options["add_special_tokens"] = False
        encoded = self.tokenizer(text, return_tensors="pt", truncation=False, **options)
        tensors = {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}
        found = int((tensors["input_ids"] == self._place_id).sum())
        places = self.model.num_image_token * sum(map(len, by_image))
        if found != places:
            raise ValueError(
                f"the prompt has {_PLACE} {found} times; allowed: {places} times, "
                f"{self.model.num_image_token} for each tile of an image. Take it out of the case's text"
            )
        if by_image:
            tensors["pixel_values"] = torch.cat(list(by_image))
        pixels = [values.to(self.model.dtype).float().numpy() for values in by_image]
        prompt_ids = tuple(tensors["input_ids"][0].tolist())
        self._resolver.require_end(text, prompt_ids)
        return Prepared(
            request=request,
            tensors=tensors,
            prompt_ids=prompt_ids,
            letter_ids=letter_ids,
            question=question(
                text=text, prompt_ids=prompt_ids, placeholder=_PLACE, pixels=pixels, images=len(pixels)
            ),
            seconds=time.perf_counter() - started,
        )

    def _places(self, values: torch.Tensor) -> str:
        """What stands in the prompt for an image of these tiles."""
        return f"{_BEGIN}{_PLACE * (self.model.num_image_token * len(values))}{_END}"

    def _special_id(self, token: str) -> int:
        found = self.tokenizer.convert_tokens_to_ids(token)
        if not isinstance(found, int) or self.tokenizer.convert_ids_to_tokens(found) != token:
            raise EngineError(
                ErrorKind.LOAD,
                f"the tokenizer has no token {token}, which a chat-style model needs to place images; "
                "check that the tokenizer's files belong to this checkpoint",
            )
        return found

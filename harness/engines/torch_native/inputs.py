"""From a request to the tensors that a Transformers model takes, one case at a time, then batched.

Every case is prepared on its own and padded here, not by the processor: so each case's prompt ids are known,
a bad case harms no other, and ids that are to stand behind the prompt can be put there before padding.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase, ProcessorMixin

from harness.engines.chat_template import chat_prompt
from harness.engines.contract import Failure, Question, Request
from harness.engines.images import open_image
from harness.engines.letters import LetterIds, LetterResolver
from harness.engines.questions import question
from harness.errors import EngineError, ErrorKind, LettersError

__all__ = [
    "REQUEST_ERRORS",
    "Forced",
    "Prepared",
    "Prompts",
    "batched",
    "pad_together",
    "request_failure",
]

REQUEST_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, EngineError, LettersError, LookupError,
    OSError, RuntimeError, SyntaxError, TemplateError, TypeError, ValueError,
)  # fmt: skip
"""What goes wrong on account of one request: Pillow, the template, the processor, the letters."""


def request_failure(request: Request, error: Exception) -> Failure:
    """One of `REQUEST_ERRORS` as the failure of its request."""
    if isinstance(error, LettersError):
        return Failure(kind=ErrorKind.LETTERS, message=f"{request.case}: {error}")
    if isinstance(error, EngineError):
        return Failure(kind=error.kind, message=f"{request.case}: {error.message}")
    return Failure(kind=ErrorKind.FAILED, message=f"{request.case}: {type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request as tensors of one case, on the CPU: ``tensors`` holds all that the processor returned."""

    request: Request
    tensors: Mapping[str, torch.Tensor]
    prompt_ids: tuple[int, ...]
    letter_ids: LetterIds
    question: Question
    seconds: float

    @property
    def most_tokens(self) -> int:
        """How many tokens may be generated: as many as asked for, or up to and including letter or end."""
        return self.request.max_new_tokens or self.letter_ids.steps


@dataclass(frozen=True, slots=True)
class Forced:
    """A prepared case and the ids put behind its prompt."""

    prepared: Prepared
    ids: tuple[int, ...]

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.prepared.prompt_ids) + len(self.ids)


class Prompts:
    """Renders and tokenizes requests with a model's own processor, or its tokenizer if it takes text only."""

    def __init__(
        self,
        processor: ProcessorMixin | PreTrainedTokenizerBase,
        *,
        takes_images: bool,
        dtype: torch.dtype,
        model_takes: Collection[str],
        image_token_id: int | None = None,
        stop_ids: Sequence[int] = (),
    ) -> None:
        """``dtype`` is the model's, to which pixel values are rounded when they enter it.

        ``model_takes`` are the names of what its `forward` takes, ``image_token_id`` is the id by which it
        knows a place for a piece of an image, for processors that do not name the token. ``stop_ids`` end its
        turn.
        """
        self._processor = processor
        self._stop_ids = stop_ids
        self._model_takes = model_takes
        self._dtype = dtype
        self._takes_images = takes_images
        self.tokenizer = processor.tokenizer if takes_images else processor
        placeholder = getattr(processor, "image_token", None) if takes_images else None
        if placeholder is None and takes_images and image_token_id is not None:
            placeholder = self.tokenizer.convert_ids_to_tokens(image_token_id)
        # Some processors before Transformers 5 hold the token with its flags.
        self._placeholder = None if placeholder is None else str(placeholder)
        self._resolver = LetterResolver(self.tokenizer)

    def prepare(self, request: Request) -> Prepared | Failure:
        """The request as tensors, or why it has none."""
        started = time.perf_counter()
        if request.images and not self._takes_images:
            return Failure(
                kind=ErrorKind.UNSUPPORTED,
                message=f"{request.case}: has an image, but the model takes text only; "
                "take the image out of the case or name another model in the profile",
            )
        try:
            context = self._context(request)
            tensors = self._tokenize(context, request)
            letter_ids = self._resolver.of_request(context, request, self._stop_ids)
            prompt_ids = tuple(tensors["input_ids"][0].tolist())
            self._resolver.require_end(context, prompt_ids)
            asked = self._question(context, prompt_ids, tensors, request)
        except REQUEST_ERRORS as error:
            return request_failure(request, error)
        return Prepared(
            request=request,
            tensors=tensors,
            prompt_ids=prompt_ids,
            letter_ids=letter_ids,
            question=asked,
            seconds=time.perf_counter() - started,
        )

    def _context(self, request: Request) -> str:
        # Templates of text models know strings only.
        return chat_prompt(
            self._processor,
            request.parts,
            request.system,
            parts=self._takes_images,
        )

    def _question(
        self, context: str, ids: Sequence[int], tensors: Mapping[str, torch.Tensor], request: Request
    ) -> Question:
        values = tensors.get("pixel_values")
        if not request.images:
            pixels: list[Any] | None = []
        elif values is None:
            pixels = None
        else:
            own = self._by_image(values, tensors, ids, len(request.images))
            pixels = [each.to(self._dtype).float().numpy() for each in own]
        return question(
            text=context,
            prompt_ids=ids,
            placeholder=self._placeholder,
            pixels=pixels,
            images=len(request.images),
        )

    def _by_image(
        self, values: torch.Tensor, tensors: Mapping[str, torch.Tensor], ids: Sequence[int], count: int
    ) -> Sequence[torch.Tensor]:
        """The pixel values of each of ``count`` images; all together where it is not known what is whose."""
        if count == 1:
            return [values]
        place = None if self._placeholder is None else self.tokenizer.convert_tokens_to_ids(self._placeholder)
        runs = [len(list(run)) for token, run in groupby(ids) if token == place]
        tiles = [run * len(values) / sum(runs) for run in runs]
        sizes: list[int] = [round(each) for each in tiles]
        if (grids := tensors.get("image_grid_thw")) is not None:
            sizes = grids.prod(-1).tolist()
        elif len(values) == count:
            sizes = [1] * count
        elif len(runs) != count or sizes != tiles:
            return [values]
        return [*values.split(sizes)]

    def _tokenize(self, context: str, request: Request) -> dict[str, torch.Tensor]:
        # A processor cuts a prompt to what tokenizer.json says of truncation, unless it is told not to.
        options: dict[str, object] = {"return_tensors": "pt", "truncation": False}
        if not self._takes_images:
            return self._taken(dict(self.tokenizer([context], add_special_tokens=False, **options)))
        begin = self.tokenizer.bos_token
        if begin is not None and context.startswith(begin):
            # What a processor's own apply_chat_template does, so that no second begin-of-text is added.
            options["add_special_tokens"] = False
        if request.images:
            options["images"] = [list(map(open_image, request.shown))]
        tensors = dict(self._processor(text=[context], **options))
        if odd := [name for name, value in tensors.items() if not isinstance(value, torch.Tensor)]:
            raise TypeError(
                f"the processor gave no tensor for {', '.join(odd)}; such models are not supported"
            )
        return self._taken(tensors)

    def _taken(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """``tensors`` without kinds of tokens that are all one kind, where the model knows of none.

        Tokenizers of no particular model give them before Transformers 5, and its `generate` refuses them.
        """
        name = "token_type_ids"
        if name in tensors and name not in self._model_takes and not bool(tensors[name].any()):
            del tensors[name]
        return tensors


def batched(cases: Sequence[Forced], *, most: int, can_pad: bool) -> Iterator[list[Forced]]:
    """Split ``cases`` into batches of up to ``most`` that can run as one.

    Together go only cases whose tensors can be joined along their first axis, and whose lengths are equal or,
    if ``can_pad``, lie between the same powers of two, so that less than half of a batch is padding.
    """
    groups: dict[object, list[Forced]] = {}
    for case in sorted(cases, key=lambda case: case.length):
        tensors = case.prepared.tensors
        shapes = {
            name: (t.shape[1:], t.dtype)
            for name, t in tensors.items()
            if not _along_the_text(t, case.prepared)
        }
        length = case.length.bit_length() if can_pad else case.length
        kind = (frozenset(tensors), frozenset(shapes.items()), length)
        groups.setdefault(kind, []).append(case)
    for group in groups.values():
        for start in range(0, len(group), most):
            yield group[start : start + most]


def pad_together(cases: Sequence[Forced], *, pad_id: int) -> dict[str, torch.Tensor]:
    """One batch of ``cases``, padded on the left, so that every row's last token is at the right edge.

    Tensors [1, S] that go along with the prompt's S ids are lengthened with them: ``attention_mask`` by ones,
    kinds of tokens by zeros. Raises ValueError for one of a kind that is not known.
    """
    width = max(case.length for case in cases)
    joined: dict[str, torch.Tensor] = {}
    for name, first in cases[0].prepared.tensors.items():
        parts = [case.prepared.tensors[name] for case in cases]
        if _along_the_text(first, cases[0].prepared):
            parts = [
                _lengthen(name, part, case, width, pad_id) for part, case in zip(parts, cases, strict=True)
            ]
        joined[name] = torch.cat(parts)
    return joined


def _lengthen(name: str, tensor: torch.Tensor, case: Forced, width: int, pad_id: int) -> torch.Tensor:
    if name == "input_ids":
        behind, before = torch.tensor([case.ids], dtype=tensor.dtype), pad_id
    elif name == "attention_mask":
        behind, before = torch.ones(1, len(case.ids), dtype=tensor.dtype), 0
    elif name in ("token_type_ids", "mm_token_type_ids"):
        behind, before = torch.zeros(1, len(case.ids), dtype=tensor.dtype), 0
    elif width == tensor.shape[1]:
        return tensor
    else:
        raise ValueError(
            f"the path 'forward' cannot lengthen the processor's {name!r} of shape {list(tensor.shape)}; "
            "set paths: [generate] and batch_size: 1 for this model"
        )
    padding = torch.full((1, width - case.length), before, dtype=tensor.dtype)
    return torch.cat([padding, tensor, behind.reshape(1, -1)], dim=1)


def _along_the_text(tensor: torch.Tensor, prepared: Prepared) -> bool:
    return tensor.ndim >= 2 and tuple(tensor.shape[:2]) == (1, len(prepared.prompt_ids))

"""The steps that a case goes through, whichever of LMDeploy's engines is loaded.

All coroutines belong to the event loop that the pipeline gave its engine. Shapes: T generated tokens, V
columns of the logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from harness.engines.contract import Json
from harness.errors import EngineError

if TYPE_CHECKING:
    from lmdeploy.messages import GenerationConfig
    from torch import Tensor

__all__ = ["Conversation", "Entries", "Generated", "Prepared", "Steps", "Take"]

Conversation = Sequence[Mapping[str, Any]]
Entries = Mapping[int, float]
"""Log-probabilities of some tokens at one place, by id."""
Take = Callable[["Tensor", int], None]
"""Is given one row of raw logits [V], on the CPU, and the id that it predicted; in any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A conversation as it enters the model.

    ``inputs`` are LMDeploy's own: ``input_ids``, perhaps ``prompt`` (the text), and the image as
    ``multimodal`` or ``input_embeddings``. ``options`` are generation options with the model's own stop ids
    filled in. ``request`` is what LMDeploy made of it, where it makes one. ``forced`` are ids written
    first, whatever the rows say, by a sequence of its own, where rows come through a logits processor.
    """

    conversation: Conversation
    inputs: Mapping[str, Any]
    options: GenerationConfig
    request: Any = None
    forced: Sequence[int] = ()

    @property
    def ids(self) -> list[int]:
        """The prompt's ids, image placeholders included."""
        found: list[int] = self.inputs["input_ids"]
        return found

    @property
    def has_image(self) -> bool:
        """Whether an image is among the inputs, as pixels or as embeddings."""
        return any(self.inputs.get(name) for name in ("input_embeddings", "multimodal"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """Greedy tokens ``ids`` [T], the stop token included.

    ``logprobs`` [T] are those of the generated id and of the most probable ones, raw; empty where none are
    reported. ``rows`` [T, V] are the raw logits where LMDeploy gives them at once; steps hand them on one by
    one.
    """

    ids: tuple[int, ...]
    logprobs: tuple[Entries, ...] = ()
    rows: Tensor | None = None


class Steps(Protocol):
    """How one loaded engine is asked.

    ``first`` is the path whose rows come while generating. ``ways`` tells how each path goes that the names
    of this LMDeploy promise, ``lacking`` why another does not. ``reported`` says what is known beforehand of
    the log-probabilities that it reports, None where they are tried. ``dtype`` is that of weights and
    activations, ``limits`` the most tokens that a sequence may have, each by the name of the option that sets
    it, and ``described`` what else belongs into a fingerprint.
    """

    @property
    def first(self) -> str: ...  # noqa: D102
    @property
    def ways(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def lacking(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def reported(self) -> str | None: ...  # noqa: D102
    @property
    def dtype(self) -> str: ...  # noqa: D102
    @property
    def limits(self) -> Mapping[str, int]: ...  # noqa: D102
    @property
    def described(self) -> Mapping[str, Json]: ...  # noqa: D102

    async def prepare(self, conversation: Conversation) -> Prepared:
        """LMDeploy's own rendering, tokenizing and image preprocessing.

        Raises LMDeploy's own RequestError where it has one, else EngineError(FAILED) or lack of memory.
        """
        ...

    def forget(self, prepared: Prepared) -> None:
        """Drop what was prepared and will not be generated from."""
        ...

    async def generate(
        self, prepared: Prepared, *, steps: int, logprobs: int | None, take: Take | None
    ) -> Generated:
        """Stage one: at most ``steps`` greedy tokens, ended by the first stop token; ``take`` gets the rows.

        Where they come while generating it gets each as soon as its token is known, and nothing keeps it.

        Raises LMDeploy's own RequestError, and EngineError(FAILED).
        """
        ...

    async def rows_behind(self, prepared: Prepared, ids: Sequence[int], *, temperature: float) -> Tensor:
        """Stage two: raw logits [N, V] of the prompt and ``ids`` behind it, N tokens in all, image kept.

        Raises EngineError: UNSUPPORTED, CRASH or FAILED.
        """
        ...

    async def score_ids(self, prepared: Prepared, ids: Sequence[int], *, count: int) -> tuple[Entries, ...]:
        """Log-probabilities of ``ids`` behind the prompt, and the ``count`` largest at each place.

        Raises LMDeploy's own RequestError, and EngineError (UNSUPPORTED or FAILED).
        """
        ...

    def reset(self) -> None:
        """Drop what stage two left to be decoded."""
        ...

    def failure(self) -> EngineError | None:
        """Why the engine's own loop has ended, None while it runs."""
        ...

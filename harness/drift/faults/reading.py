"""Faults of what is handed on behind the head, and of its reading; each function plants that of its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from harness.drift.faults.ground import Ground, bits_kept
from harness.engines.contract import Answer, Outcome, Request

_SEED = 20


def _logits(at: Ground, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    at.wrap(at.agent, "get_logits", lambda old, hidden: change(old(hidden)))


def logits_half(at: Ground, size: float) -> None:  # noqa: D103 - as the module says; so below
    _logits(at, lambda logits: bits_kept(logits, size))


def temperature(at: Ground, size: float) -> None:  # noqa: D103
    _logits(at, lambda logits: logits / (1 + size))


def noise_per_call(at: Ground, size: float) -> None:  # noqa: D103
    drawn = torch.Generator().manual_seed(_SEED)
    _logits(at, lambda logits: logits + size * torch.randn(logits.shape, generator=drawn).to(logits.dtype))


def wrong_row(at: Ground, size: float) -> None:  # noqa: D103
    del size

    async def before(old: Callable[..., Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        return (await old(*args, **kwargs)).roll(1, 0)

    at.wrap(at.engine._steps, "rows_behind", before)


def top_k_renormalised(at: Ground, size: float) -> None:  # noqa: D103
    from lmdeploy.pytorch.engine.logits_process import FusedLogitsProcessor

    def compute(
        old: Callable[..., Any], itself: Any, raw_logprobs: torch.Tensor | None, token_ids: torch.Tensor
    ) -> Any:
        if raw_logprobs is not None and size < raw_logprobs.size(-1):  # stage two asks for none
            most = raw_logprobs.topk(int(size), -1).values
            raw_logprobs = raw_logprobs - most.logsumexp(-1, keepdim=True)
        return old(itself, raw_logprobs, token_ids)

    at.wrap(FusedLogitsProcessor, "compute_logprobs", compute)


def letters_of_another_spelling(at: Ground, size: float) -> None:  # noqa: D103
    del size

    def other(old: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        found = old(*args, **kwargs)
        ids = tuple(more[0] if more else one for one, more in zip(found.ids, found.spellings, strict=True))
        return dataclasses.replace(found, ids=ids)

    at.wrap(at.engine._stages._resolver, "resolve", other)


def early_stop(at: Ground, size: float) -> None:  # noqa: D103
    del size

    def sooner(old: Callable[..., Any], *args: Any, steps: int, **kwargs: Any) -> Any:
        return old(*args, steps=max(1, steps - 1), **kwargs)

    at.wrap(at.engine._steps, "generate", sooner)


def answers_off_by_one(at: Ground, size: float) -> None:  # noqa: D103
    del size

    def score(
        old: Callable[[Sequence[Request]], Iterator[Outcome]], requests: Sequence[Request]
    ) -> Iterator[Outcome]:
        found = {outcome.case: outcome.result for outcome in old(requests)}
        for request, other in zip(requests, [*requests[1:], *requests[:1]], strict=True):
            yield Outcome(request.case, found[other.case])

    at.wrap(at.engine, "score", score)


def stale_answer(at: Ground, size: float) -> None:  # noqa: D103
    del size
    seen: dict[object, Answer] = {}

    def score(
        old: Callable[[Sequence[Request]], Iterator[Outcome]], requests: Sequence[Request]
    ) -> Iterator[Outcome]:
        found = {outcome.case: outcome.result for outcome in old(requests)}
        for request in requests:  # in their order, so that it is the same each time
            answer = found[request.case]
            if isinstance(answer, Answer):
                first = seen.setdefault((answer.letter_ids, len(answer.generated_ids)), answer)
                answer = dataclasses.replace(
                    first,
                    prompt_ids=answer.prompt_ids,
                    question=answer.question,
                    request=answer.request,
                )
            yield Outcome(request.case, answer)

    at.wrap(at.engine, "score", score)

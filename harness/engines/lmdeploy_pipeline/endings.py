"""Where an answer ends, when LMDeploy leaves the stop token out or was told to go on behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.engines.lmdeploy_pipeline.eras import Core
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["stop_ids", "to_the_end"]


def stop_ids(engine: Core) -> frozenset[int]:
    """The ids at which LMDeploy ends an answer: of its template, the tokenizer and the generation config."""
    found = {engine.tokenizer.eos_token_id, *(engine.stop_words or ())}
    config = getattr(engine, "hf_gen_cfg", None) or {}
    ends = config.get("eos_token_id")
    found.update(ends if isinstance(ends, list) else [ends])
    return frozenset(int(token) for token in found if token is not None)


def to_the_end(ids: Sequence[int], rows: Tensor, *, stops: frozenset[int]) -> tuple[int, ...]:
    """The ids [T] that greedy decoding writes, up to and including the first stop token, from what was told.

    ``ids`` may lack the stop token, go on behind it, or have another in its place where LMDeploy forbade it
    (``ignore_eos`` until 0.7.0): the row [V] of each step tells, since its most probable token is written.
    ``rows`` has one row for each step that was computed.

    Raises EngineError(FAILED) where ids are missing and no stop token is there to explain it.
    """
    best = [int(token) for token in rows.argmax(dim=-1)]
    whole: list[int] = []
    for step, most_probable in enumerate(best):
        if most_probable in stops:
            return (*whole, most_probable)
        if step >= len(ids):
            raise EngineError(
                ErrorKind.FAILED,
                f"LMDeploy ended after {len(ids)} tokens, but the most probable token of the next row is "
                f"{most_probable}, which is no stop token; allowed: {sorted(stops)}",
            )
        whole.append(ids[step])
        if ids[step] in stops:
            break
    return tuple(whole)

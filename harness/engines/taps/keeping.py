"""What becomes of the states of one case's pass, on either side: kept in full for a while, and as a trace."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from PIL.Image import Image
from torch import Tensor

from harness.engines.codec import request_digest
from harness.engines.contract import Answer, Request
from harness.engines.taps.contract import TraceOrder
from harness.engines.taps.recorder import write_states
from harness.engines.taps.sketches import Trace
from harness.engines.taps.sketching import log_probabilities, traced

__all__ = ["keep", "of_another", "of_answer", "pictured"]

_NOT_KEPT: Final = frozenset({"handed", "logits"})


def keep(order: TraceOrder, states: Mapping[str, Tensor], *, error: str = "") -> Trace:
    """The trace of a pass over forced ids, whose states go in full where ``order`` says."""
    if order.keep is not None:
        write_states(Path(order.keep), {name: each for name, each in states.items() if name not in _NOT_KEPT})
    told: dict[str, Any] = {}
    answer = None if order.answer_step is None else len(order.forced) - order.answer_step
    rows, logits = states.get("handed"), states.get("logits")
    if rows is not None and logits is not None and rows.shape == logits.shape:
        told["handed"] = float((rows.double() - logits.double()).abs().max())
    if rows is not None and answer is not None and 0 <= answer < len(rows):
        told["letters"] = log_probabilities(rows[-1 - answer], order.letter_ids)
    return traced(states, answer=answer, told=told, error=error)


def pictured(
    request: Request,
    states: Mapping[str, Tensor],
    opened: Callable[[str], Image],
    prepared: Tensor | None = None,
) -> dict[str, Tensor]:
    """Pictures before they enter the model: a digest of their colours, how many tiles, ``prepared`` pixels.

    ``opened`` is the engine's own way to open it, so that what is done to that is seen.
    """
    found: dict[str, Tensor] = {}
    if request.images:
        colours = b"".join(opened(image).convert("RGB").tobytes() for image in request.shown)
        digest = hashlib.sha256(colours).digest()
        found["image"] = torch.tensor([int.from_bytes(digest[i : i + 4]) for i in range(0, 32, 4)])
    if (pixels := states.get("pixels")) is not None:
        found["tiles"] = torch.tensor([len(pixels)])
        if prepared is not None:
            found["prepared"] = prepared.detach().cpu().to(pixels.dtype)
    return found


def of_another(request: Request, answer: Answer) -> Trace | None:
    """What there is of an answer that an engine made for another request; None where it is this one's."""
    if answer.request in ("", request_digest(request)):
        return None
    return Trace(stages={}, told={"wrote": "the answer that was handed out is that of another case"})


def of_answer(answer: Answer, states: Mapping[str, Tensor], *, path: str, reported: bool) -> Trace:
    """The trace of a pass that `score` made, with what its answer makes of the very rows of that pass.

    ``path`` is the reading that the pass served, ``reported`` whether the tokens were written by it, and the
    log-probabilities that the engine's own interface reports come from it.
    """
    told: dict[str, Any] = {"generated": list(answer.generated_ids)}
    if reported and (wrote := _wrote(answer, states.get("logits"))):
        told["wrote"] = wrote
    step, count = answer.answer_step, len(answer.generated_ids)
    logits = states.get("logits")
    if logits is not None and step is not None and len(logits) > step:
        told["letters"] = log_probabilities(logits[step], answer.letter_ids)
        told["reading"] = _residues(answer, logits[step], path, reported=reported)
    return traced(states, answer=None if step is None else count - 1 - step, told=told)


def _wrote(answer: Answer, logits: Tensor | None) -> str:
    """What is wrong with the ids that were written, given the rows [T, V] that decided them.

    '' for nothing.
    """
    if logits is None:
        return ""
    for step, (row, token) in enumerate(zip(logits, answer.generated_ids, strict=False)):
        if float(row[token]) < float(row.max()):
            best = int(row.argmax())
            return f"token {step} that was written is {token}, but its row's most probable is {best}"
    return ""


def _residues(answer: Answer, row: Tensor, path: str, *, reported: bool) -> dict[str, float]:
    """How far what was read is from the row [V] that the pass computed, relative to its size.

    Infinite where the letters were not read at all.
    """
    found: dict[str, float] = {}
    whole = row.double()
    if path in answer.rows:
        kept = torch.from_numpy(answer.rows[path]).double()
        found["row"] = _relative(whole, kept)
    reading = next((each for each in answer.readings if each.path == path), None)
    if reading is not None and not reading.partial:
        ids, logits = answer.letter_ids, reading.letter_logits
        if reading.target:  # the row is that of the text's first token
            ids, logits = answer.target_ids[:1], (reading.target[0].logit,)
        found["letters"] = _relative(whole[list(ids)], torch.tensor(logits, dtype=torch.float64))
    if reported and answer.reported_top:
        log_z = whole.logsumexp(-1)
        logs = whole - log_z
        there = logs[[entry.id for entry in answer.reported_top]]
        told = torch.tensor([entry.logprob for entry in answer.reported_top], dtype=torch.float64)
        # A small difference of two large numbers: its rounding goes by their size.
        found["reported"] = _relative(there, told, size=float(log_z.abs()))
    return found


def _relative(there: Tensor, told: Tensor, *, size: float = 1.0) -> float:
    if there.shape != told.shape:
        return float("inf")
    return float(((there - told).abs() / there.abs().clamp(min=max(1.0, size))).max())

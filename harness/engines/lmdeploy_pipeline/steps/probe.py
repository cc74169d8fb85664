"""What one loaded LMDeploy gives: tried with one token, since names alone do not tell how it behaves.

`probe` finds out which paths there are and what they are like; `choose_paths` holds that against what was
asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.engines.contract import Json
from harness.engines.lmdeploy_pipeline.options import CAPTURED, GENERATION, PATHS, SCORED, TOP_K, TWO_STAGE
from harness.engines.lmdeploy_pipeline.steps.contract import Conversation, Entries, Prepared, Steps
from harness.engines.out_of_memory import is_out_of_memory
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TOO_LONG", "Probe", "choose_paths", "probe"]

TOO_LONG: Final = "context_length_exceeded"
"""LMDeploy's own error code of a prompt for which there is no room."""

RAW: Final = "raw"
ABSENT: Final = "absent"
ONE_CANDIDATE: Final = "one token with 0.0"

_NO_LIST: Final[Mapping[str, str]] = {
    ABSENT: "the pipeline reports no log-probabilities",
    ONE_CANDIDATE: "under greedy decoding the pipeline reports one token with 0.0, which tells nothing",
}

_LMDEPLOYS_TEMPERATURE: Final = 0.8
_CLOSE: Final = 0.1
"""Nats within which two log-probabilities of a 16-bit model are the same; the traps are far beyond it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What was found.

    ``dtype`` and ``width`` are those of the rows of logits, None where no path gives rows. ``logprobs`` is
    what the pipeline reports while generating: `RAW`, `ABSENT`, `ONE_CANDIDATE` or how it differs from the
    row. ``paths`` maps each path there is to the way it goes, ``lacking`` every other to the reason.
    ``temperature_trap`` is whether the last row of stage two comes back divided by the temperature.
    """

    dtype: str | None
    width: int | None
    stop_ids: tuple[int, ...]
    logprobs: str
    paths: Mapping[str, str]
    lacking: Mapping[str, str]
    temperature_trap: bool | None

    def to_json(self, chosen: Sequence[str]) -> dict[str, Json]:
        """For the fingerprint, with the ways of the ``chosen`` paths only."""
        return {
            "logits": {"dtype": self.dtype, "width": self.width},
            "stop_ids": [*self.stop_ids],
            "reported_logprobs": self.logprobs,
            "paths": {path: self.paths[path] for path in chosen},
            "temperature_trap": self.temperature_trap,
        }


async def probe(steps: Steps, conversations: Iterable[Conversation]) -> Probe:
    """Generate one token behind the first of ``conversations`` that is no longer than may be, go every path.

    Raises EngineError(LOAD) if not even a token is generated, or paths give rows of different widths; and
    what tells of memory that ran out, on any path.
    """
    prepared = await _first_that_fits(steps, conversations)
    taken: list[Tensor] = []
    generated = await steps.generate(prepared, steps=1, logprobs=1, take=lambda row, _: taken.append(row))
    ids = generated.ids
    if len(ids) != 1:
        raise EngineError(ErrorKind.LOAD, f"one token was asked of LMDeploy, which generated {len(ids)}")
    paths: dict[str, str] = {}
    lacking: dict[str, str] = {**steps.lacking}
    rows: dict[str, Tensor] = {}
    if not taken:
        lacking[steps.first] = f"no row came with the token ({steps.ways[steps.first]})"
    else:
        rows[steps.first] = taken[0]
    trap: bool | None = None
    try:
        rows[TWO_STAGE], trap = await _stage_two(steps, prepared)
    except Exception as error:  # noqa: BLE001 - whatever else it is, the path is not there, and says why
        _require_memory(error)
        lacking[TWO_STAGE] = f"{type(error).__name__}: {error}"
    paths |= {path: steps.ways[path] for path in rows}
    widths = {path: int(row.numel()) for path, row in rows.items()}
    if len({*widths.values()}) > 1:
        raise EngineError(ErrorKind.LOAD, f"rows of logits are {widths} wide; allowed: the same by each path")
    row = next(iter(rows.values()), None)
    reported = steps.reported or _reported(generated.logprobs, ids[0], row)
    if reported in _NO_LIST:
        lacking[TOP_K] = _NO_LIST[reported]
    elif TOP_K not in lacking:
        paths[TOP_K] = f"logprobs while generating ({reported})"
    if SCORED in steps.ways:
        try:
            await steps.score_ids(prepared, ids, count=1)
        except Exception as error:  # noqa: BLE001 - as above
            _require_memory(error)
            lacking[SCORED] = f"{type(error).__name__}: {error}"
        else:
            paths[SCORED] = steps.ways[SCORED]
    steps.reset()
    return Probe(
        dtype=None if row is None else str(row.dtype).removeprefix("torch."),
        width=None if row is None else int(row.numel()),
        stop_ids=tuple(sorted(prepared.options.stop_token_ids or ())),
        logprobs=reported,
        paths=paths,
        lacking=lacking,
        temperature_trap=trap,
    )


def choose_paths(asked: Sequence[str], found: Probe, *, reports: bool) -> tuple[str, ...]:
    """The paths to go: those ``asked`` for or, where none are, the best there are.

    ``reports`` is whether log-probabilities are asked of the pipeline, as the path top-k needs them.

    Raises EngineError: UNSUPPORTED for a path that is not there, LOAD if none is.
    """
    for path in asked:
        if path not in found.paths:
            raise EngineError(
                ErrorKind.UNSUPPORTED,
                f"paths: found {path}, which this LMDeploy does not have "
                f"({found.lacking.get(path, 'unknown')}); allowed: {', '.join(found.paths) or 'none'}. Name "
                "those in the profile, leave paths out to get the best there is, or use another LMDeploy",
            )
    best = [path for path in PATHS if path in found.paths and (path != TOP_K or reports)]
    full = [path for path in (GENERATION, TWO_STAGE, CAPTURED) if path in found.paths]
    chosen = tuple(asked or full or best[:1])
    if not chosen:
        reasons = "; ".join(f"{path}: {why}" for path, why in found.lacking.items())
        raise EngineError(
            ErrorKind.LOAD, f"LMDeploy generates, but there is no path to its probabilities ({reasons})"
        )
    return chosen


async def _first_that_fits(steps: Steps, conversations: Iterable[Conversation]) -> Prepared:
    """As cases beyond the limits are refused one by one, a model is not refused for want of room for them."""
    *longer, last = conversations
    for conversation in longer:
        try:
            prepared = await steps.prepare(conversation)
        except Exception as error:
            if getattr(getattr(error, "code", None), "value", None) != TOO_LONG:
                raise
            continue
        if len(prepared.ids) < min(steps.limits.values()):
            return prepared
        steps.forget(prepared)
    return await steps.prepare(last)


def _require_memory(error: Exception) -> None:
    if is_out_of_memory(error):
        raise error


async def _stage_two(steps: Steps, prepared: Prepared) -> tuple[Tensor, bool]:
    """The row behind the prompt; and whether it is divided by a temperature that LMDeploy is given."""
    plain = (await steps.rows_behind(prepared, (), temperature=1.0))[-1].clone()
    other = (await steps.rows_behind(prepared, (), temperature=_LMDEPLOYS_TEMPERATURE))[-1].double()
    exact = plain.double()
    scaled = (other - exact / _LMDEPLOYS_TEMPERATURE).abs().max() < (other - exact).abs().max()
    return plain, bool(scaled)


def _reported(entries: Sequence[Entries], token: int, row: Tensor | None) -> str:
    """What log-probabilities are like, against the row that the token was chosen from."""
    if not entries:
        return ABSENT
    if len(entries) != 1 or token not in entries[0]:
        return f"{len(entries)} entries for one token"
    value = float(entries[0][token])
    if row is None:
        return "not compared with a row"
    true = float(row.double().log_softmax(-1)[token])
    if math.isclose(value, true, rel_tol=0, abs_tol=_CLOSE):
        return RAW
    return ONE_CANDIDATE if value == 0.0 else f"{value:.4g} where the row has {true:.4g}"

"""What one loaded LMDeploy gives: tried with one token, since names alone do not tell how it behaves.

`probe` finds out which paths there are and what they are like; `choose_paths` holds that against what was
asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.engines.contract import Json
from harness.engines.lmdeploy_pipeline.access import Access, Entries, Prepared
from harness.engines.lmdeploy_pipeline.capture import Capture
from harness.engines.lmdeploy_pipeline.options import CAPTURED, PATHS, SCORED, TOP_K, TWO_STAGE
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Probe", "choose_paths", "probe"]

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


async def probe(access: Access) -> Probe:
    """Generate one token, and go every path with it.

    Raises EngineError(LOAD) if not even a token is generated.
    """
    prepared = await access.prepare([{"role": "user", "content": "A"}])
    capture = Capture(1)
    processors = [capture.processor()] if access.takes_processors else None
    ids, entries = await access.generate(prepared, steps=1, logprobs=1, processors=processors)
    if len(ids) != 1:
        raise EngineError(ErrorKind.LOAD, f"one token was asked of LMDeploy, which generated {len(ids)}")
    paths: dict[str, str] = {}
    lacking: dict[str, str] = {}
    row: Tensor | None = None
    if not access.takes_processors:
        lacking[CAPTURED] = "GenerationConfig has no logits_processors"
    elif not capture.shown:
        lacking[CAPTURED] = "the function in logits_processors was never called"
    else:
        row = capture.rows(ids)[0]
        paths[CAPTURED] = "logits_processors"
    trap: bool | None = None
    try:
        rows, trap = await _stage_two(access, prepared)
    except Exception as error:  # noqa: BLE001 - whatever it is, the path is not there, and says why
        lacking[TWO_STAGE] = f"{type(error).__name__}: {error}"
    else:
        row = rows[-1] if row is None else row
        paths[TWO_STAGE] = _way_of_stage_two(access)
    reported = _reported(entries, ids[0], row)
    if reported in _NO_LIST:
        lacking[TOP_K] = _NO_LIST[reported]
    else:
        paths[TOP_K] = f"logprobs while generating ({reported})"
    if not access.scores_inputs:
        lacking[SCORED] = "GenerationConfig has no logprob_start_len"
    else:
        try:
            await access.score_ids(prepared, [*prepared.ids, *ids], start=len(prepared.ids), count=1)
        except Exception as error:  # noqa: BLE001 - as above
            lacking[SCORED] = f"{type(error).__name__}: {error}"
        else:
            paths[SCORED] = "logprob_start_len with max_new_tokens=0"
    access.reset()
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
    full = [path for path in best if path in (TWO_STAGE, CAPTURED)]
    chosen = tuple(asked or full or best[:1])
    if not chosen:
        reasons = "; ".join(f"{path}: {why}" for path, why in found.lacking.items())
        raise EngineError(
            ErrorKind.LOAD, f"LMDeploy generates, but there is no path to its probabilities ({reasons})"
        )
    return chosen


async def _stage_two(access: Access, prepared: Prepared) -> tuple[Tensor, bool | None]:
    """Rows of the prompt; and whether the last is divided by a temperature that LMDeploy is given."""
    rows = await access.full_logits(prepared.inputs, prepared.ids, temperature=1.0)
    rows = rows.clone()
    if not access.runs:
        return rows, None
    other = await access.full_logits(prepared.inputs, prepared.ids, temperature=_LMDEPLOYS_TEMPERATURE)
    plain, last = rows[-1].double(), other[-1].double()
    scaled = (last - plain / _LMDEPLOYS_TEMPERATURE).abs().max() < (last - plain).abs().max()
    return rows, bool(scaled)


def _way_of_stage_two(access: Access) -> str:
    inputs = "preprocess" if access.makes_requests else "get_prompt_input"
    if not access.runs:
        return f"{inputs}, async_get_logits (no images)"
    ended = ", the sequence ended by the caller" if access.ends_sequences else ""
    return f"{inputs}, safe_run with output_logits=all{ended}"


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

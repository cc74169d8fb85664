"""How probable a text is that is accepted, under teacher forcing: its ids are put behind the prompt.

The end of the model's turn is one of the places that are scored, as '19' is no '1984': there all stop tokens
of the engine count together, since which of them a model ends with is nobody's concern.

Shapes: A ids of the target, A + 1 scores; V columns of the logits.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.distributions import log1mexp, log_share, log_softmax
from harness.engines.contract import Reading, Row, TokenScore

__all__ = ["score_entries", "score_row", "token_texts", "with_target"]

_ROUNDING = 1e-6
"""What a log-probability that came in float32 may be off by near 0."""


def score_row(row: Row, wanted: Sequence[int]) -> TokenScore:
    """The score by the raw logits ``row`` [V], without NaN, of the token ``wanted``, or of any of several."""
    values = np.array(row, dtype=np.float64)
    best = int(values.argmax())
    logprob, logit = log_share(values, wanted), float(values[list(wanted)].max())
    logprobs = log_softmax(values)
    logprobs[list(wanted)] = -np.inf
    rival = int(logprobs.argmax())
    told = float(logprobs[rival])
    return TokenScore(logprob, logit, rival if told > -math.inf else -1, told, best in wanted)


def score_entries(entries: Mapping[int, float], wanted: Sequence[int]) -> TokenScore:
    """The same where the most probable ids of a place are told with their log-probabilities.

    Of one that is not among them the log-probability is ``-inf``; see `with_target` for what that means.
    """
    own = {token: value for token in wanted if (value := entries.get(token, -math.inf)) > -math.inf}
    logprob = min(0.0, math.log(math.fsum(map(math.exp, own.values())))) if own else -math.inf
    others = [(-value, token) for token, value in entries.items() if token not in wanted]
    value, rival = min(others, default=(math.inf, -1))
    best = min(entries, key=lambda token: (-entries[token], token), default=-1)
    return TokenScore(logprob, math.nan, rival, -value, best in wanted)


def with_target(
    reading: Reading, scores: Sequence[TokenScore], *, whole: int, ceiling: float = 0.0
) -> Reading:
    """``reading`` with the ``scores`` of a target that has ``whole`` of them, the end's among them.

    With fewer, or with a last one that is not told and whose log-probability is ``ceiling`` at most, the
    text's probability is known by what it can be at most. Where values came in float32 and leave next to
    nothing for anything else, that is what is bounded.
    """
    known = [score.logprob for score in scores]
    rounded = any(math.isnan(score.logit) for score in scores)
    if len(scores) < whole or -math.inf in known:
        most = math.fsum(value if value > -math.inf else ceiling for value in known)
        logits, ceilings = [-math.inf, -math.inf], [min(0.0, most), 0.0]
    else:
        total = math.fsum(known)
        rest = log1mexp(min(total, -sys.float_info.min))
        logits, ceilings = [total, rest], [total, rest] if rounded else []
        if rounded and total > -_ROUNDING:
            logits, ceilings = [total, -math.inf], [total, math.log(_ROUNDING)]
    return replace(
        reading,
        letter_logits=tuple(float(np.float32(logit)) for logit in logits),
        log_z=0.0,
        other_spellings=(),
        letter_ranks=(),
        letter_ceilings=tuple(float(np.float32(value)) for value in ceilings),
        target=tuple(scores),
    )


def token_texts(
    decode: Callable[[list[int]], str], target: Sequence[int], readings: Sequence[Reading]
) -> dict[int, str]:
    """The texts of a target's ids, and of what each reading would have written instead, by id."""
    instead = [
        next((score.rival for score in reading.target if not score.picked), -1) for reading in readings
    ]
    return {token: decode([token]) for token in dict.fromkeys((*target, *instead)) if token >= 0}

"""The path ``scored``: LMDeploy scores the tokens of its own input, so a letter is put there to be scored.

No row of logits comes back, only log-probabilities: of the tokens put behind the prompt, and of the most
probable ones at each place. One request for what was generated, and one for each letter behind the prefix.

Shapes: T generated tokens, L letters, k entries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from harness.engines.contract import Entry, Reading
from harness.engines.letters import LetterIds
from harness.engines.lmdeploy_pipeline.options import SCORED
from harness.engines.lmdeploy_pipeline.steps.contract import Entries, Prepared, Steps

__all__ = ["InputScores", "score_inputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputScores:
    """``generated`` [T] are the entries at each generated token; ``letters`` [L], empty without an answer."""

    generated: tuple[Entries, ...]
    letters: tuple[float, ...]

    def reading(self, generated_ids: Sequence[int], *, step: int | None, top_k: int) -> Reading:
        """What the path saw: a partial reading, though one in which no letter is missing."""
        argmax = tuple(_descending(entries)[0].id for entries in self.generated)
        logprobs = tuple(
            float(entries[token]) for token, entries in zip(generated_ids, self.generated, strict=True)
        )
        if step is None:
            return Reading(path=SCORED, argmax=argmax, logprobs=logprobs)
        return Reading(
            path=SCORED,
            argmax=argmax,
            logprobs=logprobs,
            letter_logits=self.letters,
            log_z=0.0,
            top=tuple(_descending(self.generated[step])[:top_k]),
            letter_ceilings=self.letters,
        )


async def score_inputs(
    steps: Steps,
    prepared: Prepared,
    generated_ids: tuple[int, ...],
    *,
    letter_ids: LetterIds,
    count: int,
) -> InputScores:
    """Score what was generated and every letter, all at once, with the ``count`` most probable at each place.

    Raises LMDeploy's own RequestError, and EngineError(FAILED).
    """
    answered = letter_ids.answer_step(generated_ids) is not None
    letters = [(*letter_ids.prefix_ids, token) for token in letter_ids.ids] if answered else []
    behind = list(dict.fromkeys([generated_ids, *letters]))
    found = await asyncio.gather(*(steps.score_ids(prepared, ids, count=count) for ids in behind))
    scores = dict(zip(behind, found, strict=True))
    return InputScores(
        generated=scores[generated_ids],
        letters=tuple(float(scores[ids][-1][ids[-1]]) for ids in letters),
    )


def _descending(entries: Entries) -> list[Entry]:
    made = (Entry(int(token), float(value)) for token, value in entries.items())
    return sorted(made, key=lambda entry: (-entry.logprob, entry.id))

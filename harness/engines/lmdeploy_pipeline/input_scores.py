"""The path ``scored``: LMDeploy scores the tokens of its own input, so a letter is put there to be scored.

No row of logits comes back, only log-probabilities: of the tokens put behind the prompt, and of the most
probable ones at each place. One request for what was generated, and one for each letter behind the prefix, or
for each token that can end a text.

Shapes: T generated tokens, L letters, k entries.
"""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass

from harness.engines.contract import Entry, Reading
from harness.engines.letters import LetterIds
from harness.engines.lmdeploy_pipeline.options import SCORED
from harness.engines.lmdeploy_pipeline.steps.contract import Entries, Prepared, Steps
from harness.engines.target_scores import score_entries, with_target

__all__ = ["InputScores", "score_inputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputScores:
    """``generated`` [T] are the entries at each generated token; ``letters`` [L], empty without an answer.

    ``target`` are those at each token of a text and at its end, with all that may end it.
    """

    generated: tuple[Entries, ...]
    letters: tuple[float, ...]
    target: tuple[Entries, ...] = ()

    def reading(self, generated_ids: Sequence[int], *, letter_ids: LetterIds, top_k: int) -> Reading:
        """What the path saw: a partial reading, though one in which no letter is missing."""
        step = letter_ids.answer_step(generated_ids)
        argmax = tuple(_descending(entries)[0].id for entries in self.generated)
        logprobs = tuple(
            float(entries[token]) for token, entries in zip(generated_ids, self.generated, strict=True)
        )
        if step is None:
            return Reading(path=SCORED, argmax=argmax, logprobs=logprobs)
        found = Reading(
            path=SCORED,
            argmax=argmax,
            logprobs=logprobs,
            letter_logits=self.letters,
            log_z=0.0,
            top=tuple(_descending(self.generated[step])[:top_k]),
            letter_ceilings=self.letters,
        )
        if not self.target:
            return found
        scores = [score_entries(each, letter_ids.wanted(place)) for place, each in enumerate(self.target)]
        return with_target(found, scores, whole=len(scores))


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
    target = letter_ids.target
    ends = [(*target, stop) for stop in letter_ids.stops] if target else []
    count = max(count, len(letter_ids.stops) + 1) if target else count  # a rival is to be among them
    behind = list(dict.fromkeys([generated_ids, *letters, *ends]))
    found = await asyncio.gather(*(steps.score_ids(prepared, ids, count=count) for ids in behind))
    scores = dict(zip(behind, found, strict=True))
    return InputScores(
        generated=scores[generated_ids],
        letters=tuple(float(scores[ids][-1][ids[-1]]) for ids in letters),
        target=(*scores[ends[0]][:-1], ChainMap(*({**scores[end][-1]} for end in ends))) if ends else (),
    )


def _descending(entries: Entries) -> list[Entry]:
    made = (Entry(int(token), float(value)) for token, value in entries.items())
    return sorted(made, key=lambda entry: (-entry.logprob, entry.id))

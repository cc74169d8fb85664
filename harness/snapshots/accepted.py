"""What is accepted of an engine's answers, as data; `harness.snapshots.files` keeps it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from harness.engines.contract import Answer, Json, Reading, TokenScore
from harness.recordings.fingerprint import digest, rendered_of
from harness.recordings.store import Recording
from harness.snapshots.answers import DECIMALS, LOWERED, TOKENS, snapshot_data

__all__ = [
    "ROUNDING",
    "Acceptance",
    "AcceptedCase",
    "AcceptedSuite",
    "Moved",
    "accepted_case",
    "engine_folder",
    "probabilities",
    "suite_of",
]

ROUNDING = 1e-6 / math.sqrt(12)
"""Standard deviation of what rounding to six decimals adds to a log-odds."""

_AT_MOST = "at most"
# Less than was rounded away: of letters that became equal, the one that was on top stays there.
_ABOVE = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedCase:
    """What was accepted of one case; the fields are those of its line, in its order.

    ``letters`` has probabilities and ``logprobs`` log-probabilities, a number or ``{"at most": bound}`` each,
    in the order on offer; both are empty if the letter was not reached. What was not kept is None. Of a text
    ``tokens`` has the log-probabilities of each token and of the most probable other one.
    """

    top: str | None
    text: str
    letters: Mapping[str, Json]
    logprobs: Mapping[str, Any] | None
    token_ids: Sequence[int] | None
    dtype: str
    asked: Mapping[str, Json] | None
    rendered: Mapping[str, Json] | None
    lowered: str = ""
    tokens: Sequence[Sequence[float | None]] = ()

    def recording(self, case: str, engine: str, fingerprint: Mapping[str, Json]) -> Recording:
        """As a recording, so that it can be set beside one; of a case that has ``logprobs``."""
        readings: tuple[Reading, ...] = ()
        if known := self.logprobs:
            partial = any(not isinstance(value, float) for value in known.values())
            logits = [
                min(0.0, value + _ABOVE * (letter == self.top)) if isinstance(value, float) else -math.inf
                for letter, value in known.items()
            ]
            ceilings = [v if isinstance(v, float) else v[_AT_MOST] for v in known.values()]
            reading = Reading(
                path="accepted",
                argmax=(),
                logprobs=(),
                letter_logits=tuple(logits),
                log_z=0.0,
                letter_ceilings=tuple(ceilings) if partial else (),
                target=tuple(self._score(*each) for each in self.tokens),
            )
            readings = (reading,)
        answer = Answer(
            prompt_ids=(),
            generated_ids=(),
            text=self.text,
            letter_ids=(),
            answer_step=0 if readings else None,
            readings=readings,
        )
        key = f"accepted-{digest(self.to_json())}"
        return Recording(
            key=key, case=case, engine=engine, answer=answer, fingerprint=fingerprint, asked=self.asked
        )

    def _score(self, own: float | None, rival: float | None) -> TokenScore:
        logprob, other = (-math.inf if value is None else value for value in (own, rival))
        picked = self.top == next(iter(self.letters)) or logprob >= other
        return TokenScore(logprob, math.nan, -1, other, picked)

    def to_json(self) -> dict[str, Json]:
        """As on its line, without name and sum."""
        held = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in held.items() if name not in (LOWERED, TOKENS) or value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The old and the new probabilities of a case that moved; ``old`` None for a new case, and so ``new``."""

    why: str
    old: Mapping[str, Json] | None
    new: Mapping[str, Json] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """One decision to take an engine's answers for what is accepted.

    ``verdict`` and ``sentence`` are those of the gate from what was accepted before, '' for the first one.
    ``lost`` names the cases whose right answer was given up. ``moved`` is by case name.
    """

    decision: str
    author: str
    reason: str
    verdict: str
    sentence: str
    lost: Sequence[str]
    moved: Mapping[str, Moved] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedSuite:
    """A whole file; ``model`` is what the profile calls the model. Decisions are oldest first."""

    profile: str
    engine: str
    suite: str
    model: str = ""
    fingerprint: Mapping[str, Json] = field(default_factory=dict)
    decisions: tuple[Acceptance, ...] = ()
    cases: Mapping[str, AcceptedCase] = field(default_factory=dict)

    def file(self, snapshots: Path) -> Path:
        """Its file under the folder of snapshots."""
        return engine_folder(snapshots, self.profile, self.engine) / f"{self.suite}.jsonl"

    def of(self, names: Iterable[str]) -> list[str]:
        """Those of the cases named that are of this suite."""
        return [name for name in names if suite_of(name) == self.suite]


def engine_folder(snapshots: Path, profile: str, engine: str) -> Path:
    """Where the accepted outputs of an engine stand, under the folder of snapshots."""
    return snapshots / profile / engine


def suite_of(case: str) -> str:
    """The suite of a case's name."""
    return case.partition(".")[0]


def accepted_case(
    answer: Answer, letters: Sequence[str], dtype: str, asked: Mapping[str, Json] | None
) -> AcceptedCase:
    """What is kept of an answer to a case with these ``letters`` on offer."""
    reading = answer.readings[0] if answer.readings else None
    known = None if reading is None or reading.log_z is None else reading
    held: dict[str, Any] = snapshot_data(answer, letters, dtype)
    logprobs = {} if known is None else _logprobs(known, letters)
    scores = () if known is None else known.target
    tokens = [[_rounded(score.logprob), _rounded(score.rival_logprob)] for score in scores]
    return AcceptedCase(**held, logprobs=logprobs, asked=asked, rendered=rendered_of(answer), tokens=tokens)


def _rounded(value: float) -> float | None:
    return float(round(value, DECIMALS)) if math.isfinite(value) else None


def _logprobs(reading: Reading, letters: Sequence[str]) -> dict[str, Json]:
    log_z = reading.log_z or 0.0
    found: dict[str, Json] = {}
    for index, (letter, logit) in enumerate(zip(letters, reading.letter_logits, strict=True)):
        if reading.partial and logit == -math.inf:
            ceiling = math.ceil(reading.letter_ceilings[index] * 10**DECIMALS) / 10**DECIMALS
            found[letter] = {_AT_MOST: ceiling}
        else:
            found[letter] = float(round(logit - log_z, DECIMALS))
    return found


def probabilities(logprobs: Mapping[str, Any]) -> dict[str, Json]:
    """What `snapshot_data` makes of the same letters, to the last of its digits."""
    return {
        letter: float(round(math.exp(value), DECIMALS))
        if isinstance(value, float)
        else {_AT_MOST: math.ceil(math.exp(value[_AT_MOST]) * 10**DECIMALS) / 10**DECIMALS}
        for letter, value in logprobs.items()
    }

"""Accepted baselines: one reviewable JSON file per engine, written by `harness accept` and by nothing else.

``SNAPSHOTS/baselines/PROFILE-ENGINE.json`` holds what was accepted of each case, a line each, and the list of
all acceptances, oldest first, which only grows. Letters have natural log-probabilities over the whole
vocabulary, to six decimals; one outside the top that the engine told of has ``{"at most": ...}``. Each case
and the whole file carry a sum, so that an edit by hand is found where it was made.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.cases.problems import ProblemList, shown
from harness.cases.validation import validate
from harness.cases.yaml_source import parse_document
from harness.checks.answers import top_index
from harness.engines.contract import Answer, Json, Reading
from harness.errors import GateError
from harness.recordings.fingerprint import asked_today, digest
from harness.recordings.store import Recording
from harness.schemas.accepted import AcceptedFile

__all__ = [
    "ROUNDING",
    "Acceptance",
    "AcceptedBaseline",
    "AcceptedCase",
    "Moved",
    "accepted_case",
    "read_accepted",
    "write_accepted",
]

ROUNDING = 1e-6 / math.sqrt(12)
"""Standard deviation of what rounding to six decimals adds to a log-odds."""

_DECIMALS = 6
_VERSION = 1
_AT_MOST = "at most"
_SUM_DIGITS = 12
_ABOUT = "Accepted by `harness accept`, which alone writes this file; see docs/gate.md"
_PATH = "accepted"
# Less than was rounded away: of letters that became equal, the one that was on top stays there.
_ABOVE = 1e-7

LogShare = float | Mapping[str, float]
"""A log-probability, or ``{"at most": bound}``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedCase:
    """What was accepted of one case: ``letters`` in the order on offer, empty if the letter was not reached.

    ``asked`` is as `harness.recordings.fingerprint.asked_of` gives it, ``top`` the top letter, None where
    undecided.
    """

    asked: Mapping[str, Json]
    letters: Mapping[str, LogShare]
    top: str | None
    text: str

    @property
    def shares(self) -> dict[str, float | dict[str, float]]:
        """Probabilities of the letters, to six decimals, for people."""
        return {
            letter: round(math.exp(value), _DECIMALS)
            if isinstance(value, float)
            else {_AT_MOST: math.ceil(math.exp(value[_AT_MOST]) * 10**_DECIMALS) / 10**_DECIMALS}
            for letter, value in self.letters.items()
        }

    def recording(self, case: str, engine: str, fingerprint: Mapping[str, Json]) -> Recording:
        """As a recording, so that it can be set beside one."""
        readings: tuple[Reading, ...] = ()
        if self.letters:
            partial = any(not isinstance(value, float) for value in self.letters.values())
            logits = [
                value + _ABOVE * (letter == self.top) if isinstance(value, float) else -math.inf
                for letter, value in self.letters.items()
            ]
            ceilings = [v if isinstance(v, float) else v[_AT_MOST] for v in self.letters.values()]
            reading = Reading(
                path=_PATH,
                argmax=(),
                logprobs=(),
                letter_logits=tuple(logits),
                log_z=0.0,
                letter_ceilings=tuple(ceilings) if partial else (),
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
        return Recording(
            key=f"{_PATH}-{digest(self.to_json())}",
            case=case,
            engine=engine,
            answer=answer,
            fingerprint=fingerprint,
            asked=self.asked,
        )

    def to_json(self) -> dict[str, Json]:
        """As in the file, without the sum."""
        letters: dict[str, Json] = {
            letter: value if isinstance(value, float) else dict(value)
            for letter, value in self.letters.items()
        }
        return {"asked": dict(self.asked), "letters": letters, "text": self.text, "top": self.top}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The old and the new distribution of a case that moved; ``old`` None for a new case, and so ``new``."""

    why: str
    old: Mapping[str, Json] | None
    new: Mapping[str, Json] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """One decision to take an engine's answers for the baseline.

    ``verdict`` and ``sentence`` are those of the gate from the old to the new baseline, '' for the first one.
    ``lost`` names the cases whose right answer was given up. ``moved`` is by case name.
    """

    date: str
    author: str
    reason: str
    verdict: str
    sentence: str
    lost: tuple[str, ...]
    moved: Mapping[str, Moved]


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedBaseline:
    """The whole file; ``model`` is what the profile calls the model. ``accepted`` has at least one entry."""

    profile: str
    engine: str
    model: str
    fingerprint: Mapping[str, Json]
    cases: Mapping[str, AcceptedCase]
    accepted: tuple[Acceptance, ...]


def accepted_case(recording: Recording, letters: Sequence[str], asked: Mapping[str, Json]) -> AcceptedCase:
    """What is kept of a recording."""
    answer = recording.answer
    reading = answer.readings[0] if answer.readings else None
    index = None if reading is None else top_index(reading, answer.letter_ids)
    return AcceptedCase(
        asked=asked,
        letters={} if reading is None or reading.log_z is None else _log_shares(reading, letters),
        top=None if index is None else letters[index],
        text=answer.text,
    )


def _log_shares(reading: Reading, letters: Sequence[str]) -> dict[str, LogShare]:
    log_z = reading.log_z or 0.0
    found: dict[str, LogShare] = {}
    for index, (letter, logit) in enumerate(zip(letters, reading.letter_logits, strict=True)):
        if reading.partial and logit == -math.inf:
            ceiling = math.ceil(reading.letter_ceilings[index] * 10**_DECIMALS) / 10**_DECIMALS
            found[letter] = {_AT_MOST: ceiling}
        else:
            found[letter] = float(round(logit - log_z, _DECIMALS))
    return found


def write_accepted(file: Path, baseline: AcceptedBaseline) -> None:
    """Write the file, whole or not at all; raises OSError."""
    text = _text(baseline)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(file)


def _text(baseline: AcceptedBaseline) -> str:
    data = _summed(baseline)
    head = {name: data[name] for name in ("about", "engine", "fingerprint", "model", "profile", "version")}
    lines = json.dumps(head, indent=1, sort_keys=True, ensure_ascii=False).splitlines()[:-1]
    lines[-1] += ","
    for name in ("accepted", "cases"):
        lines += _block(name, data[name])
    lines += [f' "sum": {json.dumps(data["sum"])}', "}"]
    return "\n".join(lines) + "\n"


def _block(name: str, value: Any) -> list[str]:  # noqa: ANN401 - JSON of either kind below
    if isinstance(value, dict):
        entries = [f"  {_line(key)}: {_line(one)}" for key, one in value.items()]
        return [f' "{name}": {{', ",\n".join(entries), " },"]
    return [f' "{name}": [', ",\n".join(_acceptance_text(one) for one in value), " ],"]


def _acceptance_text(entry: Mapping[str, Any]) -> str:
    moved = [f"    {_line(case)}: {_line(one)}" for case, one in entry["moved"].items()]
    others = [f"   {_line(name)}: {_line(entry[name])}" for name in sorted(entry) if name != "moved"]
    block = '   "moved": {' + ("\n" + ",\n".join(moved) + "\n   }" if moved else "}")
    return "  {\n" + ",\n".join([*others, block]) + "\n  }"


def _line(value: Any) -> str:  # noqa: ANN401 - any JSON
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _summed(baseline: AcceptedBaseline) -> dict[str, Any]:
    cases = {
        name: {**one.to_json(), "sum": _sum(one.to_json())} for name, one in sorted(baseline.cases.items())
    }
    data: dict[str, Any] = {
        "about": _ABOUT,
        "version": _VERSION,
        "profile": baseline.profile,
        "engine": baseline.engine,
        "model": baseline.model,
        "fingerprint": dict(baseline.fingerprint),
        "accepted": [_acceptance_json(one) for one in baseline.accepted],
        "cases": cases,
    }
    return {**data, "sum": _sum(data)}


def _acceptance_json(one: Acceptance) -> dict[str, Any]:
    return {
        "date": one.date,
        "author": one.author,
        "reason": one.reason,
        "verdict": one.verdict,
        "sentence": one.sentence,
        "lost": list(one.lost),
        "moved": {case: {"why": m.why, "old": m.old, "new": m.new} for case, m in sorted(one.moved.items())},
    }


def _sum(data: Any) -> str:  # noqa: ANN401 - any JSON
    return digest(data)[:_SUM_DIGITS]


def read_accepted(file: Path) -> AcceptedBaseline:
    """Read an accepted baseline.

    Raises `GateError` with file and line where there is none, where it is damaged, and where it was edited.
    """
    try:
        raw = file.read_bytes()
        data = json.loads(raw)
    except FileNotFoundError:
        raise GateError(
            f"{shown(file)}: found no accepted baseline; make one:\n"
            "  harness accept PROFILE/ENGINE --reason TEXT --author NAME"
        ) from None
    except json.JSONDecodeError as error:
        raise _damaged(f"{shown(file)}:{error.lineno}:{error.colno}: found no JSON ({error.msg})") from error
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(f"{shown(file)}: cannot be read ({error})") from error
    problems = ProblemList()
    document = parse_document(raw, file.absolute(), problems)
    try:
        AcceptedFile.model_validate(data)
    except ValidationError as error:
        # YAML, of which JSON is a part, knows the places.
        validate(AcceptedFile, document)
        if not len(problems):
            document.add((), str(error), "what harness accept wrote")
    else:
        for name, case in data["cases"].items():
            own = {key: value for key, value in case.items() if key != "sum"}
            if case["sum"] != _sum(own):
                document.add(("cases", name), "a case that was edited", "what harness accept wrote")
        if not len(problems) and data["sum"] != _sum({k: v for k, v in data.items() if k != "sum"}):
            document.add(("sum",), "another sum than the file's content has", "what harness accept wrote")
    if len(problems):
        raise _damaged("\n".join(str(problem) for problem in problems.in_file_order()))
    return _baseline(data)


def _damaged(text: str) -> GateError:
    return GateError(
        f"{text}\nRestore the file from version control; to change what is accepted, use harness accept"
    )


def _baseline(data: Mapping[str, Any]) -> AcceptedBaseline:
    return AcceptedBaseline(
        profile=data["profile"],
        engine=data["engine"],
        model=data["model"],
        fingerprint=data["fingerprint"],
        cases={name: _case(case) for name, case in data["cases"].items()},
        accepted=tuple(
            Acceptance(
                **{**entry, "lost": tuple(entry["lost"])}
                | {"moved": {case: Moved(**moved) for case, moved in entry["moved"].items()}}
            )
            for entry in data["accepted"]
        ),
    )


def _case(data: Mapping[str, Any]) -> AcceptedCase:
    offered = data["asked"]["letters"]
    letters: dict[str, LogShare] = {
        letter: value if isinstance(value, dict) else float(value)
        for letter, value in data["letters"].items()
    }
    ordered = {letter: letters[letter] for letter in offered if letter in letters}
    return AcceptedCase(asked=asked_today(data["asked"]), letters=ordered, top=data["top"], text=data["text"])

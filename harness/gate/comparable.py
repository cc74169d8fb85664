"""Whether two sides can be compared: the same questions, and the weights that the profile means."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from harness.cases.problems import shown
from harness.cases.profiles import Profile
from harness.cases.suites import Case
from harness.engines.contract import Json
from harness.errors import EngineError, GateError
from harness.gate.side import GateSide, few
from harness.recordings.fingerprint import asked_of, digest, recording_key
from harness.recordings.store import Recording
from harness.scoring.scoring import Scoring
from harness.scoring.subjects import Subject, images_of, request_for

__all__ = [
    "ALLOWED",
    "MODEL_UPGRADE",
    "QUESTION",
    "WEIGHTS",
    "Common",
    "asked_now",
    "differing_question",
    "find_common",
    "is_upgrade",
    "renamed_since",
    "require_comparable",
]

WEIGHTS, MODEL_UPGRADE, QUESTION = "weights", "model-upgrade", "question"
ALLOWED = (WEIGHTS, MODEL_UPGRADE, QUESTION)
"""What `--allow` may name; ``--model-upgrade`` is short for the second."""

# Of what a case asks, what decides the distribution over the letters, with its name for people.
_FIELDS: Mapping[str, str] = {
    "letters": "letters",
    "target": "accepted text",
    "images": "image",
    "prompt": "prompt",
    "system": "system message",
    "answer_prefix": "answer prefix",
}
_UNKNOWN = "question (recorded before the harness kept what was asked, and not what is asked today)"
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx")
_MOST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """The cases of two sides: ``both`` to be judged, and names of those that one side only was asked.

    ``missing`` are those of ``both`` that the candidate was to be asked and was not, and ``unasked`` those of
    the suites that neither side was asked, stored as both are. ``gone`` are in a side and in no suite any
    more. ``renamed`` has those that a side knows by another name, by that.
    """

    both: tuple[Case, ...] = ()
    missing: tuple[str, ...] = ()
    only_baseline: tuple[str, ...] = ()
    only_candidate: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)


def asked_now(
    cases: Sequence[Case], sides: Sequence[GateSide], profiles: Sequence[Profile], scoring: Scoring
) -> dict[str, Mapping[str, Json]]:
    """What each case asks as the suites are now, of an engine of the last of the ``sides``' known profiles.

    Without any, and so without what the profile may put in as a system message. A case with an image that
    cannot be read is left out where a live side tells of it; else `EngineError` is raised.
    """
    names = [side.profile for side in sides]
    known = sorted((one for one in profiles if one.name in names), key=lambda one: names.index(one.name))
    found: dict[str, Mapping[str, Json]] = {}
    for case in cases if profiles else ():
        profile = known[-1] if known else profiles[0]
        try:
            asked = scoring.asked(Subject(case, profile, profile.engines[0]))
        except EngineError:
            if any(side.live for side in sides):
                continue
            raise
        if not known and case.system is None:
            del asked["system"]
        held = (side.asked.get(case.name) for side in sides)  # thousands of them share memory
        found[case.name] = next((one for one in held if one == asked), asked)
    return found


def renamed_since(
    side: GateSide, asked: Mapping[str, Mapping[str, Json] | None], cases: Sequence[Case]
) -> dict[str, str]:
    """Cases of the ``side`` that have another name now, by the old one: those that ask the very same.

    ``asked`` is what the present ``cases`` ask. Only a question that one old and one new case ask alone.
    """
    known = {case.name for case in cases}
    if known.issuperset(side.asked):
        return {}
    old, new = (
        _by_question({name: one for name, one in held.items() if (name in known) is wanted})
        for held, wanted in ((side.asked, False), (asked, True))
    )
    new = {question: name for question, name in new.items() if name not in side.asked}
    return {name: new[question] for question, name in old.items() if question in new}


def _by_question(asked: Mapping[str, Mapping[str, Json] | None]) -> dict[str, str]:
    """The only case that asks it, by the hash of a question."""
    found: dict[str, list[str]] = {}
    for name, question in asked.items():
        if question is not None:
            found.setdefault(digest(dict(question)), []).append(name)
    return {question: names[0] for question, names in found.items() if len(names) == 1}


def find_common(
    baseline: GateSide,
    candidate: GateSide,
    cases: Sequence[Case],
    profiles: Sequence[Profile],
    *,
    every: Collection[str] = (),
) -> Common:
    """Which of ``cases`` are compared; ``every`` names all that the folder has, where those are more.

    A case that the baseline has must be answered by the candidate too, unless the candidate was asked nothing
    of its suite; else leaving cases out would be a way past the gate.
    """
    known = {case.name: case for case in cases}
    ours, theirs = set(candidate.cases), set(baseline.cases)
    suites = {known[name].suite for name in ours if name in known}
    missing = {name for name in theirs - ours if name in known and known[name].suite in suites}
    either, only_theirs, only_ours = theirs | ours, theirs - ours - missing, ours - theirs
    both = [case for case in cases if case.name in theirs and (case.name in ours or case.name in missing)]
    asking = [one for one in profiles if one.name in (baseline.profile, candidate.profile)]
    # What stored runs know by a former name too has one recording under both.
    held = {one.key for side in (baseline, candidate) for c in known if (one := side.recordings.get(c))}
    former = {c for side in (baseline, candidate) for c, one in side.recordings.items() if one.key in held}
    return Common(
        both=tuple(both),
        missing=tuple(case.name for case in cases if case.name in missing),
        only_baseline=tuple(c.name for c in cases if c.name in only_theirs),
        only_candidate=tuple(case.name for case in cases if case.name in only_ours),
        unasked=tuple(
            case.name
            for case in cases
            if case.name not in either and all(profile.takes(case) for profile in asking)
        ),
        gone=tuple(sorted(either - known.keys() - set(every) - former)),
    )


def require_comparable(
    baseline: GateSide,
    candidate: GateSide,
    common: Common,
    profiles: Sequence[Profile],
    now: Mapping[str, Mapping[str, Json]],
    *,
    allow: Collection[str] = (),
    asking: str = "",
) -> tuple[str, ...]:
    """What of ``allow`` was let pass; raises `GateError` with the differing fields for anything else.

    ``now`` is what the suites ask now, and ``asking`` the command that asks it.
    """
    problems = [] if is_upgrade(baseline, candidate, allow) else _other_weights(baseline, candidate)
    let_pass = (WEIGHTS,) if problems and WEIGHTS in allow else ()
    problems = [] if let_pass else problems
    found = [
        f"{case.location}: {case.name}: another {field}"
        for case in common.both
        if (field := differing_question(case, baseline, candidate, profiles, now.get(case.name))) is not None
    ]
    problems += found[:_MOST]
    if len(found) > _MOST:
        problems.append(f"and {len(found) - _MOST} more cases")
    if not problems:
        return let_pass
    lines = [f"{baseline.label} and {candidate.label} cannot be compared; nothing was judged:"]
    lines += [f"  {problem}" for problem in problems]
    if found:
        lines.append(
            "allowed: the same letters, image, prompt, system message and answer prefix on both sides, "
            "and in what is asked now"
        )
        lines.append(
            "For a case that was edited on purpose, accept its new answer (harness accept), or compare with "
            f"a run from after the edit{f'; to ask it: {asking}' if asking else '.'}"
        )
    raise GateError("\n".join(lines))


def differing_question(
    case: Case,
    baseline: GateSide,
    candidate: GateSide,
    profiles: Sequence[Profile],
    now: Mapping[str, Json] | None,
) -> str | None:
    """The field in which the sides were asked differently, or stored ones otherwise than is asked ``now``.

    With the files of images that differ; None where there is none. A side that could not answer was asked
    nothing that could differ.
    """
    asked = []
    for side in (baseline, candidate):
        recording = side.recordings.get(case.name)
        if recording is None:
            continue
        known = side.asked.get(case.name)
        if known is None:
            today = _same_as_today(case, side, recording, profiles)
            if today is None:
                return _UNKNOWN
            known = today
        asked.append(known)
    sides = len(asked)
    if now is not None and asked and not (baseline.live or candidate.live):
        # The suite of today says what is expected, and that its cases were asked.
        without = {name: one for name, one in asked[-1].items() if name != "target"}
        asked.append({**without, **now})
    for name, title in _FIELDS.items():
        values = [one.get(name) for one in asked]
        if all(value == values[0] for value in values):
            continue
        since = " than is asked now" if all(value == values[0] for value in values[:sides]) else ""
        lists = [value if isinstance(value, list) else [] for value in values] if name == "images" else []
        differ = [
            shown(path)
            for place, path in enumerate(case.images)
            if any(one[place : place + 1] != lists[-1][place : place + 1] for one in lists)
        ]
        return f"{title}{since}{f': {few(differ)}' if differ else ''}"
    return None


def _same_as_today(
    case: Case, side: GateSide, recording: Recording, profiles: Sequence[Profile]
) -> Mapping[str, Json] | None:
    """What today's case asks, if that is what the recording answered: then it has today's key."""
    profile = next((one for one in profiles if one.name == side.profile), None)
    if profile is None:
        return None
    before_loading = {name: value for name, value in recording.fingerprint.items() if name != "loaded"}
    images, request = images_of(case), request_for(case, profile)
    same = recording_key(before_loading, request, images) == recording.key
    return asked_of(request, images) if same else None


def is_upgrade(baseline: GateSide, candidate: GateSide, allow: Collection[str]) -> bool:
    """Whether another model is judged, and so its accuracy: by name, or by ``allow`` under one name.

    Not where the weights are known to be the same, nor where ``allow`` names `WEIGHTS`: those are judged by
    noise, as quantised or converted weights are.
    """
    before, after = _weights(baseline.fingerprint), _weights(candidate.fingerprint)
    if WEIGHTS in allow or (before and before == after):
        return False
    return MODEL_UPGRADE in allow or bool(
        baseline.model and candidate.model and baseline.model != candidate.model
    )


def _other_weights(baseline: GateSide, candidate: GateSide) -> list[str]:
    """A line if both sides name one model whose weights were others."""
    if baseline.model != candidate.model:
        return []  # an upgrade of the model, which the profile says
    before, after = _weights(baseline.fingerprint), _weights(candidate.fingerprint)
    if not before or not after or before == after:
        return []
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    hashes = f"{str(before.get(names[0]))[:12]} and {str(after.get(names[0]))[:12]}"
    more = f" and {len(names) - 1} more files" if len(names) > 1 else ""
    return [
        f"model.files.{names[0]}{more}: other weights ({hashes}) under the same name {candidate.model}; "
        "allowed: the same weights; those of another model, to be judged by accuracy (--model-upgrade, or an "
        f"engine with another `model:`); those of the same one, quantised or converted (--allow {WEIGHTS})"
    ]


def _weights(fingerprint: Mapping[str, Json]) -> dict[str, Json]:
    model = fingerprint.get("model")
    files = model.get("files") if isinstance(model, dict) else None
    if not isinstance(files, dict):
        return {}
    return {name: value for name, value in files.items() if PurePath(name).suffix.lower() in _WEIGHT_SUFFIXES}

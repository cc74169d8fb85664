"""A suite's margins, from the recordings that the last runs of an engine used. No engine is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.cases.profiles import EngineSpec, Profile
from harness.cases.suites import Case, Suite
from harness.checks.agreement import compare
from harness.checks.tolerances import known_dtypes, resolve
from harness.errors import HarnessError
from harness.noise.choosing import fitting_floor
from harness.recordings.fingerprint import asked_of, digest, loaded_dtype
from harness.recordings.store import Recording, RecordingStore
from harness.scoring.stored_runs import StoredRuns
from harness.scoring.subjects import images_of, request_for
from harness.verdicts.case_judging import Look, look
from harness.verdicts.noise_model import Noise
from harness.verdicts.verdict import Change

__all__ = ["Margins", "NoRecordings", "cluster_of", "read_margins"]


class NoRecordings(HarnessError):  # noqa: N818 - it says what is missing
    """There are no recordings of a suite to plan with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """What a plan is made of: each case of the suite beside itself, and the noise of the profile's cases.

    ``unrecorded`` names the cases without a recording of what they ask now.
    """

    looks: tuple[Look, ...]
    unrecorded: tuple[str, ...]
    noise: Noise


def read_margins(
    suite: Suite,
    profile: Profile,
    engine: EngineSpec,
    *,
    root: Path,
) -> Margins:
    """The margins of ``suite`` by the recordings under ``root``.

    The noise is that of a floor, measured on this engine or one like it, or else the table's. Raises
    `NoRecordings`, which says what makes them.
    """
    recordings = _recordings(root, profile, engine)
    # What was edited since has another margin now.
    asked = {case.name: asked_of(request_for(case, profile), images_of(case)) for case in suite.cases}
    known = {
        case.name: recording
        for case in suite.cases
        if (recording := recordings.get(case.name)) is not None and recording.asked == asked[case.name]
    }
    if not known:
        why = "they ask something else by now" if recordings else "none were made"
        raise NoRecordings(
            f"found no recordings of {suite.name} by {profile.name}/{engine.name} in {root} ({why}); "
            f"allowed: those of one run at least, whose margins are planned with. To make them: "
            f"pytest --pyargs harness.suite --cases {suite.path.parent} --recordings {root} "
            f"--profile {profile.name} -k {suite.name}"
        )
    first = next(iter(known.values()))
    dtype = loaded_dtype(first.fingerprint) or engine.settings.dtype
    floor = fitting_floor(root, profile, engine.name, fingerprint=first.fingerprint, dtype=dtype)
    limits = resolve(*known_dtypes(dtype), overrides=[profile.tolerances])
    noise = Noise(floor, floor, dtypes=(dtype, dtype), table=limits.log_odds)
    looks = tuple(
        look(_beside_itself(case, known[case.name], digest(dict(asked[case.name]))))
        for case in suite.cases
        if case.name in known
    )
    return Margins(
        looks=looks,
        unrecorded=tuple(case.name for case in suite.cases if case.name not in known),
        noise=noise,
    )


def _recordings(root: Path, profile: Profile, engine: EngineSpec) -> Mapping[str, Recording]:
    """By case name, those that the newest fingerprint's runs used; a later run's win."""
    runs = StoredRuns(root).of(profile.name, engine.name)
    keys: dict[str, str] = {}
    for run in runs:
        if run.fingerprint == runs[-1].fingerprint:
            keys.update(run.keys)
    store = RecordingStore(root)
    found = {case: store.get(key) for case, key in keys.items()}
    return {case: recording for case, recording in found.items() if recording is not None}


def _beside_itself(case: Case, recording: Recording, asked: str) -> Change:
    agreement = compare(recording, recording, case.letters)
    return Change.of(case, images=images_of(case), agreement=agreement, asked=asked)


def cluster_of(case: Case) -> str:
    """What cases that share an image have in common."""
    return " ".join(images_of(case)) or case.name

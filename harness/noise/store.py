"""The store of noise floors: one journal per engine of a profile, ``noise/PROFILE-ENGINE.jsonl``.

It holds what every jittered run answered (``ID:VARIANT:ASKED``), which variants or questions failed
(``failed:ID:VARIANT:ASKED``), and finished floors (``floor:ENGINE``, and ``last`` for the name of the
newest). ID is a hash of all that the runs depend on, so what an interrupted measurement left is found by the
next, and nothing else is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.checks.log_odds import SCALARS
from harness.engines.contract import Json, Request
from harness.errors import RecordingError
from harness.recordings.fingerprint import Difference, describe_differences, engine_id
from harness.recordings.journal import Journal
from harness.verdicts.noise_floor import CaseNoise, NoiseFloor, Repeats, ScalarNoise

__all__ = ["NoiseStore", "Sample", "changed", "floor_from_json", "floor_to_json", "load_floor"]

_VERSION = 1  # of the journal
_FLOOR_VERSION = 2  # of a floor's entry; 1, which did not say so, had no names of coordinates
_LAST = "last"
_LOADED = "loaded"  # what an engine says once it is loaded is no part of what a floor is known by


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one path said of one case in one run: centred ``log_odds`` [L], NaN for letters not seen.

    ``scalars`` are those of `harness.checks.log_odds.SCALARS` that are known, by name.

    ``full`` are the KL and JS over the whole vocabulary from the reference's row, empty without rows.
    ``whole`` is whether the path saw the whole row. ``size`` is the largest amount of a letter's raw logit,
    or of its log-probability where the path saw no logits; NaN where it was not kept.
    """

    path: str
    log_odds: tuple[float, ...]
    full: Mapping[str, float]
    whole: bool
    scalars: Mapping[str, float] = field(default_factory=dict)
    size: float = math.nan


class NoiseStore:
    """The journal of one engine. Methods raise `RecordingError` as `Journal` does."""

    def __init__(self, root: Path, profile: str, engine: str) -> None:
        """``root`` is the folder of recordings. Touches nothing yet."""
        path = root / "noise" / f"{profile}-{engine}.jsonl"
        self._journal = Journal(path, format_name="vlm-harness noise", version=_VERSION)
        self._names = (profile, engine)

    def samples(self, measurement: str, variant: str, asked: str) -> tuple[Sample, ...] | None:
        """What a run answered for one question; None where it was not made, () where there was no answer."""
        entry = self._journal.get(f"{measurement}:{variant}:{asked}")
        if entry is None:
            return None
        with self._journal.understood():
            return tuple(
                Sample(
                    path=one["path"],
                    log_odds=_floats(one["log_odds"]),
                    full=_named(one["full"]),
                    whole=one["whole"],
                    scalars=_named(one.get("scalars", {})),
                    size=float(one.get("size", math.nan)),
                )
                for one in entry["samples"]
            )

    def put_samples(self, measurement: str, variant: str, asked: str, samples: Sequence[Sample]) -> None:
        """Keep what a run answered."""
        kept: list[Json] = [
            {
                "path": one.path,
                "log_odds": _plain(one.log_odds),
                "full": _texts(one.full),
                "whole": one.whole,
                "scalars": dict(one.scalars),
                **({} if math.isnan(one.size) else {"size": one.size}),
            }
            for one in samples
        ]
        self._journal.append(f"{measurement}:{variant}:{asked}", {"samples": kept})

    def failure(self, measurement: str, variant: str) -> str | None:
        """Why a variant failed as a whole, None where it did not."""
        entry = self._journal.get(f"failed:{measurement}:{variant}")
        return None if entry is None else str(entry["why"])

    def put_failure(self, measurement: str, variant: str, why: str) -> None:
        """Remember that a variant failed, so that it is tried again only when that is asked for."""
        self._journal.append(f"failed:{measurement}:{variant}", {"why": why})

    def loaded(self, measurement: str, variant: str) -> dict[str, Json]:
        """What the engine said of itself in a run; empty where it was not loaded."""
        entry = self._journal.get(f"loaded:{measurement}:{variant}")
        return {} if entry is None else dict(entry["loaded"])

    def put_loaded(self, measurement: str, variant: str, loaded: Mapping[str, Json]) -> None:
        """Keep what the engine said of itself."""
        self._journal.append(f"loaded:{measurement}:{variant}", {"loaded": dict(loaded)})

    def round(self, measurement: str) -> int:
        """How often the same was measured anew; see `begin_again`."""
        entry = self._journal.get(f"round:{measurement}")
        return 0 if entry is None else int(entry["round"])

    def begin_again(self, measurement: str) -> None:
        """Have nothing count that was measured before."""
        self._journal.append(f"round:{measurement}", {"round": self.round(measurement) + 1})

    def floor(self, fingerprint: Mapping[str, Json] | None = None) -> NoiseFloor | None:
        """The newest floor, or that of the engine with this ``fingerprint``; None where there is none."""
        if fingerprint is None:
            last = self._journal.get(_LAST)
            name = None if last is None else str(last["floor"])
        else:
            name = engine_id(_before_loading(fingerprint))
        entry = None if name is None else self._journal.get(f"floor:{name}")
        return None if entry is None else floor_from_json(entry, self._names)

    def put_floor(self, floor: NoiseFloor) -> None:
        """Keep a finished floor; it becomes the newest."""
        name = engine_id(floor.fingerprint)
        self._journal.append(f"floor:{name}", floor_to_json(floor))
        self._journal.append(_LAST, {"floor": name})


def load_floor(
    root: Path, profile: str, engine: str, *, fingerprint: Mapping[str, Json] | None = None
) -> NoiseFloor | None:
    """The newest noise floor of an engine under the folder of recordings ``root``, None where there is none.

    With ``fingerprint`` that of exactly this engine, should it have been measured at any time; what an engine
    says once it is loaded (``loaded``) does not matter. Whether the newest one still holds, `changed` says.
    Raises RecordingError when the journal cannot be read.
    """
    return NoiseStore(root, profile, engine).floor(fingerprint)


def changed(floor: NoiseFloor, fingerprint: Mapping[str, Json]) -> tuple[Difference, ...]:
    """What changed in the engine since ``floor`` was measured: nothing where it is fresh.

    ``fingerprint`` is today's, as `harness.scoring.scoring.Scoring.fingerprint` or a recording has it. Of a
    floor whose fingerprint has another form, nothing but that is told.
    """
    found = describe_differences(_before_loading(floor.fingerprint), _before_loading(fingerprint))
    return tuple(difference for difference in found if difference.path == "version") or found


def _before_loading(fingerprint: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in fingerprint.items() if name != _LOADED}


def floor_to_json(floor: NoiseFloor) -> dict[str, Any]:
    """A floor as plain JSON, without the names of its profile and engine."""
    return {
        "version": _FLOOR_VERSION,
        "kind": Request.LETTER,
        "dtype": floor.dtype,
        "device": floor.device,
        "made": floor.made,
        "fingerprint": dict(floor.fingerprint),
        **({} if floor.repeats is None else {"repeats": asdict(floor.repeats)}),
        "full": {case: _texts(values) for case, values in floor.full.items()},
        "cases": {
            case: {
                "asked": noise.asked,
                "reference": _plain([*noise.reference, *(s.reference for s in noise.scalars.values())]),
                "runs": {
                    run: _plain([*values, *(s.runs.get(run, math.nan) for s in noise.scalars.values())])
                    for run, values in noise.runs.items()
                },
                "coordinates": [*noise.coordinates, *noise.scalars],
            }
            for case, noise in floor.cases.items()
        },
    }


def floor_from_json(entry: Mapping[str, Any], names: tuple[str, str]) -> NoiseFloor:
    """The inverse, of the profile and engine in ``names``; raises RecordingError for anything else."""
    try:
        return NoiseFloor(
            profile=names[0],
            engine=names[1],
            dtype=str(entry["dtype"]),
            device=str(entry["device"]),
            made=str(entry["made"]),
            fingerprint=entry["fingerprint"],
            cases={case: _case_from_json(noise) for case, noise in entry["cases"].items()},
            full={case: _named(values) for case, values in entry["full"].items()},
            repeats=Repeats(**entry["repeats"]) if "repeats" in entry else None,
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise RecordingError(
            f"the noise floor of {'-'.join(names)} is damaged: {type(error).__name__}: {error}\n"
            f"Measure it again:\n  harness noise {names[0]} --engine {names[1]} --again"
        ) from error


def _case_from_json(noise: Mapping[str, Any]) -> CaseNoise:
    """A case of a floor: the values behind those of the letters are its scalars, by name."""
    names = [str(name) for name in noise.get("coordinates", ())]
    scalars = [name for name in names if name in SCALARS]
    reference = _floats(noise["reference"])
    runs = {run: _floats(values) for run, values in noise["runs"].items()}
    letters = len(reference) - len(scalars)
    if names[len(names) - len(scalars) :] != scalars:
        raise ValueError(f"the coordinates {names}, where scalars come last")
    if len(names) - len(scalars) not in (0, letters):  # a floor of an earlier version names no letters
        raise ValueError(f"the coordinates {names} of {len(reference)} values")
    if lengths := {*map(len, runs.values())} - {len(reference)}:
        raise ValueError(f"a run of {lengths.pop()} values, where the reference has {len(reference)}")
    return CaseNoise(
        asked=noise["asked"],
        reference=reference[:letters],
        runs={run: values[:letters] for run, values in runs.items()},
        coordinates=tuple(names[: len(names) - len(scalars)]),
        scalars={
            name: ScalarNoise(
                reference=reference[letters + place],
                runs={
                    run: value
                    for run, values in runs.items()
                    if not math.isnan(value := values[letters + place])
                },
            )
            for place, name in enumerate(scalars)
        },
    )


def _plain(values: Sequence[float]) -> list[Json]:
    """JSON has no NaN."""
    return [value if math.isfinite(value) else None for value in values]


def _floats(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(math.nan if value is None else float(value) for value in values)


def _texts(values: Mapping[str, float]) -> dict[str, Json]:
    # A divergence may be infinite; float() reads that back.
    return {name: str(float(value)) for name, value in values.items()}


def _named(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}

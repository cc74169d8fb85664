"""Which noise floor an engine has, and what is said of one that is stale."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.cases.profiles import Profile
from harness.engines.contract import Json
from harness.noise.kept import kept_floor
from harness.noise.repeats import not_deterministic
from harness.noise.store import load_floor
from harness.recordings.fingerprint import Difference
from harness.verdicts.noise_floor import NoiseFloor

__all__ = ["fitting_floor", "newest_floor", "stale_words"]

_VARIABLES = "installed.environment."
# What says how many threads compute, and how, in the paths of a fingerprint.
_THREADS = re.compile(r"installed\.(cores|environment\.(OMP|GOMP|KMP|MKL_NUM|OPENBLAS_NUM)_.*)")


def fitting_floor(
    root: Path,
    profile: Profile,
    engine: str,
    *,
    fingerprint: Mapping[str, Json],
    dtype: str,
    snapshots: Path | None = None,
) -> NoiseFloor | None:
    """The noise floor for an engine as ``fingerprint`` has it, which computed in ``dtype``; None without one.

    Its own, should it have been measured at any time; else the one that was kept for it in the folder of
    ``snapshots``, if that is given; else the newest of another engine of its profile, the
    reference first, if that is of the same model and dtype: what moves one engine is the least that another
    may move by. One of an engine that is not deterministic counts for none. A profile that says
    ``tolerance: table`` has none. ``root`` is the folder of recordings.
    Raises `RecordingError` where a floor cannot be read.
    """
    if profile.tolerance == "table":
        return None
    own = load_floor(root, profile.name, engine, fingerprint=fingerprint)
    if own is not None and not not_deterministic(own, profile):
        return own
    if snapshots is not None and (kept := kept_floor(snapshots, profile.name, engine, fingerprint)):
        return kept
    return newest_floor(root, profile, fingerprint=fingerprint, dtype=dtype)


def newest_floor(
    root: Path, profile: Profile, *, fingerprint: Mapping[str, Json], dtype: str, but: str = ""
) -> NoiseFloor | None:
    """The newest floor of any engine of the profile ``but`` one, of the same model and dtype.

    The reference comes first. Raises `RecordingError` where a floor cannot be read.
    """
    names = [profile.reference, *(e.name for e in profile.engines if e.name != profile.reference)]
    others = (load_floor(root, profile.name, name) for name in names if name != but)
    model = fingerprint.get("model")
    fits = (f for f in others if f and f.dtype == dtype and f.fingerprint.get("model") == model)
    return next((floor for floor in fits if not not_deterministic(floor, profile)), None)


def stale_words(name: str, floor: NoiseFloor, since: Sequence[Difference], *, command: str) -> str:
    """That ``floor``, of the engine ``name``, no longer holds: what changed ``since``, and what to type."""
    if all(_THREADS.fullmatch(one.path) for one in since):
        settings = "; ".join(str(one).removeprefix(_VARIABLES) for one in since)
        told = f"stale by the thread setting alone: {settings}"
    else:
        more = f" and {len(since) - 1} more" if len(since) > 1 else ""
        told = f"stale: {since[0]}{more}"
    return f"the noise floor of {name} of {floor.made} is {told}; measure again: {command}"

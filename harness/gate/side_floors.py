"""Which noise floor a side of a gate has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import GateError
from harness.gate.side import GateSide
from harness.noise.store import changed, load_floor
from harness.profiles import Profile
from harness.verdicts.noise_floor import NoiseFloor

__all__ = ["SideFloors"]


class SideFloors:
    """The noise floors in the folder of recordings ``root``, for sides of engines of ``profiles``.

    Methods raise `RecordingError` where a floor cannot be read.
    """

    def __init__(self, root: Path, profiles: Sequence[Profile]) -> None:
        """Reads nothing yet."""
        self._root = root
        self._profiles = {profile.name: profile for profile in profiles}

    def of(self, side: GateSide) -> NoiseFloor | None:
        """The side's noise floor, None without one.

        A floor counts only for the engine that it was measured on, so an older run has that of its day, if
        any. A side without one has the newest of another engine of its profile, its reference first, if that
        is of the same model and dtype: what moves one engine is the least that another may move by. Those of
        a profile that says ``tolerance: table`` have none; where it says ``noise`` and there is none, that is
        a `GateError`.
        """
        profile = self._profiles.get(side.profile)
        if profile is not None and profile.tolerance == "table":
            return None
        own = load_floor(self._root, side.profile, side.engine, fingerprint=side.fingerprint)
        if own is not None or profile is None:
            return own
        others = (load_floor(self._root, side.profile, engine) for engine in _reference_first(profile))
        found = next((other for other in others if other is not None and _fits(other, side)), None)
        if found is None and profile.tolerance == "noise":
            raise GateError(
                f"{profile.location}: profiles.{profile.name}.tolerance: found noise, and no noise floor of "
                f"{side.label} as it is, nor one of its model and dtype in the profile\nMeasure:\n"
                f"  harness noise {profile.name}"
            )
        return found

    def stale(self, side: GateSide) -> str:
        """What to know of a floor that was measured on the engine as it was before, '' without such a one."""
        newest = load_floor(self._root, side.profile, side.engine)
        if newest is None or not (side.live and side.fingerprint):
            return ""
        if not (since := changed(newest, side.fingerprint)):
            return ""
        more = f" and {len(since) - 1} more" if len(since) > 1 else ""
        return (
            f"the noise floor of {side.label} of {newest.made} is stale: {since[0]}{more}; measure again: "
            f"harness noise {side.profile} --engine {side.engine}"
        )


def _reference_first(profile: Profile) -> list[str]:
    return [profile.reference, *(e.name for e in profile.engines if e.name != profile.reference)]


def _fits(floor: NoiseFloor, side: GateSide) -> bool:
    same_model = floor.fingerprint.get("model") == side.fingerprint.get("model")
    return same_model and floor.dtype == "+".join(side.dtypes)

"""Which noise floor a side of a gate has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.cases.profiles import Profile
from harness.errors import GateError
from harness.gate.side import GateSide
from harness.noise.choosing import fitting_floor, stale_words
from harness.noise.kept import kept_floor
from harness.noise.store import changed, load_floor
from harness.verdicts.noise_floor import NoiseFloor

__all__ = ["SideFloors"]


class SideFloors:
    """The noise floors in the folder of recordings ``root``, for sides of engines of ``profiles``.

    Those kept in the folder of ``snapshots``, where it is given, stand in for ones that were not measured.

    Methods raise `RecordingError` where a floor cannot be read.
    """

    def __init__(self, root: Path, profiles: Sequence[Profile], *, snapshots: Path | None = None) -> None:
        """Reads nothing yet."""
        self._snapshots = snapshots
        self._root = root
        self._profiles = {profile.name: profile for profile in profiles}

    def of(self, side: GateSide) -> NoiseFloor | None:
        """The side's noise floor, None without one.

        As `harness.noise.choosing.fitting_floor`, so an older run has the floor of its day, if any. Where the
        profile says ``tolerance: noise`` and there is none, that is a `GateError`.
        """
        profile = self._profiles.get(side.profile)
        if profile is None:
            return load_floor(self._root, side.profile, side.engine, fingerprint=side.fingerprint)
        found = fitting_floor(
            self._root,
            profile,
            side.engine,
            fingerprint=side.fingerprint,
            dtype=side.dtype,
            snapshots=self._snapshots,
        )
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
        if self._snapshots and kept_floor(self._snapshots, side.profile, side.engine, side.fingerprint):
            return ""
        command = f"harness noise {side.profile} --engine {side.engine}"
        return stale_words(side.label, newest, since, command=command)

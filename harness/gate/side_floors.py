"""Which noise floor a side of a gate has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.cases.profiles import Profile
from harness.errors import GateError
from harness.gate.side import GateSide
from harness.noise.choosing import fitting_floor, newest_floor, stale_words
from harness.noise.kept import kept_floor
from harness.noise.repeats import not_deterministic
from harness.noise.store import changed, load_floor
from harness.verdicts.noise_floor import NoiseFloor
from harness.verdicts.noise_model import quieter

__all__ = ["SideFloors"]

_WORTH_TELLING = 1.05


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

    def of_pair(
        self, baseline: GateSide, candidate: GateSide
    ) -> tuple[NoiseFloor | None, NoiseFloor | None, str]:
        """The floors of both sides, and what to say of them.

        A candidate's floor is none where one of the same dtype is quieter, the baseline's or that of another
        engine of its model in its profile: an engine that is noisier because it is faulty would excuse
        itself. Raises as `of`.
        """
        before, after = self.of(baseline), self.of(candidate)
        if after is None or (after.profile, after.engine) != (candidate.profile, candidate.engine):
            return before, after, ""
        other = before if before is not None and before.dtype == after.dtype else self._beside(candidate)
        if other is None or (other.profile, other.engine) == (after.profile, after.engine):
            return before, after, ""
        chosen, times = quieter(after, other)
        if chosen is after:
            return before, after, ""
        told = (
            f"{candidate.label} by itself is {times:.2g} times as noisy as {other.profile}/{other.engine} "
            f"({other.dtype}, {other.made}), whose noise counts in its place"
        )
        return before, chosen, told if times >= _WORTH_TELLING else ""

    def _beside(self, side: GateSide) -> NoiseFloor | None:
        """The floor of another engine of the side's profile, model and dtype."""
        profile = self._profiles.get(side.profile)
        if profile is None or profile.tolerance == "table":
            return None
        return newest_floor(
            self._root, profile, fingerprint=side.fingerprint, dtype=side.dtype, but=side.engine
        )

    def stale(self, side: GateSide) -> str:
        """What to know of a floor that is stale or of an engine that is not deterministic, '' without."""
        profile = self._profiles.get(side.profile)
        own = load_floor(self._root, side.profile, side.engine, fingerprint=side.fingerprint)
        if own is not None and profile is not None and (refused := not_deterministic(own, profile)):
            return f"{side.label}: {refused}"
        newest = load_floor(self._root, side.profile, side.engine)
        if newest is None or not (side.live and side.fingerprint):
            return ""
        if not (since := changed(newest, side.fingerprint)):
            return ""
        if self._snapshots and kept_floor(self._snapshots, side.profile, side.engine, side.fingerprint):
            return ""
        command = f"harness noise {side.profile} --engine {side.engine}"
        return stale_words(side.label, newest, since, command=command)

"""Where the limits of one comparison come from: the noise floors of its two engines, or the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from harness.checks.agreement import Agreement
from harness.checks.target import stretch
from harness.checks.tolerances import Tolerances, resolve
from harness.errors import RecordingError
from harness.noise.case_limits import noise_limits
from harness.noise.choosing import stale_words
from harness.noise.kept import kept_floor
from harness.noise.repeats import not_deterministic
from harness.noise.store import changed, load_floor
from harness.recordings.fingerprint import Difference, digest
from harness.scoring.scoring import Scoring
from harness.scoring.subjects import Subject
from harness.verdicts.noise_floor import NoiseFloor
from harness.verdicts.noise_model import Noise

__all__ = ["FloorState", "NoiseLimits"]

_NOISE, _TABLE = "noise", "table"


@dataclass(frozen=True, slots=True)
class FloorState:
    """An engine's newest floor, None without one, and what changed in the engine since it was measured.

    ``refused`` says why one that was measured on the engine as it is does not hold, '' where it does.
    """

    floor: NoiseFloor | None = None
    changed: tuple[Difference, ...] = ()
    refused: str = ""

    @property
    def fresh(self) -> NoiseFloor | None:
        """The floor, if it still holds."""
        measured_here = self.floor is not None and not self.floor.kept
        return None if self.changed or (self.refused and measured_here) else self.floor


class _Sides(NamedTuple):
    reference: FloorState
    other: FloorState


class NoiseLimits:
    """Limits for comparisons, by the noise floors measured where ``scoring`` keeps its recordings.

    Those kept in the folder of ``snapshots``, where it is given, stand in for ones that do not hold.
    """

    def __init__(self, scoring: Scoring, *, snapshots: Path | None = None) -> None:
        """Touches nothing yet."""
        self._snapshots = snapshots
        self._scoring = scoring
        self._states: dict[str, FloorState] = {}  # by engine label
        self._noises: dict[tuple[str, str, str], Noise] = {}  # by engine label and the dtypes of both sides

    def state(self, subject: Subject) -> FloorState:
        """The floor of the subject's engine, and whether it still holds.

        Raises EngineError when the engine is not there, RecordingError when the floor cannot be read.
        """
        label = subject.engine_label
        if label not in self._states:
            floor = load_floor(self._scoring.store.root, subject.profile.name, subject.engine.name)
            today = () if floor is None else changed(floor, self._scoring.fingerprint(subject))
            refused = "" if floor is None or today else not_deterministic(floor, subject.profile)
            if self._snapshots is not None and (floor is None or today or refused):
                names = (subject.profile.name, subject.engine.name)
                kept = kept_floor(self._snapshots, *names, self._scoring.fingerprint(subject))
                floor, today = (floor, today) if kept is None else (kept, ())
            self._states[label] = FloorState(floor, today, refused)
        return self._states[label]

    def tolerances(
        self, subject: Subject, agreement: Agreement, *, dtypes: Sequence[str], cases: int
    ) -> Tolerances:
        """The limits for ``agreement``, that of ``subject`` with its reference.

        ``dtypes`` are those of `harness.checks.tolerances.DEFAULTS` that the two computed in, ``cases`` the
        number of cases of the profile. Tolerances that the profile or the case names win. Raises as `state`
        does, and RecordingError where the profile asks for a noise floor and there is none.
        """
        overrides = [subject.profile.tolerances, subject.case.tolerances]
        wanted = subject.profile.tolerance
        table = resolve(*dtypes, overrides=overrides)
        source = f"table for {' and '.join(dict.fromkeys(dtypes))}"
        most = resolve(*dtypes, overrides=[subject.profile.tolerances]).log_odds
        unseen = f"changes of up to {most:g} in log-odds pass unseen"
        if wanted == _TABLE:
            return replace(table, source=f"{source}: {unseen}")
        sides = _Sides(self.state(subject.reference()), self.state(subject))
        if sides.reference.fresh is None and sides.other.fresh is None:
            if stale := _stale(subject, sides):
                return replace(table, source=f"{source}; {stale}")
            self._refuse_where_wanted(subject, "no noise floor of its engines was measured")
            command = f"`harness noise {subject.profile.name}` measures"
            return replace(table, source=f"{source}; no noise floor: {unseen}; {command}")
        return self._by_noise(subject, agreement, sides, dtypes, cases, source)

    def _by_noise(
        self,
        subject: Subject,
        agreement: Agreement,
        sides: _Sides,
        dtypes: Sequence[str],
        cases: int,
        source: str,
    ) -> Tolerances:
        overrides = [subject.profile.tolerances, subject.case.tolerances]
        a, b = sides.reference.fresh, sides.other.fresh
        pair = self._noise(subject, a, b, dtypes).of(subject.case.name, digest(self._scoring.asked(subject)))
        if not pair.measured:
            if stale := _stale(subject, sides):
                source = f"{source}; {stale}"
            else:
                self._refuse_where_wanted(subject, "its noise floors do not know this case as it is now")
                source = f"{source}; not in the noise floor: harness noise {subject.profile.name}"
            return replace(resolve(*dtypes, overrides=overrides), source=source)
        floors = [floor for floor in (a or b, b or a) if floor is not None]
        measured = noise_limits(
            pair,
            agreement.a.intervals,
            case=subject.case.name,
            cases=cases,
            floors=floors,
            stretch=stretch(agreement.a.reading),
        )
        told = f"noise floor of {_told(floors)}"
        if stale := _stale(subject, sides):
            told = f"{told}; {stale}"
        return replace(resolve(*dtypes, overrides=overrides, measured=measured), source=told)

    def _noise(
        self, subject: Subject, a: NoiseFloor | None, b: NoiseFloor | None, dtypes: Sequence[str]
    ) -> Noise:
        """The noise between the two engines, which is worked out from all cases: once, and not for each."""
        reference, own = self._scoring.dtype(subject.reference()), self._scoring.dtype(subject)
        key = (subject.engine_label, reference, own)
        if key not in self._noises:
            self._noises[key] = Noise(a, b, dtypes=(reference, own), table=resolve(*dtypes).log_odds)
        return self._noises[key]

    def _refuse_where_wanted(self, subject: Subject, why: str) -> None:
        if subject.profile.tolerance != _NOISE:
            return
        raise RecordingError(
            f"{subject.case.location}: {subject.id}: the profile asks for `tolerance: noise`, and {why}\n"
            f"Measure:\n  harness noise {subject.profile.name}"
        )


def _stale(subject: Subject, sides: _Sides) -> str:
    """Why a floor does not hold, and what to type; '' where all that there are do."""
    reference = subject.reference().engine.name
    for name, state in ((reference, sides.reference), (subject.engine.name, sides.other)):
        if state.floor is not None and state.changed:
            command = f"harness noise {subject.profile.name}"
            return stale_words(name, state.floor, state.changed, command=command)
        if state.refused:
            return f"{name} is {state.refused}"
    return ""


def _told(floors: Sequence[NoiseFloor]) -> str:
    """Such as '2026-11-25, 9 and 12 runs'."""
    unlike = {(floor.engine, floor.made): floor for floor in floors}.values()
    days = " and ".join(dict.fromkeys(floor.made for floor in unlike))
    runs = " and ".join(str(len({r for case in floor.cases.values() for r in case.runs})) for floor in unlike)
    kept = "".join(dict.fromkeys(f", {floor.kept}" for floor in unlike if floor.kept))
    return f"{days}, {runs} runs{kept}"

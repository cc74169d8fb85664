"""Noise floors: how far an engine's answers move when nothing that matters changed.

All values are centred log-odds of the letters on offer: each letter's logit less the mean over the letters,
which leaves out what shifts a whole row.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from harness.engines.contract import Json

__all__ = ["UNDISTURBED", "CaseNoise", "NoiseFloor", "PairNoise", "Repeats", "ScalarNoise"]

UNDISTURBED = "undisturbed"
"""The name of the run with the engine's own settings; it is none of the runs where it is the reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarNoise:
    """One of `harness.checks.log_odds.SCALARS` of a case: the reference's, and by the name of the run."""

    reference: float
    runs: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseNoise:
    """Jittered runs of one case on one engine.

    ``reference`` [L] is the answer that the runs are measured from: the engine's own in float32 where it has
    one, else its undisturbed run. ``runs`` [L] each are by the name of the jitter, such as ``batch-1``. A
    case is known by ``asked``, the hash of its question and image, so that one that was edited has no noise
    of another. ``coordinates`` [L] name the values (see `harness.checks.log_odds.coordinates`); empty in
    floors from before they were named, whose values are the letters' in the order on offer. ``scalars`` are
    by name, without those that were not measured.
    """

    asked: str
    reference: tuple[float, ...]
    runs: Mapping[str, tuple[float, ...]]
    coordinates: tuple[str, ...] = ()
    scalars: Mapping[str, ScalarNoise] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """What came of asking ``cases`` cases a second time in the same setting.

    The second answer was another in ``differ`` of them, and in ``beyond`` of them by more than the dtype's
    own step. ``difference`` is the largest in proportion to what was ``allowed`` there, both in log-odds, and
    ``case`` is where.
    """

    cases: int
    differ: int
    beyond: int
    difference: float
    allowed: float
    case: str


@dataclass(frozen=True, kw_only=True)
class NoiseFloor:
    """The noise of one engine of one profile, by case name (``suite.id``).

    ``dtype`` is the one that the engine computed in, ``device`` where, for people. ``fingerprint`` is that of
    the engine as `harness.recordings.fingerprint.engine_fingerprint` makes it: when it changes, the floor is
    stale. ``made`` is the day, ISO. ``full`` has, by case, the largest of the jittered runs' KL and JS over
    the whole vocabulary from the reference, in nats; empty where no full rows were seen. ``kept`` says by
    whom, when and where, for people, a floor was kept for others; '' for one measured here. ``repeats`` is
    None where nothing was asked twice.
    """

    profile: str
    engine: str
    dtype: str
    device: str
    made: str
    fingerprint: Mapping[str, Json]
    cases: Mapping[str, CaseNoise]
    full: Mapping[str, Mapping[str, float]]
    kept: str = ""
    repeats: Repeats | None = None

    @cached_property
    def middle(self) -> Mapping[str, float]:
        """The median over the cases of each divergence in ``full`` that is finite."""
        values: dict[str, list[float]] = {}
        for own in self.full.values():
            for name, value in own.items():
                if math.isfinite(value):
                    values.setdefault(name, []).append(value)
        return {name: statistics.median(known) for name, known in values.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairNoise:
    """How far apart noise alone brings two sides of one case.

    ``sigma`` is the standard deviation of one letter's centred log-odds difference, ``freedom`` the degrees
    of freedom with which it is known (infinity for a table), ``seen`` the largest difference that jittered
    runs showed. ``measured`` tells a floor from a table.
    """

    sigma: float
    freedom: float
    seen: float
    measured: bool

"""What a check on a case adds to the table of a run, and what many come to; plain JSON, so it travels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final

from harness.checks.agreement import Agreed
from harness.checks.expected_letter import ExpectedLetter
from harness.checks.result import Result
from harness.engines.contract import Json

__all__ = [
    "FIGURES",
    "FULL_TABLE",
    "CheckSummary",
    "Figures",
    "Row",
    "Status",
    "Tally",
    "figures_of",
    "tallies_of",
    "total",
    "worst_of",
]


class Status(StrEnum):
    """How a check ended; the value is what the table shows."""

    PASSED = "✓"
    FAILED = "✗"
    KNOWN = "k"  # failed, and the case says that it does
    ERROR = "E"  # the engine could not answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The numbers of a check that the table shows; None or '' where the check does not take them.

    ``top`` is the engine's top letter and ``probability`` its share of the vocabulary; where a text is
    accepted, what was written and the probability of the accepted one. ``worst`` is the
    largest change of a letter's probability against the reference and ``worst_letter`` whose it is; ``kl`` is
    over the full vocabulary, in nats. ``bounded`` is whether ``worst`` is only known to be no larger.
    ``limits`` says where the check's limits come from, and ``allowed`` is that of ``worst``.
    """

    top: str = ""
    probability: float | None = None
    worst: float | None = None
    worst_letter: str = ""
    kl: float | None = None
    bounded: bool = False
    limits: str = ""
    allowed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSummary:
    """One check on one case and engine. ``check`` is the table's column, ``place`` the case's file:line.

    ``refused`` is the label of an engine that it needs and that could not be loaded, '' where all could.
    """

    suite: str
    case: str
    place: str
    profile: str
    engine: str
    check: str
    expected: str
    status: Status
    figures: Figures = Figures()
    device: str = ""
    refused: str = ""

    def to_json(self) -> dict[str, Json]:
        """As plain JSON; NaN and infinity, which JSON lacks, as text."""
        figures = {name: _plain(getattr(self.figures, name)) for name in _FIGURES}
        own = {name: getattr(self, name) for name in _OWN}
        return {**own, "status": self.status.name, "figures": figures}

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> CheckSummary:
        """The inverse of `to_json`; raises KeyError, TypeError or ValueError for anything else."""
        own = {name: data[name] for name in _OWN}
        figures = data["figures"]
        if not isinstance(figures, dict):
            raise TypeError(f"figures: found {figures!r}; allowed: a mapping")
        numbers = {name: _number(figures[name]) for name in ("probability", "worst", "kl", "allowed")}
        texts = {name: str(figures[name]) for name in ("top", "worst_letter", "limits")}
        bounded = bool(figures["bounded"])
        status = Status[str(own.pop("status"))]
        own = {name: str(value) for name, value in own.items()}
        return cls(**own, status=status, figures=Figures(**numbers, **texts, bounded=bounded))  # type: ignore[arg-type]


_FIGURES = tuple(field.name for field in fields(Figures))
_OWN = tuple(field.name for field in fields(CheckSummary) if field.name != "figures")


def figures_of(result: Result) -> Figures:
    """What the table shows of a check's result."""
    if isinstance(result, ExpectedLetter) and result.wrote:
        return Figures(top=result.wrote, probability=result.probabilities[0])
    if isinstance(result, ExpectedLetter) and result.top is not None:
        share = result.probabilities[result.letters.index(result.top)]
        return Figures(top=result.top, probability=share)
    if isinstance(result, Agreed):
        agreement = result.agreement
        letter = agreement.worst_letter
        return Figures(
            worst=agreement.worst,
            worst_letter="" if letter is None or agreement.a.reading.target else agreement.letters[letter],
            kl=None if agreement.full is None else agreement.full.kl,
            bounded=agreement.partial and agreement.worst != agreement.least,
            limits=result.limits,
            allowed=result.allowed,
        )
    return Figures()


def _plain(value: float | str | None) -> float | str | None:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: Json) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float | str):
        return float(value)
    raise TypeError(f"found {value!r}; allowed: a number or null")


FULL_TABLE = 200
"""Up to this many cases of a profile each has its row; beyond it only those with something to tell."""

Row = Sequence[CheckSummary]
"""All checks on one case, on all engines of a profile."""

FIGURES: Final[Mapping[str, Callable[[CheckSummary], float | None]]] = {
    "|Δp|": lambda summary: summary.figures.worst,
    "KL": lambda summary: summary.figures.kl,
}


@dataclass(slots=True)
class Tally:
    """Cases of one suite as one profile's engines answered them; as large for a million as for a thousand.

    ``right`` passed throughout. ``counts`` are of checks by their column and status, ``worst`` by engine and
    name of `FIGURES`, ``devices`` and ``limits`` by engine. ``rows`` are whole up to `FULL_TABLE` cases, and
    beyond that those that did not pass, no more of them.
    """

    profile: str
    suite: str
    cases: int = 0
    right: int = 0
    bad: int = 0  # answers, one for each case and engine, of which a check failed or could not be made
    beyond: int = 0  # cases that did not pass and have no row
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    engines: dict[str, int] = field(default_factory=dict)  # with their number of cases
    worst: dict[tuple[str, str], CheckSummary] = field(default_factory=dict)
    devices: dict[str, dict[str, None]] = field(default_factory=dict)
    limits: dict[str, Counter[str]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Count one more case."""
        self.cases += 1
        passed, bad = True, set()
        for one in row:
            passed &= one.status is Status.PASSED
            if one.status in (Status.FAILED, Status.ERROR):
                bad.add(one.engine)
            self.counts.setdefault(one.check, Counter())[one.status.name] += 1
            if one.device:
                self.devices.setdefault(one.engine, {})[one.device] = None
            if one.figures.limits:
                self.limits.setdefault(one.engine, Counter())[one.figures.limits] += 1
            for title, pick in FIGURES.items():
                if pick(one) is not None:
                    key = (one.engine, title)
                    self.worst[key] = worst_of(title, (self.worst.get(key), one)) or one
        self.engines |= {name: self.engines.get(name, 0) + 1 for name in {one.engine: 0 for one in row}}
        self.right, self.bad = self.right + passed, self.bad + len(bad)
        if self.cases == FULL_TABLE + 1:
            self.rows = [kept for kept in self.rows if not _passed(kept)]
        if all(one.refused for one in row) or (passed and self.cases > FULL_TABLE):
            return
        if len(self.rows) < FULL_TABLE:
            self.rows.append(row)
        else:
            self.beyond += 1

    def count(self, status: Status) -> int:
        """How many checks ended so."""
        return sum(counts[status.name] for counts in self.counts.values())

    @property
    def checks(self) -> int:
        """How many checks there were."""
        return sum(counts.total() for counts in self.counts.values())

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "devices": {engine: list(devices) for engine, devices in self.devices.items()},
            "worst": [[*key, one.to_json()] for key, one in self.worst.items()],
            "rows": [[one.to_json() for one in row] for row in self.rows],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tally:
        """The inverse of `to_json`."""
        counters = {name: {key: Counter(own) for key, own in data[name].items()} for name in _COUNTERS}
        plain: dict[str, Any] = {name: data[name] for name in _PLAIN} | counters
        return cls(
            **plain,
            devices={engine: dict.fromkeys(devices) for engine, devices in data["devices"].items()},
            worst={(engine, title): CheckSummary.from_json(one) for engine, title, one in data["worst"]},
            rows=[[CheckSummary.from_json(one) for one in row] for row in data["rows"]],
        )


_COUNTERS: Final = ("counts", "limits")
_PLAIN: Final = ("profile", "suite", "cases", "right", "bad", "beyond", "engines", *_COUNTERS)


def tallies_of(summaries: Iterable[CheckSummary]) -> list[Tally]:
    """Those of checks in any order, in the order of their first ones."""
    rows: dict[tuple[str, str], dict[str, list[CheckSummary]]] = {}
    for one in summaries:
        rows.setdefault((one.profile, one.suite), {}).setdefault(one.case, []).append(one)
    found = []
    for key, cases in rows.items():
        found.append(tally := Tally(*key))
        for row in cases.values():
            tally.add(row)
    return found


def worst_of(title: str, summaries: Iterable[CheckSummary | None]) -> CheckSummary | None:
    """The one whose figure of this title is the largest, NaN before all; None where none has it."""
    pick = FIGURES[title]
    known = [(value, one) for one in summaries if one is not None and (value := pick(one)) is not None]
    found = max(known, key=lambda pair: (math.isnan(pair[0]), pair[0], pair[1].figures.bounded), default=None)
    return None if found is None else found[1]


def total(tallies: Iterable[Tally], status: Status | None = None) -> int:
    """How many checks of all ``tallies`` ended so, or at all."""
    return sum(tally.checks if status is None else tally.count(status) for tally in tallies)


def _passed(row: Row) -> bool:
    return all(one.status is Status.PASSED for one in row)

"""What one check on one case adds to the table at the end of a run; plain JSON, so that it can travel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum

from harness.checks.agreement import Agreed
from harness.checks.expected_letter import ExpectedLetter
from harness.checks.result import Result
from harness.engines.contract import Json

__all__ = ["CheckSummary", "Figures", "Status", "figures_of"]


class Status(StrEnum):
    """How a check ended; the value is what the table shows."""

    PASSED = "✓"
    FAILED = "✗"
    KNOWN = "k"  # failed, and the case says that it does
    ERROR = "E"  # the engine could not answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The numbers of a check that the table shows; None or '' where the check does not take them.

    ``top`` is the engine's top letter and ``probability`` its share of the vocabulary. ``worst`` is the
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
        figures = {name: _plain(value) for name, value in asdict(self.figures).items()}
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "figures"}
        return {**own, "status": self.status.name, "figures": figures}

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> CheckSummary:
        """The inverse of `to_json`; raises KeyError, TypeError or ValueError for anything else."""
        own = {field.name: data[field.name] for field in fields(cls) if field.name != "figures"}
        figures = data["figures"]
        if not isinstance(figures, dict):
            raise TypeError(f"figures: found {figures!r}; allowed: a mapping")
        numbers = {name: _number(figures[name]) for name in ("probability", "worst", "kl", "allowed")}
        texts = {name: str(figures[name]) for name in ("top", "worst_letter", "limits")}
        bounded = bool(figures["bounded"])
        status = Status[str(own.pop("status"))]
        own = {name: str(value) for name, value in own.items()}
        return cls(**own, status=status, figures=Figures(**numbers, **texts, bounded=bounded))  # type: ignore[arg-type]


def figures_of(result: Result) -> Figures:
    """What the table shows of a check's result."""
    if isinstance(result, ExpectedLetter) and result.top is not None:
        share = result.probabilities[result.letters.index(result.top)]
        return Figures(top=result.top, probability=share)
    if isinstance(result, Agreed):
        agreement = result.agreement
        letter = agreement.worst_letter
        return Figures(
            worst=agreement.worst,
            worst_letter="" if letter is None else agreement.letters[letter],
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

"""What every check returns: the numbers, the limits, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

__all__ = ["Finding", "Metric", "Result", "over_limit"]


class Metric(NamedTuple):
    """A number, the most it may be (None: no limit), and where it was worst ('' if there is one place)."""

    name: str
    value: float
    limit: float | None = None
    where: str = ""

    @property
    def ok(self) -> bool:
        """Whether the limit holds; NaN passes no limit."""
        return self.limit is None or self.value <= self.limit

    def __str__(self) -> str:
        """Everything on one line."""
        where = f" ({self.where})" if self.where else ""
        limit = "" if self.limit is None else f"; allowed: {self.limit:.3g}"
        return f"{self.name}: {self.value:.3g}{where}{limit}"


class Finding(NamedTuple):
    """One thing that is wrong. ``value`` and ``limit`` are None where it is not a matter of degree."""

    metric: str
    value: float | None
    limit: float | None
    text: str

    def __str__(self) -> str:
        """Everything on one line."""
        return f"{self.metric}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome of one check on one case. True when there are no findings; ``str`` shows everything.

    ``subject`` says whose answer was checked, ``letters`` [L] were on offer. ``metrics`` are all numbers
    taken, with their limits; ``notes`` are worth knowing and never a failure.
    """

    check: ClassVar[str] = "check"

    case: str
    subject: str
    letters: tuple[str, ...]
    findings: tuple[Finding, ...]
    metrics: tuple[Metric, ...] = ()
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def __str__(self) -> str:
        """Findings first, then every number and note."""
        lines = [f"{self.check}: {self.case}, {self.subject}: {self.headline}"]
        lines += [f"  - {finding}" for finding in self.findings]
        lines += [f"  {metric}" for metric in self.metrics]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    @property
    def headline(self) -> str:
        """The outcome in a few words."""
        count = len(self.findings)
        return "passed" if count == 0 else "1 finding" if count == 1 else f"{count} findings"


def over_limit(metrics: tuple[Metric, ...]) -> list[Finding]:
    """A finding for each metric that is over its limit or NaN."""
    found = []
    for metric in metrics:
        if metric.ok:
            continue
        where = f" at {metric.where}" if metric.where else ""
        text = f"{metric.value:.3g}{where} is over the limit of {metric.limit:.3g}"
        if metric.value != metric.value:
            text = f"is not a number{where}; the limit is {metric.limit:.3g}"
        found.append(Finding(metric.name, metric.value, metric.limit, text))
    return found

"""Limits on differences of which only the most and the least are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.checks.intervals import more, seen
from harness.checks.result import Finding, Metric, over_limit
from harness.checks.side import Side

__all__ = ["over_limit_or_undecided"]


def over_limit_or_undecided(
    metrics: tuple[Metric, ...],
    least: Mapping[str, float | None],
    sides: Sequence[Side],
    letters: Sequence[str],
) -> list[Finding]:
    """As `over_limit`, but where letters are known as intervals, it says whether the limit is really passed.

    ``metrics`` hold the most that a difference can be, ``least`` the least, by the metrics' names. A
    difference of which only the least is within its limit is a finding too: nobody knows that they agree.
    """
    wide = [
        f"{letter} is only known to be {interval} in {side.engine}, outside {seen(side.reading)}"
        for side in sides
        for letter, interval in zip(letters, side.intervals, strict=False)
        if not interval.exact
    ]
    findings = over_limit(metrics)
    if not wide:
        return findings
    partial = next(side.reading for side in sides if side.reading.partial)
    return [
        _told(finding, least.get(finding.metric), f"{'; '.join(wide)}", more(partial)) for finding in findings
    ]


def _told(finding: Finding, least: float | None, wide: str, needed: str) -> Finding:
    if least is None or finding.limit is None or finding.value is None:
        return finding
    if least > finding.limit:
        text = f"at least {least:.3g} is over the limit of {finding.limit:.3g}"
        return finding._replace(value=least, text=text)
    text = (
        f"not decidable: the difference is at most {finding.value:.3g}, and {finding.limit:.3g} is allowed; "
        f"{wide}. It would take {needed}"
    )
    return finding._replace(text=text)

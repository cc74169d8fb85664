"""The calibration table, in a terminal and in ``docs/calibration.md``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.calibration.rates import Interval, Rate
from benchmarks.written_parts import with_part
from harness.verdicts.rules import ALPHA, TESTS

__all__ = ["PAGE", "Circumstances", "clean_table", "effect_table", "missed", "with_tables"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "calibration.md"
WITHIN = 0.05
"""How far the power found may be from the promised one; and the most false alarms are `ALPHA`."""

_BEGIN = "<!-- tables, written by `python -m benchmarks.calibration judge --write` -->"
_END = "<!-- end of tables -->"


class Circumstances(NamedTuple):
    """Without these a figure says nothing."""

    date: str
    machine: str
    command: str
    seed: int
    recorded: str


def clean_table(rates: Sequence[Rate]) -> list[str]:
    """Lines of Markdown: false alarms by source and size, and all together of what was recorded."""
    lines = [
        "| clean samples of | cases | replays | false alarms | 95% interval | found by | ≤ 1% |",
        "| --- | ---: | ---: | ---: | --- | --- | --- |",
    ]
    lines += [_clean_row(rate.source, f"{rate.cases}", [rate]) for rate in rates]
    for kind in ("recorded", "simulated"):
        own = [rate for rate in rates if _kind(rate) == kind]
        if own:
            lines.append(_clean_row(f"**all {kind}**", "", own))
    return lines


def effect_table(rates: Sequence[Rate]) -> list[str]:
    """Lines of Markdown: power found and promised, by source, effect and size."""
    lines = [
        "| planted | into | cases | replays | promised | found | 95% interval | within 5 points | any test |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- | --- | ---: |",
    ]
    for rate in rates:
        low, high = rate.interval
        lines.append(
            f"| {rate.what} | {rate.source} | {rate.cases} | {rate.replays} | {rate.promised or 0:.2f} | "
            f"{rate.share:.2f} | {low:.2f} to {high:.2f} | {_kept(rate)} | "
            f"{rate.alarms / rate.replays:.2f} |"
        )
    return lines


def missed(rates: Sequence[Rate]) -> list[str]:
    """A sentence for each target that is missed."""
    told = []
    for kind in ("recorded", "simulated"):
        own = [rate for rate in rates if rate.promised is None and _kind(rate) == kind]
        found, replays = sum(rate.found for rate in own), sum(rate.replays for rate in own)
        if found > ALPHA * replays:
            told.append(f"{found} false alarms in {replays} {kind} clean samples, more than {ALPHA:.0%}")
    told += [
        f"{rate.what}, {rate.source}, {rate.cases} cases: found {rate.share:.2f}, promised "
        f"{rate.promised:.2f}"
        for rate in rates
        if rate.promised is not None and _kept(rate) == "NO"
    ]
    return told


def with_tables(page: str, rates: Sequence[Rate], circumstances: Circumstances) -> str:
    """The page's text with its tables replaced; raises `HarnessError` where it has no place for them."""
    clean = [rate for rate in rates if rate.promised is None]
    effects = [rate for rate in rates if rate.promised is not None]
    sentences = missed(rates)
    told = [f"- {sentence}" for sentence in sentences] or ["- none"]
    body = [
        f"{circumstances.date}, `{circumstances.command}`, seed {circumstances.seed}, "
        f"{circumstances.machine}; clean runs recorded {circumstances.recorded}.",
        "",
        "### False alarms",
        "",
        *clean_table(clean),
        "",
        "### Power",
        "",
        *effect_table(effects),
        "",
        "### Targets missed",
        "",
        *told,
    ]
    return with_part(page, "\n".join(body), begin=_BEGIN, end=_END, file="docs/calibration.md")


def _clean_row(source: str, cases: str, rates: Sequence[Rate]) -> str:
    found, replays = sum(rate.found for rate in rates), sum(rate.replays for rate in rates)
    low, high = Interval.of(found, replays)
    by_test = {name: sum(rate.by_test[name] for rate in rates) for name in TESTS}
    tests = ", ".join(f"{name} {count}" for name, count in by_test.items() if count)
    return (
        f"| {source} | {cases} | {replays} | {found} ({found / replays:.2%}) | {low:.2%} to {high:.2%} | "
        f"{tests} | {_yes(found <= ALPHA * replays)} |"
    )


def _kind(rate: Rate) -> str:
    return "simulated" if rate.source.startswith("simulated") else "recorded"


def _kept(rate: Rate) -> str:
    """Whether the power found is within 5 points of the promise; open where the replays leave that open."""
    promised = rate.promised or 0.0
    if abs(rate.share - promised) <= WITHIN:
        return "yes"
    low, high = rate.interval
    return "NO" if low > promised + WITHIN or high < promised - WITHIN else "open"


def _yes(met: bool) -> str:
    return "yes" if met else "NO"

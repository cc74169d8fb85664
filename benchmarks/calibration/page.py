"""The calibration tables, in a terminal and in ``docs/calibration.md``, and the targets that are missed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.calibration.effects import Found
from benchmarks.calibration.rates import Cell, Interval, Tally
from benchmarks.calibration.sameness import Shown
from benchmarks.written_parts import with_part
from harness.verdicts.rules import ALPHA

__all__ = ["PAGE", "Circumstances", "Counted", "closing", "missed", "open_targets", "tables", "with_tables"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "calibration.md"
EACH = 0.02
"""The most false alarms in a cell; over a law, and over a number of runs, it is `ALPHA`."""
POINTS = 0.05
"""How far the power found may be from the promised one, and SAME's own error."""

_BEGIN = "<!-- tables, written by `python -m benchmarks.calibration judge --write` -->"
_END = "<!-- end of tables -->"
_MOST_NAMED = 25


class Circumstances(NamedTuple):
    """Without these a figure says nothing."""

    date: str
    command: str
    seed: int
    recorded: str


class Counted(NamedTuple):
    """All that was counted: the grid's cells with their tallies, large ones, replays, power, SAME."""

    grid: Sequence[tuple[Cell, Tally]]
    large: Sequence[Tally]
    replays: Sequence[Tally]
    power: Sequence[Found]
    same: Sequence[Shown]


class _Target(NamedTuple):
    """What is held to ``most``: so many ``found`` of so many ``samples``."""

    name: str
    found: int
    samples: int
    most: float

    @property
    def over(self) -> bool:
        return self.found > self.most * self.samples

    @property
    def surely(self) -> bool:
        return Interval.of(self.found, self.samples).low > self.most

    @property
    def words(self) -> str:
        low, high = Interval.of(self.found, self.samples)
        share = self.found / self.samples
        return (
            f"{self.name}: {self.found} of {self.samples}, {share:.2%} ({low:.2%} to {high:.2%}); at most "
            f"{self.most:.0%}"
        )


def missed(counted: Counted) -> list[str]:
    """A sentence for each target that is missed: the 95% interval is above it."""
    return [target.words for target in _targets(counted) if target.surely] + [
        f"{one.words}, {one.law}, {_runs(one.runs)}, {one.cases} cases: found {one.own / one.samples:.0%}, "
        f"promised {one.promised or 0:.0%}"
        for one in counted.power
        if _kept(one) == "NO"
    ]


def open_targets(counted: Counted) -> list[str]:
    """A sentence for each share that is over its target by so little that the samples leave it open."""
    return [target.words for target in _targets(counted) if target.over and not target.surely]


def closing(counted: Counted) -> str:
    """How many cells are over 1%, and which one is the worst."""
    tallies = [tally for _, tally in counted.grid]
    over = [tally for tally in tallies if tally.alarms > ALPHA * tally.samples]
    whole = Tally.total("", tallies)
    worst = max(tallies, key=lambda tally: (tally.interval.low, tally.share))
    low, high = worst.interval
    samples = sorted(tally.samples for tally in tallies)
    unsure = sum(tally.interval.high > EACH for tally in tallies)
    return (
        f"{len(over)} of {len(tallies)} cells ({len(over) / len(tallies):.1%}) have more than {ALPHA:.0%} of "
        f"false alarms; all together {whole.alarms} of {whole.samples} ({whole.share:.2%}). The worst is "
        f"{worst.name}: {worst.alarms} of {worst.samples}, {worst.share:.2%} ({low:.2%} to {high:.2%}). "
        f"{samples[0]} to {samples[-1]} samples a cell: {unsure} cells are not shown to be under {EACH:.0%}. "
        f"Targets missed: {len(missed(counted))}."
    )


def tables(counted: Counted) -> list[str]:
    """Lines of Markdown."""
    told = [f"- {sentence}" for sentence in missed(counted)] or ["- none"]
    left = [f"- {sentence}" for sentence in open_targets(counted)] or ["- none"]
    return [
        "### False alarms, by law",
        "",
        *_by_law(counted.grid),
        "",
        "### False alarms, by the floor",
        "",
        *_by_floor(counted.grid),
        "",
        "### Cells over 1%",
        "",
        *_named(counted.grid),
        "",
        "### 10,000 cases, and recorded clean runs",
        "",
        *_plain([*counted.large, *counted.replays]),
        "",
        "### Power",
        "",
        *_power(counted.power),
        "",
        "### SAME at the margin",
        "",
        *_same(counted.same),
        "",
        "### Closing statement",
        "",
        closing(counted),
        "",
        "### Targets missed",
        "",
        *told,
        "",
        "### Over the target, within sampling error",
        "",
        *left,
    ]


def with_tables(page: str, counted: Counted, circumstances: Circumstances) -> str:
    """The page's text with its tables replaced; raises `HarnessError` where it has no place for them."""
    head = (
        f"{circumstances.date}, `{circumstances.command}`, seed {circumstances.seed}, CPU; clean runs "
        f"recorded {circumstances.recorded}."
    )
    body = "\n".join([head, "", *tables(counted)])
    return with_part(page, body, begin=_BEGIN, end=_END, file="docs/calibration.md")


def _targets(counted: Counted) -> list[_Target]:
    found = [
        _Target(name, tally.alarms, tally.samples, ALPHA)
        for names in (lambda cell: cell.world.law.name, lambda cell: _runs(cell.world.runs))
        for name, tally in _sums(counted.grid, names)
    ]
    found += [_Target(tally.name, tally.alarms, tally.samples, EACH) for _, tally in counted.grid]
    found += [_Target(tally.name, tally.alarms, tally.samples, ALPHA) for tally in counted.replays]
    return found + [
        _Target(f"SAME at the margin: {one.cell.name}", one.shown, one.samples, POINTS)
        for one in counted.same
    ]


def _sums(grid: Sequence[tuple[Cell, Tally]], name: Callable[[Cell], str]) -> list[tuple[str, Tally]]:
    groups: dict[str, list[Tally]] = {}
    for cell, tally in grid:
        groups.setdefault(name(cell), []).append(tally)
    return [(key, Tally.total(key, own)) for key, own in groups.items()]


def _by_law(grid: Sequence[tuple[Cell, Tally]]) -> list[str]:
    sizes = sorted({cell.cases for cell, _ in grid})
    lines = [
        f"| law | floor from | {' | '.join(f'{size} cases' for size in sizes)} | all | false alarms "
        "| upper end | exit 1 | INCONCLUSIVE | found by |",
        f"| --- | --- | {' | '.join('---:' for _ in sizes)} | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for (law, reference), whole in _grouped(grid):
        own = [(cell, tally) for cell, tally in grid if _floor(cell) == (law, reference)]
        columns = []
        for size in sizes:
            tallies = [tally for cell, tally in own if cell.cases == size]
            both = Tally.total("", tallies)
            columns.append(_of(both) if tallies else "")
        lines.append(f"| {law} | {reference} | {' | '.join(columns)} | {_of(whole)} | {_figures(whole)} |")
    whole = Tally.total("", [tally for _, tally in grid])
    blanks = " | ".join("" for _ in sizes)
    lines.append(f"| **all** | | {blanks} | {_of(whole)} | {_figures(whole)} |")
    return lines


def _grouped(grid: Sequence[tuple[Cell, Tally]]) -> list[tuple[tuple[str, str], Tally]]:
    groups: dict[tuple[str, str], list[Tally]] = {}
    for cell, tally in grid:
        groups.setdefault(_floor(cell), []).append(tally)
    return [(key, Tally.total("", own)) for key, own in groups.items()]


def _floor(cell: Cell) -> tuple[str, str]:
    return cell.world.law.name, "float32" if cell.world.reference else "own run"


def _runs(count: int) -> str:
    return f"{count} telling run{'s' * (count != 1)}"


def _by_floor(grid: Sequence[tuple[Cell, Tally]]) -> list[str]:
    lines = [
        "| floor | all | false alarms | upper end | exit 1 | INCONCLUSIVE | found by |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, whole in _sums(grid, lambda cell: f"{_runs(cell.world.runs)}, from {_floor(cell)[1]}"):
        lines.append(f"| {name} | {_of(whole)} | {_figures(whole)} |")
    return lines


def _named(grid: Sequence[tuple[Cell, Tally]]) -> list[str]:
    over = [tally for _, tally in grid if tally.alarms > ALPHA * tally.samples]
    if not over:
        return ["None."]
    over.sort(key=lambda tally: -tally.interval.low)
    more = len(over) - _MOST_NAMED
    lines = _plain(over[:_MOST_NAMED])
    return lines if more <= 0 else [*lines, "", f"And {more} more, each with a lower end that is no higher."]


def _plain(tallies: Sequence[Tally]) -> list[str]:
    lines = [
        "| clean samples of | cases | false alarms | 95% interval | exit 1 | INCONCLUSIVE | found by |",
        "| --- | ---: | ---: | --- | ---: | ---: | --- |",
    ]
    for tally in tallies:
        low, high = tally.interval
        name = tally.name.removesuffix(f", {tally.cases} cases")
        lines.append(
            f"| {name} | {tally.cases} | {tally.alarms}/{tally.samples} ({tally.share:.2%}) | {low:.2%} to "
            f"{high:.2%} | {tally.failed} | {tally.inconclusive} | {_tests(tally)} |"
        )
    return lines


def _of(tally: Tally) -> str:
    return f"{tally.alarms}/{tally.samples}"


def _figures(tally: Tally) -> str:
    share = tally.inconclusive / tally.samples
    return f"{tally.share:.2%} | {tally.interval.high:.2%} | {tally.failed} | {share:.1%} | {_tests(tally)}"


def _tests(tally: Tally) -> str:
    return ", ".join(f"{name} {count}" for name, count in tally.by_test.most_common())


def _power(rates: Sequence[Found]) -> list[str]:
    runs = list(dict.fromkeys(one.runs for one in rates))
    heads = " | ".join(
        f"{_runs(count)}: found / exit 1 / INCONCLUSIVE | own test / promised" for count in runs
    )
    lines = [
        f"| planted | law | cases | samples | {heads} |",
        f"| --- | --- | ---: | ---: | {' | '.join('--- | ---' for _ in runs)} |",
    ]
    rows: dict[tuple[str, str, int, int], dict[int, Found]] = {}
    for one in rates:
        rows.setdefault((one.words, one.law, one.cases, one.samples), {})[one.runs] = one
    for (words, law, cases, samples), by_runs in rows.items():
        cells = " | ".join(_found(by_runs[count]) if count in by_runs else " | " for count in runs)
        lines.append(f"| {words} | {law} | {cases} | {samples} | {cells} |")
    return lines


def _found(one: Found) -> str:
    """Two columns: what came of it all, and what its own test found beside what was promised."""
    shares = " / ".join(f"{count / one.samples:.0%}" for count in (one.alarms, one.failed, one.inconclusive))
    own = f"{one.own / one.samples:.0%}"
    if one.promised is None:
        return f"{shares} | {own}"
    kept = {"yes": "", "open": " (open)", "NO": " (**missed**)"}[_kept(one)]
    return f"{shares} | {own} / {one.promised:.0%}{kept}"


def _kept(one: Found) -> str:
    """Whether the power found is within 5 points of the promise; open where the samples leave that open."""
    if one.promised is None:
        return ""
    if abs(one.own / one.samples - one.promised) <= POINTS:
        return "yes"
    low, high = one.interval
    return "NO" if low > one.promised + POINTS or high < one.promised - POINTS else "open"


def _same(cells: Sequence[Shown]) -> list[str]:
    lines = [
        "| true changes | noise's share | runs | cases | shown to be within, at the margin | 95% interval |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for one in cells:
        (change, share, runs, cases), (low, high) = one.cell, one.interval
        lines.append(
            f"| {change} | {share:.0%} | {runs} | {cases} | {one.shown}/{one.samples} "
            f"({one.shown / one.samples:.1%}) | {low:.1%} to {high:.1%} |"
        )
    return lines

"""The account of a profile as text for a terminal or a log."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from harness.method.account import ALL, Account, EngineAccount
from harness.method.advice import RULES
from harness.method.coverage import MOST, Coverage, Depth, rank_of_share
from harness.method.missed_mass import MissedMass, WorstCase
from harness.method.timing import PathCost, cheapest, ratio

__all__ = ["report"]

_WIDTH = 10_000  # lines are as long as they are: a log has no width
_ENOUGH_FOR_MOST = 1000  # cases, before 99.9% leaves one out


def report(account: Account) -> str:
    """Everything in ``account``, the rules of the advice included."""
    out = io.StringIO()
    console = Console(file=out, width=_WIDTH, highlight=False, markup=False, soft_wrap=True)
    suites = f"{account.suites} suite{'s' * (account.suites != 1)}"
    console.print(f"{account.profile}: {_cases(account.cases)} in {suites}")
    for engine in account.engines:
        console.print(f"  {engine.name}: {engine.device}")
    _print_left_out(console, account.engines)
    known = [engine for engine in account.engines if engine.coverage]
    if known:
        _print_coverage(console, known)
        _print_missed(console, known)
    if account.timed:
        _print_costs(console, account)
    if account.advice:
        _print_advice(console, account)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _print_left_out(console: Console, engines: Sequence[EngineAccount]) -> None:
    for engine in engines:
        for what, names in (
            ("ERROR, so left out of all figures", list(engine.errors)),
            ("no answer row (the model did not write the answer's prefix)", engine.without_row),
        ):
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                why = f": {engine.errors[names[0]]}" if names[0] in engine.errors else ""
                console.print(f"  {engine.name}: {_cases(len(names))}: {what}: {names[0]}{more}{why}")
        if engine.partial:
            console.print(
                f"  {engine.name}: {_cases(engine.partial)} by a path that sees only the top of the row: "
                "its k are lower bounds, and what it misses is not known"
            )


def _print_coverage(console: Console, engines: Sequence[EngineAccount]) -> None:
    table = _table("engine", "suite", "cases>", "k for all>", "k for 99.9%>", "what needs it")
    for engine in engines:
        for suite, coverage in engine.coverage.items():
            table.add_row(
                engine.name,
                "all suites" if suite == ALL else suite,
                str(coverage.cases),
                _k(coverage.all),
                _k(coverage.most),
                f"{coverage.all.letter} in {coverage.all.case} ({coverage.all.place})",
            )
    console.print("\nThe shortest top-k list that shows every letter")
    console.print(_indented(table))
    console.print(_about_most(max((engine.coverage[ALL] for engine in engines), key=lambda c: c.cases)))


def _about_most(coverage: Coverage) -> str:
    cases, rank = coverage.cases, rank_of_share(coverage.cases, MOST)
    if coverage.left_out:
        return f"  99.9% of {cases} cases, by nearest rank, are {rank}: {coverage.left_out} left out."
    return (
        f"  99.9% of {_cases(cases)}, by nearest rank, leaves none out, so it says the same as 'all'; it "
        f"takes {_ENOUGH_FOR_MOST} cases to leave out one."
    )


def _print_missed(console: Console, engines: Sequence[EngineAccount]) -> None:
    table = _table(
        "engine",
        "k>",
        "cases with a letter outside>",
        "mass missed, mean>",
        "worst>",
        "widest interval>",
        "where",
    )
    for engine in engines:
        for missed in engine.missed:
            table.add_row(
                engine.name,
                str(missed.k),
                f"{missed.touched} of {missed.cases}",
                _share(missed.mean),
                _share(missed.worst.value),
                _share(missed.widest.value),
                _where(missed),
            )
    if table.row_count:
        console.print("\nWhat a list of k entries does not show of the letters")
        console.print(_indented(table))


def _where(missed: MissedMass) -> str:
    def place(found: WorstCase) -> str:
        return f"{found.case} ({found.place})"

    if not missed.touched:
        return ""
    if missed.worst.case == missed.widest.case:
        return place(missed.worst)
    return f"worst: {place(missed.worst)}; widest: {place(missed.widest)}"


def _print_costs(console: Console, account: Account) -> None:
    costs = [cost for engine in account.engines for cost in engine.costs]
    least = cheapest(costs)
    table = _table(
        "engine", "path", "k>", "ms a case>", "of its engine's cheapest>", "of the cheapest>", "sees"
    )
    for cost in costs:
        own = cheapest([other for other in costs if other.engine == cost.engine])
        if cost.problem is not None or own is None or least is None:
            table.add_row(cost.engine, cost.path, _length(cost), "", "", "", f"not timed: {cost.problem}")
            continue
        table.add_row(
            cost.engine,
            cost.path,
            _length(cost),
            f"{cost.median * 1000:.3g}",
            _ratio(cost, own),
            _ratio(cost, least),
            "the top of the row" if cost.partial else "the whole row",
        )
    rounds = f"{account.rounds} round{'s' * (account.rounds != 1)}"
    console.print(f"\nWhat each path costs ({_cases(account.timed)}, median of {rounds} and their range)")
    console.print(_indented(table))
    for engine in account.engines:
        devices = dict.fromkeys(cost.device for cost in engine.costs if cost.device)
        console.print(f"  timed on: {engine.name}: {'; '.join(devices) or 'nothing'}")


def _print_advice(console: Console, account: Account) -> None:
    console.print("\nWhich method")
    for advice in account.advice:
        use = "to debug" if advice.rule == "debug" else "for the letters' probabilities"
        console.print(f"  {use}, {advice.engine}: {advice.method}")
        console.print(f"      {advice.why}.")
        console.print(f"      by the rule '{advice.rule}'")
    console.print("\nThe rules")
    for rule in RULES:
        console.print(f"  {rule}")


def _table(*headings: str) -> Table:
    """A table without lines; a heading that ends in '>' has its column flush right."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in headings:
        right = heading.endswith(">")
        table.add_column(heading.removesuffix(">"), justify="right" if right else "left", no_wrap=True)
    return table


def _indented(table: Table) -> Padding:
    return Padding(table, (0, 0, 0, 2), expand=False)


def _cases(count: int) -> str:
    return f"{count} case{'s' * (count != 1)}"


def _k(depth: Depth) -> str:
    return str(depth.k) if depth.exact else f"≥ {depth.k}"


def _length(cost: PathCost) -> str:
    return str(cost.top_k) if cost.top_k else ""


def _share(value: float | None) -> str:
    return "not known" if value is None else "0" if value == 0 else f"{value:.2g}"


def _ratio(cost: PathCost, base: PathCost) -> str:
    median, lowest, highest = ratio(cost, base)
    return "1.00" if cost is base else f"{median:.2f} ({lowest:.2f} to {highest:.2f})"

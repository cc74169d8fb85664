"""The figures of noise floors as text for a terminal or a log."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from harness.noise.figures import EngineFigures, MovedCase
from harness.noise.variants import LEAST

__all__ = ["report"]

_WIDTH = 10_000  # lines are as long as they are: a log has no width


def report(figures: Sequence[EngineFigures]) -> str:
    """Everything in ``figures``."""
    out = io.StringIO()
    console = Console(file=out, width=_WIDTH, highlight=False, markup=False, soft_wrap=True)
    for number, engine in enumerate(figures):
        if number:
            console.print()
        _print_engine(console, engine)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _print_engine(console: Console, engine: EngineFigures) -> None:
    name = f"{engine.profile}/{engine.engine}"
    if engine.problem:
        console.print(f"{name}: no noise floor: {engine.problem}")
    else:
        made = (
            f"measured in {_count(engine.made, 'run')}"
            if engine.made
            else "nothing changed, nothing measured"
        )
        console.print(f"{name}: noise floor of {engine.day}, {_count(len(engine.variants), 'run')} ({made})")
        console.print(f"  {engine.device}")
        count, few = len(engine.telling), "" if len(engine.telling) >= LEAST else "warning: only "
        console.print(f"  {few}{_count(count, 'run')} of these tell of noise: {', '.join(engine.telling)}")
        console.print(f"  {engine.refused or engine.repeats}")
    for note in engine.notes:
        console.print(f"  note: {note}")
    if not engine.suites:
        return
    console.print("\n  log-odds, by suite")
    suites = _table("suite", "cases>", "σ median>", "σ worst>", "largest |Δ|>", "flips>", "KL>", "moves most")
    for suite in engine.suites:
        suites.add_row(
            suite.suite,
            str(suite.cases),
            _figure(suite.sigma),
            _figure(suite.worst_sigma),
            _figure(suite.largest),
            f"{suite.flips} of {suite.chances}",
            "" if suite.kl is None else _figure(suite.kl),
            suite.most,
        )
    console.print(Padding(suites, (0, 0, 0, 4), expand=False))
    console.print("\n  log-odds from the reference, by run")
    runs = _table("run", "cases>", "RMS>", "largest |Δ|>", "flips>")
    for run in engine.variants:
        runs.add_row(run.variant, str(run.cases), _figure(run.rms), _figure(run.largest), str(run.flips))
    console.print(Padding(runs, (0, 0, 0, 4), expand=False))
    for moved in engine.worst:
        console.print(f"  {_moved(moved)}")


def _moved(moved: MovedCase) -> str:
    return (
        f"moves most: {moved.case}, letter {moved.letter}, by {_figure(moved.largest)} in {moved.variant} "
        f"({moved.place})"
    )


def _table(*headings: str) -> Table:
    """A table; a heading that ends in '>' has its column at the right."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(
            heading.removesuffix(">"), justify="right" if heading.endswith(">") else "left", no_wrap=True
        )
    return table


def _figure(value: float) -> str:
    return f"{value:.2g}"


def _count(number: int, one: str) -> str:
    return f"{number} {one}{'' if number == 1 else 's'}"

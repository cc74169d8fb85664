"""A plan as text for a terminal or a log, and as plain data."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.planning.suite_plan import EFFECTS, POWERS, Missing, SuitePlan
from harness.verdicts.rules import ALPHA, TESTS

__all__ = ["RULES", "report", "to_json"]

_WIDTH = 10_000  # lines are as long as they are: a log has no width

RULES: Mapping[str, str] = {
    "found": (
        f"the judge raises a false alarm in at most {ALPHA:.0%} of comparisons, over {len(TESTS)} tests; "
        "these figures are for one test that finds the effect by itself, in a comparison on these cases alone"
    ),
    "groups": "cases that share an image are one group, and what is counted is groups",
    "beyond noise": "a flip between near-ties is noise; only what is beyond the expected number counts",
    "alone": "a flip of a case whose lead is far wider than its noise is an alarm by itself",
    "missing": "cases to add are of the same kind: leads as wide, as much noise, as many to an image",
}
"""In words, by name."""


def report(plan: SuitePlan) -> str:
    """Everything in ``plan``, with the rules."""
    out = io.StringIO()
    console = Console(file=out, width=_WIDTH, highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{plan.suite}: {_count(plan.cases, 'case')}, {_count(plan.clusters, 'independent group')} (cases "
        f"that share an image are one), {plan.right} right"
    )
    console.print(f"noise: {plan.noise}")
    if not plan.measured:
        console.print("       a table is wide; `harness noise PROFILE` measures, and finds smaller effects")
    low, middle, high = plan.margins
    console.print(
        f"leads in log-odds: {low:.3g} to {high:.3g}, median {middle:.3g}; noise between two sides: "
        f"σ = {plan.sigma:.3g}"
    )
    console.print(
        f"flips that noise alone makes: {_few(plan.expected_flips)} expected; in {plan.alone} of "
        f"{plan.cases} cases one flip is an alarm by itself"
    )
    console.print(f"a single case is beyond its noise when it moves by {plan.limit:.3g} (median)")
    if plan.left_out:
        console.print(f"left out, as they cannot be judged: {', '.join(plan.left_out)}")
    if plan.found_from is not None:
        console.print(
            f"a spread under {plan.found_from:.3g} times the noise is not found with any number of cases; "
            "more kinds of runs in the noise floor lower that"
        )
    console.print()
    console.print(_detectable(plan), soft_wrap=False)
    for goal in plan.goals:
        console.print(_goal(goal, plan))
    console.print(f"\neach test at α = {plan.alpha:.2g} ({ALPHA:.2g} / {len(TESTS)} tests); the rules:")
    for name, words in RULES.items():
        console.print(f"  {name}: {words}")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def to_json(plan: SuitePlan) -> dict[str, Any]:
    """The plan as data for JSON; powers are the keys '0.8' and '0.95'."""
    data: dict[str, Any] = _with_text_keys(asdict(plan))
    data["rules"] = dict(RULES)
    return data


def _detectable(plan: SuitePlan) -> Table:
    table = Table("smallest effect found", box=None, pad_edge=False)
    for power in POWERS:
        table.add_column(f"power {power:g}", justify="right")
    for each in plan.detectable:
        sizes = (_size(each.effect, each.smallest[power], plan) for power in POWERS)
        table.add_row(EFFECTS[each.effect], *sizes)
    return table


def _size(effect: str, size: float | None, plan: SuitePlan) -> str:
    if size is None:
        return "none"
    if effect == "spread":
        return f"× {size:.3g}"
    if effect in ("shift", "mass"):
        return f"{size:.3g}"
    return f"{size:.1%} ({size * plan.clusters:.1f} of {plan.clusters} groups)"


def _goal(goal: Missing, plan: SuitePlan) -> str:
    head = f"\ngoal {goal.goal.effect}={goal.goal.size:g}: found now with power {goal.power:.2f}"
    lines = [head]
    if goal.goal.effect == "accuracy":
        lines.append(
            "  (by their number; a single lost answer with a wide lead is an alarm by itself, see above)"
        )
    for power in POWERS:
        cases, clusters, missing = goal.cases[power], goal.clusters[power], goal.missing[power]
        if missing == 0:
            lines.append(f"  power {power:g}: there are cases enough")
        elif cases is None:
            lines.append(f"  power {power:g}: no number of cases would do")
        else:
            lines.append(
                f"  power {power:g}: {missing:,} cases are missing; it takes {cases:,} cases in "
                f"{clusters:,} groups, and there are {plan.cases} in {plan.clusters}"
            )
    return "\n".join(lines)


def _few(number: float) -> str:
    return f"{number:.2g}" if number >= 1e-3 else "fewer than 0.001"


def _with_text_keys(value: Any) -> Any:  # noqa: ANN401 - plain data of any depth
    if isinstance(value, dict):
        return {str(key): _with_text_keys(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_with_text_keys(own) for own in value]
    return value


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"

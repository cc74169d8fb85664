"""How many cases a model upgrade takes, by margin and by how many answers the two models do not share."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.verdicts.paired_accuracy import cases_for, margin_for, points

__all__ = ["plan_upgrade"]

_MARGINS = (0.01, 0.02, 0.03, 0.05, 0.1)
_DISCORDANCES = (0.02, 0.05, 0.1, 0.15, 0.2)


def plan_upgrade(name: str, *, cases: int, groups: int, margin: float) -> tuple[str, dict[str, Any]]:
    """The plan as text and as data, of ``cases`` that are judged together and asked for ``margin``.

    ``groups`` is how many there are where those of an image are one.
    """
    margins = sorted({*_MARGINS, margin})
    needed = [[cases_for(one, share) for share in _DISCORDANCES] for one in margins]
    decides = {
        f"{count} {what}": [margin_for(count, share) for share in _DISCORDANCES]
        for what, count in (("cases", cases), ("groups", groups))
    }
    table = Table("margin, points", *(f"{share:.0%}" for share in _DISCORDANCES), box=None, pad_edge=False)
    for one, counts in zip(margins, needed, strict=True):
        told = (f"{count:,}{'*' * (count <= cases)}" for count in counts)
        table.add_row(f"{points(one)}{' (asked for)' * (one == margin)}", *told)
    out = io.StringIO()
    Console(file=out, width=200, highlight=False, markup=False).print(table)
    lines = [
        f"{name}: {cases} cases, {groups} groups (cases that share an image are one)",
        "cases that another model takes to be shown no worse than a margin, with power 0.8 if it is as good,",
        "by the share of cases of which one model only is right; * there are as many",
        "",
        *(line.rstrip() for line in out.getvalue().splitlines()),
        "",
    ]
    for what, able in decides.items():
        each = (f"{points(one)} at {share:.0%}" for one, share in zip(able, _DISCORDANCES, strict=True))
        lines.append(f"a margin that {what} can decide: {', '.join(each)}")
    data = {"name": name, "cases": cases, "groups": groups, "margin": margin, "margins": margins}
    return "\n".join(lines) + "\n", {
        **data,
        "discordances": _DISCORDANCES,
        "needed": needed,
        "decides": decides,
    }

"""From the measured figures to a recommendation, by rules that are printed with it.

The advice that is given everywhere: native code to debug, a top-k list where it is enough, two stages where
the whole distribution is needed. Which of them holds for a suite is a matter of figures; these are the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from harness.method.coverage import Coverage
from harness.method.missed_mass import MissedMass
from harness.method.timing import PathCost, cheapest, ratio

__all__ = ["RULES", "SAME_COST", "SERVER_LIST", "Advice", "Limits", "advise", "advise_debugging"]

SERVER_LIST: Final = 20
"""The longest list that LMDeploy 0.18's server gives."""

SAME_COST: Final = 1.1
"""A full path that costs up to this many times a list is taken instead: it never leaves an interval."""

RULES: Final = (
    "debug: the native engine, whose whole vocabulary and model are in hand, by its cheapest path",
    "list: some k up to the engine's limit shows every letter in every case, and no full path costs up to "
    f"{SAME_COST:g} times the list",
    "full though a list would do: a full path costs hardly more (up to "
    f"{SAME_COST:g} times the list), and leaves no interval",
    "list with intervals: no such k, but at one that was looked at no letter outside can have more than the "
    "allowed width",
    "full: none of these; the cheapest path to the whole distribution",
    "unknown: only the top of the rows was seen, and a letter stood outside",
)
"""What each rule's name, before the colon, stands for."""


class Limits(NamedTuple):
    """The longest list an engine gives, who says so, and the widest interval that is acceptable.

    ``found`` says that ``most`` is not what may be asked for but what a server was found to give.
    """

    most: int
    source: str
    width: float
    found: bool = False


class Advice(NamedTuple):
    """``rule`` names one of `RULES`; ``method`` is a path, with its k if it has one; ``why`` has figures."""

    engine: str
    rule: str
    method: str
    why: str


def advise_debugging(engine: str, paths: Sequence[str], costs: Sequence[PathCost]) -> Advice:
    """What to debug with: the native ``engine``, which has ``paths``, by the cheapest that was timed."""
    best = cheapest(costs, partial=False)
    if best is None:
        return Advice(engine, "debug", f"{engine}, path {paths[0]}", "its paths were not timed")
    others = [cost for cost in costs if cost.seconds and cost is not best]
    return Advice(engine, "debug", f"{engine}, path {best.path}", f"it costs 1.00{_others(others, best)}")


def advise(
    engine: str,
    coverage: Coverage,
    missed: Sequence[MissedMass],
    costs: Sequence[PathCost],
    limits: Limits,
) -> Advice:
    """How to get the letters' probabilities from ``engine``, of which all arguments speak.

    ``costs`` may be empty (nothing was timed); ``missed`` is by ascending k.
    """
    deepest, cases = coverage.all, coverage.cases
    full, short = cheapest(costs, partial=False), cheapest(costs, partial=True)
    if not deepest.exact:
        why = (
            f"only the top of the rows was seen, and {deepest.letter} of {deepest.case} stood outside: k is "
            f"at least {deepest.k}, how large is not known. Ask for a longer list, or record a full path"
        )
        return Advice(engine, "unknown", "a longer list, or a full path", why)
    if deepest.k <= limits.most:
        shows = (
            f"top-k with k={deepest.k} shows every letter in {_all(cases)}{_behind_server(deepest.k, missed)}"
        )
        if short is not None and full is not None:
            times = ratio(full, short).median
            told = (
                f"{shows}; it costs 1.00{_others([c for c in costs if c.seconds and not c.partial], short)}"
            )
            if times <= SAME_COST:
                why = f"{told}: the whole distribution is to be had for hardly more"
                return Advice(engine, "full though a list would do", f"path {full.path}", why)
            why = f"{told}: the list is enough, and cheaper"
            return Advice(engine, "list", f"path {short.path}, k={deepest.k}", why)
        return Advice(engine, "list", f"top-k with k={deepest.k}", f"{shows}; {_untimed(short, full)}")
    beyond = (
        f"to show every letter in {_all(cases)} a list needs k={deepest.k} ({deepest.letter} of "
        f"{deepest.case}), and {limits.source} gives {limits.most} at most"
    )
    for each in missed:
        width = each.widest.value
        if each.k <= limits.most and width is not None and width <= limits.width:
            why = (
                f"{beyond}; but with k={each.k} no letter outside can have more than {width:.2g} "
                f"(allowed: {limits.width:.2g}), and the mass missed is {_share(each.worst.value)} at worst"
            )
            return Advice(engine, "list with intervals", f"top-k with k={each.k}", why)
    if full is None:
        return Advice(
            engine, "full", "a path to the whole distribution", f"{beyond}; {_untimed(short, full)}"
        )
    others = [cost for cost in costs if cost.seconds and cost is not full]
    return Advice(engine, "full", f"path {full.path}", f"{beyond}; it costs 1.00{_others(others, full)}")


def _behind_server(k: int, missed: Sequence[MissedMass]) -> str:
    """What a server's list would leave, where it is too short."""
    for each in missed:
        if each.k == SERVER_LIST < k:
            return (
                f" (LMDeploy's server, which gives {SERVER_LIST} at most, would leave a letter out in "
                f"{each.touched} of them, and {_share(each.worst.value)} of probability at worst)"
            )
    return ""


def _share(value: float | None) -> str:
    return "an unknown amount" if value is None else f"{value:.2g}"


def _all(cases: int) -> str:
    return "the only case" if cases == 1 else f"all {cases} cases"


def _others(costs: Sequence[PathCost], base: PathCost) -> str:
    return "".join(f", {cost.path} {ratio(cost, base).median:.2f}" for cost in costs)


def _untimed(short: PathCost | None, full: PathCost | None) -> str:
    missing = [name for name, cost in (("a list", short), ("a full path", full)) if cost is None]
    return f"what {' and '.join(missing)} costs was not measured"

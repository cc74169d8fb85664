"""`harness factors`: which settings make two engines differ on a case."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from harness.commands.debugging.explain import live_sides, pairs_of
from harness.commands.measuring import add_folders, add_json, count, measuring, put_text, say

if TYPE_CHECKING:
    from harness.commands import Subparsers
    from harness.drift.factoring import Factored

__all__ = ["register"]

_BUDGET, _BESIDE = 12, 12
_NOTHING, _ERROR = 1, 2
_EPILOG = (
    "One setting at a time, then pairs of those that moved the difference: docs/explain.md. Exit status: 0 "
    "a set was found, 1 none of these does it, or not within the budget, 2 an engine cannot answer as it is "
    "or a name is wrong."
)


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "factors", help="find the settings that make two engines differ on a case", epilog=_EPILOG
    )
    parser.add_argument("sides", metavar="A..B", help="two engines, PROFILE/ENGINE each; A is the baseline")
    parser.add_argument("case", nargs="*", metavar="CASE", help="SUITE.ID; default: the case furthest apart")
    parser.add_argument(
        "--budget", type=count, default=_BUDGET, metavar="N", help="load at most N engines; default: 12"
    )
    add_folders(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from harness.errors import HarnessError

    try:
        found = _factors(options)
        data = json.dumps(found.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        if options.json is not None and str(options.json) != "-":
            put_text(options.json, data)
    except (HarnessError, OSError) as error:
        say(error)
        return _ERROR
    sys.stdout.write(data if str(options.json) == "-" else "\n".join(found.lines()) + "\n")
    return 0 if found.found else _NOTHING


def _factors(options: argparse.Namespace) -> Factored:
    from harness.drift.factoring import factor
    from harness.drift.run import Explaining

    with measuring(options) as found:
        pairs = pairs_of(live_sides(options.sides, found.loaded), found.loaded)
        explaining = Explaining(pairs, found.scoring, say=say, noise_cases=_BESIDE)
        names = options.case or explaining.worst(1)
        beside = [pair for pair in pairs if pair.name in explaining.spread() and pair.name not in names]
        named = [explaining.pair(name) for name in names]
        return factor(named, beside, found.scoring, budget=options.budget, say=say)

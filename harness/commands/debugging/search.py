"""`harness search`: generated cases, for what two engines disagree on, or one with itself."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.measuring import add_folders, add_set, count, makeable, measuring, positive, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.commands import Subparsers

__all__ = ["register"]

_EPILOG = (
    "What is found is shrunk and written as a suite with its pictures: see docs/search.md. Exit status: 0 "
    "nothing was found, 1 something was, 2 an engine could not answer or a name is wrong."
)


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "search", help="look for cases on which engines disagree, and shrink them", epilog=_EPILOG
    )
    sides = parser.add_mutually_exclusive_group(required=True)
    sides.add_argument("sides", nargs="?", metavar="A..B", help="two engines, PROFILE/ENGINE each")
    sides.add_argument("--metamorphic", metavar="PROFILE/ENGINE", help="check one engine against itself")
    parser.add_argument(
        "--examples", type=count, default=100, metavar="N", help="of each search, at most; default: 100"
    )
    parser.add_argument(
        "--minutes", type=positive, metavar="M", help="of each search, at most, with shrinking"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="draw the same each time, and keep none")
    parser.add_argument("--limit", type=positive, metavar="NATS", help="default: the dtype's for log-odds")
    parser.add_argument("--out", type=makeable, default=Path("found"), metavar="DIR", help="default: found")
    add_folders(parser)
    add_set(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from harness.errors import HarnessError

    if importlib.util.find_spec("hypothesis") is None:
        say("hypothesis is not installed in this Python: pip install 'vlm-consistency-harness[search]'")
        return 2
    status = 0
    try:
        for text, found in _search(options):
            sys.stdout.write(text)
            sys.stdout.flush()
            status |= found
    except (HarnessError, OSError) as error:
        say(error)
        return 2
    return status


def _search(options: argparse.Namespace) -> Iterator[tuple[str, bool]]:
    from harness.commands.debugging.explain import live_sides
    from harness.drift.searching.hunting import Budget
    from harness.drift.searching.run import search
    from harness.errors import GateError
    from harness.gate.candidates import engine_setting, with_settings

    seconds = None if options.minutes is None else 60 * options.minutes
    budget = Budget(options.examples, seconds, options.seed)
    own = options.metamorphic
    with measuring(options) as found:
        loaded = with_settings(found.loaded, [engine_setting(text) for text in options.set])
        sides = live_sides(f"{own}..{own}" if own else options.sides, loaded)[: 1 if own else 2]
        subjects = [subject for side in sides for subject in side.subjects(loaded.cases)[:1]]
        if len(subjects) < len(sides):
            raise GateError(f"{options.cases}: found no case of {sides[0].label}; allowed: one at least")
        yield from search(subjects, found.scoring, budget, options.out, say=say, limit=options.limit)

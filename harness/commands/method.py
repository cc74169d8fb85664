"""`harness method`: which way to the letters' probabilities a suite needs, measured on it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.commands.measuring import Outcome, add_folders, add_json, conclude, count, measuring, say

if TYPE_CHECKING:
    from harness.commands import Subparsers

__all__ = ["register"]

_EPILOG = (
    "Missing recordings are made as pytest makes them, and kept for it. Exit status: 0 measured, 1 the case "
    "files are wrong or an engine could not answer, 2 the command line is wrong."
)


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "method",
        help="measure which way to the letters' probabilities your suites need, and what each costs",
        epilog=_EPILOG,
    )
    parser.add_argument("profile", metavar="PROFILE", help="a profile of profiles.yaml")
    add_folders(parser)
    parser.add_argument(
        "--k",
        type=count,
        action="append",
        metavar="K",
        help="a list's length to look at; default: 5, 10, 20",
    )
    parser.add_argument(
        "--allowed-width",
        type=_share,
        default=1e-3,
        metavar="P",
        help="widest interval of a letter's probability that you can live with; default: 0.001",
    )
    parser.add_argument(
        "--cases-per-path", type=count, default=16, metavar="N", help="cases to time; default: 16"
    )
    parser.add_argument(
        "--rounds",
        type=count,
        default=3,
        metavar="N",
        help="rounds of timing; each loads the engine once per path; default: 3",
    )
    parser.add_argument("--no-timing", action="store_true", help="leave out what each path costs")
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from harness.method.account import USUAL, Plan, account_for
    from harness.method.report import report

    plan = Plan(
        lengths=tuple(sorted(set(options.k or USUAL))),
        width=options.allowed_width,
        rounds=0 if options.no_timing else options.rounds,
        cases_per_path=options.cases_per_path,
    )

    def measure() -> Outcome:
        with measuring(options) as found:
            profile = found.loaded.profile(options.profile)
            account = account_for(profile, found.loaded.cases, found.scoring, plan, show=say)
        return Outcome(text=report(account), data=account.to_json(), complete=account.complete)

    return conclude(options, measure)


def _share(text: str) -> float:
    if not 0.0 <= (value := float(text)) <= 1.0:
        raise argparse.ArgumentTypeError(f"found {text}; allowed: a probability, 0 to 1")
    return value

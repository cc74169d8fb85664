"""`harness method`: which way to the letters' probabilities a suite needs, measured on it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.measuring import add_folders, measuring, say
from harness.errors import HarnessError, UnknownProfile

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
        type=_count,
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
        "--cases-per-path", type=_count, default=16, metavar="N", help="cases to time; default: 16"
    )
    parser.add_argument(
        "--rounds",
        type=_count,
        default=3,
        metavar="N",
        help="rounds of timing; each loads the engine once per path; default: 3",
    )
    parser.add_argument("--no-timing", action="store_true", help="leave out what each path costs")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all figures here, too; - instead of text"
    )
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
    try:
        with measuring(options) as measure:
            profile = measure.loaded.profile(options.profile)
            account = account_for(profile, measure.loaded.cases, measure.scoring, plan, show=say)
        text = json.dumps(account.to_json(), indent=2, ensure_ascii=False) + "\n"
        if options.json is not None and str(options.json) != "-":
            options.json.write_text(text, encoding="utf-8")
    except (HarnessError, OSError) as error:
        say(str(error))
        return 2 if isinstance(error, UnknownProfile) else 1
    sys.stdout.write(text if str(options.json) == "-" else report(account))
    return 0 if account.complete else 1


def _count(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"found {text}; allowed: a whole number from 1")
    return value


def _share(text: str) -> float:
    if not 0.0 <= (value := float(text)) <= 1.0:
        raise argparse.ArgumentTypeError(f"found {text}; allowed: a probability, 0 to 1")
    return value

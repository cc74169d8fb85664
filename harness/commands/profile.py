"""`harness profile check`: everything about a profile that can be known before weights are loaded."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import TYPE_CHECKING

from harness.commands.measuring import add_cases, add_environments
from harness.errors import HarnessError, UnknownProfile

if TYPE_CHECKING:
    from harness.commands import Subparsers

__all__ = ["register"]


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("profile", help="look a profile over before anything is loaded")
    actions = parser.add_subparsers(dest="action", required=True)
    check = actions.add_parser(
        "check",
        help="check files, settings, environments, letters and memory of a profile without loading weights",
        epilog="Exit status: 0 nothing is wrong (? is what cannot be known from here, ! what will mislead), "
        "1 something is.",
    )
    check.add_argument("profile", metavar="NAME", help="a profile of profiles.yaml")
    add_cases(check)
    add_environments(check)
    check.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    from harness.cases.folder import load
    from harness.environments.store import Environments
    from harness.machine.findings import Mark, right
    from harness.profile_check.checking import ProfileCheck

    try:
        loaded = load(options.cases)
        profile = loaded.profile(options.profile)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UnknownProfile) else 1
    check = ProfileCheck(loaded, profile, Environments(options.environments))
    print(f"{profile.location}: profile {profile.name}")
    suites = ", ".join(check.suites)
    found = right("files", f"valid; suites {suites} with {len(check.cases)} cases and their images")
    print("\n".join(found.lines()), flush=True)
    counts: Counter[Mark] = Counter()
    for engine in profile.engines:
        print(f"{engine.location}: engine {engine.name}", flush=True)
        for finding in check.engine(engine):
            counts[finding.mark] += 1
            print("\n".join(finding.lines()), flush=True)
    print(f"{counts[Mark.WRONG]} wrong, {counts[Mark.UNKNOWN]} not to be known from here")
    return 1 if counts[Mark.WRONG] else 0

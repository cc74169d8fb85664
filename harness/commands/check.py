"""`harness check`: all suites and profiles of a folder, without running anything."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import CaseFileError

if TYPE_CHECKING:
    from harness.commands import Subparsers

__all__ = ["register"]


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "check", help="check all suites and profiles of a folder without running anything"
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("cases"), metavar="DIR", help="default: cases"
    )
    parser.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    from harness.cases.folder import load

    try:
        loaded = load(options.folder)
    except CaseFileError as error:
        print(error, file=sys.stderr)
        return 1
    for suite in loaded.suites:
        print(f"suite    {suite.name}: {_count(len(suite.cases), 'case')}")
    for profile in loaded.profiles:
        remark = f" (only with --profile {profile.name})" if profile.by_name_only else ""
        print(f"profile  {profile.name}: {', '.join(engine.name for engine in profile.engines)}{remark}")
    for remark in loaded.remarks:
        print(remark)
    cases = sum(len(suite.cases) for suite in loaded.suites)
    total = (
        _count(cases, "case"),
        _count(len(loaded.suites), "suite"),
        _count(len(loaded.profiles), "profile"),
    )
    remarks = f", {_count(len(loaded.remarks), 'remark')}" if loaded.remarks else ""
    print(f"{', '.join(total)}: no problems{remarks}")
    return 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

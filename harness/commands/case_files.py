"""`harness check` and `harness schema`: what a folder of cases holds, and what it may hold."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.measuring import default_folder
from harness.errors import CaseFileError

if TYPE_CHECKING:
    from harness.commands import Subparsers

__all__ = ["register"]


def register(commands: Subparsers) -> None:
    """Add both subcommands."""
    check = commands.add_parser(
        "check", help="check all suites and profiles of a folder without running anything"
    )
    check.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=default_folder("cases"),
        metavar="DIR",
        help="default: %(default)s",
    )
    check.set_defaults(run=_check)
    schema = commands.add_parser(
        "schema", help="write the JSON Schemas of suites and profiles (for editors) and of reports"
    )
    schema.add_argument(
        "folder", nargs="?", type=Path, metavar="DIR", help="default: the folder of the installed package"
    )
    schema.add_argument(
        "--check", action="store_true", help="write nothing; say which are missing or out of date"
    )
    schema.add_argument(
        "--options", action="store_true", help="print the page of engines' options, docs/options.md, instead"
    )
    schema.set_defaults(run=_schema)


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


def _schema(options: argparse.Namespace) -> int:
    from harness.cases.problems import shown
    from harness.schemas import json_schema
    from harness.schemas.options_page import options_page

    if options.options:
        print(options_page(), end="")
        return 0
    folder = (options.folder or json_schema.FOLDER).absolute()
    if not options.check:
        for path in json_schema.write_schemas(folder):
            print(f"wrote {shown(path)}")
        return 0
    wrong = json_schema.out_of_step(folder)
    for path in wrong:
        print(f"{shown(path)}: missing or out of date; run `harness schema {shown(folder)}`", file=sys.stderr)
    return 1 if wrong else 0

"""`harness schema`: write the JSON Schemas of suites, profiles and reports."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.commands import Subparsers

__all__ = ["register"]


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "schema", help="write the JSON Schemas of suites and profiles (for editors) and of reports"
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, metavar="DIR", help="default: the folder of the installed package"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; say which are missing or out of date"
    )
    parser.add_argument(
        "--options", action="store_true", help="print the page of engines' options, docs/options.md, instead"
    )
    parser.set_defaults(run=_schema)


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

"""The command `harness`: what is not a test.

Exit status: 0 all is well, 1 problems were found, 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import CaseFileError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (of the process, where None is given); return the exit status."""
    parser = argparse.ArgumentParser(
        prog="harness",
        description="Check suites and profiles and write their JSON Schemas. To compare engines, run pytest.",
        epilog="Exit status: 0 all is well, 1 problems were found, 2 the command line is wrong.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser(
        "check", help="check all suites and profiles of a folder without running anything"
    )
    check.add_argument(
        "folder", nargs="?", type=Path, default=Path("cases"), metavar="DIR", help="default: cases"
    )
    schema = commands.add_parser(
        "schema", help="write the JSON Schemas of suites and profiles, which editors use for help and checks"
    )
    schema.add_argument(
        "folder", nargs="?", type=Path, metavar="DIR", help="default: the folder of the installed package"
    )
    schema.add_argument(
        "--check", action="store_true", help="write nothing; say which are missing or out of date"
    )
    options = parser.parse_args(arguments)
    if options.command == "check":
        return _check(options.folder)
    return _schema(options.folder, only_check=options.check)


def _check(folder: Path) -> int:
    from harness.case_folder import load

    try:
        loaded = load(folder)
    except CaseFileError as error:
        print(error, file=sys.stderr)
        return 1
    for suite in loaded.suites:
        print(f"suite    {suite.name}: {_count(len(suite.cases), 'case')}")
    for profile in loaded.profiles:
        remark = f" (only with --profile {profile.name})" if profile.by_name_only else ""
        print(f"profile  {profile.name}: {', '.join(engine.name for engine in profile.engines)}{remark}")
    cases = sum(len(suite.cases) for suite in loaded.suites)
    total = (
        _count(cases, "case"),
        _count(len(loaded.suites), "suite"),
        _count(len(loaded.profiles), "profile"),
    )
    print(f"{', '.join(total)}: no problems")
    return 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _schema(folder: Path | None, *, only_check: bool) -> int:
    from harness.case_problems import shown
    from harness.schemas import json_schema

    folder = (folder or json_schema.FOLDER).absolute()
    if not only_check:
        for path in json_schema.write_schemas(folder):
            print(f"wrote {shown(path)}")
        return 0
    wrong = json_schema.out_of_step(folder)
    for path in wrong:
        print(f"{shown(path)}: missing or out of date; run `harness schema {shown(folder)}`", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

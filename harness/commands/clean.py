"""`harness clean`: what a folder of recordings need not keep any longer."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from harness.commands.measuring import Outcome, add_json, add_recordings, conclude, positive
from harness.errors import UnknownName

if TYPE_CHECKING:
    from harness.commands import Subparsers
    from harness.engines.contract import Json

__all__ = ["register"]

_EPILOG = (
    "Never touched: noise floors, accepted outputs, and of each engine its last two runs with their "
    "recordings. What goes is made again where it is asked for. Environments: `harness env remove`. Exit "
    "status: 0 cleaned, 1 the disk refuses, 2 the command line is wrong."
)
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "clean", help="remove recordings, errors, logs and rows that are old and not needed", epilog=_EPILOG
    )
    parser.add_argument(
        "--older-than",
        type=positive,
        default=90.0,
        metavar="DAYS",
        help="runs, recordings, rows, logs and traces of so many days ago; default: %(default)g",
    )
    parser.add_argument(
        "--most",
        type=_size,
        metavar="SIZE",
        help="rows, logs and traces also go from the oldest on until the folder has this size, such as 5G",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")
    add_recordings(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    return conclude(options, lambda: _cleaned(options))


def _cleaned(options: argparse.Namespace) -> Outcome:
    from harness.scoring.cleaning import clean

    if not options.recordings.is_dir():
        raise UnknownName(f"--recordings: found {options.recordings}; allowed: a folder of recordings")
    done = [*clean(options.recordings, days=options.older_than, most=options.most, dry=options.dry_run)]
    lines, did = [], "would remove" if options.dry_run else "removed"
    for one in done:
        if one.number or one.note:
            size = f", {one.freed / 1e6:,.1f} MB" if one.freed else ""
            note = f"; {one.note}" if one.note else ""
            lines.append(f"{did} {one.number:,} {one.what}{size}{note}\n")
    data: Json = [{"what": one.what, "number": one.number, "bytes": one.freed} for one in done]
    return Outcome(text="".join(lines) or "nothing to remove\n", data=data)


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGT]?)B?", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: a size such as 500M or 5G")
    return int(float(found[1]) * _UNITS[found[2]])

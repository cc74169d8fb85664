"""`harness merge`: the recordings of several folders and bundles in one folder."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.measuring import Outcome, add_json, conclude, default_folder, makeable
from harness.errors import UnknownName

if TYPE_CHECKING:
    from harness.commands import Subparsers

__all__ = ["register"]

_MOST_TOLD = 20
_EPILOG = (
    "Nothing is overwritten: of a key with two answers the one that is there stays, and both are told. Exit "
    "status: 0 merged, 1 a key has two answers that differ by more than rounding, lines of a folder are "
    "damaged, or refused, 2 the command line is wrong, or names what is no folder of recordings and no "
    "bundle."
)


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "merge", help="put the recordings of several folders, such as shards', into one", epilog=_EPILOG
    )
    parser.add_argument(
        "sources",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="a folder of recordings, or what harness bundle wrote",
    )
    parser.add_argument(
        "--into",
        type=makeable,
        default=default_folder("recordings"),
        metavar="FOLDER",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        choices=["hardware"],
        help="hardware: keep what one engine answered on several kinds of machine, as so many engines",
    )
    add_json(parser)
    parser.set_defaults(run=lambda options: conclude(options, lambda: _merged(options)))


def _merged(options: argparse.Namespace) -> Outcome:
    from harness.bundles import opened
    from harness.bundles.container import BundleError
    from harness.bundles.merging import merge
    from harness.cases.problems import shown

    with ExitStack() as stack:
        folders: dict[str, Path] = {}
        for source in options.sources:
            try:
                folder = stack.enter_context(opened(source)).recordings if source.is_file() else source
            except BundleError as error:  # as of a folder that is none, and as for a gate's --from
                raise UnknownName(str(error)) from error
            if not (folder / "recordings").is_dir() or folder.resolve() == options.into.resolve():
                raise UnknownName(
                    f"found {source}; allowed: folders of recordings (with {source}/recordings in them) or "
                    "bundles, other than the one they go into"
                )
            folders[str(source)] = folder
        done = merge(folders, options.into, several_kinds="hardware" in options.allow)
    lines = []
    for one in done:
        lines.append(
            f"{one.source}: {one.taken:,} recordings taken, {one.equal:,} there already, "
            f"{len(one.conflicts):,} with another answer; {one.runs:,} runs, {one.rows:,} rows\n"
        )
        if one.close:
            lines.append(
                f"  {one.close:,} keys have two answers that differ by up to {one.apart:.2g} in a log-"
                f"probability, within the limit of {one.limit:.2g}; that of {shown(options.into)} is kept\n"
            )
        lines += [f"  {text}\n" for text in (*one.conflicts[:_MOST_TOLD], *one.notes, *one.damaged)]
        if (more := len(one.conflicts) - _MOST_TOLD) > 0:
            lines.append(f"  and {more:,} more with another answer, which --json names\n")
    lines.append(f"in {shown(options.into)}\n")
    return Outcome(
        text="".join(lines),
        data=[asdict(one) for one in done],
        complete=not any(one.conflicts or one.damaged for one in done),
    )

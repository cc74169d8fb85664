"""`harness kernels`: which of LMDeploy's Triton kernels changed, without a GPU."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from harness.commands.measuring import add_environments, add_json, put_text, say, writable

if TYPE_CHECKING:
    from harness.commands import Subparsers
    from harness.drift.kernels.comparing import Compared

__all__ = ["register"]

_EPILOG = (
    "Interpreted on a CPU, so no evidence about compiled code: docs/kernels.md. Exit status: 0 no kernel is "
    "beyond its limit, 1 one is, 2 one could not be run or a name is wrong."
)


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "kernels",
        help="hold LMDeploy's Triton kernels against float64, and versions of them against one another",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "--versions",
        metavar="V,V,...",
        help="of LMDeploy, each in an environment of its own; default: the one that is installed here",
    )
    parser.add_argument("--card", choices=("sm80", "sm90"), default="sm80", help="pretended; default: sm80")
    named = "FUNCTION or FUNCTION:VARIANT, as in the table; default: all"
    parser.add_argument("--kernels", nargs="+", default=(), metavar="NAME", help=named)
    parser.add_argument("--moved-fails", action="store_true", help="exit status 1 where numbers moved, too")
    parser.add_argument("--markdown", type=writable, metavar="FILE", help="write the table here, too")
    add_json(parser)
    add_environments(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from harness.drift.kernels.comparing import ERROR
    from harness.errors import HarnessError

    try:
        found = _compared(options)
        data = json.dumps(found.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        if options.json is not None and str(options.json) != "-":
            put_text(options.json, data)
        if options.markdown is not None:
            put_text(options.markdown, found.markdown())
    except (HarnessError, OSError) as error:
        say(error)
        return ERROR
    sys.stdout.write(data if str(options.json) == "-" else found.markdown())
    return found.status(moved_fails=options.moved_fails)


def _compared(options: argparse.Namespace) -> Compared:
    from harness.drift.kernels.comparing import Compared
    from harness.drift.kernels.running import check, checks_of, versions_of
    from harness.environments.store import Environments

    checks = checks_of(options.kernels)
    versions = (None,) if options.versions is None else versions_of(options.versions)
    environments = Environments(options.environments)
    try:
        found = [check(version, checks, options.card, environments, say) for version in versions]
    finally:
        environments.close()
    return Compared(card=options.card, checks=checks, versions=found)

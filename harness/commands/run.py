"""`harness run`: suites in bulk, as `pytest --bulk` runs them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.commands.measuring import add_folders, add_snapshots, add_workers, say, writable

if TYPE_CHECKING:
    import pytest

    from harness.commands import Subparsers

__all__ = ["register"]

_EPILOG = (
    "The same recordings, checks, limits, table and report as pytest, without a test for each case: it runs "
    "pytest --bulk, without the options that pytest's configuration adds. Interrupted, it keeps what was "
    "answered, and the same command asks the rest. Exit status: 0 all checks passed, 1 some failed or had no "
    "answer, 2 the command line or the case files are wrong, 130 interrupted; with --gate the gate's."
)
_INTERRUPTED = 130  # as shells say it: 128 and the signal's number
_VALUES = (
    *("cases", "snapshots", "recordings", "environments", "report", "report_json", "explain", "gate"),
    *("shard", "devices", "executor", "ray_address"),
)
_LISTS = ("profile", "suite")
_SWITCHES = ("fresh", "keep_logits")
_WRONG = 2
_REWRITTEN = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "run", help="ask and check suites in bulk, as many cases as there are", epilog=_EPILOG
    )
    parser.add_argument("suite", nargs="*", metavar="SUITE", help="a suite's name; default: all")
    parser.add_argument(
        "--profile", action="append", default=[], metavar="NAME", help="run this profile only; repeatable"
    )
    add_folders(parser)
    add_snapshots(parser)
    parser.add_argument("--fresh", action="store_true", help="make all recordings again")
    parser.add_argument(
        "--keep-logits", action="store_true", help="keep every full row of logits, not only those of failures"
    )
    parser.add_argument("--shard", metavar="K/N", help="this share of the cases only, as for pytest")
    add_workers(parser.add_argument)
    parser.add_argument("--gate", metavar="A..B", help="judge candidate B against baseline A, as for pytest")
    parser.add_argument(
        "--explain", nargs="?", type=int, const=3, metavar="N", help="look into the first N cases that failed"
    )
    parser.add_argument(
        "--report", type=writable, metavar="FILE.html", help="write the report as a page here"
    )
    parser.add_argument("--report-json", type=writable, metavar="FILE", help="write the report as data here")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    import pytest

    from harness.verdicts.verdict import ExitStatus

    # Whatever else pytest's configuration adds, such as -q or -n, is meant for tests of single cases.
    quiet = ["-o", "addopts=", "--no-header", "-p", "no:cacheprovider", "-W", _REWRITTEN]
    ending = _Ending()
    status = int(pytest.main([*quiet, *words(options)], plugins=[ending]))
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:
        say("no suite has a case for what was asked for; profiles for a GPU: --profile NAME")
    if ending.interrupted:
        return _INTERRUPTED
    judged = options.gate is not None and not ending.broken
    return status if judged and status == ExitStatus.INCONCLUSIVE else min(status, _WRONG)


class _Ending:
    """A plugin that tells apart what pytest has one exit status for.

    Ctrl-C and case files that are wrong; its own internal error and a gate that is INCONCLUSIVE.
    """

    interrupted = broken = False

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self.interrupted = excinfo.type is KeyboardInterrupt  # pytest's own interruptions are kinds of it

    def pytest_internalerror(self) -> None:
        self.broken = True


def words(options: argparse.Namespace) -> list[str]:
    """What stands behind ``pytest`` to do the same."""
    found = ["--pyargs", "harness.suite", "--bulk"]
    values = {name: value for name in _VALUES if (value := getattr(options, name)) is not None}
    found += [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    found += [f"--{name}={value}" for name in _LISTS for value in getattr(options, name)]
    return found + [f"--{name.replace('_', '-')}" for name in _SWITCHES if getattr(options, name)]

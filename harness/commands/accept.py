"""`harness accept`: take an engine's present answers for the baseline, with a reason and an author."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.commands.measuring import (
    add_folders,
    add_snapshots,
    git_user,
    measuring,
    say,
    snapshots_folder,
)
from harness.errors import GateError, HarnessError

if TYPE_CHECKING:
    from harness.commands import Subparsers
    from harness.gate.accepting import Accepted

__all__ = ["register"]

_EPILOG = (
    "Writes SNAPSHOTS/PROFILE/ENGINE/SUITE.jsonl, to be reviewed and committed; `harness gate --baseline "
    "accepted` and test_matches_snapshot compare with it. Exit status: 0 accepted or converted, 2 refused."
)
_REFUSED = 2


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "accept", help="accept an engine's answers as the baseline of the gate, with a reason", epilog=_EPILOG
    )
    parser.add_argument("engine", nargs="?", metavar="PROFILE/ENGINE", help="whose answers are accepted")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; kept in the files")
    parser.add_argument("--author", metavar="NAME", help="who accepts; default: user.name of git")
    parser.add_argument(
        "--regression", action="store_true", help="accept it although right answers are lost; else refused"
    )
    parser.add_argument(
        "--convert", action="store_true", help="only rewrite accepted outputs in an earlier version's layout"
    )
    add_folders(parser)
    add_snapshots(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    try:
        if options.convert:
            return _convert(options)
        accepted = _accept(options)
    except (HarnessError, OSError) as error:
        say(error)
        return _REFUSED
    _tell(accepted)
    return 0


def _convert(options: argparse.Namespace) -> int:
    from harness.cases.folder import load
    from harness.cases.problems import shown
    from harness.snapshots.converting import convert

    snapshots = snapshots_folder(options)
    files = convert(snapshots, load(options.cases))
    print(f"converted into {len(files)} files below {shown(snapshots)}; review and commit them")
    return 0


def _accept(options: argparse.Namespace) -> Accepted:
    from harness.gate.accepting import Decision, accept
    from harness.gate.side import Kept
    from harness.gate.sides import parse_side

    if options.engine is None:
        raise GateError("found no engine; allowed: PROFILE/ENGINE, whose answers are accepted")
    author = options.author or git_user(options.cases)
    decision = Decision(author=author, reason=options.reason, regression=options.regression)
    with measuring(options) as found:
        snapshots = snapshots_folder(options)
        name = parse_side(options.engine, found.loaded.profiles, meant=(), snapshots=snapshots)
        kept = Kept(folder=found.loaded.folder, suites=found.loaded.suites, scoring=found.scoring)
        return accept(name, kept, found.loaded.profiles, snapshots, decision)


def _tell(accepted: Accepted) -> None:
    from harness.cases.problems import shown
    from harness.gate.outputs import comparison_text

    if accepted.comparison is not None:
        print(comparison_text(accepted.comparison))
    for case, moved in accepted.acceptance.moved.items():
        print(f"{case}: {moved.why}\n  old {_shares(moved.old)}\n  new {_shares(moved.new)}")
    if not accepted.files:
        print("nothing moved since it was accepted, so there is nothing to decide; no file was written")
        return
    by = f"by {accepted.acceptance.author}: {accepted.acceptance.reason}"
    print(f"accepted {by}\nreview and commit {', '.join(map(shown, accepted.files))}")


def _shares(shares: object) -> str:
    if not isinstance(shares, dict):
        return "nothing"
    if not shares:
        return "no letter"
    texts = (f"{k} ≤ {v['at most']}" if isinstance(v, dict) else f"{k} {v}" for k, v in shares.items())
    return ", ".join(texts)

"""`harness bundle` and `harness report-bug`: a stored run, or a case of it, for somebody elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.measuring import (
    add_bundle,
    add_folders,
    add_snapshots,
    makeable,
    say,
    snapshots_folder,
    writable,
)
from harness.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.cases.folder import Loaded
    from harness.commands import Subparsers
    from harness.scoring.stored_runs import StoredRun

__all__ = ["register"]

_BUNDLE = (
    "It holds suites, images, recordings, full rows that are kept, noise floors, what is accepted, locks and "
    "traces; no weights, no key or token, no place of this machine. `harness gate` and `harness report-bug` "
    "open it with --from. Exit status: 0 written, 2 refused."
)
_REPORT = (
    "The folder has the text of an issue, a script of few lines that imports nothing of the harness, image, "
    "prompt, both renderings, ids and versions. No engine is asked. Exit status: 0 written, 2 refused."
)
_RUN = "last (the default), a day, or the first digits of a run's name; an unknown one lists them"
_REFUSED = 2


def register(commands: Subparsers) -> None:
    """Add the subcommands."""
    bundle = commands.add_parser(
        "bundle", help="put a stored run into one file for elsewhere", epilog=_BUNDLE
    )
    bundle.add_argument("stored", nargs="?", default="last", metavar="RUN", help=_RUN)
    bundle.add_argument("--no-rows", action="store_true", help="leave out full rows, the largest part")
    bundle.add_argument(
        "--out", type=writable, metavar="FILE", default=Path("run.bundle.zip"), help="default: run.bundle.zip"
    )
    report = commands.add_parser("report-bug", help="write a case up for an engine's makers", epilog=_REPORT)
    report.add_argument("case", metavar="CASE", help="SUITE.ID")
    report.add_argument(
        "--engine", metavar="B", help="PROFILE/ENGINE, or ENGINE; may be left out where there is one"
    )
    report.add_argument("--baseline", metavar="A", help="default: the reference of B's profile")
    report.add_argument("--stored", default="last", metavar="RUN", help=_RUN)
    report.add_argument("--out", type=makeable, metavar="DIR", help="a new folder; default: report-CASE")
    add_bundle(report)
    for parser, write in ((bundle, _bundle), (report, _report)):
        add_folders(parser)
        add_snapshots(parser)
        parser.set_defaults(run=_run, write=write)


def _run(options: argparse.Namespace) -> int:
    try:
        options.write(options)
    except (HarnessError, OSError) as error:
        say(error)
        return _REFUSED
    return 0


def _bundle(options: argparse.Namespace) -> None:
    from harness.cases.folder import load
    from harness.cases.problems import shown

    file: Path = options.out
    run = _made(options, file, rows=not options.no_rows)
    print(f"wrote {shown(file)}, {file.stat().st_size:,} bytes: the run {run[-1].run[:8]} of {run[-1].when}")
    print("to look at it elsewhere:")
    for sides in _held(run, load(options.cases)):
        print(f"  harness gate {sides} --from {shown(file)}")


def _held(run: Sequence[StoredRun], loaded: Loaded) -> list[str]:
    """What a gate can compare of a run: whole profiles, else its first reference with each of the others."""
    labels = [f"{one.profile}/{one.engine}" for one in run]
    profiles = [loaded.profile(name) for name in dict.fromkeys(one.profile for one in run)]
    if {f"{p.name}/{e.name}" for p in profiles for e in p.engines} <= {*labels}:
        return [profile.name for profile in profiles]
    references = [f"{profile.name}/{profile.reference}" for profile in profiles]
    first = next((label for label in references if label in labels), labels[0])
    return [f"{first}..{label}" for label in labels if label != first] or [f"accepted..{first}"]


def _report(options: argparse.Namespace) -> None:
    from harness.bundles import opened
    from harness.bundles.bug_report import write_bug_report
    from harness.machine.hold import scratch

    out = options.out or Path(f"report-{options.case}")
    with scratch("harness-report-") as name:
        file = options.bundle or Path(name, "run.zip")
        if options.bundle is None:
            _made(options, file, rows=False)
        with opened(file) as inside:
            write_bug_report(out, options.case, inside, engine=options.engine, baseline=options.baseline)
    print(f"wrote {out}: README.md is the text of an issue; read it before you send anything")


def _made(options: argparse.Namespace, file: Path, *, rows: bool) -> Sequence[StoredRun]:
    from harness.bundles.making import make_bundle
    from harness.cases.folder import load

    return make_bundle(
        file,
        options.stored,
        load(options.cases),
        options.recordings.absolute(),
        snapshots=snapshots_folder(options),
        environments=options.environments,
        rows=rows,
    )

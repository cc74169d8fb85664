"""`harness noise`: how far the engines of a profile move when nothing that matters changed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.commands.measuring import (
    Outcome,
    add_folders,
    add_json,
    add_snapshots,
    conclude,
    git_user,
    measuring,
    say,
    snapshots_folder,
)

if TYPE_CHECKING:
    from harness.commands import Subparsers

__all__ = ["register"]

_EPILOG = (
    "Floors are kept beside the recordings and used by pytest and `harness gate`. What is there already is "
    "not measured again, and what was interrupted goes on. Exit status: 0 measured, 1 the case files are "
    "wrong, or an engine has no floor or is not deterministic, 2 the command line is wrong."
)


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "noise",
        help="measure how far answers move when nothing that matters changed",
        epilog=_EPILOG,
    )
    parser.add_argument("profile", metavar="PROFILE", help="a profile of profiles.yaml")
    add_folders(parser)
    parser.add_argument(
        "--engine", action="append", default=[], metavar="NAME", help="this engine only; may be repeated"
    )
    parser.add_argument(
        "--variants",
        metavar="NAME,...",
        help="measure these only, such as batch-1,reversed; a floor needs three; default: all",
    )
    parser.add_argument("--again", action="store_true", help="measure what was measured already")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="write floors beside what is accepted, for review and others",
    )
    parser.add_argument("--author", metavar="NAME", help="who keeps them; default: user.name of git")
    add_snapshots(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from harness.cases.problems import shown
    from harness.noise.figures import figures_for
    from harness.noise.kept import keep_floor
    from harness.noise.measuring import measure_noise
    from harness.noise.report import report
    from harness.noise.variants import require_known, variants_for
    from harness.scoring.subjects import subjects

    names = None if options.variants is None else [name for name in options.variants.split(",") if name]

    def measure() -> Outcome:
        with measuring(options) as found:
            profile = found.loaded.profile(options.profile)
            require_known("--engine", options.engine, [engine.name for engine in profile.engines])
            known = [v.name for engine in profile.engines for v in variants_for(engine.settings)]
            require_known("--variants", names or (), known)
            cases = found.loaded.cases
            measured = measure_noise(
                list(subjects(cases, [profile], selection="every")),
                found.scoring,
                show=say,
                engines=options.engine,
                variants=names,
                again=options.again,
            )
        figures = [figures_for(one, cases) for one in measured]
        text = report(figures)
        if options.keep:
            author = options.author or git_user(options.cases)
            floors = [one.floor for one in measured if one.floor is not None and not one.refused]
            kept = [keep_floor(snapshots_folder(options), floor, author) for floor in floors]
            text += f"kept; review and commit {', '.join(map(shown, kept))}\n" if kept else "kept: nothing\n"
        return Outcome(
            text=text,
            data={"version": 1, "engines": [one.to_json() for one in figures]},
            complete=all(one.floor is not None and not one.refused for one in measured),
        )

    return conclude(options, measure)

"""`harness method`: which way to the letters' probabilities a suite needs, measured on it."""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError, UnknownProfile

if TYPE_CHECKING:
    from harness.commands import Subparsers
    from harness.scoring import EngineProgress

__all__ = ["register"]

_EPILOG = (
    "Missing recordings are made as pytest makes them, and kept for it. Exit status: 0 measured, 1 the case "
    "files are wrong or an engine could not answer, 2 the command line is wrong."
)


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "method",
        help="measure which way to the letters' probabilities your suites need, and what each costs",
        epilog=_EPILOG,
    )
    parser.add_argument("profile", metavar="PROFILE", help="a profile of profiles.yaml")
    parser.add_argument("--cases", type=Path, default=Path("cases"), metavar="DIR", help="default: cases")
    parser.add_argument(
        "--recordings", type=Path, default=Path(".harness"), metavar="DIR", help="default: .harness"
    )
    parser.add_argument(
        "--environments", type=Path, metavar="DIR", help="default: in the user's cache folder, as for pytest"
    )
    parser.add_argument(
        "--k",
        type=_count,
        action="append",
        metavar="K",
        help="a list's length to look at; default: 5, 10, 20",
    )
    parser.add_argument(
        "--allowed-width",
        type=_share,
        default=1e-3,
        metavar="P",
        help="widest interval of a letter's probability that you can live with; default: 0.001",
    )
    parser.add_argument(
        "--cases-per-path", type=_count, default=16, metavar="N", help="cases to time; default: 16"
    )
    parser.add_argument(
        "--rounds",
        type=_count,
        default=3,
        metavar="N",
        help="rounds of timing; each loads the engine once per path; default: 3",
    )
    parser.add_argument("--no-timing", action="store_true", help="leave out what each path costs")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all figures here, too; - instead of text"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from harness.case_folder import load
    from harness.environments.store import Environments
    from harness.method.account import USUAL, Plan, account_for
    from harness.method.report import report
    from harness.scoring import Scoring

    try:
        loaded = load(options.cases)
        profile = loaded.profile(options.profile)
    except HarnessError as error:
        _say(str(error))
        return 2 if isinstance(error, UnknownProfile) else 1
    plan = Plan(
        lengths=tuple(sorted(set(options.k or USUAL))),
        width=options.allowed_width,
        rounds=0 if options.no_timing else options.rounds,
        cases_per_path=options.cases_per_path,
    )
    this_run = uuid.uuid4().hex
    environments = Environments(options.environments, run_id=this_run)
    scoring = Scoring(
        options.recordings.absolute(),
        run_id=this_run,
        fresh=False,
        show=_Progress().show,
        environments=environments,
    )
    try:
        account = account_for(profile, loaded.cases, scoring, plan, show=_say)
        text = json.dumps(account.to_json(), indent=2, ensure_ascii=False) + "\n"
        if options.json is not None and str(options.json) != "-":
            options.json.write_text(text, encoding="utf-8")
    except (HarnessError, OSError) as error:
        _say(str(error))
        return 1
    finally:
        environments.close()
    sys.stdout.write(text if str(options.json) == "-" else report(account))
    return 0 if account.complete else 1


class _Progress:
    """Says on standard error when an engine begins something new."""

    def __init__(self) -> None:
        self._last = ("", "")

    def show(self, progress: EngineProgress) -> None:
        from harness.reports.progress import describe

        if (progress.engine, progress.phase) != self._last:
            _say(describe(progress))
        self._last = (progress.engine, progress.phase)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _count(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"found {text}; allowed: a whole number from 1")
    return value


def _share(text: str) -> float:
    if not 0.0 <= (value := float(text)) <= 1.0:
        raise argparse.ArgumentTypeError(f"found {text}; allowed: a probability, 0 to 1")
    return value

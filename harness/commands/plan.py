"""`harness plan`: the smallest differences that a suite can find, and how many cases a goal takes."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from harness.commands.measuring import Outcome, add_cases, add_json, add_recordings, conclude, say
from harness.errors import UnknownName

if TYPE_CHECKING:
    from harness.cases.folder import Loaded
    from harness.cases.profiles import EngineSpec, Profile
    from harness.commands import Subparsers
    from harness.planning.suite_plan import SuitePlan

__all__ = ["register"]

_EPILOG = (
    "No engine is started: the leads are those of stored recordings, the noise that of `harness noise` "
    "or, without one, the table of the dtype. Exit status: 0 planned, 1 the case files are wrong or there "
    "are no recordings, 2 the command line is wrong."
)
_GOALS = ("accuracy", "flips", "mass", "shift", "spread")


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "plan",
        help="say the smallest differences that a suite can find, and how many cases are missing",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "suite", nargs="?", metavar="SUITE", help="a suite's name: that of its file without .yaml"
    )
    parser.add_argument(
        "--model-upgrade",
        action="store_true",
        help="say how many cases another model takes; without SUITE of all suites judged together",
    )
    parser.add_argument("--profile", metavar="NAME", help="default: the first that plain pytest runs")
    parser.add_argument("--engine", metavar="NAME", help="whose leads and noise; default: the reference")
    add_cases(parser)
    add_recordings(parser)
    parser.add_argument(
        "--goal",
        type=_goal,
        action="append",
        default=[],
        metavar="EFFECT=SIZE",
        help="what is to be found, such as accuracy=0.01, flips=0.02, spread=1.5 or shift=0.05; repeatable",
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from harness.planning.report import report, to_json

    def measure() -> Outcome:
        if options.model_upgrade:
            return _upgrade(options)
        plan = _plan(options)
        return Outcome(text=report(plan), data=to_json(plan))

    return conclude(options, measure)


def _plan(options: argparse.Namespace) -> SuitePlan:
    from harness.cases.folder import load
    from harness.planning.recorded import read_margins
    from harness.planning.suite_plan import Goal, plan_suite

    loaded = load(options.cases)
    suite = loaded.suite(options.suite)
    profile = _profile(loaded, options.profile, suite.name)
    engine = _engine(profile, options.engine)
    root = options.recordings.absolute()
    margins = read_margins(suite, profile, engine, root=root)
    if margins.unrecorded:
        say(f"without a recording, and left out: {', '.join(margins.unrecorded)}")
    return plan_suite(suite.name, margins.looks, margins.noise, goals=[Goal(*goal) for goal in options.goal])


def _upgrade(options: argparse.Namespace) -> Outcome:
    """Of one suite, or of those that the gate judges together."""
    from harness.cases.folder import load
    from harness.planning.recorded import cluster_of
    from harness.planning.upgrade_plan import plan_upgrade
    from harness.verdicts.paired_accuracy import MARGIN

    loaded = load(options.cases)
    if options.suite is not None:
        suites = [loaded.suite(options.suite)]
    else:
        names = options.profile and loaded.profile(options.profile).suites
        suites = [s for s in loaded.suites if s.budgets.accuracy is None and (not names or s.name in names)]
    cases = [case for suite in suites for case in suite.cases]
    if not cases:
        raise UnknownName("found no suite without an accuracy budget; allowed: SUITE, which is judged alone")
    text, data = plan_upgrade(
        ", ".join(suite.name for suite in suites),
        cases=len(cases),
        groups=len({cluster_of(case) for case in cases}),
        margin=MARGIN if (asked := suites[0].budgets.accuracy) is None else asked,
    )
    return Outcome(text=text, data=data)


def _profile(loaded: Loaded, name: str | None, suite: str) -> Profile:
    if name is not None:
        profile = loaded.profile(name)
        if profile.suites and suite not in profile.suites:
            raise UnknownName(
                f"profile {name} runs {', '.join(profile.suites)}, not {suite}; allowed: one of "
                "these, or another --profile"
            )
        return profile
    for profile in loaded.profiles:
        if not (profile.marks or profile.by_name_only) and (not profile.suites or suite in profile.suites):
            return profile
    names = ", ".join(profile.name for profile in loaded.profiles)
    raise UnknownName(
        f"found no profile that a plain pytest runs on {suite}; allowed: --profile with one of {names}"
    )


def _engine(profile: Profile, name: str | None) -> EngineSpec:
    wanted = profile.reference if name is None else name
    for engine in profile.engines:
        if engine.name == wanted:
            return engine
    names = ", ".join(engine.name for engine in profile.engines)
    raise UnknownName(f"--engine: found {wanted!r}; allowed: {names} (of the profile {profile.name})")


def _goal(text: str) -> tuple[str, float]:
    effect, _, number = text.partition("=")
    try:
        size = float(number)
    except ValueError:
        size = math.nan
    low, high = {"spread": (1.0, math.inf), "shift": (0.0, math.inf), "mass": (0.0, math.inf)}.get(
        effect, (0.0, 1.0)
    )
    if effect not in _GOALS or not low < size < high:
        raise argparse.ArgumentTypeError(
            f"found {text!r}; allowed: accuracy=SHARE or flips=SHARE (above 0, below 1), spread=TIMES (above "
            "1), shift=LOG-ODDS or mass=LOG-ODDS (above 0)"
        )
    return effect, size

"""`harness bisect`: which version of LMDeploy or Transformers was the first bad one."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from packaging.version import Version

from harness.commands.measuring import (
    Outcome,
    add_folders,
    add_json,
    add_snapshots,
    conclude,
    measuring,
    say,
    snapshots_folder,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.bisecting.target import Candidate
    from harness.commands import Subparsers

__all__ = ["register"]

_EPILOG = (
    "A version is bad where `harness gate` fails it against the good one, good where it passes, and skipped "
    "where it does not install, does not start, or the gate says ERROR or INCONCLUSIVE. What was judged is "
    "kept: the same command goes on. Exit status: 0 one version or package is named, 1 several are left, an "
    "end is not as it is said, or something is wrong, 2 a name is."
)


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "bisect", help="find the first bad version of LMDeploy or Transformers", epilog=_EPILOG
    )
    parser.add_argument("names", nargs="*", metavar="CASE|SUITE", help="on these only; default: all cases")
    parser.add_argument("--good", required=True, metavar="VERSION", help="one that answers as it should")
    parser.add_argument("--bad", required=True, metavar="VERSION", help="one that does not")
    parser.add_argument(
        "--engine",
        metavar="PROFILE/ENGINE",
        help="whose; default: the first with the package in the profiles that run by default",
    )
    parser.add_argument("--package", metavar="NAME", help="default: lmdeploy, of a torch engine transformers")
    parser.add_argument(
        "--versions", metavar="V,V,...", help="those between the ends; default: all releases that uv finds"
    )
    parser.add_argument(
        "--lock", action="store_true", help="then, with it held, which of the other packages it was"
    )
    parser.add_argument("--again", action="store_true", help="judge what was judged before")
    parser.add_argument("--strict", action="store_true", help="as for harness gate")
    parser.add_argument(
        "--allow", action="append", default=[], choices=["question"], help="as for harness gate"
    )
    add_folders(parser)
    add_snapshots(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    def tell(text: str) -> None:
        if str(options.json) == "-":  # standard output is for JSON
            say(text)
        else:
            print(text, flush=True)

    return conclude(options, lambda: _bisect(options, tell))


def _bisect(options: argparse.Namespace, tell: Callable[[str], None]) -> Outcome:
    from harness.bisecting.judge import Judge
    from harness.bisecting.run import Bisection
    from harness.bisecting.target import ordered, suites_of, target_of
    from harness.gate.comparison import Terms
    from harness.gate.side_floors import SideFloors

    ends = (options.good, options.bad)
    ordered(*ends, ())  # a slip is told before anything is made
    with measuring(options) as found:
        loaded, environments = found.loaded, found.environments
        target = target_of(loaded, options.engine, options.package)
        suites = suites_of(loaded, target.profile, options.names)

        def releases(candidate: Candidate, package: str, between: tuple[str, str]) -> list[str]:
            spec, label = target.spec(candidate), f"{target.profile.name}-{target.engine.name}"
            low, *_, high = sorted(between, key=Version)
            known = environments.releases(label, spec, package, (low, high), lambda *_: None)
            return ordered(*between, known)[1:-1]

        good = target.candidate(options.good)
        given = options.versions
        inner = releases(good, target.package, ends) if given is None else given.split(",")
        row = [target.candidate(text) for text in ordered(*ends, inner)]
        tell(f"{target.name}: {target.package} {', '.join(text.tag for text in row)}")
        terms = Terms(
            strict=options.strict,
            allow=tuple(options.allow),
            floors=SideFloors(found.scoring.store.root, loaded.profiles, snapshots=snapshots_folder(options)),
            every=[case.name for case in loaded.cases],
        )
        judge = Judge(target, good, loaded, found.scoring, environments, terms, suites)
        if options.again:  # recordings of what is unchanged are used again
            judge.journal.path.unlink(missing_ok=True)
        judge.journal.refresh()
        if damage := judge.journal.damage:
            tell(f"{damage}; that is judged again")
        bisection = Bisection(judge, tell, releases)
        first = bisection.over_releases(row)
        sentence, lock, complete = str(first), None, not first.skipped
        if options.lock:
            tell(sentence)
            lock, complete = bisection.over_lock(first)
        return Outcome(
            text=f"{lock or sentence}\n",
            data={
                "version": 1,
                "engine": target.name,
                "package": target.package,
                "good": first.good.tag,
                "bad": first.bad.tag,
                "skipped": [step.name for step in first.skipped],
                "sentence": sentence,
                "lock": lock,
                "complete": complete,
                "steps": [asdict(step) for step in bisection.steps],
            },
            complete=complete,
        )

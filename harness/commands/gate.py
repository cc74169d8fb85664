"""`harness gate`: whether a candidate may take a baseline's place, or which engines of a profile may."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.measuring import (
    add_bundle,
    add_folders,
    add_set,
    add_shard,
    add_snapshots,
    add_workers,
    count,
    from_bundle,
    measuring,
    put_text,
    say,
    snapshots_folder,
    told,
    writable,
)
from harness.errors import GateError, HarnessError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.bundles import Opened
    from harness.cases.folder import Loaded
    from harness.commands import Subparsers
    from harness.gate.comparison import Comparison
    from harness.gate.gating import Sides
    from harness.gate.sides import SideName
    from harness.reports.page.document import Report
    from harness.reports.report_input import Explanation

__all__ = ["register"]

_EPILOG = (
    "A side is PROFILE/ENGINE, made where recordings are missing; ENGINE; PROFILE/ENGINE@2026-10-25, the "
    "last stored run on or before that day; PROFILE/ENGINE@previous, the last one with another "
    "fingerprint; PROFILE/ENGINE@RECORDINGS, the last in another folder or a bundle, as of another machine; "
    "accepted, what is accepted of the candidate's engine; or SNAPSHOTS/PROFILE/ENGINE, that of any. Exit "
    "status: 0 the same, noise, a drift shown to be within the margin, or what budgets allow; 1 "
    "right answers lost, a wide lead flipped, or a move beyond noise not shown within the margin; 2 "
    "an engine could not answer, or the sides cannot be compared; 3 inconclusive. Of several engines the "
    "first that holds of 1, 2, 3."
)
_ERROR = 2
_NARROWEST = 80
_MOST_REASONS = 5


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "gate",
        help="judge a candidate against a baseline: the same, noise, drift or regression",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "name",
        nargs="?",
        metavar="PROFILE",
        help="judge all its engines against its reference; or two sides, as A..B",
    )
    parser.add_argument("--baseline", metavar="A", help="what is in service")
    parser.add_argument("--candidate", metavar="B", help="what is to take its place")
    add_bundle(parser)
    add_folders(parser)
    add_snapshots(parser)
    parser.add_argument(
        "--profile",
        action="append",
        default=[],
        metavar="NAME",
        help="whose ENGINE is meant; may be repeated",
    )
    parser.add_argument(
        "--case",
        action="append",
        default=[],
        metavar="NAME",
        help="this case only, shown in full; repeatable",
    )
    parser.add_argument("--fresh", action="store_true", help="make all recordings again")
    parser.add_argument(
        "--stop-early",
        action="store_true",
        help="end the candidate once a break is decided, looking after 8 cases, 16, 32 and so on; what "
        "passes is asked whole. All looks share the 1%% of false alarms, over all calls with these sides",
    )
    parser.add_argument(
        "--at-most",
        type=count,
        metavar="N",
        help="with --stop-early: ask about N more cases now, and go on another time; until decided "
        "that is inconclusive",
    )
    parser.add_argument(
        "--looks-anew",
        action="store_true",
        help="with --stop-early: leave former looks at these sides behind, which begins another 1%%",
    )
    parser.add_argument(
        "--margin",
        type=_margin,
        metavar="X",
        help="log-odds that do not matter, or such as 2.5%% of a probability of one half; wins over those of "
        "suites, profiles and dtypes",
    )
    parser.add_argument(
        "--strict", action="store_true", help="fail for every move beyond noise, also within the margin"
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        choices=["weights", "model-upgrade", "question"],
        help="weights: judge by noise although they are others; model-upgrade: as that option; question: "
        "pass sides that were asked different questions, which are else INCONCLUSIVE",
    )
    parser.add_argument(
        "--model-upgrade",
        action="append_const",
        dest="allow",
        const="model-upgrade",
        help="judge other weights under the same model's name by accuracy, as those of another model are",
    )
    add_set(parser)
    add_shard(parser)
    add_workers(parser.add_argument)
    parser.add_argument(
        "--explain",
        nargs="?",
        type=int,
        const=2,
        default=0,
        metavar="N",
        help="where it does not pass, look into both engines for the N worst cases (2 without N) and name "
        "the stage at which they part, as harness explain does; also in the page of --report",
    )
    parser.add_argument("--junit-xml", type=writable, metavar="FILE", help="write verdicts as JUnit XML here")
    parser.add_argument(
        "--report", type=writable, metavar="FILE.html", help="write the report as a page here"
    )
    parser.add_argument(
        "--json", type=writable, metavar="FILE", help="write the report as data here; - instead of text"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from harness.reports.ci.output import github_here, tell_refusal, tell_verdicts
    from harness.verdicts.verdict import ExitStatus

    try:
        if options.shard is not None:
            return _make_shard(options)
        with from_bundle(options) as inside:
            comparisons = _compare(options, inside)
            report = _write_report(options, comparisons)
        from harness.gate.outputs import gate_text
        from harness.gate.reporting import breakdown_of
        from harness.reports.ci.junit import junit_of_verdicts

        verdicts = [comparison.verdict for comparison in comparisons]
        if options.junit_xml is not None:
            put_text(options.junit_xml, junit_of_verdicts(verdicts))
    except (HarnessError, OSError) as error:
        say(error)
        tell_refusal(told(error), environ=os.environ, write_line=say)
        return _ERROR
    # On standard error, which GitHub reads as well: standard output may be JSON.
    changed = [comparison.changed.lines for comparison in comparisons]
    found = [breakdown_of(comparison) for comparison in comparisons if github_here(os.environ)]
    tell_verdicts(verdicts, environ=os.environ, write_line=say, changed=changed, found=found)
    if str(options.json) != "-":
        color = sys.stdout.isatty()
        width = max(shutil.get_terminal_size().columns, _NARROWEST) if color else None
        sys.stdout.write(gate_text(comparisons, width=width, color=color, cases=options.case))
    status = int(ExitStatus.worst({verdict.status for verdict in verdicts}))
    if options.explain and status and options.bundle is None:
        explained = _explain(options, comparisons)
        if report is not None and explained:
            _write_explained(options, report, explained)
    return status


def _explain(options: argparse.Namespace, comparisons: Sequence[Comparison]) -> list[Explanation]:
    """Say where the worst cases of each comparison that did not pass begin to differ; the verdict stands."""
    from harness.commands.debugging.explain import pairs_of
    from harness.drift.run import explanations
    from harness.gate.candidates import engine_setting, with_settings
    from harness.reports.worst_cases import worst_cases

    explained: list[Explanation] = []
    out = sys.stderr if str(options.json) == "-" else sys.stdout
    with measuring(options) as found:
        loaded = with_settings(found.loaded, [engine_setting(text) for text in options.set])
        pairs = _pairs(options, loaded, snapshots_folder(options))
        for sides, comparison in zip(pairs, comparisons, strict=True):
            if not comparison.verdict.status:
                continue
            if stored := [side.text for side in sides if not side.live]:
                out.write(
                    f"\nnot explained: {stored[0]} is stored; only an engine that can be asked is traced\n"
                )
                continue
            cases = [case.case for case in worst_cases(comparison.verdict.cases).shown][: options.explain]
            try:
                for one in explanations(pairs_of(sides, loaded), cases, found.scoring, say):
                    out.write(f"\n{one.text}")
                    explained.append(one)
            except (HarnessError, OSError) as error:
                say(f"not explained: {told(error)}")
    return explained


def _write_explained(options: argparse.Namespace, report: Report, explained: Sequence[Explanation]) -> None:
    """Write the page once more: the first is there should it take too long to explain."""
    from harness.reports.report_files import write_page

    if options.report is None:
        return
    try:
        write_page(replace(report, explained=explained), options.report)
    except HarnessError as error:
        say(f"not in the report, where differences begin: {error}")


def _write_report(options: argparse.Namespace, comparisons: Sequence[Comparison]) -> Report | None:
    """Write the files that were asked for; the report, None where neither page nor data was."""
    if options.json is None and options.report is None:
        return None
    from harness.gate.reporting import report_input
    from harness.recordings.store import RecordingStore
    from harness.reports.page.document import make_report
    from harness.reports.report_files import write_document, write_page

    store = RecordingStore(options.recordings.absolute())
    inputs = [report_input(comparison, store) for comparison in comparisons]
    report = make_report(inputs, page=options.report is not None)
    if options.report is not None:
        write_page(report, options.report)
    if options.json is not None:
        whole = make_report(inputs) if report.whole else report
        if str(options.json) == "-":
            sys.stdout.write(whole.to_json())
        else:
            write_document(whole, options.json)
    return report


def _compare(options: argparse.Namespace, inside: Opened | None) -> tuple[Comparison, ...]:
    from harness.gate.candidates import engine_setting, with_settings
    from harness.gate.comparison import Terms
    from harness.gate.early import gate_early
    from harness.gate.gating import Sides, chosen_suites, gate
    from harness.gate.side_floors import SideFloors

    settings = [engine_setting(text) for text in options.set]
    _require_early(options)
    if inside is not None and (options.fresh or settings or options.stop_early):
        raise GateError(
            "--from: found --fresh or --set or --stop-early beside it; allowed: none, as no engine is asked"
        )
    with ExitStack() as stack, measuring(options, fresh=options.fresh) as found:
        loaded, snapshots = with_settings(found.loaded, settings), snapshots_folder(options)
        pairs = _pairs(options, loaded, snapshots)
        if inside is not None:
            loaded = inside.load()
            pairs = [Sides(*map(inside.side, sides)) for sides in pairs]
        pairs = [Sides(*(_unpacked(side, stack) for side in sides)) for sides in pairs]
        terms = Terms(
            margin=options.margin,
            strict=options.strict,
            allow=tuple(dict.fromkeys(options.allow)),
            floors=SideFloors(found.scoring.store.root, loaded.profiles, snapshots=snapshots),
            again=_again(options),
            every=[case.name for suite in loaded.suites for case in suite.cases],
        )
        suites = chosen_suites(loaded, options.case)
        if options.stop_early:
            if len(pairs) > 1:
                raise GateError(
                    f"--stop-early: found {options.name} with {len(pairs)} engines beside the reference; "
                    "allowed: two sides, --baseline A with --candidate B"
                )
            more = {"at_most": options.at_most, "anew": options.looks_anew}
            return (gate_early(pairs[0], loaded, found.scoring, terms, suites, **more),)
        return gate(pairs, loaded, found.scoring, terms, suites)


def _unpacked(side: SideName, stack: ExitStack) -> SideName:
    """The side with a folder in the place of a bundle."""
    from harness.bundles import opened

    if side.store is None or side.store.is_dir():
        return side
    return replace(side, store=stack.enter_context(opened(side.store)).recordings)


def _make_shard(options: argparse.Namespace) -> int:
    from harness.gate.candidates import engine_setting, with_settings
    from harness.gate.gating import chosen_suites, make_shard

    if options.bundle is not None or options.stop_early:
        other = "--from" if options.bundle is not None else "--stop-early"
        raise GateError(f"--shard: found {other} beside it; allowed: what asks engines about all cases")
    with measuring(options, fresh=options.fresh, shard=options.shard) as found:
        loaded = with_settings(found.loaded, [engine_setting(text) for text in options.set])
        pairs = _pairs(options, loaded, snapshots_folder(options))
        answers = make_shard(pairs, loaded, found.scoring, chosen_suites(loaded, options.case))
    reasons = list(dict.fromkeys(filter(None, answers.values())))
    failed = sum(map(bool, answers.values()))
    for reason in reasons[:_MOST_REASONS]:
        say(reason)
    sys.stdout.write(
        f"shard {options.shard}: {len(answers) - failed} of {len(answers)} answers are recorded\n"
        "Once those of all shards are in one folder, judge them with the same command without --shard\n"
    )
    return _ERROR if failed else 0


def _pairs(options: argparse.Namespace, loaded: Loaded, snapshots: Path) -> Sequence[Sides]:
    from harness.gate.gating import Sides, sides_of
    from harness.gate.sides import parse_pair, parse_side

    meant = [loaded.profile(name).name for name in options.profile]
    two = options.baseline is not None, options.candidate is not None
    if options.name is not None and ".." in options.name and not any(two):
        return [Sides(*parse_pair(options.name, loaded.profiles, meant=meant, snapshots=snapshots))]
    if options.name is not None and not (any(two) or meant):
        return sides_of(loaded.profile(options.name))
    if options.name is not None or not all(two):
        named = [f"--{name}" for name in ("baseline", "candidate", "profile") if getattr(options, name)]
        found = " and ".join((*filter(None, [options.name]), *named)) or "no side"
        raise GateError(f"found {found}; allowed: PROFILE alone, or --baseline A with --candidate B")
    candidate = parse_side(options.candidate, loaded.profiles, meant=meant, snapshots=snapshots)
    baseline = parse_side(
        options.baseline, loaded.profiles, meant=meant, snapshots=snapshots, candidate=candidate
    )
    return [Sides(baseline, candidate)]


def _again(options: argparse.Namespace) -> list[str]:
    """What else the command had, behind the two sides."""
    words = [] if options.bundle is None else ["--from", str(options.bundle)]
    defaults = {
        "cases": Path("cases"),
        "snapshots": None,
        "recordings": Path(".harness"),
        "environments": None,
    }
    for name, default in defaults.items():
        if (given := getattr(options, name)) != default and options.bundle is None:
            words += [f"--{name}", str(given)]
    words += [word for name in options.profile for word in ("--profile", name)]
    words += [word for name in options.allow for word in ("--allow", name)]
    words += [word for text in options.set for word in ("--set", text)]
    return words


def _require_early(options: argparse.Namespace) -> None:
    if options.stop_early and options.case:
        raise GateError("found --case beside --stop-early; allowed: all cases, in an order that no one chose")
    if not options.stop_early and (options.at_most is not None or options.looks_anew):
        name = "--looks-anew" if options.looks_anew else "--at-most"
        raise GateError(f"found {name} alone; allowed: with --stop-early")


def _margin(text: str) -> float:
    from harness.cases.budgets import margin_of

    try:
        return margin_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"found {text}; allowed: a number above 0, 1 at most, or a share of probability, such as 2.5% "
            "and under 50%"
        ) from error

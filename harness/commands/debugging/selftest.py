"""`harness selftest`: plant faults, one after another, and tell which of them a user's commands find."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.measuring import (
    Outcome,
    add_cases,
    add_environments,
    add_json,
    add_recordings,
    add_snapshots,
    conclude,
    measuring,
    put_text,
    say,
    snapshots_folder,
    writable,
)

if TYPE_CHECKING:
    from harness.commands import Subparsers

__all__ = ["register"]

_EPILOG = (
    "Each fault is planted in a copy of a folder whose clean run was accepted, and found where pytest or "
    "`harness gate` there ends with another exit status than 0 (of the gate: than 0 and 3). Exit status: 0 "
    "all but tiny faults were found, 1 one was not, or nothing can be measured, 2 the command line is wrong."
)
_DTYPES = ("float32", "bfloat16")


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "selftest",
        help="plant faults in the engines, and tell which of them pytest and the gate find",
        epilog=_EPILOG,
    )
    parser.add_argument("--faults", nargs="+", default=[], metavar="NAME", help="these only; default: all")
    parser.add_argument(
        "--size",
        action="append",
        default=[],
        metavar="SIZE",
        help="tiny, middle or gross; default: all three",
    )
    parser.add_argument("--dtype", choices=_DTYPES, default=_DTYPES[0], help="default: float32")
    parser.add_argument("--profile", default="embedded", metavar="NAME", help="default: embedded")
    parser.add_argument(
        "--case",
        action="append",
        default=[],
        metavar="NAME",
        help="ask these; default: ten of the embedded model's",
    )
    parser.add_argument(
        "--kernels",
        action="store_true",
        help="plant the faults of LMDeploy's Triton kernels where these are interpreted, and where the CPU "
        "plug-in takes their place, which must not show them; in float32 (docs/kernels.md)",
    )
    parser.add_argument(
        "--clean",
        action="store_true",
        help="plant nothing: count how often a stage is named where engines differ in something harmless",
    )
    add_cases(parser)
    add_recordings(parser)
    add_environments(parser)
    add_snapshots(parser)
    add_json(parser)
    parser.add_argument(
        "--markdown", type=writable, metavar="FILE", help="write the table as Markdown here, too"
    )
    parser.set_defaults(run=_run)


def _clean(options: argparse.Namespace) -> Outcome:
    from harness.drift.run import Explaining, Pair
    from harness.drift.selftest.clean import clean_traces, counted
    from harness.drift.selftest.folder import in_dtype
    from harness.scoring.subjects import subjects

    with measuring(options) as found:
        profile = in_dtype(found.loaded.profile(options.profile), options.dtype)
        every = subjects(found.loaded.cases, [profile], selection="compared")
        pairs = [Pair(each.reference(), each) for each in every]
        with Explaining(pairs, found.scoring, say=say) as explaining:
            names = options.case or [pair.name for pair in pairs]
            traces = counted(options.dtype, list(clean_traces(explaining, names)))
    return Outcome(text=traces.text(), data=traces.to_json(), complete=not traces.false)


def _run(options: argparse.Namespace) -> int:
    if options.clean:
        return conclude(options, lambda: _clean(options))
    from harness.cases.folder import load
    from harness.drift.faults.catalogue import CATALOGUE, KERNELS, SIZES, fault_named
    from harness.drift.selftest import interpreted
    from harness.drift.selftest.folder import CASES, NEAR_TIES
    from harness.drift.selftest.running import measure
    from harness.drift.selftest.table import as_json, as_page, as_text
    from harness.errors import UnknownName

    def run() -> Outcome:
        known = KERNELS if options.kernels else CATALOGUE
        faults = [fault_named(name, among=known) for name in options.faults] or [*known.values()]
        if unknown := [size for size in options.size if size not in SIZES]:
            raise UnknownName(f"--size: found {unknown[0]}; allowed: {', '.join(SIZES)}")
        if options.kernels and (options.size or options.dtype != _DTYPES[0]):
            raise UnknownName(
                "--kernels: found --size or --dtype; allowed: neither, its faults have one size"
            )
        loaded = load(options.cases)
        unsure = frozenset() if options.dtype == _DTYPES[0] else NEAR_TIES
        folder = options.recordings.absolute() / "selftest"
        profile = loaded.profile(options.profile)
        if options.kernels:
            names = options.case or interpreted.CASES
            model, folder = Path(profile.engines[0].settings.model), folder / "kernels"
            found = interpreted.measure_kernels(folder, loaded, model, faults, names=names, show=say)
        else:
            found = measure(
                folder / options.dtype,
                loaded,
                profile,
                faults,
                sizes=options.size or SIZES,
                names=options.case or [name for name in CASES if name not in unsure],
                dtype=options.dtype,
                snapshots=snapshots_folder(options),
                show=say,
            )
        rows = []
        for row in found:
            rows.append(row)
            if options.markdown is not None:  # each time, since it takes long and may be interrupted
                put_text(options.markdown, as_page(rows, options.dtype))
        missed = [row for row in rows if row.fault is not None and row.size != SIZES[0] and not row.found]
        missed += [row for row in rows if row.beside is not None and row.beside.found]
        return Outcome(
            text=as_text(rows, options.dtype), data=as_json(rows, options.dtype), complete=not missed
        )

    return conclude(options, run)

"""`harness explain`: the stage at which two engines part on a case, and the proof."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.measuring import (
    add_bundle,
    add_folders,
    add_json,
    add_set,
    count,
    from_bundle,
    measuring,
    put_text,
    say,
    writable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.cases.folder import Loaded
    from harness.commands import Subparsers
    from harness.drift.explaining import Explained
    from harness.drift.run import Pair
    from harness.gate.sides import SideName

__all__ = ["live_sides", "pairs_of", "register"]

_EPILOG = (
    "Both engines are loaded once more and looked into: see docs/explain.md. Exit status: 0 within noise "
    "everywhere, 1 a stage was named, or could only be bracketed, 2 an engine could not be traced or a name "
    "is wrong."
)
_FOUND, _ERROR = 1, 2


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "explain",
        help="name the stage at which two engines part on a case, and prove it",
        epilog=_EPILOG,
    )
    parser.add_argument("sides", metavar="A..B", help="two engines, PROFILE/ENGINE each; A is the baseline")
    parser.add_argument("case", nargs="*", metavar="CASE", help="SUITE.ID; default: the case furthest apart")
    add_bundle(parser)
    add_folders(parser)
    parser.add_argument("--fresh", action="store_true", help="trace again what was traced before")
    parser.add_argument(
        "--noise-cases", type=count, metavar="N", help="measure each stage's noise on N cases; default: 12"
    )
    add_set(parser)
    parser.add_argument(
        "--picture",
        type=writable,
        metavar="FILE.svg",
        help="draw distance against stage; of several cases FILE-CASE.svg",
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from harness.drift.explaining_text import text_of
    from harness.errors import HarnessError

    found: list[Explained] = []
    status = 0
    try:
        for one in _explain(options):
            if str(options.json) != "-":
                sys.stdout.write("\n" * bool(found) + text_of(one))
                sys.stdout.flush()
            found.append(one)
            if one.start is not None or one.bracket:
                status = _FOUND
        _write(options, found)
    except (HarnessError, OSError) as error:
        say(error)
        return _ERROR
    return status


def _explain(options: argparse.Namespace) -> Iterator[Explained]:
    from harness.drift.run import NOISE_CASES, Explaining
    from harness.gate.candidates import engine_setting, with_settings

    if options.bundle is not None:
        yield from _traced_before(options)
        return
    with measuring(options) as found:
        loaded = with_settings(found.loaded, [engine_setting(text) for text in options.set])
        pairs = pairs_of(live_sides(options.sides, loaded), loaded)
        wanted = options.noise_cases or NOISE_CASES
        with Explaining(pairs, found.scoring, say=say, noise_cases=wanted, fresh=options.fresh) as explaining:
            for case in options.case:
                explaining.pair(case)  # a name that is wrong is told before the first is traced
            for case in options.case or explaining.worst(1):
                yield explaining.explain(case)


def _traced_before(options: argparse.Namespace) -> list[Explained]:
    """What was traced where the bundle was made; no engine is asked."""
    from harness.drift.explaining import explain
    from harness.drift.kept import pair_folder, read_kept
    from harness.errors import GateError
    from harness.gate.sides import parse_pair

    bundle = options.bundle
    with from_bundle(options) as inside:
        profiles = () if inside is None else inside.load().profiles
        sides = parse_pair(options.sides, profiles, meant=(), snapshots=Path("snapshots"), option="A..B")
        folder = pair_folder(options.recordings, [side.label for side in sides])
        there = sorted(file.stem for file in folder.glob("*.npz") if file.stem != "noise")
        lost = [case for case in options.case if case not in there]
        if lost or not there:
            raise GateError(
                f"{bundle}: found no trace of {', '.join(lost) or options.sides}; allowed: "
                f"{', '.join(there) or 'none, as these two were not traced'}\nTrace it where they can run:\n"
                f"  harness explain {' '.join([options.sides, *lost])} && harness bundle"
            )
        return [explain(read_kept(folder / f"{case}.npz")) for case in options.case or there]


def live_sides(text: str, loaded: Loaded) -> tuple[SideName, SideName]:
    """The engines of ``A..B``. Raises GateError where one is no engine that can be asked."""
    from harness.errors import GateError
    from harness.gate.sides import parse_pair

    sides = parse_pair(text, loaded.profiles, meant=(), snapshots=Path("snapshots"), option="A..B")
    for side in sides:
        if not side.live:
            raise GateError(
                f"{side.text}: only an engine that can be asked is looked into; allowed: PROFILE/ENGINE"
            )
    return sides


def pairs_of(sides: tuple[SideName, SideName], loaded: Loaded) -> Sequence[Pair]:
    """The cases that two engines are both asked."""
    from harness.drift.run import Pair

    a, b = ({s.case.name: s for s in side.subjects(loaded.cases)} for side in sides)
    return [Pair(a[name], b[name]) for name in a if name in b]


def _write(options: argparse.Namespace, found: Sequence[Explained]) -> None:
    from harness.drift.picture import picture_of

    picture: Path | None = options.picture
    if picture is not None:
        for one in found:
            own = picture.with_name(f"{picture.stem}-{one.case}{picture.suffix}")
            put_text(picture if len(found) == 1 else own, picture_of(one))
    if options.json is not None:
        text = json.dumps(
            {"version": 1, "cases": [one.to_json() for one in found]}, indent=2, allow_nan=False
        )
        if str(options.json) == "-":
            sys.stdout.write(text + "\n")
        else:
            put_text(options.json, text + "\n")

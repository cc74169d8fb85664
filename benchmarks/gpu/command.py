"""The command line: all legs within the minutes that there are, and one results file."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.gpu.legs import ROOT, Legs
from benchmarks.gpu.plan import Options, first_legs, other_legs, picked
from benchmarks.gpu.results import PASSED, VERSION

__all__ = ["SPENT", "main"]

SPENT: Final = "GPU_RUN_SPENT"
"""The environment variable with the seconds that ``run`` has spent on installing wheels."""

_ENDED_FROM_OUTSIDE: Final = 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything; the exit status is `Legs.status`."""
    began = time.monotonic() - float(os.environ.get(SPENT, "0"))
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    work = options.work.absolute()
    files = work / "files"
    shutil.rmtree(files, ignore_errors=True)
    results: dict[str, Any] = {
        "version": VERSION,
        "rehearsal": options.device != "cuda",
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M UTC}",
        "command": shlex.join(["benchmarks/gpu/run", *given]),
        "commit": options.commit or _commit(),
        "seconds": 0.0,
        "machine": {},
        "legs": {},
    }
    legs = Legs(results, options.out.absolute() / "results.json", files, 60.0 * options.minutes, began)
    where = Options(
        device=options.device, work=work, files=files, rounds=options.rounds, author=options.author
    )
    # Else a run that is ended from outside would leave a leg behind, and with it what holds the GPU.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(_ENDED_FROM_OUTSIDE))
    try:
        _run(legs, where, options.legs)
    finally:
        signal.signal(signal.SIGTERM, before)
    told = [entry["status"] for entry in results["legs"].values()]
    counted = ", ".join(f"{told.count(status)} {status}" for status in dict.fromkeys(told))
    print(f"{counted}; exit status {legs.status}; {legs.file} and {legs.file.with_suffix('.md')}")
    return legs.status


def _run(legs: Legs, where: Options, patterns: Sequence[str]) -> None:
    first, others = first_legs(where), picked(other_legs(where), patterns)
    legs.list([*first, *others])
    for leg in first:
        ended = legs.run(leg)
        if leg.name == "machine":
            legs.results["machine"] = ended.get("data", {})
        # Without a GPU or cases nothing else can say anything; what the machine lacks is a finding.
        if leg.name != "doctor" and ended["status"] != PASSED:
            return
    for leg in others:
        legs.run(leg)


def _commit() -> str:
    """The commit of the tree, where git tells; marked where files differ from it."""
    unknown = "an unknown commit (the tree came without git)"
    try:
        top = _git("rev-parse", "--show-toplevel")
        name = _git("describe", "--always", "--dirty=, changed", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return unknown
    return name if Path(top).resolve() == ROOT else unknown  # it may lie in somebody else's


def _git(*words: str) -> str:
    command = ["git", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks/gpu/run",
        description="What so many minutes on one GPU can show, the best first, in one results file.",
        epilog="Exit status: 0 all legs passed, 1 one failed, overran or met an error, 2 the command line is "
        "wrong, 3 none did, but some were not run or inconclusive.",
    )
    parser.add_argument(
        "--device",
        choices=("cuda", "cpu"),
        default="cuda",
        help="cpu rehearses everything with a tiny random model; default: cuda",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("gpu-results"),
        metavar="DIR",
        help="three files: results.json, results.md, files.tar.gz; default: gpu-results",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("/tmp/gpu-work"),  # noqa: S108 - only a default; nothing secret goes there
        metavar="DIR",
        help="model, cases and recordings; what is recorded there is not made again; default: /tmp/gpu-work",
    )
    parser.add_argument(
        "--minutes", type=float, default=9.5, metavar="N", help="all is done by then; default: 9.5"
    )
    parser.add_argument(
        "--legs",
        action="append",
        default=[],
        metavar="PATTERN",
        help="of all legs only these and what they need, as 'floor *'; may be repeated",
    )
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="rounds of timing; default: 2")
    parser.add_argument("--commit", metavar="HASH", help="the tree's commit, where it has no git with it")
    parser.add_argument(
        "--author", default="benchmarks/gpu/run", metavar="NAME", help="who keeps the noise floors"
    )
    return parser

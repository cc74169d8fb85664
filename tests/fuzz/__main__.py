"""Fuzzes what reads from outside: ``python -m tests.fuzz [TARGET ...] [--minutes N]`` (docs/fuzzing.md)."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.driving import Outcome, has_atheris, load_targets, run


def main(arguments: list[str] | None = None) -> int:
    """A row for each target; exit status 1 where one found something."""
    known = [name for name in load_targets() if name != "planted"]
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", help=f"of {', '.join(known)}; all if left out")
    parser.add_argument("--minutes", type=float, default=3.0, help="of all targets together (3)")
    parser.add_argument("--kept", type=Path, help="a folder that keeps corpus and findings from run to run")
    parser.add_argument("--seed", type=int, default=0, help="of atheris; 0 draws one (0)")
    parser.add_argument("--backend", choices=("atheris", "hypothesis"), help="atheris if it is installed")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="targets at once")
    given = parser.parse_args(arguments)
    if unknown := set(given.target) - load_targets().keys():
        parser.error(f"found {', '.join(sorted(unknown))}; allowed: {', '.join(known)}")
    names = given.target or known
    backend = given.backend or ("atheris" if has_atheris() else "hypothesis")
    jobs = max(1, min(given.jobs, len(names)))
    seconds = given.minutes * 60 * jobs / len(names)
    folder = given.kept or Path(tempfile.mkdtemp(prefix="harness-fuzz-"))
    print(f"{len(names)} targets for {seconds:.0f} s each, {jobs} at once, with {backend}", flush=True)
    print("| target | inputs | lines reached | found |\n| --- | --- | --- | --- |", flush=True)
    with ThreadPoolExecutor(jobs) as pool:
        outcomes = [
            *pool.map(lambda name: _told(run(name, seconds, folder, backend, seed=given.seed)), names)
        ]
    bad = [one for one in outcomes if one.found]
    runs, lines = (sum(getattr(one, name) for one in outcomes) for name in ("runs", "lines"))
    print(f"| all | {runs:,} | {lines} of {sum(one.of for one in outcomes)} | {len(bad) or 'nothing'} |")
    for one in bad:
        where = f"; the input is {one.input}" if one.input else ""
        print(f"\n{one.target}{where}\n{one.found}", file=sys.stderr)
    idle = [one.target for one in outcomes if not one.runs and not one.found]
    if idle:
        print(f"\nno input was tried on {', '.join(idle)}", file=sys.stderr)
    if not given.kept and not bad:
        shutil.rmtree(folder)
    return 1 if bad or idle else 0


def _told(one: Outcome) -> Outcome:
    errors = re.findall(r"^[\w.]*(?:Error|Exception)\b.*$", one.found, re.MULTILINE) or one.found.splitlines()
    found = errors[-1][:100].replace("|", "\\|") if errors else "nothing"
    print(f"| {one.target} | {one.runs:,} | {one.lines} of {one.of} | {found} |", flush=True)
    return one


if __name__ == "__main__":
    sys.exit(main())

"""Prints what becomes of a run when something goes wrong: ``python -m tests.faults`` (docs/faults.md)."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.faults.ground import EXPERIMENTS, Ground
from tests.faults.test_experiments import ROOMS


def main() -> int:
    """One row an experiment, and exit status 1 where one ended otherwise than expected."""
    assert ROOMS
    words, bad = " ".join(sys.argv[1:]), 0
    print("| experiment | expected | seen | |\n| --- | --- | --- | --- |")
    for one in EXPERIMENTS:
        if words not in one.name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                seen, mark = one.act(Ground(Path(folder, "f"))), "✓"
            except AssertionError as error:
                seen, mark = str(error).splitlines()[0], "✗"
                bad += 1
        stand_in = f" (a stand-in for {one.stand_in})" if one.stand_in else ""
        seen = seen.replace(f"{folder}/f/", "").replace("|", "\\|")[:160]
        print(f"| {one.name}{stand_in} | {one.expected} | `{seen}` | {mark} |", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

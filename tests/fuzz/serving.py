"""The process in which one target runs: for `tests.fuzz.driving` only."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.fuzz import driving

if __name__ == "__main__":
    if len(sys.argv) == 3:
        driving.cover(sys.argv[1], Path(sys.argv[2]))
    else:
        driving.serve(
            sys.argv[1],
            float(sys.argv[2]),
            Path(sys.argv[3]),
            Path(sys.argv[4]),
            sys.argv[5],
            int(sys.argv[6]),
        )

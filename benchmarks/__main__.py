"""``python benchmarks``: take the ratios, print them, and fail where a target is missed."""

import sys
from pathlib import Path

# Python puts this folder there, in which the package `benchmarks` cannot be found.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.command import main  # noqa: E402 - found only now

if __name__ == "__main__":
    sys.exit(main())

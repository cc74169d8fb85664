"""``python -m benchmarks.calibration``: see ``docs/calibration.md``."""

import sys

from benchmarks.calibration.command import main

if __name__ == "__main__":
    sys.exit(main())

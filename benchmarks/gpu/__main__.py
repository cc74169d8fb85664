"""``python -m benchmarks.gpu``: what ``benchmarks/gpu/run`` starts once the wheels are there."""

import sys

from benchmarks.gpu.command import main

if __name__ == "__main__":
    sys.exit(main())

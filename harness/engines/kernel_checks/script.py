"""The script behind `harness kernels`: runs the checks in the interpreter that has an LMDeploy.

Run as ``python script.py ORDER``, with ORDER a JSON object of `report`'s arguments; prints what that returns
as its last line.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path[0] = os.fspath(Path(__file__).resolve().parents[2] / "workers")
importlib.import_module("worker")  # makes `harness` importable, as in any worker, and takes that path away

from harness.engines.interpreted_kernels.card import card_of  # noqa: E402
from harness.engines.kernel_checks.catalogue import CHECKS, DTYPES, settings  # noqa: E402

_PACKAGES = ("lmdeploy", "triton", "torch", "numpy")
_ENVIRONMENT = {"TRITON_INTERPRET": "1", "LMDEPLOY_ENABLE_CHECK_ENV": "0", "TORCHDYNAMO_DISABLE": "1"}


def report(card: str, checks: list[str], outputs: str) -> dict[str, Any]:
    """Run the checks of these names, with ``card`` pretended; write what they left to the file ``outputs``.

    Returns:
        ``packages``, name to version; ``rows``, for each ``check`` and ``dtype`` its ``steps`` and the names
        of its ``parts`` in the file, or ``lacks``, the function that is not there, or ``error``;
        ``signatures``, by function; ``seconds`` of CPU. Or ``error`` alone, where there are no kernels.
    """
    os.environ.update(_ENVIRONMENT)
    try:
        from harness.engines.interpreted_kernels import stand_ins

        stand_ins.mend(card_of(settings(card)))
        from harness.engines.kernel_checks import calls
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the report has to say
        return {"error": f"LMDeploy's kernels cannot be imported: {_told(error)}"}
    import numpy as np
    import torch

    torch.set_num_threads(1)  # the products are small, and their sums must not go by the number of cores
    from harness.engines.kernel_checks.references import Inputs
    from harness.engines.kernel_checks.steps import steps_off

    left: dict[str, Any] = {}
    rows, signatures = [], {}
    for check, dtype in ((check, dtype) for check in CHECKS if check.name in checks for dtype in DTYPES):
        row: dict[str, Any] = {"check": check.name, "dtype": dtype}
        rows.append(row)
        print(json.dumps({"progress": f"{check.name}, {dtype}"}), flush=True)  # noqa: T201
        try:
            signatures[check.function] = calls.signature(check.function)
            outcomes = calls.check_of(check.function)(Inputs(check.name, dtype), **check.shape)
        except calls.Lacking as lacking:
            row["lacks"] = str(lacking)
        except Exception as error:  # noqa: BLE001 - a kernel's failure is what is looked for
            row["error"] = _told(error)
        else:
            row["steps"] = max(steps_off(outcome, dtype) for outcome in outcomes.values())
            row["parts"] = [f"{check.name} {dtype} {part}" for part in outcomes]
            left |= zip(row["parts"], (outcome.found for outcome in outcomes.values()), strict=True)
    np.savez(outputs, **left)
    packages = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"packages": packages, "rows": rows, "signatures": signatures, "seconds": time.process_time()}


def _told(error: BaseException) -> str:
    """An error in one line, by its first cause: Triton's interpreter wraps what a kernel raised."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


if __name__ == "__main__":
    _report = report(**json.loads(sys.argv[1]))
    # A line of its own, last, whatever the libraries print.
    print("\n" + json.dumps(_report), flush=True)  # noqa: T201
    os._exit(0)  # what a library started must not keep the answer waiting

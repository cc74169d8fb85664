"""Runs the real LMDeploy with the model in a process of its own: ``python elsewhere_scenarios.py FOLDER``.

As deployed_scenarios.py does, and leaves ``elsewhere.json`` in FOLDER. LMDeploy's executor of several
processes imports this file once more under another name, and with it the plug-in.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.engines.lmdeploy_pipeline.deployed_scenarios import EMBEDDED, made, run, settings

ELSEWHERE: dict[str, Any] = {"engine_config": {"distributed_executor_backend": "mp"}}


def main(folder: Path) -> None:
    import torch
    from lmdeploy.pytorch import envs

    torch.set_num_threads(1)
    run("here", settings(EMBEDDED, "scored", "top-k"))
    run("elsewhere", settings(EMBEDDED, "scored", "top-k", **ELSEWHERE), times=2)
    run("rows from elsewhere", settings(EMBEDDED, "scored", "captured", **ELSEWHERE))
    for name, value in (("by the variable", "mp"), ("by a variable that is none", "nobodys")):
        os.environ["LMDEPLOY_EXECUTOR_BACKEND"] = value
        envs.executor_backend = value  # read when it was imported
        run(name, settings(EMBEDDED))
    (folder / "elsewhere.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

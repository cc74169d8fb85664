"""The script of a server that the harness starts: ``python lmdeploy_script.py ORDER``, the order being JSON.

LMDeploy's own ``api_server`` with the options that the engine ``lmdeploy`` gives its pipeline; on a CPU with
the device plug-in. The server spawns its engine as another process, which imports this file once more under
another name: so the plug-in is installed at the top, and the server is started at the end.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import runpy
import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
if sys.path and Path(sys.path[0] or ".").resolve() == _FOLDER:
    del sys.path[0]
# What a worker does to make `harness` importable by itself, where it is not installed.
runpy.run_path(os.fspath(_FOLDER.parents[1] / "workers" / "worker.py"), run_name="harness_worker")

from harness.engines.codec import settings_from_json  # noqa: E402 - importable from here on
from harness.engines.lmdeploy_on_cpu.plugin import install  # noqa: E402
from harness.engines.lmdeploy_pipeline.backends import built_with  # noqa: E402
from harness.engines.lmdeploy_pipeline.options import engine_options  # noqa: E402

_ORDER = json.loads(sys.argv[1])
_SETTINGS = settings_from_json(_ORDER["settings"])
if _SETTINGS.device == "cpu":
    install(dtype=_SETTINGS.dtype)


def _main() -> None:
    import torch
    from lmdeploy import PytorchEngineConfig
    from lmdeploy.serve.openai.api_server import serve

    known = {field.name for field in dataclasses.fields(PytorchEngineConfig)}
    threads = _SETTINGS.options.get("threads")
    if isinstance(threads, int):
        torch.set_num_threads(threads)
    asked = {
        "model_name": _ORDER["served_model"],
        "backend": "pytorch",
        "backend_config": PytorchEngineConfig(**engine_options(_SETTINGS, known)),
        "server_name": "127.0.0.1",
        "server_port": _ORDER["port"],
        "log_level": "WARNING",
        "disable_fastapi_docs": True,
        "trust_remote_code": bool(_SETTINGS.options.get("trust_remote_code", False)),
        # Not the sampling that generation_config.json of the model asks for, such as penalties.
        "generation_config": "lmdeploy",
    }
    taken = inspect.signature(serve).parameters
    # A vision_config goes on among those without a name of their own.
    serve(
        _SETTINGS.model,
        **{name: value for name, value in asked.items() if name in taken},
        **built_with(_SETTINGS),
    )


if __name__ == "__main__":
    _main()

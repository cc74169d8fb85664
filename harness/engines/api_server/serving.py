"""LMDeploy's ``api_server``, started by the engine ``api`` on this machine and ended with it.

It runs in the worker's own interpreter and process group, so that it dies with the worker however that ends,
and writes to the worker's log. It listens on the loopback interface only.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from harness.engines.api_server.client import Client
from harness.engines.codec import settings_to_json
from harness.engines.contract import EngineSettings
from harness.engines.dtypes import named_dtype
from harness.engines.gpu import gpus_in_use
from harness.errors import EngineError, ErrorKind
from harness.machine.processor import processor_name

__all__ = ["Server"]

_SCRIPT: Final = Path(__file__).with_name("lmdeploy_script.py")
_LOOK_SECONDS: Final = 0.25
_END_SECONDS: Final = 3.0
_PROBE_SECONDS: Final = 5.0
_STARTS: Final = 3
"""How often it is started before it is given up.

LMDeploy 0.18's server may end at once on a busy machine: it closes a helper process when it has heard from
the process that it spawned for its engine, which may still have to give a lock back there.
"""


class Server:
    """A started server. ``url`` is where it listens; `close` ends it."""

    def __init__(self, settings: EngineSettings, *, served_model: str) -> None:
        """Start it and wait until it is healthy; the worker's load deadline ends a wait that never does.

        Raises EngineError: LOAD where LMDeploy is not installed, there is no GPU for ``device: cuda``, or the
        server ends while it starts.
        """
        try:
            self.version: Final = importlib.metadata.version("lmdeploy")
        except importlib.metadata.PackageNotFoundError:
            raise EngineError(
                ErrorKind.LOAD,
                "options.serve: LMDeploy is not installed in this interpreter; install it with: "
                f"{sys.executable} -m pip install lmdeploy, or set url to a server that is already running",
            ) from None
        self.device: Final = (
            f"CPU device plug-in ({processor_name()})" if settings.device == "cpu" else gpus_in_use(settings)
        )
        self._settings: Final = settings
        self._served_model: Final = served_model
        self._process, self.url = self._started()
        for attempt in range(1, _STARTS + 1):
            try:
                if (ended := self._wait()) is None:
                    break
            except BaseException:
                self.close()
                raise
            if attempt == _STARTS:
                raise EngineError(
                    ErrorKind.LOAD,
                    f"LMDeploy's api_server {ended} while it started, as it did {_STARTS - 1} times before; "
                    "its output stands in this worker's log",
                )
            print(f"harness: api_server {ended} while it started; once more", file=sys.stderr)  # noqa: T201
            self._process, self.url = self._started()
        self.dtype: Final = _dtype(settings)

    def ending(self) -> str | None:
        """How it ended, in words; None while it runs."""
        # The connection breaks off a little before the process is gone.
        try:
            code = self._process.wait(_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def close(self) -> None:
        """End it; what it started itself goes with the worker's group."""
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _started(self) -> tuple[subprocess.Popen[bytes], str]:
        port = _free_port()
        order = {
            "settings": settings_to_json(self._settings),
            "served_model": self._served_model,
            "port": port,
        }
        command = [sys.executable, os.fspath(_SCRIPT), json.dumps(order)]
        environment = {"UVICORN_LOG_LEVEL": "warning", **os.environ}  # else a line for each request
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)
        return process, f"http://127.0.0.1:{port}"

    def _wait(self) -> str | None:
        """Wait until it is healthy, or has ended: then how."""
        client = Client(self.url, key=None, seconds=_PROBE_SECONDS, attempts=1)
        try:
            while (ended := self.ending()) is None:
                try:
                    if client.get("/health").ok:
                        return None
                except EngineError:
                    pass
                time.sleep(_LOOK_SECONDS)
            return ended
        finally:
            client.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _dtype(settings: EngineSettings) -> str:
    """The dtype that LMDeploy computes in; of ``auto``, what it makes of the checkpoint's own."""
    if settings.dtype != "auto":
        return settings.dtype
    config = json.loads((Path(settings.model) / "config.json").read_text(encoding="utf-8"))
    found = named_dtype(config) or "float16"
    return "float16" if found == "float32" and settings.device == "cuda" else found

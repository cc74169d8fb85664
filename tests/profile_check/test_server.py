"""A server that is said to run: asked for its models, with its key, and told when it is not there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.cases.problems import Location
from harness.cases.profiles import EngineSpec, Profile
from harness.engines.contract import EngineSettings
from harness.machine.findings import Finding, Mark
from harness.profile_check.places import Places
from harness.profile_check.server import look_at_server


class Models(BaseHTTPRequestHandler):
    """A stand-in that serves one model to whoever knows the key."""

    def do_GET(self) -> None:
        right = self.path == "/v1/models" and self.headers.get("Authorization") == "Bearer secret"
        self.send_response(200 if right else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"data": [{"id": "internvl"}]}).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Models)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def look(folder: Path, **options: Any) -> Finding:
    file = folder / "profiles.yaml"
    file.write_text("profiles:\n  p:\n    engines:\n      api:\n        options:\n          url: x\n")
    place = Location(file, 4, 7)
    settings = EngineSettings(
        kind="api", model="m", dtype="auto", device="cpu", paths=(), top_k=20, batch_size=1, options=options
    )
    engine = EngineSpec(name="api", settings=settings, location=place)
    profile = Profile(name="p", reference="api", engines=(engine,), suites=(), location=place)
    (finding,) = look_at_server(engine, Places(profile))
    return finding


def test_its_models_are_told(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    for url in (address, f"{address}/v1/"):
        finding = look(tmp_path, url=url, key_env="MY_KEY", served_model="internvl")
        assert (finding.mark, finding.text) == (Mark.RIGHT, f"{address}/v1/models serves internvl")


def test_a_model_that_it_does_not_serve(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    finding = look(tmp_path, url=address, key_env="MY_KEY", served_model="other")
    assert (finding.mark, finding.allowed) == (Mark.WRONG, "internvl")


def test_a_key_that_is_not_set_or_wrong(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    assert look(tmp_path, url=address, key_env="MY_KEY").command == "export MY_KEY=..."
    monkeypatch.setenv("MY_KEY", "not-it")
    finding = look(tmp_path, url=address, key_env="MY_KEY")
    assert finding.mark is Mark.WRONG
    assert "401" in finding.text
    assert "not-it" not in "".join(finding.lines())


def test_a_server_that_is_not_there(tmp_path: Path, address: str) -> None:
    finding = look(tmp_path, url="http://127.0.0.1:9")
    assert finding.mark is Mark.WRONG
    assert "Connection refused" in finding.text
    assert str(finding.place) == f"{tmp_path}/profiles.yaml:6:16"
    assert finding.command == "curl http://127.0.0.1:9/v1/models"

"""A stand-in for uv, and engines that ask for environments."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.cases.environment_request import environment_request
from harness.cases.problems import Location
from harness.cases.profiles import EngineSpec
from harness.engines.contract import EngineSettings
from harness.environments.store import Environments

STAND_IN = Path(__file__).with_name("stand_in_uv.py")


class StandInUv:
    """The stand-in for uv in its own folder, and what it was asked so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "uv"
        folder.mkdir()
        self.program.write_text(f"#!{sys.executable}\n{STAND_IN.read_text()}")
        self.program.chmod(0o755)

    @classmethod
    def in_place_of_uv(cls, folder: Path, monkeypatch: pytest.MonkeyPatch) -> StandInUv:
        stand_in = cls(folder)
        monkeypatch.setattr("uv.find_uv_bin", lambda: str(stand_in.program))
        return stand_in

    def order(self, **orders: dict[str, Any]) -> None:
        (self.folder / "orders.json").write_text(json.dumps(orders))

    @property
    def calls(self) -> list[dict[str, Any]]:
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def commands(self) -> list[str]:
        return [call["command"] for call in self.calls]


def engine(folder: Path, *requirements: str, **fields: Any) -> EngineSpec:
    """An engine with an environment, at line 7 of profiles.yaml in ``folder``."""
    entry = {"requirements": list(requirements), **fields}
    settings = EngineSettings(
        kind="torch", model="/m", dtype="auto", device="cpu", paths=(), top_k=1, batch_size=1
    )
    return EngineSpec(
        name="e",
        settings=settings,
        location=Location(folder / "profiles.yaml", 7, 5),
        python=None,
        environment=environment_request(entry, folder),
    )


def unseen(what: str, note: str) -> None:
    """Progress that nobody looks at."""


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandInUv:
    return StandInUv.in_place_of_uv(tmp_path / "uv", monkeypatch)


@pytest.fixture
def environments(tmp_path: Path) -> Any:
    made = Environments(tmp_path / "environments", run_id="run-1")
    yield made
    made.close()

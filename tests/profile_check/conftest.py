"""A folder of cases with a copy of the embedded model, and what `harness profile check` finds in it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cases.folder import load
from harness.environments.checking import Loadable
from harness.environments.store import Environments
from harness.machine.findings import Finding, Mark
from harness.machine.nvidia import Gpu, Nvidia
from harness.profile_check.checking import ProfileCheck

EMBEDDED = Path(__file__).parents[2] / "cases" / "models" / "embedded"


_LOADABLE = Loadable(python=sys.executable, found={"torch": "0", "transformers": "0"})


@dataclass
class Checked:
    """A folder with one profile ``p`` of one engine."""

    folder: Path
    answers: dict[str, Any] = field(default_factory=dict)
    loadable: Loadable = _LOADABLE

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def write(self, *, engine: Mapping[str, Any] | None = None, **profile: Any) -> None:
        """Profile ``p`` with the engine torch, or whatever ``engine`` says it is."""
        plain = {"model": "model", "dtype": "float32", "reference": "e"}
        entry = {**plain, **profile, "engines": {"e": {"kind": "torch", **(engine or {})}}}
        (self.folder / "profiles.yaml").write_text(
            yaml.safe_dump({"profiles": {"p": entry}}, sort_keys=False)
        )

    def see(self, monkeypatch: pytest.MonkeyPatch, *gpus: Gpu, driver: str = "580.95.05") -> None:
        """Have the machine be one with these GPUs."""
        nvidia = Nvidia(gpus, driver if gpus else "", "", ("NVML",), bool(gpus))
        monkeypatch.setattr("harness.profile_check.checking.read_nvidia", lambda: nvidia)

    def findings(self) -> list[Finding]:
        loaded = load(self.folder)
        (profile,) = loaded.profiles
        check = ProfileCheck(loaded, profile, Environments(self.folder / "environments"))
        return list(check.engine(profile.engines[0]))

    def of(self, topic: str) -> Finding:
        """The only finding on ``topic``."""
        (found,) = [finding for finding in self.findings() if finding.topic == topic]
        return found

    def wrongs(self) -> list[Finding]:
        return [finding for finding in self.findings() if finding.mark is Mark.WRONG]

    def config(self, **changes: Any) -> None:
        file = self.model / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checked:
    """Stand-ins say that the engine can be loaded and that all letters resolve; no engine is imported."""
    monkeypatch.chdir(tmp_path)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub-home"))
    shutil.copytree(EMBEDDED, tmp_path / "model")
    (tmp_path / "s.yaml").write_text(
        "defaults: {letters: [A, B]}\ncases:\n  - {id: one, prompt: say A, expect: A}\n"
    )
    found = Checked(tmp_path)
    found.write()

    def stand_in(python: str, model: str, questions: list[Any], **options: Any) -> dict[str, Any]:
        answer = {"error": None, "tokens": 40, "prefix": 0}
        return {"transformers": "0", "answers": [answer for _ in questions], **found.answers}

    monkeypatch.setattr("harness.profile_check.letters.ask_tokenizer", stand_in)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found.see(monkeypatch)
    monkeypatch.setattr("harness.profile_check.environment.check_loadable", lambda *_: found.loadable)
    return found

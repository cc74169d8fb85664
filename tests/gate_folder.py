"""A folder of cases answered by a stand-in engine, and `harness` run on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.cli import main
from harness.scoring.stored_runs import StoredRun, StoredRuns

PATCH = Path(__file__).parent / "suite" / "stand_in_engine.py"


class Folder:
    """Somebody's folder of cases: profile ``p`` with engines torch and lmdeploy, suite ``s``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cases = path / "cases"
        for model in ("m", "next"):
            (self.cases / model).mkdir(parents=True)
            (self.cases / model / "config.json").write_text("{}")
            (self.cases / model / "model.safetensors").write_text(model)
        self.stand_in = path / "stand_in.py"
        self.stand_in.write_text(PATCH.read_text(encoding="utf-8"), encoding="utf-8")
        self.write_profiles()

    def write_profiles(self, **more: Mapping[str, Any]) -> None:
        """Profile ``p``, and ``more``, each with what differs from it."""
        patched = {"patch": str(self.stand_in), "top_k": 5}
        profile = {
            "model": "m",
            "dtype": "float32",
            "reference": "torch",
            "deadlines": {"load": 60, "case": 20},
            "engines": {"torch": patched, "lmdeploy": patched},
        }
        profiles: dict[str, dict[str, Any]] = {"p": profile}
        for name, changes in more.items():
            own = {e: {**patched, **fields} for e, fields in changes.get("engines", {}).items()}
            profiles[name] = {**profile, **changes, "engines": own or profile["engines"]}
        profiles = json.loads(json.dumps(profiles))  # else YAML would write what they share as aliases
        (self.cases / "profiles.yaml").write_text(yaml.safe_dump({"profiles": profiles}, sort_keys=False))

    def write_suite(self, *prompts: str | Mapping[str, Any], name: str = "s", **more: Any) -> None:
        """Cases c0, c1, ... of the letters A to C; A is expected of a prompt alone."""
        entries = []
        for number, fields in enumerate(prompts):
            entry: dict[str, Any] = {"id": f"c{number}", "expect": "A"}
            entries.append(entry | ({"prompt": fields} if isinstance(fields, str) else dict(fields)))
        suite = {"defaults": {"letters": ["A", "B", "C"]}, **more, "cases": entries}
        (self.cases / f"{name}.yaml").write_text(yaml.safe_dump(suite, sort_keys=False))

    def clean(self, count: int = 24) -> None:
        """A suite on which all engines answer alike."""
        self.write_suite(*(f"say A {n}" for n in range(count)))

    def gate(self, baseline: str = "p/torch", candidate: str = "p/lmdeploy", *more: str) -> int:
        return main(["gate", "--baseline", baseline, "--candidate", candidate, *more])

    def accept(self, *more: str, engine: str = "p/torch", reason: str = "first") -> int:
        return main(["accept", engine, "--reason", reason, "--author", "Ann", *more])

    def patch(self, old: str, new: str) -> None:
        """From now on the engines answer as if the stand-in's source had ``new`` in the place of ``old``."""
        text = self.stand_in.read_text(encoding="utf-8")
        assert old in text
        self.stand_in.write_text(text.replace(old, new), encoding="utf-8")

    @property
    def runs(self) -> StoredRuns:
        return StoredRuns(self.path / ".harness")

    def date_back(self, run: StoredRun, when: str) -> None:
        """Store ``run`` once more as if it had been made at ``when``."""
        fields = {name: getattr(run, name) for name in StoredRun.__dataclass_fields__}
        self.runs.add(StoredRun(**{**fields, "run": f"earlier-{when}", "when": when}))

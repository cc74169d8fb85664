"""A folder of cases answered by a stand-in engine, and a way to run the suite on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import scipy.stats  # noqa: F401 - pytester forgets what a run in process imported, and scipy loads once only
import yaml

from harness.recordings.journal import compact_json
from harness.recordings.packing import unpack

HERE = Path(__file__).parent


class Project:
    """Somebody's repository with cases; the harness is installed, not part of it."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.folder = pytester.path
        self.cases = self.folder / "cases"
        self.cases.mkdir()
        model = self.folder / "model"
        model.mkdir()
        (model / "config.json").write_text("{}")
        self.write_profiles()

    def write_profiles(self, *more: Mapping[str, Any], **changes: Any) -> None:
        """One profile ``p`` of both engines, with ``changes``; ``p1``, ``p2``... for each of ``more``."""
        patch = str(HERE / "stand_in_engine.py")
        plain = {
            "model": "../model",
            "dtype": "float32",
            "reference": "torch",
            "deadlines": {"load": 60, "case": 20},
            "engines": {"torch": {"patch": patch}, "lmdeploy": {"patch": patch, "top_k": 5}},
        }
        profiles = {"p": {**plain, **changes}}
        profiles |= {f"p{n}": {**plain, **other} for n, other in enumerate(more, 1)}
        profiles = json.loads(json.dumps(profiles))  # else YAML would write what they share as aliases
        (self.cases / "profiles.yaml").write_text(yaml.safe_dump({"profiles": profiles}, sort_keys=False))

    def write_suite(self, name: str = "s", **cases: str | Mapping[str, Any]) -> None:
        """A suite of the letters A to C; a case is its prompt (then A is expected) or a mapping of fields."""
        entries = []
        for case_id, fields in cases.items():
            entry: dict[str, Any] = {"id": case_id.replace("_", "-"), "expect": "A"}
            entries.append(entry | ({"prompt": fields} if isinstance(fields, str) else dict(fields)))
        suite = {"defaults": {"letters": ["A", "B", "C"]}, "cases": entries}
        (self.cases / f"{name}.yaml").write_text(yaml.safe_dump(suite, sort_keys=False))

    def command(self, *arguments: str) -> list[str]:
        return ["-p", "no:cacheprovider", "--pyargs", "harness.suite", *arguments]

    def run(self, *arguments: str, accept: bool = False) -> pytest.RunResult:
        """Run the suite; ``accept`` writes the snapshots of what it sees first."""
        if accept:
            self.run("-q", "-k", "matches_snapshot", "--snapshot-update", *arguments)
        return self.pytester.runpytest_inprocess(*self.command(*arguments))

    def recorded(self, folder: str = ".harness") -> list[str]:
        """Case and engine of every recording ever made, in the order in which they were."""
        found = []
        for journal in sorted((self.folder / folder / "recordings").glob("*.jsonl")):
            entries = [json.loads(line.split(" ", 1)[1]) for line in journal.read_text().splitlines()]
            samples = {each["key"]: each["packed"] for each in entries if "packed" in each}
            for entry in (each for each in entries if "like" in each):
                made = unpack(entry["packed"], compact_json(unpack(samples[f"sample:{entry['like']}"])))
                found.append(f"{made['case']} {made['engine']}")
        return found


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("COLUMNS", "160")
    return Project(pytester)

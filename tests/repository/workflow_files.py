"""The workflows and the action of this repository, as data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

__all__ = [
    "ACTION",
    "ADVISORIES",
    "CHECKS",
    "GATE",
    "RELEASE",
    "ROOT",
    "WORKFLOWS",
    "Step",
    "read",
    "step",
    "steps",
]

ROOT: Final = Path(__file__).parents[2]
WORKFLOWS: Final = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ADVISORIES, CHECKS, GATE, RELEASE = (
    ROOT / ".github" / "workflows" / f"{name}.yml" for name in ("advisories", "checks", "gpu-gate", "release")
)
ACTION: Final = ROOT / ".github" / "actions" / "gate" / "action.yml"

Step = Mapping[str, Any]


def read(file: Path) -> dict[str, Any]:
    """A workflow or an action; the key ``on`` is read as a text, as GitHub does, not as YAML 1.1's true."""
    found: dict[str, Any] = yaml.load(file.read_text(encoding="utf-8"), yaml.BaseLoader)
    return found


def steps(file: Path) -> list[Step]:
    """Those of all jobs, or of a composite action."""
    content = read(file)
    return [step for job in content.get("jobs", {"": content.get("runs")}).values() for step in job["steps"]]


def step(file: Path, name: str) -> Step:
    """The one of that name."""
    (found,) = (one for one in steps(file) if one.get("name") == name)
    return found

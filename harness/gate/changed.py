"""What changed between the fingerprints of two sides, in the order in which people ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from harness.engines.contract import Json
from harness.recordings.fingerprint import Difference, describe_differences

__all__ = ["WhatChanged", "what_changed"]

_VERSIONS = "installed.packages."
_ENVIRONMENT = "environment.packages."
# Beginnings of paths in a fingerprint, with what they are called.
_GROUPS = (
    (_VERSIONS, "version"),
    ("installed.python", "version"),
    ("installed.implementation", "version"),
    ("installed.sources.", "sources of"),
    ("settings.", "setting"),
    ("model.", "model"),
    ("loaded.", "as loaded"),
    ("installed.environment", "variable"),
    ("installed.", "machine"),
    ("patch", "patch"),
    ("harness", "the harness's own engine code"),
)
_TOLD_BY_FILES = ("model.hash", "environment.lock")
_ABSENT = "(absent)"
_LONGEST = 60


class WhatChanged(NamedTuple):
    """``lines`` for people, versions first; ``differences`` are all of them, by path."""

    lines: tuple[str, ...]
    differences: tuple[Difference, ...]


def what_changed(before: Mapping[str, Json], after: Mapping[str, Json]) -> WhatChanged:
    """What differs between the fingerprints of two sides."""
    differences = describe_differences(before, after)
    told = [d for d in differences if d.path not in _TOLD_BY_FILES]
    if any(d.path == "settings.kind" for d in told):
        # Engines of two kinds tell of different things when they are loaded.
        told = [d for d in told if not (d.path.startswith("loaded.") and _ABSENT in (d.before, d.after))]
    lines: list[str] = []
    for start, title in _GROUPS:
        group = [d for d in told if d.path.startswith(start)]
        told = [d for d in told if d not in group]
        lines += [_line(d, start, title) for d in group]
    others = [d for d in told if d.path.startswith(_ENVIRONMENT) or d.path == "environment"]
    shown = {d.path.removeprefix(_VERSIONS) for d in differences if d.path.startswith(_VERSIONS)}
    packages = [d for d in others if d.path.removeprefix(_ENVIRONMENT) not in shown]
    lines += [str(d) for d in told if d not in others]
    if packages:
        lines.append(f"other packages of the environment: {_packages(packages)}")
    return WhatChanged(tuple(lines), differences)


def _line(difference: Difference, start: str, title: str) -> str:
    name = difference.path.removeprefix(start) if start.endswith(".") else ""
    head = f"{title} {name}".strip() if title != "version" else name or difference.path.rpartition(".")[2]
    return f"{head}: {_text(difference)}"


def _text(difference: Difference) -> str:
    """``before → after`` in short: hashes cut, strings without quotes."""
    said = str(difference).removeprefix(f"{difference.path}: ")
    before, _, after = said.partition(" became ")
    return f"{_short(before)} → {_short(after)}"


def _short(text: str) -> str:
    plain = text.strip("'")
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"


def _packages(differences: list[Difference]) -> str:
    if len(differences) > 6:
        return f"{len(differences)} differ"
    return ", ".join(f"{d.path.removeprefix(_ENVIRONMENT)} {_text(d)}" for d in differences)

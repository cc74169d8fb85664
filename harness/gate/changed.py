"""What changed between the fingerprints of two sides, in the order in which people ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from harness.engines.contract import Json
from harness.recordings.device import HARDWARE, hardware_of
from harness.recordings.fingerprint import Difference, describe_differences
from harness.workers.interpreter import PACKAGES

__all__ = ["NOT_KNOWN", "WhatChanged", "what_changed"]

NOT_KNOWN = "not known: an engine that gave no answer has no fingerprint"

_VERSIONS = "installed.packages."
_ENVIRONMENT = "environment.packages."
_CODE = "harness."
_FORM = "version"
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
    ("patch.", "patch"),
    ("patch", "patch"),
    (_FORM, "form of fingerprints"),
)
_TOLD_BY_FILES = ("model.hash", "environment.lock")
# On a GPU LMDeploy takes as many as fit beside what else is there; one that was asked for is a setting.
_FREE_MEMORY = ("loaded.engine_config.num_gpu_blocks", "loaded.limits.num_gpu_blocks")
_ABSENT = "(absent)"
_LONGEST = 60


class WhatChanged(NamedTuple):
    """``lines`` for people, versions first; ``differences`` are all of them, by path."""

    lines: tuple[str, ...]
    differences: tuple[Difference, ...]


def what_changed(before: Mapping[str, Json], after: Mapping[str, Json]) -> WhatChanged:
    """What differs between the fingerprints of two sides; of an empty one only that it is not known."""
    if not (before and after):
        return WhatChanged((NOT_KNOWN,), ())
    differences = tuple(d for d in describe_differences(before, after) if d.path not in _FREE_MEMORY)
    told = [d for d in differences if d.path not in _TOLD_BY_FILES]
    if any(d.path == _FORM for d in told):
        # Of two forms of fingerprints, what one of them lacks or tells in another way says nothing.
        told = [d for d in told if d.path == _FORM or (type(d.before) is type(d.after) and not _one_sided(d))]
    if any(d.path == "settings.kind" for d in told):
        # Engines of two kinds go through code of their own, and tell of different things when loaded.
        told = [d for d in told if not (d.path.startswith(("loaded.", _CODE)) and _one_sided(d))]
    lines: list[str] = []
    machines = hardware_of(before), hardware_of(after)
    if machines[0] != machines[1] and told and all(d.path.startswith(HARDWARE) for d in told):
        lines.append(f"nothing but the machine: {machines[0]} → {machines[1]}")
        told = []
    for start, title in _GROUPS:
        group = [d for d in told if d.path.startswith(start) and not _in_sum(d.path)]
        told = [d for d in told if d not in group]
        lines += [_line(d, start, title) for d in group]
    shown = {d.path.removeprefix(_VERSIONS) for d in differences if d.path.startswith(_VERSIONS)}
    lines += [str(d) for d in told if not _in_sum(d.path)]
    for title, starts in (
        ("other packages", (_VERSIONS, _ENVIRONMENT)),
        ("the harness's own code", (_CODE,)),
    ):
        named = [(_name(d.path, starts), d) for d in told if d.path.startswith(starts)]
        named = [(name, d) for name, d in named if d.path.startswith(starts[0]) or name not in shown]
        if named:
            lines.append(f"{title}: {_in_one_line(named)}")
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


def _in_sum(path: str) -> bool:
    """Whether it is told in one line with its like: code of ours, and packages that few people ask for."""
    by_name = path.startswith(_VERSIONS) and path.removeprefix(_VERSIONS) not in PACKAGES
    return by_name or path.startswith((_ENVIRONMENT, _CODE))


def _one_sided(difference: Difference) -> bool:
    return _ABSENT in (difference.before, difference.after)


def _name(path: str, starts: tuple[str, ...]) -> str:
    return next(path.removeprefix(start) for start in starts if path.startswith(start))


def _in_one_line(named: list[tuple[str, Difference]]) -> str:
    if len(named) > 6:
        return f"{len(named)} differ"
    return ", ".join(f"{name} {_text(d)}" for name, d in named)

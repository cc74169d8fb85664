"""Faults of LMDeploy's own kernels: where they are interpreted, and where the plug-in takes their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from harness.cases.folder import Loaded, load
from harness.drift.faults.catalogue import SIZES, Fault
from harness.drift.faults.kernels import CACHES, PATCHES
from harness.drift.selftest.folder import Folder
from harness.drift.selftest.heads import with_heads_of_48
from harness.drift.selftest.running import Row, measure

__all__ = ["CASES", "measure_kernels"]

CASES: Final = (
    "answer_line.yellow-circle-colour",  # several tokens are decoded before the letter
    "answer_line.wide-blue-squares-count",  # two tiles and a thumbnail
    "answer_line.system-text-colour",
    "answer_line.stated-count",  # no image
    "shapes.red-circle-colour",  # a neighbour that ends at once
)
"""What is asked: long and short prompts, of several pages each, in one batch."""

_PROFILE: Final = "kernels"
_EXPLAINED: Final = 2
"""In so many of the cases that moved the stage is asked for, which is most of the time."""
_INTERPRETED: Final = {"kernels": "interpreted", "processors": 8, "block_size": 16}
_ENGINE: Final = {"kind": "lmdeploy", "paths": ["captured", "two-stage"], "top_k": 20}
"""Captured is the first, so that the gate sees decoding."""


def measure_kernels(
    folder: Path,
    loaded: Loaded,
    model: Path,
    faults: Sequence[Fault],
    *,
    names: Sequence[str],
    show: Callable[[str], None],
) -> Iterator[Row]:
    """A row for no fault in each cache, then one for each fault.

    For the first fault of each file of kernels there is what came of it under the plug-in, too.

    A cache in full precision is asked with ``model``, which is the embedded one or of its kind, beside
    Transformers; a quantised one with its heads made wider, beside the same engine without a fault, since
    Transformers has none. Raises as `running.measure`.
    """
    plain: dict[str, Any] = {
        "torch": {"paths": ["forward"]},
        "lmdeploy": {**_ENGINE, "options": {"block_size": 16}},
    }

    def rows(name: str, of: Sequence[Fault], model: Path, engines: dict[str, Any]) -> Iterator[Row]:
        source = Folder(folder / name / "source")
        source.cases.mkdir(parents=True, exist_ok=True)
        source.take(loaded, names)
        terms: dict[str, Any] = {
            "model": str(model),
            "dtype": "float32",
            "device": "cpu",
            "reference": next(iter(engines)),
        }
        terms |= {"deadlines": {"load": 300, "case": 120}, "engines": engines}
        source.write_profiles({_PROFILE: terms})
        own = load(source.cases)
        yield from measure(
            folder / name,
            own,
            own.profile(_PROFILE),
            of,
            sizes=SIZES,
            names=names,
            dtype="float32",
            snapshots=None,
            show=lambda line: show(f"{name}: {line}"),
            explained=_EXPLAINED,
        )

    one_a_file = {PATCHES[fault.name].module: fault for fault in reversed(faults)}
    beside = {row.fault: row for row in rows("plug-in", [*one_a_file.values()], model, plain)}
    for cache, policy in CACHES.items():
        if not (of := [fault for fault in faults if PATCHES[fault.name].cache == cache]):
            continue
        if policy:
            wide = with_heads_of_48(model, folder / cache / "model")
            engine = {**_ENGINE, "options": {**_INTERPRETED, "quant_policy": policy}}
            found = rows(cache, of, wide, {"clean": engine, "lmdeploy": engine})
        else:
            engines = {**plain, "lmdeploy": {**_ENGINE, "options": _INTERPRETED}}
            found = rows(cache, of, model, engines)
        for row in found:
            yield replace(row, beside=None if row.fault is None else beside.get(row.fault), cache=cache)

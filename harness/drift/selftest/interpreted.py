"""Faults of LMDeploy's own kernels: where they are interpreted, and where the plug-in takes their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Final

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
_FIELDS: Final = {"dtype": "float32", "device": "cpu", "deadlines": {"load": 300, "case": 120}}
_EXPLAINED: Final = 2
"""In so many of the cases that moved the stage is asked for, which is most of the time."""
_INTERPRETED: Final[dict[str, str | int]] = {"kernels": "interpreted", "processors": 8}


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

    For the first fault of each file of kernels there is what came of it under the plug-in, too. A cache in
    full precision is asked with ``model``, of the embedded one's kind, beside Transformers; a quantised one
    with its heads made wider, beside the same engine without a fault, as Transformers has none. Raises as
    `running.measure`.
    """

    def rows(part: str, of: Sequence[Fault], model: Path, **options: str | int) -> Iterator[Row]:
        paths = ["captured", "two-stage"]  # so that the gate, which takes the first, sees decoding
        engine = {"kind": "lmdeploy", "paths": paths, "top_k": 20, "options": {"block_size": 16, **options}}
        first = {"clean": engine} if "quant_policy" in options else {"torch": {"paths": ["forward"]}}
        engines = {**first, "lmdeploy": deepcopy(engine)}  # the same object twice would be an alias in YAML
        fields = {**_FIELDS, "model": str(model), "reference": next(iter(first)), "engines": engines}
        source = Folder(folder / part / "source")
        source.take(loaded, names)
        source.write_profiles({_PROFILE: fields})
        own = load(source.cases)
        yield from measure(
            folder / part,
            own,
            own.profile(_PROFILE),
            of,
            sizes=SIZES,
            names=names,
            dtype="float32",
            snapshots=None,
            show=lambda line: show(f"{part}: {line}"),
            explained=_EXPLAINED if "kernels" in options else None,
        )

    one_a_file = {PATCHES[fault.name].module: fault for fault in reversed(faults)}
    beside = {row.fault: row for row in rows("plug-in", [*one_a_file.values()], model)}
    for cache, policy in CACHES.items():
        of = [fault for fault in faults if PATCHES[fault.name].cache == cache]
        if policy and of:
            wide = with_heads_of_48(model, folder / cache / "model")
            found = rows(cache, of, wide, **_INTERPRETED, quant_policy=policy)
        else:
            found = rows(cache, of, model, **_INTERPRETED)
        for row in found if of else ():
            yield replace(row, cache=cache, beside=beside.get(row.fault))

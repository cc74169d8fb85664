"""A trace of a case as `harness explain` keeps it, made by hand: the logits are where the two part."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.drift.kept import Kept, pair_folder, write_kept
from harness.drift.stage_noise import StageNoise
from harness.engines.taps.sketches import Sketch, Trace
from harness.scoring.stored_runs import StoredRuns


def keep_trace(
    root: Path, a: str, b: str, case: str, *, keys: tuple[str, str] | None = None, error: str = ""
) -> Path:
    """Below the folder of recordings ``root``, of its last runs unless by ``keys``; returns the file."""
    runs = StoredRuns(root)
    last = [runs.of(*side.split("/"))[-1].keys[case] for side in (a, b)]

    def trace(value: float) -> Trace:
        rows = np.full((1, 4), value)
        logits = Sketch((1, 4), norms=np.linalg.norm(rows, axis=1), sums=rows[:, :2], answer=rows[0])
        return Trace(stages={"logits": logits}, told={"letters": [-0.1, -2.4]}, error=error)

    kept = Kept(
        case=case,
        labels=(a, b),
        keys=keys or (last[0], last[1]),
        letters=("A", "B"),
        dtype="float32",
        question=(),
        answers=("P(A) 0.9", "P(A) 0.9"),
        wrote=((1,), (1,)),
        letter_ids=((1, 2), (1, 2)),
        recorded=((), ()),
        about={"A": {}, "B": {}},
        lacking={},
        noise=StageNoise(dtype="float32", plain={}, local={}),
        grafts=(),
        traces={"A": trace(1.0), "B": trace(2.0)},
    )
    file = pair_folder(root, (a, b)) / f"{case}.npz"
    write_kept(file, kept)
    return file

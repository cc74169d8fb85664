"""What is kept of a stage: of every row its norm and some signed sums, and the answer's row in full.

A distance between two states follows from their sums, on another machine too: the signs are those of one
fixed generator, and the mean of the squares of sums of d, each entry with a sign of its own, is |d|² on
average. Numpy only.

Shapes: R rows, C columns of a stage, k signed sums.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["SUMS", "Sketch", "Trace", "read_traces", "signs", "write_traces"]

Floats = npt.NDArray[np.floating[Any]]

SUMS: Final = 16
"""Signed sums of a row: their relative error is about one over the root of twice as many."""
PICTURE_SUMS: Final = 8
"""Of a row of a picture's stage: there are many more rows, and they outweigh a trace of a large model."""
FORMAT: Final = 1


@lru_cache(maxsize=64)
def signs(columns: int, sums: int) -> npt.NDArray[np.float64]:
    """The signs [columns, sums], +1 or -1, the same everywhere."""
    drawn = np.random.Generator(np.random.PCG64(columns)).integers(0, 2, (sums, columns), dtype=np.int8)
    return (2.0 * drawn.T - 1.0).astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """One stage of one pass.

    ``shape`` is that of the tensor. ``norms`` [R] and ``sums`` [R, k] are of its rows, and ``answer`` [C] is
    its last row in full, () for stages of a picture. A stage that is equal or not has its values [R] in
    ``exact`` and nothing else. ``finite`` says whether all its values are.
    """

    shape: tuple[int, ...]
    norms: Floats = field(default_factory=lambda: np.zeros(0))
    sums: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    answer: Floats = field(default_factory=lambda: np.zeros(0))
    exact: npt.NDArray[np.int64] | None = None
    finite: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """The stages of one pass of one case, by their names.

    ``told`` holds what is no tensor: ``rendered``, ``image``, ``tiles``, and the letters' log-probabilities
    ``letters`` [L] where the pass has them. ``error`` is why the pass did not come to its end, '' else.
    """

    stages: Mapping[str, Sketch]
    told: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


def write_traces(file: Path, traces: Mapping[str, Trace], about: Mapping[str, Any]) -> None:
    """Write ``traces`` by their names, with ``about`` them, to one file."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    index: dict[str, Any] = {"format": FORMAT, "about": dict(about), "traces": {}}
    for name, trace in traces.items():
        stages = {}
        for stage, sketch in trace.stages.items():
            stages[stage] = {"shape": list(sketch.shape), "finite": sketch.finite}
            for part in ("norms", "sums", "answer", "exact"):
                value = getattr(sketch, part)
                if value is not None and value.size:
                    arrays[f"{name}/{stage}/{part}"] = value
        index["traces"][name] = {"stages": stages, "told": dict(trace.told), "error": trace.error}
    file.parent.mkdir(parents=True, exist_ok=True)
    text = np.frombuffer(json.dumps(index).encode(), dtype=np.uint8)
    unfinished = file.with_name(f".{file.name}.tmp")
    with unfinished.open("wb") as opened:
        np.savez(opened, allow_pickle=False, index=text, **arrays)
    unfinished.replace(file)


def read_traces(file: Path) -> tuple[dict[str, Trace], dict[str, Any]]:
    """The traces in ``file`` by their names, and what was written about them.

    Raises ValueError, saying what is wrong, for a file that is none, and OSError.
    """
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as held:
            index = json.loads(bytes(held["index"]).decode())
            if index["format"] != FORMAT:
                raise ValueError(f"format {index['format']}; allowed: {FORMAT}")
            traces = {
                name: Trace(
                    stages=dict(_stages(held, name, each["stages"])), told=each["told"], error=each["error"]
                )
                for name, each in index["traces"].items()
            }
            return traces, index["about"]
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file} holds no traces: {error}; next: make them again with --fresh") from error


def _stages(held: Any, name: str, stages: Mapping[str, Any]) -> Iterator[tuple[str, Sketch]]:  # noqa: ANN401 - numpy's
    for stage, about in stages.items():
        parts = {
            part: held[key]
            for part in ("norms", "sums", "answer", "exact")
            if (key := f"{name}/{stage}/{part}") in held
        }
        yield stage, Sketch(tuple(about["shape"]), finite=bool(about["finite"]), **parts)

"""Making the clean runs that the judge is calibrated on, and the compact file that keeps them."""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.calibration.jitter import Jitter, clean_runs, floor_runs
from benchmarks.machine import machine_line
from benchmarks.workload import Workload
from harness.checks.log_odds import LogOdds, centred
from harness.engines.codec import settings_to_json
from harness.errors import HarnessError
from harness.recordings.fingerprint import image_fingerprint

__all__ = ["ENGINES", "FILE", "Recorded", "RecordedCase", "RecordedEngine", "read", "record"]

FILE = Path(__file__).with_name("clean_runs.json.gz")
_VERSION = 1
_DIGITS = {"float32": 9}  # float32 logits of 16 are 2e-6 apart

ENGINES: Mapping[str, tuple[str, str, int]] = MappingProxyType(
    {
        "torch-bfloat16": ("torch", "bfloat16", 30),
        "torch-float32": ("torch", "float32", 30),
        "lmdeploy-bfloat16": ("lmdeploy", "bfloat16", 10),
    }
)
"""Kind, dtype and number of clean runs of each engine, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCase:
    """One case; ``cluster`` is a short hash of its image, its own name without one."""

    name: str
    letters: tuple[str, ...]
    expect: str
    cluster: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEngine:
    """Centred log-odds [N][L] of one engine in one dtype, in the order of the cases.

    ``reference`` is its undisturbed run in float32, ``floor`` are the variants of a noise floor, and
    ``clean`` other runs in which nothing that matters changed.
    """

    reference: tuple[LogOdds, ...]
    floor: Mapping[str, tuple[LogOdds, ...]]
    clean: Mapping[str, tuple[LogOdds, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """All clean runs: ``engines`` by ``KIND-DTYPE``, and what they were made with."""

    made: str
    machine: str
    command: str
    cases: tuple[RecordedCase, ...]
    engines: Mapping[str, RecordedEngine]


def record(folder: Path, *, names: Sequence[str], seed: int, command: str, file: Path = FILE) -> None:
    """Make all runs of the engines ``names`` on the suites in ``folder`` and write them into ``file``.

    Raises `HarnessError` where an engine does not answer, or ``file`` has other engines on other cases.
    """
    with tempfile.TemporaryDirectory(prefix="calibration-") as scratch:
        workload = Workload.read(folder, profile=None, scratch=Path(scratch), repeats=None)
        machine = machine_line(sys.executable, workload.profile)
        cases = [
            {
                "name": case.name,
                "letters": list(case.letters),
                "expect": case.expect,
                "cluster": image_fingerprint(case.images[0])[:12] if case.images else case.name,
            }
            for case in workload.cases
        ]
        kept = _load(file) if file.exists() else None
        if kept is not None and kept["cases"] != cases and set(kept["engines"]) - set(names):
            raise HarnessError(
                f"{file}: found runs of other cases than those in {folder}; allowed: the same for all "
                "engines. Make all again: python -m benchmarks.calibration record"
            )
        engines = dict[str, Any]() if kept is None else dict(kept["engines"])
        for name in names:
            kind, dtype, count = ENGINES[name]
            engines[name] = _engine(workload, kind, dtype, clean_runs(kind, count, seed=seed))
    text = json.dumps(
        {
            "version": _VERSION,
            "made": f"{datetime.now(UTC):%Y-%m-%d}",
            "machine": machine,
            "command": command,
            "cases": cases,
            "engines": engines,
        },
        separators=(",", ":"),
    )
    file.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def _engine(workload: Workload, kind: str, dtype: str, clean: Sequence[Jitter]) -> dict[str, Any]:
    engine, floor = workload.engine(kind), floor_runs(kind)
    reference = Jitter(name="reference", batch=1)
    wanted = [(reference, "float32"), *((jitter, dtype) for jitter in (*floor, *clean))]
    runs = [
        {
            "name": jitter.name,
            "batch": jitter.batch,
            "order": jitter.order(len(workload.cases)),
            "settings": settings_to_json(jitter.settings(engine.settings, as_dtype)),
        }
        for jitter, as_dtype in wanted
    ]
    # Neighbours with the same settings share a loaded engine.
    runs.sort(key=lambda run: json.dumps(run["settings"], sort_keys=True))
    print(f"{kind} in {dtype}: {len(runs)} runs of {len(workload.cases)} cases ...", file=sys.stderr)
    answered = workload.script("calibration.score_runs", engine, runs=runs)
    digits = _DIGITS.get(dtype, 6)

    def kept(name: str) -> list[list[float]]:
        return [[round(v, digits) for v in centred(answered[name][case.name])] for case in workload.cases]

    return {
        "reference": kept("reference"),
        "floor": {jitter.name: kept(jitter.name) for jitter in floor},
        "clean": {jitter.name: kept(jitter.name) for jitter in clean},
    }


def read(file: Path = FILE) -> Recorded:
    """The clean runs in ``file``; raises `HarnessError` where it is of another version."""
    data = _load(file)
    return Recorded(
        made=data["made"],
        machine=data["machine"],
        command=data["command"],
        cases=tuple(
            RecordedCase(
                name=case["name"],
                letters=tuple(case["letters"]),
                expect=case["expect"],
                cluster=case["cluster"],
            )
            for case in data["cases"]
        ),
        engines={
            name: RecordedEngine(
                reference=_tuples(engine["reference"]),
                floor={run: _tuples(values) for run, values in engine["floor"].items()},
                clean={run: _tuples(values) for run, values in engine["clean"].items()},
            )
            for name, engine in data["engines"].items()
        },
    )


def _load(file: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))
    if data["version"] != _VERSION:
        raise HarnessError(
            f"{file}: found version {data['version']}; allowed: {_VERSION}. Make it again: "
            "python -m benchmarks.calibration record"
        )
    return data


def _tuples(values: Sequence[Sequence[float]]) -> tuple[LogOdds, ...]:
    return tuple(tuple(row) for row in values)

"""The command line: one part after another, whatever happens to each, and one results file."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.gpu.checks import ROOT, run_checks
from benchmarks.gpu.measuring import Measuring
from benchmarks.gpu.prepared_cases import DTYPES, EMBEDDED_MODEL, Prepared, prepare
from benchmarks.gpu.random_internvl import EMBEDDED
from benchmarks.gpu.results import VERSION, write
from harness.workers import probe

__all__ = ["Part", "Parts", "main"]

_RANDOM: Final = "random"
_PACKAGES: Final = ("torch", "torchvision", "triton", "transformers", "lmdeploy", "numpy", "pytest")


class Part(NamedTuple):
    """``name`` is unique, ``kind`` says how its data is shown; ``work`` returns the data, or raises.

    Data whose ``passed`` is false, or that has ``errors``, is a failure that keeps its data.
    """

    name: str
    kind: str
    work: Callable[[], Mapping[str, Any]]


@dataclass(slots=True)
class Parts:
    """Runs parts until ``seconds`` since ``began`` have passed, and keeps ``results`` on disk after each."""

    results: dict[str, Any]
    file: Path
    seconds: float
    began: float

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.began + self.seconds - time.monotonic()

    def run(self, part: Part) -> Mapping[str, Any] | None:
        """Run one part; its data, None where it met an exception or there was no time left for it."""
        entry: dict[str, Any] = {"kind": part.kind, "status": "running", "seconds": 0.0}
        self.results["parts"][part.name] = entry
        if self.left <= 0:
            entry |= {"status": "not run", "why": f"the {self.seconds:.0f} s of this run were over"}
            return None
        print(f"{part.name} ...", flush=True)
        started = time.monotonic()
        data: Mapping[str, Any] | None = None
        try:
            data = part.work()
        except Exception as error:  # noqa: BLE001 - one part that fails must not take the others with it
            entry["status"], entry["why"] = "error", f"{type(error).__name__}: {error}"
            entry["traceback"] = traceback.format_exc().splitlines()[-30:]
        else:
            well = data.get("passed", True) and not data.get("errors")
            entry["status"], entry["data"] = "passed" if well else "failed", data
        entry["seconds"] = round(time.monotonic() - started, 1)
        print(f"{part.name}: {entry['status']} {entry.get('why', '')} ({entry['seconds']} s)", flush=True)
        self.keep()
        return data

    def keep(self) -> None:
        """Write what is known so far."""
        self.results["seconds"] = round(time.monotonic() - self.began, 1)
        write(self.results, self.file)

    @property
    def well(self) -> bool:
        """Whether every part has passed."""
        return all(entry["status"] == "passed" for entry in self.results["parts"].values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything; the exit status: 0 all is well, 1 a check or a part failed or was not run."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    out: Path = options.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    on_gpu = options.device == "cuda"
    results: dict[str, Any] = {
        "version": VERSION,
        "rehearsal": not on_gpu,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M UTC}",
        "command": shlex.join(["benchmarks/gpu/run", *given]),
        "commit": options.commit or _commit(),
        "seconds": 0.0,
        "machine": {},
        "parts": {},
    }
    parts = Parts(results, out / "results.json", 60.0 * options.minutes, time.monotonic())
    results["machine"] = parts.run(Part("machine", "machine", partial(_machine, on_gpu=on_gpu))) or {}
    work = options.work.absolute()
    size = "large" if on_gpu else "tiny"
    made = parts.run(Part("random model", "model", partial(_random_model, work / _RANDOM, size)))
    models = {EMBEDDED_MODEL: EMBEDDED, **({} if made is None else {_RANDOM: work / _RANDOM})}
    # The random model writes letters only, which leaves out a suite that wants words before them. A rehearsal
    # looks at what works, not at how much.
    suites = {EMBEDDED_MODEL: ["answer_line", "chinese", "shapes", "words"], _RANDOM: ["chinese"]}
    if not on_gpu:
        suites[EMBEDDED_MODEL] = ["answer_line"]
    ready: list[Prepared] = []

    def cases() -> Mapping[str, Any]:
        ready.append(prepare(work / "cases", models, device=options.device, suites=suites))
        return {"profiles": [*ready[0].profiles]}

    parts.run(Part("cases", "cases", cases))
    for prepared in ready:
        for part in _measurements(prepared, options, out, parts, jobs=3 if on_gpu else 1):
            parts.run(part)
    parts.keep()
    print(f"results: {parts.file} and {parts.file.with_suffix('.md')}")
    return 0 if parts.well else 1


def _measurements(
    prepared: Prepared, options: argparse.Namespace, out: Path, parts: Parts, *, jobs: int
) -> list[Part]:
    """Checks first, then what has the GPU to itself, and what may share it last."""
    root = options.work.absolute() / "recordings"
    measuring = Measuring(prepared, root, uuid.uuid4().hex, jobs, lambda text: print(f"  {text}", flush=True))

    def checks(model: str, dtype: str) -> Mapping[str, Any]:
        return run_checks(prepared, model, dtype, root=root, out=out, seconds=max(parts.left, 1.0))

    def trap(dtype: str) -> Mapping[str, Any]:
        return {"model": EMBEDDED_MODEL, **measuring.trap(EMBEDDED_MODEL, dtype)}

    def noise(model: str) -> Mapping[str, Any]:
        return {"model": model, **measuring.noise(model)}

    largest = prepared.models[-1]
    return [
        *(
            Part(f"checks {model} {dtype}", "checks", partial(checks, model, dtype))
            for model in prepared.models
            for dtype in DTYPES
        ),
        *(Part(f"temperature trap {dtype}", "trap", partial(trap, dtype)) for dtype in DTYPES),
        Part(
            f"costs {largest}",
            "costs",
            partial(measuring.costs, largest, DTYPES[-1], rounds=options.rounds),
        ),
        *(Part(f"noise {model}", "noise", partial(noise, model)) for model in prepared.models),
    ]


def _machine(*, on_gpu: bool) -> Mapping[str, Any]:
    found: dict[str, Any] = dict(probe(sys.executable, _PACKAGES, sources=()))
    found["packages"] = {name: found["packages"].get(name) for name in _PACKAGES}  # of many more
    code = "import torch; print(torch.version.cuda, torch.cuda.is_available())"
    cuda, there = _output([sys.executable, "-c", code]).split()
    found["cuda"] = cuda
    if on_gpu and there != "True":
        raise RuntimeError("PyTorch sees no GPU; for a rehearsal on the processor: --device cpu")
    if found["gpus"]:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,compute_cap", "--format=csv"]
        found["nvidia-smi"] = _output(query).splitlines()
    return found


def _random_model(folder: Path, size: str) -> Mapping[str, Any]:
    # In a process of its own, so that its memory is free again.
    said = _output([sys.executable, "-m", "benchmarks.gpu.random_internvl", str(folder), "--size", size])
    told: dict[str, Any] = json.loads(said.splitlines()[-1])
    return {"size": size, **told}


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        tail = "\n".join(done.stderr.splitlines()[-10:])
        raise RuntimeError(f"{shlex.join(command)} ended with status {done.returncode}:\n{tail}")
    return done.stdout.strip()


def _commit() -> str:
    """The commit of the tree, where git tells."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "an unknown commit (the tree came without git)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks/gpu/run",
        description="The suite, noise floors and costs on one GPU, in one results file.",
    )
    parser.add_argument(
        "--device",
        choices=("cuda", "cpu"),
        default="cuda",
        help="cpu rehearses everything with a tiny random model; default: cuda",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("gpu-results"),
        metavar="DIR",
        help="results and logs; default: gpu-results",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("/tmp/gpu-work"),  # noqa: S108 - only a default; nothing secret goes there
        metavar="DIR",
        help="model, cases and recordings; default: /tmp/gpu-work",
    )
    parser.add_argument(
        "--minutes", type=float, default=8.0, metavar="N", help="no part begins later than that; default: 8"
    )
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="rounds of timing; default: 2")
    parser.add_argument("--commit", metavar="HASH", help="the tree's commit, where it has no git with it")
    return parser

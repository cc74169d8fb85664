"""``python -m benchmarks.gpu.work``: one leg's work, where no command of the harness does it."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.gpu.legs import ROOT
from benchmarks.gpu.measuring import Measuring
from benchmarks.gpu.prepared_cases import EMBEDDED_MODEL, RANDOM_MODEL, load_prepared, prepare
from benchmarks.gpu.random_internvl import EMBEDDED, SIZES, make_model
from harness.workers import probe

__all__ = ["main"]

_PACKAGES: Final = ("torch", "torchvision", "triton", "transformers", "lmdeploy", "numpy", "pytest")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one leg's work; the exit status: 1 if an engine could not do its part."""
    options = _parser().parse_args(arguments)
    data = _WORK[options.what](options)
    options.json.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    return 1 if data.get("errors") else 0


def _machine(options: argparse.Namespace) -> Mapping[str, Any]:
    found: dict[str, Any] = dict(probe(sys.executable, _PACKAGES, sources=()))
    found["packages"] = {name: found["packages"].get(name) for name in _PACKAGES}  # of many more
    code = "import torch; print(torch.version.cuda, torch.cuda.is_available())"
    found["cuda"], there = _output([sys.executable, "-c", code]).split()
    if options.device == "cuda" and there != "True":
        raise RuntimeError("PyTorch sees no GPU; for a rehearsal on the processor: --device cpu")
    if found["gpus"] and shutil.which("nvidia-smi") is not None:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,compute_cap", "--format=csv"]
        found["nvidia-smi"] = _output(query).splitlines()
    return found


def _cases(options: argparse.Namespace) -> Mapping[str, Any]:
    return {"profiles": _prepared(options, {EMBEDDED_MODEL: EMBEDDED})}


def _random_model(options: argparse.Namespace) -> Mapping[str, Any]:
    folder, size = options.work / RANDOM_MODEL, "large" if options.device == "cuda" else "tiny"
    parameters = make_model(folder, SIZES[size])
    models = {EMBEDDED_MODEL: EMBEDDED, RANDOM_MODEL: folder}
    return {"size": size, "parameters": parameters, "profiles": _prepared(options, models)}


def _prepared(options: argparse.Namespace, models: Mapping[str, Path]) -> list[str]:
    """Prepare the folder of cases, with profiles for models that are there; the profiles' names."""
    # The random model writes letters only, which leaves out a suite that wants words before them. A rehearsal
    # looks at what works, not at how much.
    suites = {EMBEDDED_MODEL: ["answer_line", "chinese", "shapes", "words"], RANDOM_MODEL: ["chinese"]}
    if options.device == "cpu":
        suites[EMBEDDED_MODEL] = ["answer_line"]
    return [*prepare(options.work / "cases", models, device=options.device, suites=suites).profiles]


def _measuring(options: argparse.Namespace) -> Measuring:
    prepared, root = load_prepared(options.work / "cases"), options.work / "recordings"
    return Measuring(prepared, root, uuid.uuid4().hex, lambda text: print(text, flush=True))


def _trap(options: argparse.Namespace) -> Mapping[str, Any]:
    return {"model": options.model, **_measuring(options).trap(options.model, options.dtype)}


def _noise(options: argparse.Namespace) -> Mapping[str, Any]:
    return {"model": options.model, **_measuring(options).noise(options.model)}


def _costs(options: argparse.Namespace) -> Mapping[str, Any]:
    return _measuring(options).costs(options.model, options.dtype, rounds=options.rounds)


_WORK: Final[Mapping[str, Callable[[argparse.Namespace], Mapping[str, Any]]]] = {
    "machine": _machine,
    "cases": _cases,
    "random-model": _random_model,
    "trap": _trap,
    "noise": _noise,
    "costs": _costs,
}


def _output(command: Sequence[str]) -> str:
    return subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.work")
    parser.add_argument("what", choices=list(_WORK))
    parser.add_argument("--work", type=Path, required=True, metavar="DIR")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument("--model", metavar="NAME")
    parser.add_argument("--dtype", metavar="NAME")
    parser.add_argument("--rounds", type=int, default=2, metavar="N")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Which legs a run has, what each is worth, and what it is reckoned to take.

Worth is in points, given by us: 10 for what nothing else shows, LMDeploy's own kernels on the embedded model.
Seconds are so many starts of engines. What a start takes was seen in the rehearsal (``cpu``); for a GPU it is
a guess (``cuda``), with more for Triton, CUDA graphs and the larger model, since none of this has run there.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.gpu import readers
from benchmarks.gpu.checks import checks_command, gate_command
from benchmarks.gpu.legs import ROOT, Leg, by_worth
from benchmarks.gpu.prepared_cases import DTYPES, EMBEDDED_MODEL, GPU_PROFILE, RANDOM_MODEL, TURBOMIND

__all__ = ["Options", "first_legs", "other_legs", "picked"]


class _Start(NamedTuple):
    """Of an engine of each kind: seconds from its start to its last answer, or how many starts."""

    torch: float
    lmdeploy: float


_STARTS: Final = {
    ("cuda", EMBEDDED_MODEL): _Start(12, 25),
    ("cuda", RANDOM_MODEL): _Start(20, 35),
    ("cpu", EMBEDDED_MODEL): _Start(16, 22),
    ("cpu", RANDOM_MODEL): _Start(12, 16),
}
_PYTEST: Final = 10.0  # beside the engines
_GATE: Final = 15.0  # from recordings that are there
_MODEL: Final = {"cuda": 40.0, "cpu": 15.0}
# Of those in harness/noise/variants.py; a floor needs three. Each is a start, and so are the undisturbed run
# and the reference in float32.
_VARIANTS: Final = {
    ("cuda", "lmdeploy"): ("repeat", "batch-1", "reversed", "eager"),
    ("cpu", "lmdeploy"): ("repeat", "batch-1", "reversed", "threads-1"),
    ("cuda", "torch"): ("batch-1", "reversed", "attention-eager", "path-generate"),
    ("cpu", "torch"): ("batch-1", "reversed", "attention-eager", "path-generate"),
}
# Engines of the noise profile and LMDeploy again, less those that the checks have started.
_NOISE_STARTS: Final = _Start(5, 8)
_TIMED: Final = _Start(2, 3)  # paths of both engines, each round


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where and with what a run works: ``work`` stays there, ``files`` come back beside the results."""

    device: str
    work: Path
    files: Path
    rounds: int
    author: str


def first_legs(options: Options) -> list[Leg]:
    """What comes before all others: what the machine lacks, what it is, and the folder of cases."""
    own = "embedded-gpu" if options.device == "cuda" else "embedded"  # of the repository's profiles
    doctor = _harness("doctor", "--profile", own, "--json", "{folder}/data.json")
    return [
        _leg(options, "doctor", doctor, seconds=10, read=readers.doctor),
        _leg(options, "machine", _work(options, "machine"), seconds=10),
        _leg(options, "cases", _work(options, "cases"), seconds=5),
    ]


def other_legs(options: Options) -> list[Leg]:
    """All others, by worth."""
    made = [_random_model, _checks, _gates, _floors, _traps, _noise, _costs, _turbomind]
    return by_worth(leg for each in made for leg in each(options))


def picked(legs: Iterable[Leg], patterns: Iterable[str]) -> list[Leg]:
    """Those of ``legs`` that a pattern names, and what they need; all where there is no pattern."""
    every = {leg.name: leg for leg in legs}
    wanted = list(patterns) or ["*"]
    found = {name for name in every if any(fnmatchcase(name, pattern) for pattern in wanted)}
    while more := {need for name in found for need in every[name].needs if need in every} - found:
        found |= more
    return [leg for leg in every.values() if leg.name in found]


def _random_model(options: Options) -> list[Leg]:
    command = _work(options, "random-model")
    return [_leg(options, "random model", command, kind="model", seconds=_MODEL[options.device])]


def _checks(options: Options) -> list[Leg]:
    """``pytest -m gpu`` on both models and dtypes; without CUDA graphs too, which starts one engine more."""
    worths = {
        (EMBEDDED_MODEL, ""): (10, 8),
        (RANDOM_MODEL, ""): (7, 7),
        (EMBEDDED_MODEL, "-eager"): (4, 1),
        (RANDOM_MODEL, "-eager"): (2, 1),
    }
    return [
        _pytest_leg(
            options,
            f"{model}-{dtype}{suffix}",
            model,
            worth=worth,
            starts=_Start(0 if suffix else 1, 1),
            needs=(f"checks {model}-{dtype}",) if suffix else _needs(model),
        )
        for (model, suffix), each in worths.items()
        for dtype, worth in zip(DTYPES, each, strict=True)
    ]


def _turbomind(options: Options) -> list[Leg]:
    return [
        _pytest_leg(
            options,
            TURBOMIND,
            EMBEDDED_MODEL,
            worth=9,
            starts=_Start(1, 1),
            read=readers.turbomind,
            absent=partial(_no_turbomind, options),
        )
    ]


def _gates(options: Options) -> list[Leg]:
    """``pytest -m gpu --gate`` from the recordings of the checks; all engines of a profile by one call."""
    own = [f"{EMBEDDED_MODEL}-{dtype}" for dtype in DTYPES]
    pairs = [(f"{name}/torch", f"{name}/lmdeploy", worth) for name, worth in zip(own, (5, 2), strict=True)]
    pairs.append((f"{own[0]}/lmdeploy", f"{own[0]}-eager/lmdeploy", 3))
    pairs.append((f"{own[0]}/lmdeploy", f"{TURBOMIND}/turbomind", 3))
    legs = [
        _leg(
            options,
            f"gate {baseline}..{candidate}",
            gate_command(options.work, baseline, candidate, snapshots=_snapshots(options)),
            kind="gate",
            worth=worth,
            seconds=_GATE,
            needs=tuple(dict.fromkeys(f"checks {side.partition('/')[0]}" for side in (baseline, candidate))),
            read=readers.gate,
        )
        for baseline, candidate, worth in pairs
    ]
    every = _leg(
        options,
        f"gate {GPU_PROFILE}",
        _harness("gate", GPU_PROFILE, *_folders(options), "--json", f"{{folder}}/{readers.REPORT}"),
        kind="gate",
        worth=3,
        seconds=_GATE + _seconds(options, EMBEDDED_MODEL, _Start(1, 1)),
        needs=(f"floor {GPU_PROFILE}/lmdeploy",),
        read=readers.gate,
        absent=_no_gate_of_profiles,
    )
    return [*legs, every]


def _floors(options: Options) -> list[Leg]:
    """Noise floors of the repository's own profile, as files to be committed."""
    keep = (*_folders(options), "--keep", "--author", options.author, "--json", "{folder}/data.json")
    legs: list[Leg] = []
    for engine, worth in (("lmdeploy", 10), ("torch", 4)):
        variants = _VARIANTS[options.device, engine]
        chosen = ("--engine", engine, "--variants", ",".join(variants))
        runs = len(variants) + 1
        starts = _Start(1, runs) if engine == "lmdeploy" else _Start(1 + runs, 0)
        legs.append(
            _leg(
                options,
                f"floor {GPU_PROFILE}/{engine}",
                _harness("noise", GPU_PROFILE, *chosen, *keep),
                kind="floor",
                worth=worth,
                seconds=_PYTEST + _seconds(options, EMBEDDED_MODEL, starts),
                read=partial(readers.floor, snapshots=_snapshots(options), of=f"{GPU_PROFILE}/{engine}"),
            )
        )
    return legs


def _traps(options: Options) -> list[Leg]:
    return [
        _leg(
            options,
            f"temperature trap {dtype}",
            _work(options, "trap", "--model", EMBEDDED_MODEL, "--dtype", dtype),
            kind="trap",
            worth=worth,
            seconds=_seconds(options, EMBEDDED_MODEL, _Start(0, 1)),
        )
        for dtype, worth in zip(DTYPES, (3, 1), strict=True)
    ]


def _noise(options: Options) -> list[Leg]:
    return [
        _leg(
            options,
            f"noise {model}",
            _work(options, "noise", "--model", model),
            kind="noise",
            worth=4,
            seconds=_seconds(options, model, _NOISE_STARTS),
            needs=_needs(model),
        )
        for model in (EMBEDDED_MODEL, RANDOM_MODEL)
    ]


def _costs(options: Options) -> list[Leg]:
    what = ("costs", "--model", RANDOM_MODEL, "--dtype", DTYPES[-1], "--rounds", str(options.rounds))
    return [
        _leg(
            options,
            f"costs {RANDOM_MODEL} {DTYPES[-1]}",
            _work(options, *what),
            kind="costs",
            worth=4,
            seconds=options.rounds * _seconds(options, RANDOM_MODEL, _TIMED),
            needs=_needs(RANDOM_MODEL),
        )
    ]


def _pytest_leg(
    options: Options,
    profile: str,
    model: str,
    *,
    worth: float,
    starts: _Start,
    needs: tuple[str, ...] = (),
    read: Callable[[Path], Mapping[str, Any]] = readers.checks,
    absent: Callable[[], str | None] = lambda: None,
) -> Leg:
    return _leg(
        options,
        f"checks {profile}",
        checks_command(options.work, profile, model),
        kind="checks",
        worth=worth,
        seconds=_PYTEST + _seconds(options, model, starts),
        needs=needs,
        read=read,
        absent=absent,
    )


def _leg(
    options: Options,
    name: str,
    command: Iterable[str],
    *,
    seconds: float,
    kind: str | None = None,
    worth: float = 0,
    needs: tuple[str, ...] = (),
    read: Callable[[Path], Mapping[str, Any]] = readers.data,
    absent: Callable[[], str | None] = lambda: None,
) -> Leg:
    folder = options.files / re.sub(r"[^A-Za-z0-9]+", "-", name)
    return Leg(
        name=name,
        kind=kind or name,
        command=tuple(part.replace("{folder}", str(folder)) for part in command),
        folder=folder,
        worth=worth,
        seconds=seconds,
        needs=needs,
        read=read,
        absent=absent,
    )


def _harness(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "harness.cli", *arguments)


def _work(options: Options, what: str, *arguments: str) -> tuple[str, ...]:
    given = ("--work", str(options.work), "--device", options.device, "--json", "{folder}/data.json")
    return (sys.executable, "-m", "benchmarks.gpu.work", what, *arguments, *given)


def _folders(options: Options) -> tuple[str, ...]:
    folders = ("--cases", str(options.work / "cases"), "--recordings", str(options.work / "recordings"))
    return (*folders, "--snapshots", str(_snapshots(options)))


def _snapshots(options: Options) -> Path:
    return options.files / "snapshots"


def _seconds(options: Options, model: str, many: _Start) -> float:
    each = _STARTS[options.device, model]
    return each.torch * many.torch + each.lmdeploy * many.lmdeploy


def _needs(model: str) -> tuple[str, ...]:
    return ("random model",) if model == RANDOM_MODEL else ()


def _no_turbomind(options: Options) -> str | None:
    if options.device == "cpu":
        return "TurboMind needs a GPU"
    code = "import lmdeploy.turbomind as t, sys; t.is_available() or sys.exit(str(t._import_error))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    return f"no TurboMind library here: {(done.stderr.splitlines() or ['import failed'])[-1]}"


def _no_gate_of_profiles() -> str | None:
    said = subprocess.run(_harness("gate", "--help"), cwd=ROOT, capture_output=True, text=True, check=False)
    if re.search(r"^  PROFILE\b", said.stdout, re.MULTILINE):
        return None
    return "`harness gate` of this tree takes no PROFILE"

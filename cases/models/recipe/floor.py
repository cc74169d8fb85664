"""The embedded model's noise floors for any CPU, which `snapshots/embedded` ships.

They are the widest over the kernels that a CPU lets PyTorch, MKL and oneDNN choose from, over 1, 2 and 8
threads and batches of 1 and 16: whoever runs the committed cases has one of these or something between them.
"""

import itertools
import math
import os
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from harness.cases.folder import load
from harness.engines.contract import EngineSettings, Request
from harness.noise.kept import keep_floor
from harness.noise.measuring import measure_noise
from harness.noise.variants import REPEAT, Variant
from harness.scoring.scoring import Scoring
from harness.scoring.subjects import subjects
from harness.verdicts.noise_floor import CaseNoise, NoiseFloor
from harness.workers import Event, Job, run

PROFILE = "embedded"
THREADS = (1, 2, 8)
BATCHES = (1, 16)
KERNELS = {
    "default": ("ATEN_CPU_CAPABILITY=default", "MKL_ENABLE_INSTRUCTIONS=SSE4_2", "ONEDNN_MAX_CPU_ISA=SSE41"),
    "avx2": ("ATEN_CPU_CAPABILITY=avx2", "MKL_ENABLE_INSTRUCTIONS=AVX2", "ONEDNN_MAX_CPU_ISA=AVX2"),
    "avx512": (
        "ATEN_CPU_CAPABILITY=avx512",
        "MKL_ENABLE_INSTRUCTIONS=AVX512",
        "ONEDNN_MAX_CPU_ISA=AVX512_CORE",
    ),
}
"""Variables by which each library is held to a set of instructions."""
_NEEDS = {"default": "", "avx2": "avx2", "avx512": "avx512bw"}  # flags of /proc/cpuinfo
_DIGITS = 10  # behind the point: a thousandth of the noise


def keep_floors(cases: Path, snapshots: Path, author: str) -> list[Path]:
    """Measure both engines on ``cases`` and keep their floors under ``snapshots``; returns the files.

    Raises RuntimeError where an engine has none, or answers the same question in two ways.
    """
    loaded = load(cases)
    flags = Path("/proc/cpuinfo").read_text().split()
    kernels = [name for name, needed in _NEEDS.items() if not needed or needed in flags]

    def variants(settings: EngineSettings) -> tuple[Variant, ...]:
        every = itertools.product(kernels, THREADS, BATCHES)
        return (
            Variant(name=REPEAT, settings=settings),
            *(_variant(settings, name, threads, batch) for name, threads, batch in every),
        )

    files = []
    with tempfile.TemporaryDirectory() as folder:
        scoring = Scoring(Path(folder), run_id="floor", fresh=False, show=lambda _: None)
        own = list(subjects(loaded.cases, [loaded.profile(PROFILE)], selection="every"))
        for one in measure_noise(own, scoring, show=print, every=variants, work=_with_kernels):
            if one.floor is None or one.refused or one.notes:
                raise RuntimeError(f"{one.engine}: {one.problem or one.refused or one.notes}")
            span = f"{', '.join(kernels)} kernels; 1, 2 and 8 threads; batches of 1 and 16"
            files.append(keep_floor(snapshots, thinned(one.floor), author, span=span))
    return files


def thinned(floor: NoiseFloor) -> NoiseFloor:
    """``floor`` without runs that are equal to another one in every case, and rounded."""
    names = dict.fromkeys(name for case in floor.cases.values() for name in case.runs)
    rounded = {name: _rounded(case) for name, case in floor.cases.items()}
    kept: dict[str, str] = {}
    for name in names:
        kept.setdefault(repr([case.runs.get(name) for case in rounded.values()]), name)
    runs = set(kept.values())

    def thin(case: CaseNoise) -> CaseNoise:
        scalars = {
            scalar: replace(noise, runs={name: value for name, value in noise.runs.items() if name in runs})
            for scalar, noise in case.scalars.items()
        }
        return replace(
            case, runs={name: value for name, value in case.runs.items() if name in runs}, scalars=scalars
        )

    return replace(floor, cases={name: thin(case) for name, case in rounded.items()})


def _rounded(case: CaseNoise) -> CaseNoise:
    def values(many: Sequence[float]) -> tuple[float, ...]:
        return tuple(value if math.isnan(value) else round(value, _DIGITS) for value in many)

    scalars = {
        name: replace(
            noise,
            reference=round(noise.reference, _DIGITS),
            runs={run: round(value, _DIGITS) for run, value in noise.runs.items()},
        )
        for name, noise in case.scalars.items()
    }
    runs = {name: values(run) for name, run in case.runs.items()}
    return replace(case, reference=values(case.reference), runs=runs, scalars=scalars)


def _variant(settings: EngineSettings, kernels: str, threads: int, batch: int) -> Variant:
    changed = replace(settings, batch_size=batch, options={**settings.options, "threads": threads})
    return Variant(name=f"threads-{threads}-{kernels}-batch-{batch}", settings=changed)


def _with_kernels(job: Job, requests: Sequence[tuple[str, Request]]) -> Generator[Event, None, None]:
    """A worker that is held to the kernels that are in the name of its run."""
    named = [KERNELS[word] for word in job.log.stem.partition("-noise-")[2].split("-") if word in KERNELS]
    with _variables(*named):
        yield from run(job, requests)


@contextmanager
def _variables(*named: Sequence[str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(dict(one.split("=") for one in itertools.chain(*named)))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)

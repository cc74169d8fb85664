"""The folder of cases of a GPU run: the committed suites, both models, and a profile for everything asked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from harness.cases.folder import load
from harness.cases.profiles import Profile
from harness.cases.suites import Case

__all__ = [
    "DTYPES",
    "EMBEDDED_MODEL",
    "GPU_PROFILE",
    "RANDOM_MODEL",
    "REFERENCE",
    "TURBOMIND",
    "Prepared",
    "load_prepared",
    "prepare",
]

DTYPES: Final = ("float16", "bfloat16")
"""What both engines have on a GPU. LMDeploy has no float32 there, so float32 is the native side's alone."""

EMBEDDED_MODEL: Final = "embedded"
RANDOM_MODEL: Final = "random"
GPU_PROFILE: Final = "embedded-gpu"
"""The repository's own profile for a GPU, beside whose accepted outputs noise floors can be kept."""

TURBOMIND: Final = "embedded-turbomind"
"""The embedded model on TurboMind, in float16; there on a GPU only."""

REFERENCE: Final = "float32_alone"
"""The engine from which noise is measured: native, float32, SDPA attention, one case at a time."""

_SUITES: Final = Path(__file__).resolve().parents[2] / "cases"
_BATCH: Final = 16
_SMALLER_BATCH: Final = 8


@dataclass(frozen=True, slots=True)
class Prepared:
    """A folder of cases that is loaded."""

    folder: Path
    profiles: Mapping[str, Profile]
    cases: tuple[Case, ...]

    def compared(self, model: str, dtype: str) -> Profile:
        """The profile that compares both engines in one dtype; it has the mark ``gpu``."""
        return self.profiles[f"{model}-{dtype}"]

    def noise(self, model: str) -> Profile:
        """The profile whose engines differ in nothing that matters, all against `REFERENCE`."""
        return self.profiles[f"{model}-noise"]


def prepare(
    folder: Path, models: Mapping[str, Path], *, device: str, suites: Mapping[str, Sequence[str]]
) -> Prepared:
    """Make ``folder`` anew, with profiles for ``models`` (by name) on ``device``.

    ``suites`` are the names of the suites for each model. Raises `CaseFileError` if it does not load.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copytree(_SUITES / "images", folder / "images")
    for suite in _SUITES.glob("*.yaml"):
        if suite.name != "profiles.yaml":
            shutil.copy(suite, folder / suite.name)
    profiles: dict[str, Any] = {}
    for name, model in models.items():
        shared = {
            "model": str(model.absolute()),
            "device": device,
            "marks": ["gpu"],
            "suites": list(suites[name]),
            "batch_size": _BATCH,
            "deadlines": {"load": 240, "case": 120},
        }
        profiles |= _compared(name, shared, device)
        profiles[f"{name}-noise"] = {
            **shared,
            "dtype": "float32",
            "reference": REFERENCE,
            "engines": _noise_engines(device),
        }
    profiles[GPU_PROFILE] = _own_gpu_profile(device, suites[EMBEDDED_MODEL])
    # By way of JSON, since YAML would write what profiles share as aliases.
    text = yaml.safe_dump({"profiles": json.loads(json.dumps(profiles))}, sort_keys=False)
    (folder / "profiles.yaml").write_text(text, encoding="utf-8")
    return load_prepared(folder)


def load_prepared(folder: Path) -> Prepared:
    """A folder that `prepare` has made. Raises `CaseFileError` if it does not load."""
    loaded = load(folder)
    return Prepared(
        folder=folder,
        profiles={profile.name: profile for profile in loaded.profiles},
        cases=tuple(case for suite in loaded.suites for case in suite.cases),
    )


def _compared(name: str, shared: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Both engines in each dtype, as they come and without CUDA graphs; and TurboMind."""
    found: dict[str, Any] = {}
    for dtype in DTYPES:
        for suffix, options in (("", {}), ("-eager", {"eager_mode": True})):
            engines = {"torch": _torch(), "lmdeploy": _lmdeploy(device, **options)}
            profile = {**shared, "dtype": dtype, "reference": "torch", "engines": engines}
            found[f"{name}-{dtype}{suffix}"] = profile
    if device == "cuda" and name == EMBEDDED_MODEL:
        turbomind = {"kind": "lmdeploy", "options": {"backend": "turbomind", "cache_max_entry_count": 0.2}}
        engines = {"torch": _torch(), "turbomind": turbomind}
        found[TURBOMIND] = {**shared, "dtype": DTYPES[0], "reference": "torch", "engines": engines}
    return found


def _own_gpu_profile(device: str, suites: Sequence[str]) -> dict[str, Any]:
    profiles = yaml.safe_load((_SUITES / "profiles.yaml").read_text(encoding="utf-8"))["profiles"]
    own: dict[str, Any] = profiles[GPU_PROFILE]
    return {
        **own,
        "model": str((_SUITES / own["model"]).absolute()),
        "device": device,
        "suites": list(suites),
    }


def _noise_engines(device: str) -> dict[str, Any]:
    engines: dict[str, Any] = {
        REFERENCE: {**_torch(), "batch_size": 1},
        "float32_batched": {**_torch(), "batch_size": _SMALLER_BATCH},
        "float32_eager": {**_torch(), "batch_size": 1, "options": {"attention": "eager"}},
    }
    for dtype in DTYPES:
        # The first two are those of the compared profile, so that their recordings are shared.
        engines[f"torch_{dtype}"] = {**_torch(), "dtype": dtype}
        engines[f"lmdeploy_{dtype}"] = {**_lmdeploy(device), "dtype": dtype}
        engines[f"lmdeploy_{dtype}_alone"] = {**_lmdeploy(device), "dtype": dtype, "batch_size": 1}
        engines[f"lmdeploy_{dtype}_eager"] = {**_lmdeploy(device, eager_mode=True), "dtype": dtype}
    return engines


def _torch() -> dict[str, Any]:
    return {"kind": "torch", "paths": ["forward"]}


def _lmdeploy(device: str, **options: object) -> dict[str, Any]:
    # A small cache in place of most of the GPU's memory; the CPU plug-in has a small one of its own.
    room: dict[str, object] = {"num_gpu_blocks": 512} if device == "cuda" else {}
    return {
        "kind": "lmdeploy",
        "paths": ["two-stage", "captured"],
        "top_k": 20,
        "options": {**room, **options},
    }

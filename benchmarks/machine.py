"""What the figures were measured on, in one line."""

from __future__ import annotations

from typing import Any

from harness.cases.profiles import Profile
from harness.workers import probe

__all__ = ["machine_line"]

_PACKAGES = ("lmdeploy", "torch", "transformers", "pytest", "numpy")


def machine_line(python: str, profile: Profile) -> str:
    """Processor, cores, the device that LMDeploy runs on, and versions; raises `EngineError`."""
    found: dict[str, Any] = probe(python, _PACKAGES, sources=())
    devices = []
    for engine in profile.engines:
        if engine.settings.device == "cpu":
            devices.append(f"{engine.name}: CPU{' device plug-in' * (engine.settings.kind == 'lmdeploy')}")
        else:
            devices.append(f"{engine.name}: {', '.join(found['gpus']) or engine.settings.device}")
    versions = [f"{name} {version}" for name in _PACKAGES if (version := found["packages"].get(name))]
    return ", ".join(
        [
            found["processor"],
            f"{found['cores']} cores",
            f"Python {found['python']}",
            *versions,
            f"profile {profile.name} ({'; '.join(devices)})",
        ]
    )

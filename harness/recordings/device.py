"""One line on where and with what an engine ran, from its fingerprint."""

from __future__ import annotations

from collections.abc import Mapping

from harness.cases.problems import readable, visible
from harness.engines.contract import Json

__all__ = ["HARDWARE", "device_line", "hardware_of", "library_version"]

HARDWARE = (
    "installed.platform",
    "installed.processor",
    "installed.cores",
    "installed.gpus",
    "loaded.device_name",
)
"""Beginnings of paths in a fingerprint that tell of the machine and not of what runs on it."""

UNKNOWN = "device unknown"


def device_line(fingerprint: Mapping[str, Json]) -> str:
    """Such as 'CPU device plug-in (EPYC 9R14), float32, lmdeploy 0.18.0', as far as it is known.

    ``fingerprint`` is a recording's: known before loading, and under ``loaded`` what the engine itself says.
    """
    loaded = _mapping(fingerprint, "loaded") or fingerprint
    device, name = loaded.get("device"), loaded.get("device_name")
    parts = [f"{device} ({name})" if device and name else str(device or name or UNKNOWN)]
    if dtype := loaded.get("dtype"):
        parts.append(str(dtype))
    if version := library_version(fingerprint):
        parts.append(f"{_mapping(fingerprint, 'settings').get('kind')} {version}")
    return readable(visible(", ".join(parts)))


def hardware_of(fingerprint: Mapping[str, Json]) -> str:
    """The kind of machine, such as 'EPYC 9R14, 2 cores; NVIDIA H200, 570.86': two texts are two kinds."""
    installed = _mapping(fingerprint, "installed")
    gpus = installed.get("gpus")
    parts = [f"{installed.get('processor') or 'processor unknown'}, {installed.get('cores', '?')} cores"]
    return "; ".join([*parts, *map(str, gpus if isinstance(gpus, list) else [])])


def library_version(fingerprint: Mapping[str, Json]) -> str:
    """The version of the engine's library, '' where it is not known."""
    kind = _mapping(fingerprint, "settings").get("kind")
    return str(_mapping(_mapping(fingerprint, "installed"), "packages").get(str(kind)) or "")


def _mapping(data: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}

"""Noise floors kept for review, ``SNAPSHOTS/PROFILE/ENGINE/DEVICE.floor.json``, by `harness noise --keep`.

They stand in for one that was measured where this is not done, such as in CI, and hold for the same model,
versions, settings and device only. A case is a line. One that has a span, being the widest over the kernels
that CPUs choose from and over numbers of threads, holds on any CPU: ``any-cpu.floor.json.gz``, as it has many
runs.
"""

from __future__ import annotations

import datetime
import gzip
import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.cases.kept import write_whole
from harness.cases.problems import shown
from harness.engines.contract import Json
from harness.errors import RecordingError
from harness.noise.store import changed, floor_from_json, floor_to_json
from harness.recordings.fingerprint import digest, engine_id
from harness.recordings.journal import json_text
from harness.schemas.accepted import KeptFloor
from harness.verdicts.noise_floor import NoiseFloor

__all__ = ["keep_floor", "kept_floor"]

_HEAD: Mapping[str, Json] = {"format": "vlm-harness floor", "version": 1}
_SUM_DIGITS = 12
_SUFFIX = ".floor.json"
_LARGEST = 1 << 29  # bytes, unpacked; a case takes some 3 KB
# The harness's own code, the number of cores, and files whose hash as a whole is compared anyway.
_ALIKE = ("harness", "installed.cores", "model.files")
# What has to be as it was on any CPU: a library's version stands for its code, built for whichever Python.
_VERSION = "installed.packages."
_ON_ANY_CPU = (
    "settings.",
    "model.hash.",
    "patch.",
    "version.",
    f"{_VERSION}torch.",
    f"{_VERSION}transformers.",
)


def keep_floor(snapshots: Path, floor: NoiseFloor, author: str, *, span: str = "") -> Path:
    """Write ``floor`` for review; returns the file. Raises OSError, RecordingError without an author.

    ``span`` says over what it is the widest, for one that is to hold on any CPU.
    """
    if not author.strip():
        raise RecordingError("--author: found nothing; allowed: the name of who keeps the floor")
    held = {
        **_HEAD,
        "author": author.strip(),
        "kept": datetime.datetime.now().astimezone().date().isoformat(),
        **({"span": span} if span else {}),
        "floor": (own := floor_to_json(floor)),
    }
    cases = own.pop("cases")
    name = re.sub(r"[^A-Za-z0-9.]+", "-", "any-cpu" if span else floor.device).strip("-.") or "device"
    file = snapshots / floor.profile / floor.engine / f"{name}{_SUFFIX}{'.gz' if span else ''}"
    total = digest({**held, "cases": cases})[:_SUM_DIGITS]
    lines = [f" {json_text(key)}: {json_text(value)}," for key, value in held.items()]
    rows = ",\n".join(f"  {json_text(case)}: {json_text(noise)}" for case, noise in sorted(cases.items()))
    text = "\n".join(["{", *lines, ' "cases": {', rows, " },", f' "sum": {json_text(total)}', "}"])
    content = f"{text}\n".encode()
    write_whole(file, gzip.compress(content, mtime=0) if span else content)
    return file


def kept_floor(
    snapshots: Path, profile: str, engine: str, fingerprint: Mapping[str, Json]
) -> NoiseFloor | None:
    """The floor kept for an engine as ``fingerprint`` has it, None without one.

    Raises `RecordingError` where a file cannot be read or was edited.
    """
    for file in sorted((snapshots / profile / engine).glob(f"*{_SUFFIX}*")):
        floor, span = _read(file, (profile, engine))
        differences = [each.path for each in changed(floor, fingerprint)]
        if span:
            kind = engine_id(fingerprint).partition("-")[0]
            alike = not any(
                f"{path}.".startswith((*_ON_ANY_CPU, f"{_VERSION}{kind}.")) for path in differences
            )
        else:
            alike = all(path.startswith(_ALIKE) for path in differences)
        if alike:
            return floor
    return None


def _read(file: Path, names: tuple[str, str]) -> tuple[NoiseFloor, str]:
    """The floor in a file, and its span, '' without one."""
    try:
        content = file.read_bytes()
        if file.suffix == ".gz":
            with gzip.open(io.BytesIO(content)) as packed:
                content = packed.read(_LARGEST)  # what is cut off there is no JSON
        data: dict[str, Any] = json.loads(content)
        KeptFloor.model_validate(data)
        own = {name: value for name, value in data.items() if name != "sum"}
        if data["sum"] != digest(own)[:_SUM_DIGITS]:
            raise ValueError("it was edited")
        floor = floor_from_json({**data["floor"], "cases": data["cases"]}, names)
    except Exception as error:
        why = str(error).partition("\nMeasure")[0]
        raise RecordingError(
            f"{shown(file)}: found no noise floor as harness noise --keep writes it ({why})\n"
            "Restore the file from version control, or remove it"
        ) from error
    where = f"for any CPU ({data['span']})" if "span" in data else shown(file)
    said = f"kept by {data['author']} on {data['kept']}, {where}"
    return replace(floor, kept=said), data.get("span", "")

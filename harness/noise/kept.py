"""Noise floors kept for review, ``SNAPSHOTS/PROFILE/ENGINE/DEVICE.floor.json``, by `harness noise --keep`.

They stand in for one that was measured where this is not done, such as in CI, and hold for the same model,
versions, settings and device only. A case is a line.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.cases.problems import shown
from harness.engines.contract import Json
from harness.environments.folder import write_whole
from harness.errors import RecordingError
from harness.noise.store import changed, floor_from_json, floor_to_json
from harness.recordings.fingerprint import digest
from harness.schemas.accepted import KeptFloor
from harness.verdicts.noise_floor import NoiseFloor

__all__ = ["keep_floor", "kept_floor"]

_HEAD: Mapping[str, Json] = {"format": "vlm-harness floor", "version": 1}
_SUM_DIGITS = 12
_SUFFIX = ".floor.json"
# The harness's own code, the number of cores, and files whose hash as a whole is compared anyway.
_ALIKE = ("harness", "installed.cores", "model.files")


def keep_floor(snapshots: Path, floor: NoiseFloor, author: str) -> Path:
    """Write ``floor`` for review; returns the file. Raises OSError, RecordingError without an author."""
    if not author.strip():
        raise RecordingError("--author: found nothing; allowed: the name of who keeps the floor")
    held = {
        **_HEAD,
        "author": author.strip(),
        "kept": datetime.datetime.now().astimezone().date().isoformat(),
        "floor": (own := floor_to_json(floor)),
    }
    cases = own.pop("cases")
    name = re.sub(r"[^A-Za-z0-9.]+", "-", floor.device).strip("-.") or "device"
    file = snapshots / floor.profile / floor.engine / f"{name}{_SUFFIX}"
    total = digest({**held, "cases": cases})[:_SUM_DIGITS]
    lines = [f" {_text(key)}: {_text(value)}," for key, value in held.items()]
    rows = ",\n".join(f"  {_text(case)}: {_text(noise)}" for case, noise in sorted(cases.items()))
    text = "\n".join(["{", *lines, ' "cases": {', rows, " },", f' "sum": {_text(total)}', "}"])
    write_whole(file, f"{text}\n")
    return file


def kept_floor(
    snapshots: Path, profile: str, engine: str, fingerprint: Mapping[str, Json]
) -> NoiseFloor | None:
    """The floor kept for an engine as ``fingerprint`` has it, None without one.

    Raises `RecordingError` where a file cannot be read or was edited.
    """
    for file in sorted((snapshots / profile / engine).glob(f"*{_SUFFIX}")):
        floor = _read(file, (profile, engine))
        if all(each.path.startswith(_ALIKE) for each in changed(floor, fingerprint)):
            return floor
    return None


def _read(file: Path, names: tuple[str, str]) -> NoiseFloor:
    try:
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        KeptFloor.model_validate(data)
        own = {name: value for name, value in data.items() if name != "sum"}
        if data["sum"] != digest(own)[:_SUM_DIGITS]:
            raise ValueError("it was edited")
    except (OSError, ValueError, ValidationError) as error:
        raise RecordingError(
            f"{shown(file)}: found no noise floor as harness noise --keep writes it ({error})\n"
            "Restore the file from version control, or remove it"
        ) from error
    said = f"kept by {data['author']} on {data['kept']}, {shown(file)}"
    return replace(floor_from_json({**data["floor"], "cases": data["cases"]}, names), kept=said)


def _text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)

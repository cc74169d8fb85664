"""A folder of cases for engines that jitter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

PATCH = Path(__file__).with_name("jittering_engine.py")
PROMPTS = ("say A 0", "say B 1", "say A 2", "say C 3")


def write_folder(
    root: Path, *, prompts: tuple[str, ...] = PROMPTS, dtype: str = "bfloat16", **profile: Any
) -> Path:
    """Suite ``s`` with a case per prompt, and profile ``p`` of both engines; returns the folder of cases."""
    cases = root / "cases"
    (cases / "m").mkdir(parents=True, exist_ok=True)
    (cases / "m" / "config.json").write_text("{}")
    suite = {
        "defaults": {"letters": ["A", "B", "C"]},
        "cases": [
            {"id": f"c{n}", "prompt": prompt, "expect": prompt.split("say ")[1][0]}
            for n, prompt in enumerate(prompts)
        ],
    }
    (cases / "s.yaml").write_text(yaml.safe_dump(suite))
    engines = profile.pop("engines", ("torch", "lmdeploy"))
    entry = {
        "model": "m",
        "dtype": dtype,
        "reference": "torch",
        "batch_size": 2,
        "deadlines": {"load": 60, "case": 20},
        "engines": {name: {"patch": str(PATCH), "top_k": 0} for name in engines},
        **profile,
    }
    (cases / "profiles.yaml").write_text(yaml.safe_dump({"profiles": {"p": entry}}, sort_keys=False))
    return cases

"""Runs the real LMDeploy for test_called_on_cpu.py: ``python called_scenarios.py FOLDER``.

One real pipeline on its PyTorch engine and the CPU device plug-in, read in two ways: as it is meant to be
from 0.12 on, and by calls, as TurboMind and older versions are. What a called pipeline shares with all
versions (messages, letters, rows, endings) is so held against the real thing. Leaves ``NAME.json`` and
``NAME.npz``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.engines.codec import answer_to_json
from harness.engines.contract import Answer, Engine, EngineSettings, Request
from harness.engines.lmdeploy_pipeline import engine as lmdeploy_pipeline
from harness.engines.lmdeploy_pipeline.called import CalledPipeline

EMBEDDED = Path(__file__).parents[3] / "cases" / "models" / "embedded"
FOLDER = Path(sys.argv[1]) if __name__ == "__main__" else Path()
COLOURS = "A. red\nB. blue\nC. green\nAnswer with the option's letter."


def requests() -> Iterable[Request]:
    from PIL import Image

    for name, (width, height) in {"square": (56, 56), "wide": (112, 56)}.items():
        y, x = np.mgrid[0:height, 0:width]
        inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2
        pixels = np.where(inside[..., None], [220, 30, 40], [90, 90, 90]).astype(np.uint8)
        Image.fromarray(pixels).save(FOLDER / f"{name}.png")
    plain = Request(case="text", prompt=f"What colour is it?\n{COLOURS}", letters=("A", "B", "C"))
    yield plain
    for name in ("square", "wide"):
        yield replace(plain, case=name, images=(str(FOLDER / f"{name}.png"),), system="You look at pictures.")
        # More than the letter: the model ends its answer itself.
        yield replace(plain, case=f"{name}-whole", images=(str(FOLDER / f"{name}.png"),), max_new_tokens=6)


def keep(name: str, engine: Engine, asked: list[Request]) -> None:
    found: dict[str, Any] = {}
    rows: dict[str, Any] = {}
    for outcome in engine.score(asked):
        result = outcome.result
        found[outcome.case] = answer_to_json(result) if isinstance(result, Answer) else result.message
        if isinstance(result, Answer):
            rows |= {f"{outcome.case}/{path}": row for path, row in result.rows.items()}
    (FOLDER / f"{name}.json").write_text(json.dumps({"answers": found, "fingerprint": engine.fingerprint()}))
    np.savez(FOLDER / f"{name}.npz", **rows)


def main() -> None:
    settings = EngineSettings(
        kind="lmdeploy",
        model=str(EMBEDDED),
        dtype="float32",
        device="cpu",
        paths=("two-stage", "captured"),
        top_k=20,
        batch_size=8,
        options={"threads": 1},
    )
    asked = list(requests())
    meant: Any = lmdeploy_pipeline.load(settings)
    keep("meant", meant, asked)
    keep("called", CalledPipeline(replace(settings, paths=("captured",)), meant._pipe), asked)
    # Last, and one case: LMDeploy 0.18 decodes on from what a second pass leaves behind.
    both = CalledPipeline(replace(settings, paths=("captured",)), meant._pipe)
    both._paths = ("captured", "two-stage")
    keep("both", both, asked[1:2])
    meant.close()


if __name__ == "__main__":
    main()

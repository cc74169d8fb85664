"""Plants faults in LMDeploy's kernels for test_kernels.py: ``python THIS FILE FILE``; FILE gets findings.

Triton is mended until the process ends, so it is done in a process of its own.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from harness.drift.faults.kernels import PATCHES, Patch
from harness.engines.interpreted_kernels.card import Card
from harness.engines.lmdeploy_on_cpu import plugin
from harness.errors import HarnessError

REPAIR = Patch("", "rms_norm", "_compute_rms_norm", "out = w * out.to(xf.dtype)", "out = w * out.to(x.dtype)")
"""What pull request 4133 mended in 0.11.0, and 4554 undid in 0.15.0."""
WRONG = Patch("", "rms_norm", "_compute_rms_norm", "is not there", "")


def main() -> None:
    os.environ.update({**plugin.ENVIRONMENT, "TRITON_INTERPRET": "1"})
    from harness.engines.interpreted_kernels import stand_ins

    stand_ins.mend(Card("sm80", (8, 0), 8))
    import torch
    from lmdeploy.pytorch.kernels.cuda import rms_norm

    from harness.drift.faults import planting

    def normed(dtype: torch.dtype, patch: Patch | None = None) -> torch.Tensor:
        undo = None if patch is None else planting.plant(patch)
        try:
            found: torch.Tensor = rms_norm(x.to(dtype), weight.to(dtype), 1e-6)
            return found
        finally:
            if undo is not None:
                undo()

    generator = torch.Generator().manual_seed(1)
    x, weight = torch.randn(64, 128, generator=generator), torch.randn(128, generator=generator)
    half = x.half().float()
    as_transformers = weight.half() * (half * torch.rsqrt(half.pow(2).mean(-1, keepdim=True) + 1e-6)).half()

    def rounded(repair: Patch | None) -> dict[str, float]:
        off = (normed(torch.float16, repair).float() - as_transformers.float()).abs()
        return {"values": off.numel(), "off": int((off > 0).sum()), "by": float(off.max())}

    before = normed(torch.float32)
    planted = normed(torch.float32, PATCHES["rms_norm_width"])
    found: dict[str, Any] = {
        "times": {
            name: planting.text_of(planting.found(patch)).count(patch.old)
            for name, patch in {**PATCHES, "repair": REPAIR}.items()
        },
        "moved": float((planted - before).abs().max()),
        "as_before": bool(torch.equal(before, normed(torch.float32))),
        "half": rounded(None),
        "half_repaired": rounded(REPAIR),
    }
    for patch in PATCHES.values():  # each compiles
        planting.plant(patch)()
    found["as_before_all"] = bool(torch.equal(before, normed(torch.float32)))
    try:
        planting.plant(WRONG)
    except HarnessError as error:
        found["wrong"] = str(error)
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()

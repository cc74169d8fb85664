"""Eight candidates against one reference, as a profile of nine engines gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.reports.report_input import ReportInput
from tests.reports.report_data import make_input

REFERENCE = "p/torch"
_KINDS: Mapping[str, tuple[bool, float]] = {  # loses right answers, and how far log-odds move
    "lmdeploy_0_12": (False, 0.035),
    "lmdeploy_0_14": (False, 0.034),
    "lost": (True, 0.035),
    "lmdeploy_0_16": (False, 0.033),
    "drifting": (False, 0.06),
    "lmdeploy_0_18": (False, 0.032),
    "next": (True, 0.06),
    "api_server": (False, 0.036),
}


def nine_engines(count: int, folder: Path) -> list[ReportInput]:
    """A comparison of ``count`` cases for each candidate; of those that are alike the numbers differ."""
    found = []
    for name, (regress, spread) in _KINDS.items():
        made = make_input(count, folder, regress=regress, spread=spread)
        label = f"p/{name}"
        verdict = replace(made.verdict, baseline=REFERENCE, candidate=label)
        found.append(
            replace(
                made,
                name=f"{label} against {REFERENCE}",
                verdict=verdict,
                baseline=replace(made.baseline, label=REFERENCE, fingerprint={"settings": {"kind": "torch"}}),
                candidate=replace(
                    made.candidate, label=label, fingerprint={"settings": {"kind": "lmdeploy"}}
                ),
                commands={case: f"harness gate {REFERENCE}..{label} --case {case}" for case in made.commands},
            )
        )
    return found

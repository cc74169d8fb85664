"""The table of several LMDeploys, from results made by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from harness.drift.kernels.comparing import BEYOND, ERROR, WITHIN, Compared, changed_parameters
from harness.drift.kernels.running import Checked, Row, checks_of
from harness.engines.kernel_checks.catalogue import CHECKS, DTYPES
from harness.engines.kernel_checks.steps import Numbers

TWO = checks_of(["rms_norm:residual", "silu_and_mul"])
NUMBERS = np.ones((2, 4), dtype=np.float32)


def checked(version: str = "1.0", *, triton: str = "3", left: Numbers = NUMBERS, **rows: Row) -> Checked:
    """An LMDeploy of which all is right but ``rows``, by function and in float32."""
    every = {(check.name, dtype): f"{check.name} {dtype} out" for check in TWO for dtype in DTYPES}
    found = {key: Row(0.5, parts=[part]) for key, part in every.items()}
    for key in found:
        if key[1] == "float32" and (row := rows.get(key[0].partition(":")[0])):
            found[key] = row
    return Checked(
        packages={"lmdeploy": version, "triton": triton},
        rows=found,
        signatures={"rms_norm": ["x", "eps=1e-06"] if version == "1.0" else ["x", "epsilon=1e-06"]},
        left={part: left for key, part in every.items() if found[key].parts},
        seconds=1.0,
    )


def compared(*versions: Checked) -> Compared:
    return Compared(card="sm80", checks=TWO, versions=versions)


def test_the_head_says_what_it_is_no_evidence_of() -> None:
    claim = "LMDeploy's Triton kernels, interpreted on a CPU as sm80: no evidence about compiled code"
    found = compared(checked())
    assert found.markdown().splitlines()[0] == f"{claim} (8 processors)"
    assert found.to_json()["claim"] == f"{claim} (8 processors)"
    assert found.status() == found.status(moved_fails=True) == WITHIN


@pytest.mark.parametrize("steps", [99.0, math.inf, math.nan])
def test_a_kernel_beyond_its_limit_fails_and_is_named(steps: float) -> None:
    found = compared(checked(silu_and_mul=Row(steps), rms_norm=Row(error="ValueError: shape")))
    assert found.status() == BEYOND  # wrong numbers, whatever else there is
    text = found.markdown()
    assert f"BEYOND: silu_and_mul of lmdeploy 1.0 in float32 is {steps:.4g} steps off; allowed: 4" in text
    assert "4 checks: 1 beyond the limit, 1 in error, 0 lacking, 0 moved" in text
    assert json.dumps(found.to_json(), allow_nan=False)


def test_a_kernel_that_raises_is_an_error_with_its_words() -> None:
    found = compared(checked(rms_norm=Row(error="ValueError: shape")))
    assert found.status() == ERROR
    assert "ERROR: rms_norm:residual of lmdeploy 1.0 in float32: ValueError: shape" in found.markdown()
    assert "| rms_norm:residual | float32 | 4     | ERROR |" in found.markdown()


def test_a_kernel_that_a_version_lacks_is_said_and_no_failure_unless_nothing_is_left() -> None:
    found = compared(checked(silu_and_mul=Row(lacks="silu_and_mul")), checked("2.0"))
    assert found.status(moved_fails=True) == WITHIN
    assert "| silu_and_mul      | float32 | 4     | lacking | 0.5 | -" in found.markdown()
    assert "lmdeploy 1.0 lacks silu_and_mul: not checked" in found.markdown()
    rows = [row for row in found.to_json()["moved"] if row["kernel"] == "silu_and_mul"]
    assert [row["moved"] for row in rows] == [None, False]
    nothing: dict[Any, Row] = dict.fromkeys(found.versions[0].rows, Row(lacks="silu_and_mul"))
    one = Checked(packages={"lmdeploy": "3"}, rows=nothing, signatures={}, left={}, seconds=0.0)
    assert compared(one).status() == ERROR


def test_what_moved_is_told_in_steps_with_what_else_changed() -> None:
    other = NUMBERS + np.float32(3) * np.spacing(NUMBERS)
    found = compared(checked(), checked("2.0", triton="4", left=other))
    assert found.status() == WITHIN
    assert found.status(moved_fails=True) == BEYOND
    assert "| 0.5 | 0.5 | moved by 3" in found.markdown()
    assert "what moved from 1.0 to 2.0 may have moved with triton 3 to 4" in found.markdown()
    assert "rms_norm, from 1.0 to 2.0: eps=1e-06 is now epsilon=1e-06" in found.markdown()
    assert {row["steps"] for row in found.to_json()["moved"]} == {3.0}
    same = compared(checked(), checked("2.0", triton="4"))
    assert "0 moved" in same.markdown()
    assert "may have moved" not in same.markdown()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (["a", "b"], ["a", "b"], []),
        (["a"], ["a", "b=1"], ["added b=1"]),
        (["a", "b=1"], ["a"], ["removed b=1"]),
        (["a", "b=0"], ["a", "b=1"], ["b=0 is now b=1"]),
        (["a", "b", "c"], ["a", "x", "c", "d=1"], ["b is now x", "added d=1"]),
    ],
)
def test_parameters(old: list[str], new: list[str], told: list[str]) -> None:
    assert changed_parameters(old, new) == told


def test_each_check_has_a_name_of_its_own_and_limits() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all({*check.limits} == {*DTYPES} for check in CHECKS)

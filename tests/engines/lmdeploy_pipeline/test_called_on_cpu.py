"""The called pipeline on the real PyTorch engine, on a CPU: what it shares with all versions.

The engine runs once, in a process of its own (called_scenarios.py). No evidence about a GPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from harness.engines.codec import answer_from_json
from harness.engines.contract import Answer

SCENARIOS = Path(__file__).with_name("called_scenarios.py")
ROUNDING = 1e-5
"""Largest difference of two log-probabilities in float32: alone, and in company."""


class Left(NamedTuple):
    answers: Mapping[str, Answer]
    rows: Mapping[str, Any]
    fingerprint: Mapping[str, Any]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Left]:
    folder = tmp_path_factory.mktemp("called")
    done = subprocess.run(
        [sys.executable, str(SCENARIOS), str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = {}
    for name in ("meant", "called", "both"):
        stored = json.loads((folder / f"{name}.json").read_text())
        answers = {case: answer_from_json(answer) for case, answer in stored["answers"].items()}
        with np.load(folder / f"{name}.npz") as rows:
            found[name] = Left(answers, dict(rows), stored["fingerprint"])
    return found


def test_calls_give_the_rows_of_the_engine_from_within(left: dict[str, Left]) -> None:
    meant, called = left["meant"], left["called"]

    assert called.answers.keys() == meant.answers.keys()
    assert {len(answer.generated_ids) for answer in called.answers.values()} > {1}
    for case, answer in called.answers.items():
        beside = meant.answers[case]
        assert answer.prompt_ids == beside.prompt_ids
        assert answer.question == beside.question
        assert (answer.generated_ids, answer.text) == (beside.generated_ids, beside.text)
        assert answer.letter_ids == beside.letter_ids
        row, other = called.rows[f"{case}/captured"], meant.rows[f"{case}/captured"]
        np.testing.assert_allclose(row, other, rtol=0, atol=32 * float(np.spacing(np.abs(other).max())))
        assert answer.reported_logprobs == pytest.approx(beside.reported_logprobs, abs=ROUNDING)
        assert dict(answer.reported_top) == pytest.approx(dict(beside.reported_top), abs=ROUNDING)


def test_an_answer_that_ends_by_itself_keeps_its_stop_token(left: dict[str, Left]) -> None:
    ended = [answer for case, answer in left["called"].answers.items() if case.endswith("-whole")]
    stops = left["called"].fingerprint["stop_ids"]

    assert ended
    assert all(answer.generated_ids[-1] in stops and len(answer.generated_ids) < 6 for answer in ended)


def test_a_second_pass_within_the_engine_keeps_the_image(left: dict[str, Left]) -> None:
    rows = left["both"].rows
    one, other = rows["square/two-stage"], rows["square/captured"]

    np.testing.assert_allclose(one, other, rtol=0, atol=32 * float(np.spacing(np.abs(other).max())))
    assert left["both"].fingerprint["paths"].keys() == {"captured", "two-stage"}


def test_the_fingerprint_says_that_it_was_a_cpu(left: dict[str, Left]) -> None:
    assert left["called"].fingerprint["device_plugin"] is True
    assert left["called"].fingerprint["verified"].startswith("on a CPU, with LMDeploy ")
    assert left["called"].fingerprint["paths"] == {
        "captured": "pipe(...) with a logits processor, one case at a time"
    }

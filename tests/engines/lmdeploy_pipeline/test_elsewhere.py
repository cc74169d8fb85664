"""The real LMDeploy with the model in a process of its own, on the CPU device plug-in.

What needs the real engine is done once, by elsewhere_scenarios.py in a process of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.engines.lmdeploy_pipeline.test_deployed import ROUNDING, ids, logprobs
from tests.scenario_runs import run_scenarios

pytestmark = [pytest.mark.slow, pytest.mark.engines]

SCENARIOS = Path(__file__).with_name("elsewhere_scenarios.py")


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("elsewhere")
    # This executor stops for ever now and then, as LMDeploy's own source says; see docs/lmdeploy.md.
    run_scenarios(SCENARIOS, folder, seconds=450, tries=3)
    found: dict[str, Any] = json.loads((folder / "elsewhere.json").read_text())
    return found


def test_a_model_in_a_process_of_its_own_is_read_by_the_paths_without_rows(left: dict[str, Any]) -> None:
    here, elsewhere = left["here"], left["elsewhere"]
    assert (here["executor"], elsewhere["executor"]) == ("UniExecutor", "MPExecutor")
    assert list(elsewhere["fingerprint"]["paths"]) == ["scored", "top-k"]
    assert ids(here) == ids(elsewhere)
    for path in ("scored", "top-k"):
        assert logprobs(here, path) == pytest.approx(logprobs(elsewhere, path), abs=ROUNDING, rel=0)


def test_scoring_leaves_nothing_behind_in_that_process(left: dict[str, Any]) -> None:
    assert left["elsewhere"]["same_again"] == ids(left["elsewhere"])


def test_rows_from_another_process_are_refused(left: dict[str, Any]) -> None:
    found = left["rows from elsewhere"]
    assert found["kind"] == "unsupported"
    assert (
        "paths: found scored, captured, but the model runs in processes of its own (MPExecutor)"
        in (found["refused"])
    )
    assert "write 'paths: [scored, top-k]'" in found["refused"]


def test_the_variable_that_moved_the_model_is_named(left: dict[str, Any]) -> None:
    found = left["by the variable"]["refused"]
    assert "(MPExecutor, by LMDEPLOY_EXECUTOR_BACKEND=mp in the environment)" in found
    assert "unset LMDEPLOY_EXECUTOR_BACKEND, or write 'paths: [scored, top-k]'" in found
    found = left["by a variable that is none"]["refused"]
    assert "(LMDEPLOY_EXECUTOR_BACKEND=nobodys is set; unset it to have LMDeploy choose)" in found

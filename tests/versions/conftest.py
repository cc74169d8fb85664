"""Other versions of LMDeploy, each in an environment of its own.

They are several gigabytes, so these tests are collected where ``HARNESS_LMDEPLOYS`` names interpreters of
such environments, separated by colons::

    HARNESS_LMDEPLOYS=/envs/0.12.3/bin/python:/envs/0.14.0/bin/python tox run -- tests/versions
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.scenario_runs import run_scenarios

INTERPRETERS = [name for name in os.environ.get("HARNESS_LMDEPLOYS", "").split(os.pathsep) if name]
SCENARIOS = Path(__file__).with_name("scenarios.py")

collect_ignore_glob = [] if INTERPRETERS else ["test_*.py"]


@pytest.fixture(scope="session", params=INTERPRETERS)
def facts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the scenarios left behind in one environment."""
    path = tmp_path_factory.mktemp("version") / "facts.json"
    run_scenarios(SCENARIOS, path, python=request.param, seconds=600)
    found: dict[str, Any] = json.loads(path.read_text())
    return found

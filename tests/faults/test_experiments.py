"""The experiments: what each is called, and that one can end otherwise than expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults import disks, files, gpus, lmdeploy, servers, signals, workers
from tests.faults.ground import EXPERIMENTS, Ground

pytestmark = pytest.mark.faults
ROOMS = (workers, disks, files, signals, servers, gpus, lmdeploy)


def test_each_has_a_name_of_its_own() -> None:
    assert len({one.name for one in EXPERIMENTS}) == len(EXPERIMENTS) > 40


@pytest.mark.parametrize("changed", ["status", "words", "kept", "count", "left"])
def test_what_is_expected_can_be_missed(changed: str, tmp_path: Path) -> None:
    ground = Ground(tmp_path / "folder")
    sleeps = "[sys.executable, '-c', 'import time; time.sleep(9)'], stdout=-3, stderr=-3"
    linger = f"import subprocess, sys; subprocess.Popen({sleeps})"
    text = f"{linger if changed == 'left' else ''}\nprint('said\\n1 passed in 0.1s')"
    wrong: dict[str, dict[str, Any]] = {
        "status": {"status": 1}, "words": {"says": ["more"]}, "kept": {"kept": 1}, "count": {"passed": 2},
    }  # fmt: skip
    expected: dict[str, Any] = {"status": 0, "says": ["said"], "kept": 0, "passed": 1}
    with pytest.raises(AssertionError):
        ground.expect(ground.run("-c", text), **expected | wrong.get(changed, {}))

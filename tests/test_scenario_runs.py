"""Scripts of scenarios: one that hangs is killed with what it started, and tried again where asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenario_runs import run_scenarios

HANGS_AT_FIRST = """
import subprocess, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
if not (folder / "child").exists():
    (folder / "child").write_text(str(subprocess.Popen(["sleep", "600"]).pid))
    print("waiting", file=sys.stderr, flush=True)
    time.sleep(600)
(folder / "made").touch()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(HANGS_AT_FIRST)
    return path


def test_one_that_hangs_fails_with_what_it_said_and_leaves_no_process(script: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"script\.py took more than 2 s, 1 times:\nwaiting"):
        run_scenarios(script, tmp_path, seconds=2)
    child = Path("/proc", (tmp_path / "child").read_text(), "cmdline")
    assert not child.exists() or not child.read_bytes()  # a zombie's is empty


def test_one_that_hangs_once_may_be_tried_again(script: Path, tmp_path: Path) -> None:
    run_scenarios(script, tmp_path, seconds=2, tries=2)
    assert (tmp_path / "made").exists()


def test_one_that_fails_is_not_tried_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys; open(sys.argv[1] + '/tried', 'a').write('x'); sys.exit('no such model')")
    with pytest.raises(AssertionError, match="no such model"):
        run_scenarios(script, tmp_path, seconds=60, tries=3)
    assert (tmp_path / "tried").read_text() == "x"

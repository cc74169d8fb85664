"""Leases: who may make what beside whom, and that none outlives its holder."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.recordings.leases import Lease

HOLDER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from harness.recordings.leases import Lease
lease = Lease(Path(sys.argv[1]), "1-of-2")
assert lease.try_take()
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("held", "wanted", "free"),
    [
        ("", "", False),
        ("", "1-of-2", False),
        ("1-of-2", "", False),
        ("1-of-2", "1-of-2", False),
        ("1-of-2", "2-of-2", True),
        ("1-of-2", "2-of-3", False),
        ("2-of-12", "2-of-2", False),
    ],
)
def test_what_is_held_beside_what(tmp_path: Path, held: str, wanted: str, free: bool) -> None:
    first, second = Lease(tmp_path / "torch-1.jsonl", held), Lease(tmp_path / "torch-1.jsonl", wanted)
    assert first.try_take()
    assert second.try_take() is free
    second.release()
    first.release()
    assert second.try_take()
    assert Lease(tmp_path / "torch-12.jsonl", wanted).try_take(), "another engine's"


def test_a_dead_holders_is_taken_over(tmp_path: Path) -> None:
    journal = tmp_path / "torch-1.jsonl"
    command = [sys.executable, "-c", HOLDER, str(journal), str(Path(__file__).parents[2])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert not Lease(journal).try_take()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    Lease(journal).take(lambda: pytest.fail("waited for a dead one"))

"""The whole run with stand-in legs: what it leaves behind and its exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import command
from benchmarks.gpu.command import SPENT, main
from benchmarks.gpu.legs import ROOT, Leg
from benchmarks.gpu.plan import Options

Run = Callable[..., tuple[int, dict[str, Any]]]


def leg(name: str, code: str = "", **more: Any) -> Callable[[Options], Leg]:
    def made(options: Options) -> Leg:
        given = {"kind": "none", "worth": 1, "seconds": 1, "folder": options.files / name, **more}
        return Leg(name=name, command=(sys.executable, "-c", code), **given)

    return made


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def made(first: list[Any], others: list[Any], *more: str) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr(command, "first_legs", lambda options: [each(options) for each in first])
        monkeypatch.setattr(command, "other_legs", lambda options: [each(options) for each in others])
        status = main(["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), *more])
        results: dict[str, Any] = json.loads((tmp_path / "out" / "results.json").read_text())
        return status, results

    return made


def statuses(results: dict[str, Any]) -> dict[str, str]:
    return {name: entry["status"] for name, entry in results["legs"].items()}


MACHINE = leg("machine", read=lambda _: {"gpus": ["Example 9000"]})


def test_all_is_well(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    status, results = run([MACHINE], [leg("checks")])
    assert status == 0
    assert statuses(results) == {"machine": "passed", "checks": "passed"}
    assert (results["rehearsal"], results["machine"]) == (False, {"gpus": ["Example 9000"]})
    assert "2 passed; exit status 0" in capsys.readouterr().out


def test_a_rehearsal_is_one(run: Run) -> None:
    assert run([MACHINE], [], "--device", "cpu")[1]["rehearsal"] is True


def test_a_cut_budget_drops_the_last_and_says_so(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    others = [leg("best"), leg("long", seconds=600), leg("longer", seconds=700)]
    status, results = run([MACHINE], others, "--minutes", "0.5")
    assert status == 3
    assert statuses(results) == {
        "machine": "passed",
        "best": "passed",
        "long": "not run",
        "longer": "not run",
    }
    assert "2 passed, 2 not run; exit status 3" in capsys.readouterr().out


def test_what_a_machine_lacks_stops_nothing_and_no_gpu_stops_all(run: Run) -> None:
    fails = "raise SystemExit('PyTorch sees no GPU')"
    status, results = run([leg("doctor", fails), MACHINE], [leg("checks")])
    assert (status, statuses(results)["checks"]) == (1, "passed")
    status, results = run([leg("doctor"), leg("machine", fails)], [leg("checks")])
    assert statuses(results) == {"doctor": "passed", "machine": "failed", "checks": "not run"}
    assert results["legs"]["machine"]["said"] == ["PyTorch sees no GPU"]
    assert (status, results["machine"]) == (1, {})


def test_picked_legs_alone(run: Run) -> None:
    status, results = run([MACHINE], [leg("checks a"), leg("floor b")], "--legs", "floor *")
    assert (status, list(results["legs"])) == (0, ["machine", "floor b"])


def test_what_the_installation_took_counts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SPENT, "59")
    status, results = run([leg("machine", seconds=2)], [], "--minutes", "1")
    assert (status, statuses(results)) == (3, {"machine": "not run"})
    assert f'{SPENT}=$SECONDS "$python"' in (ROOT / "benchmarks" / "gpu" / "run").read_text()


def test_the_commit_is_the_trees_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        own = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *own, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    monkeypatch.setattr(command, "ROOT", tmp_path)
    assert command._commit() == "an unknown commit (the tree came without git)"
    git("init", "-q")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_text("one")
    git("add", "-A")
    git("commit", "-qm", "first")
    short = git("rev-parse", "--short", "HEAD")
    assert command._commit() == short
    (tmp_path / "inner" / "file").write_text("two")
    assert command._commit() == f"{short}, changed"
    monkeypatch.setattr(command, "ROOT", tmp_path / "inner")
    assert command._commit() == "an unknown commit (the tree came without git)"


ENDED = """
import sys
from pathlib import Path
from benchmarks.gpu import command
from benchmarks.gpu.legs import Leg
code = "import os, time; open('{pid}', 'w').write(str(os.getpid())); time.sleep(600)"
hangs = (sys.executable, "-c", code)
command.first_legs = lambda options: [
    Leg(name="machine", kind="none", command=hangs, folder=options.files, worth=0, seconds=9)
]
command.other_legs = lambda options: []
sys.exit(command.main(["--out", "{out}", "--work", "{work}"]))
"""


def test_a_run_that_is_ended_from_outside_takes_its_leg_with_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = ENDED.format(pid=pid, out=tmp_path / "out", work=tmp_path / "work")
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (pid.is_file() and pid.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    legs = json.loads((tmp_path / "out" / "results.json").read_text())["legs"]
    assert legs["machine"]["status"] == "running"

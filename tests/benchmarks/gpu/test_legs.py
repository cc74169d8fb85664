"""One leg after another by worth, within the time there is, whatever happens to each."""

from __future__ import annotations

import json
import shlex
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import legs as legs_module
from benchmarks.gpu.legs import FAULT, INCOMPLETE, WELL, Leg, Legs, by_worth

MakeLeg = Callable[..., Leg]
IGNORES = "import signal; [signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM)]; "


@pytest.fixture
def leg(tmp_path: Path) -> MakeLeg:
    def make(name: str, code: str = "", **more: Any) -> Leg:
        given = {"kind": "none", "worth": 1.0, "seconds": 0.1, **more}
        return Leg(name=name, command=(sys.executable, "-c", code), folder=tmp_path / "files" / name, **given)

    return make


def run(tmp_path: Path, *legs: Leg, seconds: float = 60.0) -> Legs:
    results: dict[str, Any] = {
        "rehearsal": True,
        "date": "now",
        "command": "run",
        "commit": "abc",
        "machine": {},
        "legs": {},
    }
    runner = Legs(results, tmp_path / "out" / "results.json", tmp_path / "files", seconds, time.monotonic())
    runner.list(legs)
    for each in legs:
        runner.run(each)
    return runner


def kept(runner: Legs) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(runner.file.read_text())["legs"]
    return found


def statuses(runner: Legs) -> dict[str, str]:
    return {name: entry["status"] for name, entry in kept(runner).items()}


def test_the_most_worth_for_each_second_comes_first(leg: MakeLeg) -> None:
    given = [
        leg("slow", worth=10, seconds=100),
        leg("quick", worth=2, seconds=10),
        leg("best", worth=9, seconds=10),
    ]
    assert [each.name for each in by_worth(given)] == ["best", "quick", "slow"]


def test_what_is_needed_goes_before_and_is_paid_by_what_needs_it(leg: MakeLeg) -> None:
    model = leg("model", worth=0, seconds=30)
    one, other = (leg(name, worth=9, seconds=10, needs=("model",)) for name in ("one", "other"))
    # 9 points in 40 seconds are less than 3 in 10; with the model there, they are more than 1 in 2.
    given = [one, model, other, leg("cheap", worth=3, seconds=10), leg("last", worth=1, seconds=2)]
    assert [each.name for each in by_worth(given)] == ["last", "cheap", "model", "one", "other"]


def test_a_leg_says_what_it_was_and_gave(tmp_path: Path, leg: MakeLeg) -> None:
    code = "import time; print('ten chars'); time.sleep(0.2)"
    runner = run(tmp_path, leg("one", code, read=lambda folder: {"log": (folder / "log.txt").read_text()}))
    entry = kept(runner)["one"]
    assert (entry["status"], entry["exit"], entry["data"]) == ("passed", 0, {"log": "ten chars\n"})
    assert shlex.split(entry["command"]) == ["python", "-c", code]
    assert 0.2 <= entry["seconds"] < 30
    assert runner.status == WELL


def test_one_that_fails_leaves_the_others_and_its_data(tmp_path: Path, leg: MakeLeg) -> None:
    failing = leg("first", "print('out of memory'); raise SystemExit(3)", read=lambda _: {"figure": 1})
    runner = run(tmp_path, failing, leg("second"))
    assert statuses(runner) == {"first": "failed", "second": "passed"}
    entry = kept(runner)["first"]
    assert (entry["exit"], entry["why"], entry["said"]) == (3, "exit status 3", ["out of memory"])
    assert entry["data"] == {"figure": 1}
    assert runner.status == FAULT


def unreadable(_: Path) -> Mapping[str, Any]:
    raise ValueError("no JSON\nat all")


def test_what_cannot_be_read_or_started_is_an_error_of_its_leg_alone(tmp_path: Path, leg: MakeLeg) -> None:
    missing = Leg(
        name="missing", kind="none", command=("/no/such",), folder=tmp_path / "files", worth=1, seconds=0.1
    )
    runner = run(tmp_path, leg("unread", read=unreadable), missing, leg("third"))
    assert statuses(runner) == {"unread": "error", "missing": "error", "third": "passed"}
    assert kept(runner)["unread"]["why"] == "ValueError: no JSON\nat all"
    assert kept(runner)["missing"]["why"].startswith("FileNotFoundError")
    assert runner.status == FAULT


@pytest.mark.parametrize("deaf", ["", IGNORES], ids=["ends at an interrupt", "does not"])
def test_one_that_hangs_is_ended_and_told(
    deaf: str, tmp_path: Path, leg: MakeLeg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(legs_module, "_GRACE_SECONDS", 0.2)
    file = tmp_path / "pids"
    child = f"child = subprocess.Popen([sys.executable, '-c', '{IGNORES}import time; time.sleep(600)'])"
    told = f"open({str(file)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')"
    code = f"{deaf}import os, subprocess, sys, time; {child}; {told}; time.sleep(600)"
    runner = run(tmp_path, leg("hangs", code, read=lambda _: {"partly": True}), seconds=2.0)
    entry = kept(runner)["hangs"]
    assert (entry["status"], entry["exit"], entry["data"]) == ("overran", None, {"partly": True})
    assert entry["why"].startswith("ended after ")
    assert entry["why"].endswith(" s, its limit")
    assert runner.status == FAULT
    for pid in file.read_text().split():
        assert ended(int(pid))


def ended(pid: int) -> bool:
    """Whether a process is gone, or waits for nothing but to be collected."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_its_own_limit_is_what_it_may_be_wrong_by(leg: MakeLeg) -> None:
    assert leg("one", seconds=40.0).limit == 110.0


def test_a_leg_begins_only_if_it_fits_and_one_that_fits_still_does(tmp_path: Path, leg: MakeLeg) -> None:
    runner = run(tmp_path, leg("long", "raise SystemExit(1)", seconds=100), leg("short"))
    assert statuses(runner) == {"long": "not run", "short": "passed"}
    assert kept(runner)["long"]["why"] == "about 100 s, and 60 s of 60 were left"
    assert runner.status == INCOMPLETE


def test_what_cannot_run_here_and_what_needs_it_are_no_passes(tmp_path: Path, leg: MakeLeg) -> None:
    absent = leg("library", absent=lambda: "no library here")
    runner = run(tmp_path, absent, leg("after", needs=("library",)), leg("other"))
    assert statuses(runner) == {"library": "not run", "after": "not run", "other": "passed"}
    assert kept(runner)["library"]["why"] == "no library here"
    assert kept(runner)["after"]["why"] == "it needs 'library', which is: not run"
    assert runner.status == INCOMPLETE


@pytest.mark.parametrize(
    ("inconclusive", "status", "whole"), [(True, "inconclusive", INCOMPLETE), (False, "failed", FAULT)]
)
def test_a_gate_that_knows_too_little_is_neither_a_pass_nor_a_fault(
    inconclusive: bool, status: str, whole: int, tmp_path: Path, leg: MakeLeg
) -> None:
    gate = leg("gate", "raise SystemExit(3)", read=lambda _: {"inconclusive": inconclusive})
    runner = run(tmp_path, gate, leg("other"))
    assert (statuses(runner)["gate"], runner.status) == (status, whole)


def test_a_failed_one_left_something_and_what_needs_it_runs(tmp_path: Path, leg: MakeLeg) -> None:
    runner = run(tmp_path, leg("checks", "raise SystemExit(1)"), leg("gate", needs=("checks",)))
    assert statuses(runner) == {"checks": "failed", "gate": "passed"}


def test_the_file_knows_of_every_leg_while_the_first_one_runs(tmp_path: Path, leg: MakeLeg) -> None:
    seen = tmp_path / "seen.json"
    look = f"import shutil; shutil.copy({str(tmp_path / 'out' / 'results.json')!r}, {str(seen)!r})"
    run(tmp_path, leg("first", look), leg("second"))
    told = {name: entry["status"] for name, entry in json.loads(seen.read_text())["legs"].items()}
    assert told == {"first": "running", "second": "not run"}


def test_each_leg_is_kept_before_the_next_one_begins(tmp_path: Path, leg: MakeLeg) -> None:
    out, seen = tmp_path / "out", tmp_path / "seen"
    look = f"import shutil; shutil.copytree({str(out)!r}, {str(seen)!r})"
    writes = f"open({str(tmp_path / 'files' / 'first' / 'figures')!r}, 'w').write('7')"
    run(tmp_path, leg("first", writes, read=lambda _: {"figure": 7}), leg("second", look))
    told = json.loads((seen / "results.json").read_text())["legs"]
    assert (told["first"]["status"], told["first"]["data"]) == ("passed", {"figure": 7})
    assert "| first | passed |" in (seen / "results.md").read_text()
    with tarfile.open(seen / "files.tar.gz") as archive:
        assert {"first/figures", "first/log.txt"} <= set(archive.getnames())
    assert {each.name for each in out.iterdir()} == {"results.json", "results.md", "files.tar.gz"}

"""One run at a time on a GPU, and its memory free again. Readings of GPUs are stand-ins: no GPU is asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.engines.contract import Request
from harness.machine.nvidia import read_nvidia
from harness.workers import Event, Progress, Scored, gpu_turn, run
from harness.workers.gpu_turn import GpuTurn
from tests.machine.stand_in_nvml import Nvml

if TYPE_CHECKING:
    from tests.workers.conftest import Workers

GIB = 1 << 30


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu_turn, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(gpu_turn, "_FREED_SECONDS", 0.3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def turn_of(*readings: Mapping[str, int | None]) -> GpuTurn:
    """A turn whose looks give ``readings`` one after another, and the last one ever after."""
    left = list(readings)
    return GpuTurn(lambda: left.pop(0) if len(left) > 1 else left[0])


@pytest.mark.parametrize(
    ("wish", "free"),
    [(None, {"GPU-a": 7 * GIB, "GPU-b": 7 * GIB}), ("1", {"GPU-b": 7 * GIB}), ("", {})],
)
def test_the_visible_gpus_and_what_is_free_of_them(
    monkeypatch: pytest.MonkeyPatch, wish: str | None, free: Mapping[str, int]
) -> None:
    nvml = Nvml((("X1", "GPU-a"), ("X1", "GPU-b")), details={"memory": (9 * GIB, 7 * GIB)})
    monkeypatch.setattr(gpu_turn, "read_nvidia", lambda: read_nvidia(library=lambda _: nvml))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if wish is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wish)
    assert gpu_turn.free_memory() == free


def test_memory_that_is_still_held_is_waited_for() -> None:
    before, held = {"GPU-a": 79 * GIB, "GPU-b": 79 * GIB}, {"GPU-a": 7 * GIB, "GPU-b": 79 * GIB}
    turn = turn_of(before, before, held, held, {**before, "GPU-a": 79 * GIB - 1})
    assert list(turn.take()) == []
    assert list(turn.freed()) == ["waiting until memory is free again: 72.0 GiB of GPU-a"] * 2
    turn.release()


def test_memory_that_stays_held_is_waited_for_no_longer_than_that() -> None:
    turn = turn_of({"GPU-a": 79 * GIB}, {"GPU-a": 79 * GIB}, {"GPU-a": 7 * GIB})
    assert list(turn.take()) == []
    *_, last = turn.freed()
    assert last == "not free again after 0.3 s: 72.0 GiB of GPU-a; going on"
    turn.release()


@pytest.mark.parametrize("silent", [{"GPU-a": None}, {}])
def test_where_nothing_is_told_nothing_is_waited_for(silent: Mapping[str, int | None]) -> None:
    for before, after in ((silent, {"GPU-a": 1}), ({"GPU-a": GIB}, silent)):
        turn = turn_of(before, before, after)
        assert [*turn.take(), *turn.freed()] == []
        turn.release()


def test_a_folder_without_locks_keeps_no_run_from_its_gpu(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    turn = GpuTurn(lambda: {"GPU-a": None}, folder=tmp_path / "file")
    assert list(turn.take()) == ["no lock on GPU-a (File exists), going on"]


def scored(workers: Workers, prompt: str, look: gpu_turn.Look, device: str = "cuda") -> Iterator[Event]:
    job = workers.job()
    job = replace(job, settings=replace(job.settings, device=device))
    return run(job, [("k", Request(case="suite.a", prompt=prompt, letters=("A", "B")))], look=look)


def test_memory_is_waited_for_when_the_worker_has_ended(workers: Workers) -> None:
    left = [{"GPU-a": 9 * GIB}] * 3 + [{"GPU-a": GIB}, {"GPU-a": 9 * GIB}]
    events = list(scored(workers, "a", lambda: left.pop(0)))
    assert [event.key for event in events if isinstance(event, Scored)] == ["k"]
    assert isinstance(events[-1], Progress)
    assert events[-1].phase == "waiting until memory is free again: 8.0 GiB of GPU-a"
    assert left == []


def test_an_engine_on_the_cpu_looks_at_no_gpu(workers: Workers) -> None:
    def look() -> dict[str, int | None]:
        raise AssertionError("looked")

    assert any(isinstance(event, Scored) for event in scored(workers, "a", look, device="cpu"))


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts a process that takes turns on GPU-b and GPU-a, and does what ``then`` says while it has them."""
    started: list[subprocess.Popen[str]] = []

    def start(then: str) -> subprocess.Popen[str]:
        script = (
            "import time\nfrom pathlib import Path\nfrom harness.workers.gpu_turn import GpuTurn\n"
            "turn = GpuTurn(lambda: {'GPU-b': None, 'GPU-a': None})\n"
            f"{then}\n"
        )
        root = Path(__file__).parents[2]
        started.append(
            subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


HOLDING = "list(turn.take())\nprint('held', flush=True)\ntime.sleep({})\nturn.release()\ntime.sleep(60)"


@pytest.mark.parametrize("how", ["released", "killed"])
def test_another_run_on_the_same_gpu_is_waited_for(
    workers: Workers, other: Callable[[str], subprocess.Popen[str]], how: str
) -> None:
    process = other(HOLDING.format(1 if how == "released" else 60))
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    phases = []
    for event in scored(workers, "a", lambda: {"GPU-a": None}):
        phases.append(event.phase if isinstance(event, Progress) else type(event).__name__)
        if how == "killed":
            os.kill(process.pid, signal.SIGKILL)
    assert phases[0] == "waiting for another run on GPU-a"
    assert phases[-1] == "Scored"


def test_another_gpu_is_not_waited_for(
    workers: Workers, other: Callable[[str], subprocess.Popen[str]]
) -> None:
    process = other(HOLDING.format(60))
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    phases = [e.phase for e in scored(workers, "a", lambda: {"GPU-c": 1}) if isinstance(e, Progress)]
    assert phases == ["loading", "scoring"]


def test_processes_that_take_turns_do_not_wait_for_each_other_for_ever(
    tmp_path: Path, other: Callable[[str], subprocess.Popen[str]]
) -> None:
    # As those of one run do: for each engine the lock on its recordings, and within it the turn on the GPUs.
    script = (
        "from harness.recordings.store import RecordingStore\n"
        "from harness.workers import gpu_turn\n"
        "locked = gpu_turn._locked\n"
        "gpu_turn._locked = lambda lock: (locked(lock), time.sleep(0.01))[0]\n"
        "turn = GpuTurn(lambda: dict.fromkeys({gpus}))\n"
        f"store = RecordingStore(Path({str(tmp_path)!r}))\n"
        "for engine in {engines}:\n"
        "    for _ in range(8):\n"
        "        with store.making({{'settings': {{'kind': engine}}}}):\n"
        "            list(turn.take())\n"
        f"            with Path({str(tmp_path / 'turns')!r}).open('a') as turns:\n"
        "                turns.write('(')\n"
        "                turns.flush()\n"
        "                time.sleep(0.01)\n"
        "                turns.write(')')\n"
        "            turn.release()\n"
    )
    orders = ("xy", "xy", "yx")
    began = time.monotonic()
    gpus = [("GPU-a", "GPU-b"), ("GPU-b", "GPU-a"), ("GPU-b", "GPU-a")]
    for process in [
        other(script.format(engines=tuple(order), gpus=named))
        for order, named in zip(orders, gpus, strict=True)
    ]:
        assert process.wait(60 - (time.monotonic() - began)) == 0
    assert (tmp_path / "turns").read_text() == "()" * 16 * len(orders)

"""Output, sizes, deadlines' ends, and that nothing survives a worker."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.errors import ErrorKind
from harness.workers import Event, Loaded, Scored
from harness.workers.endings import how_it_ended
from harness.workers.process import WorkerProcess

if TYPE_CHECKING:
    from tests.workers.conftest import Workers


def test_megabytes_of_output_block_nothing(workers: Workers) -> None:
    result = workers.run("print 8000000", "a", options={"load": "print 1000000"})
    assert sorted(result.answers) == [0, 1]
    assert result.job.log.stat().st_size > 8_000_000


def test_huge_answers_and_requests_go_through(workers: Workers) -> None:
    result = workers.run("huge 3000000", "huge 100", "x" * 3_000_000, batch_size=3)
    assert result.answers[0].text == "é" * 3_000_000
    assert result.answers[2].text == "x" * 3_000_000


def test_unicode_survives_the_pipe(workers: Workers, tmp_path: Path) -> None:
    prompt = "哪个形状是红色的？ Ž 🟥 \u2028\x00\r\n\ud800"
    result = workers.run(prompt, "raise 形状\nund Farbe", log=tmp_path / "日志" / "engine é.log")
    assert result.answers[0].text == prompt
    assert "RuntimeError: 形状\nund Farbe" in result.errors[1].message
    assert "日志" in result.errors[1].log


def test_an_error_shows_the_last_lines_of_its_own_worker(workers: Workers) -> None:
    result = workers.run("print 20000", "exit 3", "exit 4", batch_size=1)
    assert result.errors[1].log_tail.splitlines()[-1] == "about to exit"
    assert len(result.errors[1].log_tail.splitlines()) == 15
    assert result.errors[2].log_tail == "about to exit", "not the lines of the worker before"
    assert f"log: {result.job.log}" in str(result.errors[2])
    assert "  | about to exit" in str(result.errors[2])


def test_control_characters_and_progress_bars_do_not_reach_the_terminal(workers: Workers) -> None:
    result = workers.run("say 10%\r 50%\r\x1b[31m100%\x1b[0m\x07", "exit 1", batch_size=1)
    assert result.error.log_tail.splitlines() == ["100%", "about to exit"]


def test_a_segmentation_fault_leaves_its_stack_in_the_log(workers: Workers) -> None:
    result = workers.run("segfault", batch_size=1)
    assert "Fatal Python error: Segmentation fault" in result.job.log.read_text()
    assert "signal 11 (SIGSEGV)" in result.error.message


def test_a_number_that_is_not_finite_is_an_error(workers: Workers) -> None:
    places = [
        "reported_top",
        "reported_logprobs",
        "forward.logprobs",
        "forward.letter_logits",
        "forward.log_z",
        "forward.top",
        "forward.other_spellings",
    ]
    result = workers.run("a", *(f"nan {place.removeprefix('forward.')}" for place in places))
    assert sorted(result.answers) == [0]
    for number, place in enumerate(places, 1):
        assert result.errors[number].kind is ErrorKind.NOT_FINITE
        assert re.match(rf"{place}\[\d\] is nan; allowed: finite numbers", result.errors[number].message)


def test_a_letter_outside_a_partial_reading_is_no_number_that_is_not_finite(workers: Workers) -> None:
    result = workers.run("partial -7", "partial nan")
    assert result.answers[0].readings[0].letter_logits == (-0.25, float("-inf"))
    assert result.answers[0].readings[0].letter_ceilings == (-0.25, -7.0)
    assert "forward.letter_ceilings[1] is nan" in result.errors[1].message


def test_full_rows_are_there_before_the_answer(workers: Workers, tmp_path: Path) -> None:
    rows = tmp_path / "some" / "rows"

    def look(event: Event) -> None:
        if isinstance(event, Scored):
            row = np.load(rows / f"{event.key}.generate.npy")
            assert row.dtype == np.float32
            assert row.tolist() == [len(event.answer.text)] * 6

    result = workers.run("a", "bb", "exit 1", "nan log_z", rows=rows, see=look, options={"rows": True})
    assert sorted(result.answers) == [0, 1]
    assert sorted(file.name for file in rows.iterdir()) == [
        f"key{number}.{path}.npy" for number in (0, 1) for path in ("forward", "generate")
    ]


def test_rows_that_cannot_be_written_fail_their_case(workers: Workers, tmp_path: Path) -> None:
    (tmp_path / "key0.forward.npy").mkdir()
    (tmp_path / "key0.forward.npy" / "in the way").touch()
    result = workers.run("a", "b", rows=tmp_path, options={"rows": True})
    assert sorted(result.answers) == [1]
    assert "the answer could not be handed over: " in result.error.message
    assert list(tmp_path.glob(".*.tmp")) == []


def test_children_end_with_a_worker_that_is_done(workers: Workers) -> None:
    result = workers.run("children", "a")
    pids = list(map(int, result.answers[0].text.split()))
    assert len(pids) == 2
    assert workers.gone(int(result.loads[0]["group"]))


def test_a_crash_is_noticed_though_a_child_holds_the_pipe_open(workers: Workers) -> None:
    result = workers.run("children exit", "a", batch_size=1)
    assert sorted(result.answers) == [1]
    assert "exited with code 9" in result.error.message


def test_the_engine_is_closed_in_good_order(workers: Workers, tmp_path: Path) -> None:
    workers.run("a", options={"closed": str(tmp_path / "closed")})
    assert (tmp_path / "closed").read_text() == "closed in good order"


def test_an_engine_that_does_not_close_is_killed(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.workers.process._CLOSE_SECONDS", 0.3)
    result = workers.run("a", options={"close": "hang"})
    assert sorted(result.answers) == [0]


@pytest.fixture
def halfway(workers: Workers) -> Iterator[tuple[Iterator[Event], int]]:
    """A run whose worker has children and is hanging, and the worker's group."""
    events = workers.start(workers.job(batch_size=1), ["children", "hang"])
    group = 0
    for event in events:
        if isinstance(event, Loaded):
            group = int(str(event.fingerprint["group"]))
        if isinstance(event, Scored):
            break
    assert len(workers.living(group)) == 5, "worker, watcher, three children"
    yield events, group
    assert workers.gone(group)


def test_closing_the_iterator_ends_everything(workers: Workers, halfway: tuple[Iterator[Event], int]) -> None:
    events, group = halfway
    events.close()  # type: ignore[attr-defined]
    assert workers.gone(group)


def test_an_interrupt_from_the_keyboard_ends_everything(
    workers: Workers, halfway: tuple[Iterator[Event], int]
) -> None:
    events, group = halfway
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(events)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert workers.gone(group)


@pytest.mark.parametrize("prompt", ["children", "hang-holding-the-lock", "hang"])
def test_a_worker_ends_when_its_parent_is_killed(workers: Workers, prompt: str) -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from harness.engines.contract import EngineSettings, Request\n"
        "from harness.workers import Job, Loaded, run\n"
        f"settings = EngineSettings(kind={str(workers.FAKE_ENGINE)!r}, model='', dtype='', device='',"
        " paths=(), top_k=0, batch_size=1)\n"
        "job = Job(python=sys.executable, settings=settings, load_seconds=60, case_seconds=60,"
        f" log=Path({str(workers.folder / 'log')!r}))\n"
        f"requests = [(p, Request(case=p, prompt=p, letters=('A',))) for p in ({prompt!r}, 'nap 60')]\n"
        "for event in run(job, requests):\n"
        "    if isinstance(event, Loaded):\n"
        "        print(event.fingerprint['group'], flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        group = int(parent.stdout.readline())
        expected = 5 if prompt == "children" else 2
        assert workers.soon(lambda: len(workers.living(group)) == expected)
        parent.kill()
    assert workers.gone(group)


@pytest.fixture
def lingering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[WorkerProcess, int]]:
    """A worker with a child that SIGKILL does not reach, as one that is stuck in a driver's call."""
    program, started = tmp_path / "python", tmp_path / "started"
    program.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {started}\nexec sleep 600\n")
    program.chmod(0o755)
    worker = WorkerProcess(str(program), tmp_path / "log")
    while not (started.exists() and started.read_text()):
        time.sleep(0.02)
    child = int(started.read_text())

    def kill_but_the_child(group: int, signal_number: int) -> None:
        if signal_number:
            os.kill(group, signal_number)

    monkeypatch.setattr(os, "killpg", kill_but_the_child)
    yield worker, child
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def test_all_that_a_worker_started_is_waited_for(lingering: tuple[WorkerProcess, int]) -> None:
    worker, child = lingering
    timer = threading.Timer(1.0, os.kill, (child, signal.SIGKILL))
    timer.start()
    began = time.monotonic()
    worker.kill()
    assert time.monotonic() - began > 0.9
    assert "did not end" not in worker.log_tail()


def test_what_does_not_end_is_waited_for_no_longer_than_that(
    lingering: tuple[WorkerProcess, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.workers.process._GROUP_SECONDS", 0.3)
    worker, child = lingering
    worker.kill()
    assert f"processes [{child}] of this worker did not end within 0.3 s of SIGKILL" in worker.log_tail()


def test_what_is_dead_and_not_buried_is_not_waited_for() -> None:
    # As in a container whose first process buries nobody: this one is made the parent of orphans.
    script = (
        "import ctypes, os, signal, subprocess\n"
        "from harness.workers.process import living\n"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"  # PR_SET_CHILD_SUBREAPER
        "shell = subprocess.Popen(['sh', '-c', 'sleep 600 & echo; wait'], start_new_session=True,"
        " stdout=subprocess.PIPE)\n"
        "shell.stdout.readline()\n"
        "assert len(living(shell.pid)) == 2\n"
        "os.killpg(shell.pid, signal.SIGKILL)\n"
        "shell.wait()\n"
        "while living(shell.pid): pass\n"
        "os.killpg(shell.pid, 0)\n"  # raises where the group is gone
        "print('dead, not buried')\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "dead, not buried\n", done.stderr


@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (0, "exited with code 0"),
        (-15, "was killed by signal 15 (SIGTERM)"),
        (-34, "was killed by signal 34 (SIGRTMIN)"),
        (-99, "was killed by signal 99 (of unknown name)"),
        (None, "closed its pipe without ending and was killed"),
    ],
)
def test_how_it_ended(returncode: int | None, words: str) -> None:
    assert how_it_ended(returncode) == words


def test_a_worker_that_closes_its_pipe_is_ended(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.workers.conversation._EXIT_SECONDS", 0.2)
    result = workers.run("hang-up", "a", batch_size=1)
    assert sorted(result.answers) == [1]
    assert "closed its pipe without ending and was killed" in result.error.message


def test_the_parents_side_imports_no_engine() -> None:
    code = "import sys, harness.workers; print(sorted({m.partition('.')[0] for m in sys.modules}))"
    with contextlib.chdir(os.sep):
        shown = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
    modules = set(shown.strip("[]\n").replace("'", "").split(", "))
    assert "subprocess" in modules
    assert not modules & {
        "torch",
        "transformers",
        "lmdeploy",
        "tokenizers",
        "PIL",
        "pydantic",
        "yaml",
        "rich",
    }

"""The real thing: LMDeploy's ``api_server`` started on the CPU, scored with images, and killed in between.

It is started twice and the pipeline once, which takes most of a minute.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from harness.cases.folder import load
from harness.cases.suites import Case
from harness.checks.agreement import check_agreement, compare
from harness.checks.expected_letter import check_expected_letter
from harness.checks.stages import check_stages
from harness.checks.tolerances import DEFAULTS
from harness.engines.contract import EngineSettings, Json
from harness.errors import EngineError, ErrorKind
from harness.recordings.store import Recording
from harness.scoring.subjects import request_for
from harness.workers import Failed, Job, Loaded, Scored, run
from harness.workers.process import WorkerProcess, start_worker

pytestmark = pytest.mark.slow  # a real server and a real pipeline are started

CASES = Path(__file__).parents[3] / "cases"
MODEL = CASES / "models" / "embedded"
BEFORE = ("shapes.red-circle-colour", "answer_line.yellow-circle-colour")
AFTER = ("chinese.widest-yellow-circles-colour", "answer_line.stated-count", "answer_line.blue-ring-shape")
NAMES = (*BEFORE, *AFTER)


def case(name: str) -> Case:
    (found,) = [case for suite in load(CASES).suites for case in suite.cases if case.name == name]
    return found


def settings(kind: str, *, top_k: int = 20, **options: Json) -> EngineSettings:
    paths = {"api": ("chat", "scored"), "lmdeploy": ("two-stage",)}[kind]
    return EngineSettings(
        kind=kind,
        model=str(MODEL),
        dtype="float32",
        device="cpu",
        paths=paths,
        top_k=top_k,
        batch_size=len(BEFORE),
        options=options,
    )


@dataclass
class Scoring:
    """What came of one engine, by case, and the servers that it had, as process ids."""

    answers: dict[str, Recording]
    errors: dict[str, EngineError]
    loaded: list[Loaded]
    servers: list[int]


def servers_of(worker: int) -> list[int]:
    """The servers that a worker started: its children that run the script."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_text()
        except OSError:
            continue
        if parent == worker and "lmdeploy_script.py" in command:
            found.append(int(folder.name))
    return found


def score(engine: EngineSettings, names: Sequence[str], folder: Path, *, kill_after: int = 0) -> Scoring:
    """Score cases of ``cases/``; after ``kill_after`` answers the server is killed."""
    log = folder / f"{engine.kind}.log"
    job = Job(python=sys.executable, settings=engine, load_seconds=300, case_seconds=120, log=log)
    workers: list[WorkerProcess] = []

    def start(job: Job) -> WorkerProcess:
        workers.append(start_worker(job))
        return workers[-1]

    made = Scoring({}, {}, [], [])
    profile = next(profile for profile in load(CASES).profiles if profile.name == "embedded")
    requests = [(name, request_for(case(name), profile)) for name in names]
    with closing(run(job, requests, start=start)) as events:
        for event in events:
            match event:
                case Loaded():
                    made.loaded.append(event)
                    made.servers += servers_of(workers[-1].pid)
                case Scored():
                    made.answers[event.key] = Recording(
                        key=event.key,
                        case=event.key,
                        engine=engine.kind,
                        answer=event.answer,
                        fingerprint=dict(made.loaded[-1].fingerprint),
                    )
                    if len(made.answers) == kill_after:
                        os.kill(made.servers[-1], signal.SIGKILL)
                case Failed():
                    made.errors[event.key] = event.error
    return made


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Scoring:
    folder = tmp_path_factory.mktemp("served")
    # The server gives 20 entries, which it is to be asked and not assumed.
    return score(settings("api", top_k=64, serve=True, timeout=100.0), NAMES, folder, kill_after=len(BEFORE))


@pytest.fixture(scope="module")
def piped(tmp_path_factory: pytest.TempPathFactory) -> Scoring:
    return score(settings("lmdeploy"), NAMES, tmp_path_factory.mktemp("piped"))


@pytest.mark.parametrize("name", [*BEFORE, *AFTER[1:]])
def test_the_server_agrees_with_the_pipeline(served: Scoring, piped: Scoring, name: str) -> None:
    ours, theirs = served.answers[name], piped.answers[name]
    letters = case(name).letters
    assert check_expected_letter(ours, case(name)), name
    agreement = compare(theirs, ours, letters)
    assert check_agreement(agreement, DEFAULTS["float32"]), str(
        check_agreement(agreement, DEFAULTS["float32"])
    )
    assert ours.answer.text == theirs.answer.text
    assert ours.answer.question.tokens == len(theirs.answer.prompt_ids)


@pytest.mark.parametrize("name", [*BEFORE, *AFTER[1:]])
def test_scored_inputs_tell_the_same_as_the_chat(served: Scoring, piped: Scoring, name: str) -> None:
    ours, theirs, letters = served.answers[name], piped.answers[name], case(name).letters
    chat, scored = ours.answer.readings
    assert (chat.path, scored.path) == ("chat", "scored")
    assert len(scored.logprobs) == len(chat.logprobs) == len(theirs.answer.generated_ids)
    assert check_stages(ours, letters, DEFAULTS["float32"]), str(
        check_stages(ours, letters, DEFAULTS["float32"])
    )
    # Every letter is known exactly, even those that the chat did not tell.
    first = replace(ours, answer=replace(ours.answer, readings=(scored, chat)))
    agreement = compare(theirs, first, letters)
    assert check_agreement(agreement, DEFAULTS["float32"])
    assert all(interval.exact for interval in agreement.b.intervals)


def test_the_server_that_was_killed_is_an_error_of_the_case_in_hand_only(served: Scoring) -> None:
    assert list(served.errors) == [AFTER[0]]
    error = served.errors[AFTER[0]]
    assert error.kind is ErrorKind.CRASH
    assert "LMDeploy's api_server was killed by signal 9" in error.message
    assert sorted(served.answers) == sorted({*NAMES} - {AFTER[0]})
    assert len(served.loaded) == 2


def test_no_server_outlives_its_worker(served: Scoring) -> None:
    assert len(served.servers) == 2
    alive = [pid for pid in served.servers if Path(f"/proc/{pid}/cmdline").exists()]
    assert [pid for pid in alive if "lmdeploy_script" in Path(f"/proc/{pid}/cmdline").read_text()] == []


def test_the_fingerprint_says_what_it_was(served: Scoring) -> None:
    told: Any = served.loaded[0].fingerprint
    assert told["device"].startswith("CPU device plug-in (")
    assert "api_server of LMDeploy 0.18" in told["device"]
    assert told["device_plugin"] is True
    assert (told["dtype"], told["served_model"], told["top_logprobs"]) == ("float32", "embedded", 20)
    assert told["tokens_told_as"] == "byte-level vocabulary"

"""Workers on a Ray cluster of several nodes on this machine, one of which ends in the middle of a run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli import main
from harness.engines.contract import Request
from harness.errors import EngineError, ErrorKind, HarnessError
from harness.workers import Failed
from harness.workers.executors import ray_executor
from harness.workers.executors.choosing import chosen
from tests.gate_folder import Folder
from tests.workers.conftest import Workers

HARNESS = [sys.executable, "-m", "harness.cli"]


class Cluster:
    def __init__(self) -> None:
        script = Path(__file__).with_name("ray_cluster.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.address = self.said()

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill_a_node(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()
        assert self.said() == "killed"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    made = Folder(tmp_path)
    made.write_profiles(p={"batch_size": 2})
    return made


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.process.communicate(timeout=240)


def gate(cluster: Cluster, *more: str) -> subprocess.Popen[str]:
    command = [*HARNESS, "gate", "p", "--executor", "ray", "--ray-address", cluster.address, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.cluster
@pytest.mark.engines
class TestCluster:
    """In this order: the last one ends a node of the cluster that all use."""

    def test_an_engines_death_is_an_error_as_on_one_machine(self, cluster: Cluster, folder: Folder) -> None:
        folder.write_suite("say A 1", "lmdeploy: die", *(f"say A {n}" for n in range(2, 6)))
        printed, told = gate(cluster, "--recordings", "ray").communicate()
        assert "ERROR  s.c1" in printed
        assert "signal 9" in printed
        assert "actors lost" not in told
        logs = [file.read_text() for file in Path("ray/logs").glob("p-lmdeploy.*.log")]
        assert len(logs) == 2
        assert sum(log.count("worker in ") for log in logs) <= 3  # the dead one's place is taken once

    def test_a_lost_node_costs_nothing_and_changes_nothing(
        self, cluster: Cluster, folder: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder.write_suite(*(f"say A slow {n}" for n in range(24)))
        running = gate(cluster, "--recordings", "ray")
        assert Workers.soon(lambda: recorded(folder) >= 4, seconds=60)
        cluster.kill_a_node()
        assert recorded(folder) < 24
        printed, told = running.communicate(timeout=120)
        assert running.returncode == 0, printed
        assert ", 1 actors lost" in told
        assert main(["gate", "p", "--recordings", "here"]) == 0
        # Ray itself may tell of the node before.
        assert printed[printed.index("SAME: ") :] == capsys.readouterr().out
        assert main(["merge", "ray", "--into", "here"]) == 0
        assert "ray: 0 recordings taken, 48 there already, 0 with another" in capsys.readouterr().out


def recorded(folder: Folder) -> int:
    """How many answers of the reference are recorded on the cluster."""
    files = (folder.path / "ray" / "recordings").glob("torch-*.jsonl")
    return sum(file.read_text().count('"like":') for file in files)


@pytest.mark.cluster
@pytest.mark.engines
def test_no_cluster_is_a_refusal_that_says_how_to_start_one(folder: Folder) -> None:
    folder.clean(1)
    command = [*HARNESS, "gate", "p", "--executor", "ray", "--ray-address", "127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--ray-address: found 127.0.0.1:1, where no Ray cluster answers" in done.stdout
    assert "ray start --head" in done.stdout


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(HarnessError, match=r"pip install 'vlm-consistency-harness\[ray\]'"):
        chosen(None, "ray", None)


@pytest.mark.parametrize(
    ("options", "said"), [((None, None, "a:1"), "alone"), (("0", "ray", None), "beside it")]
)
def test_options_that_do_not_go_together(options: tuple[Any, Any, Any], said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        chosen(*options)


def report(**changes: Any) -> ray_executor._Report:
    fields: dict[str, Any] = {"host": "b", "code": ray_executor._code(), "sees": True}
    return ray_executor._Report(**{**fields, "installed": {"gpus": ["A100"], "cores": 8}, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"installed": {"gpus": ["H100"], "cores": 8}},
            r"found unlike machines, a and b: gpus \['A100'\] and",
        ),
        ({"code": "0"}, "b has another harness"),
        ({"sees": False}, "b does not see the folder of recordings"),
        ({"error": {"kind": ErrorKind.LOAD.value, "message": "no such interpreter"}}, "no such interpreter"),
    ],
)
def test_a_machine_that_is_not_like_the_others_is_refused(
    workers: Workers, changes: dict[str, Any], said: str
) -> None:
    executor, job = executor_with(Losing()), workers.job()
    executor._looked[job.python, 0] = report(host="a")
    executor._require_alike(job, report())
    with pytest.raises(EngineError, match=said):
        executor._require_alike(job, report(**changes))


GAVE_UP: dict[str, str] = {"kind": ErrorKind.TIMEOUT.value, "message": "the engine's own"}


class Losing:
    """In the place of Ray: loses every actor ``times``, in whatever it does."""

    class exceptions:  # noqa: N801 - as in Ray
        class RayError(Exception): ...

        class RayTaskError(RayError): ...

        class GetTimeoutError(RayError): ...

    def __init__(self, times: int = 99) -> None:
        self.times = times

    def get(self, reference: Any, *, timeout: float) -> Any:
        self.times -= 1
        if self.times >= 0:
            raise self.exceptions.RayError("the node ended\nand more")
        return reference

    def kill(self, actor: Any) -> None: ...


class Actor:
    """In the place of an actor's handle: what is asked of it is there at once."""

    look = SimpleNamespace(remote=lambda *_: report())
    settle = SimpleNamespace(remote=lambda batch: [("failed", key, GAVE_UP) for key, _ in batch])
    close = SimpleNamespace(remote=lambda: None)


def executor_with(ray: Any) -> ray_executor.RayExecutor:
    executor = ray_executor.RayExecutor.__new__(ray_executor.RayExecutor)  # Ray itself need not be there
    executor._ray, executor._lost, executor._looked = ray, 0, {}
    executor._actor = lambda *_: Actor()  # type: ignore[method-assign]
    return executor


@pytest.mark.parametrize(
    ("times", "message", "lost"),
    [
        (2, "the engine's own", 2),
        (99, "Ray lost the actor that asked this batch, 3 times: the node ended", 6),
    ],
)
def test_what_ray_loses_is_asked_again_three_times_at_most(
    workers: Workers, tmp_path: Path, times: int, message: str, lost: int
) -> None:
    requests = [(f"key{n}", Request(case=f"s.c{n}", prompt="a", letters=("A",))) for n in range(4)]
    executor, job = executor_with(Losing(times)), workers.job(batch_size=2)
    executor._cache = tmp_path
    found = list(executor._ask(job, 4, iter([requests[:2], requests[2:]])))
    failed = [event for event in found if isinstance(event, Failed)]
    assert [event.key for event in failed] == ["key0", "key1", "key2", "key3"]
    assert {event.error.message for event in failed} == {message}
    assert executor._lost == lost


def test_an_error_comes_through_as_it_was() -> None:
    error = EngineError(ErrorKind.TIMEOUT, "words", log="l", log_tail="t", refused="r")
    again = ray_executor._from_data(ray_executor._as_data(error))
    assert (str(again), again.refused) == (str(error), "r")

"""Several workers of one engine, each on devices of its own. Workers tell what they see; no GPU is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.engines.contract import EngineSettings, Request
from harness.errors import EngineError, ErrorKind, HarnessError
from harness.workers import Event, Failed, Loaded, Scored, gpu_turn, run
from harness.workers.executors import devices
from harness.workers.executors.devices import Devices, gpus_per_worker, parse_devices
from tests.workers.conftest import Workers


@pytest.fixture(autouse=True)
def no_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(devices, "free_memory", lambda _: {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def requests(*prompts: str) -> list[tuple[str, Request]]:
    return [
        (f"key{number}", Request(case=f"suite.case-{number}", prompt=prompt, letters=("A", "B")))
        for number, prompt in enumerate(prompts)
    ]


@pytest.mark.parametrize(
    ("text", "visible", "gpus", "cpus"),
    [
        ("0,1", None, ("0", "1"), 0),
        ("0,1", "3,5", ("3", "5"), 0),
        ("1", "GPU-a, GPU-b", ("GPU-b",), 0),
        ("1,0", "MIG-a,MIG-b", ("MIG-b", "MIG-a"), 0),
        ("cpu,cpu", "", (), 2),
        ("0,cpu", "7", ("7",), 1),
    ],
)
def test_numbers_count_the_callers_own(
    text: str, visible: str | None, gpus: tuple[str, ...], cpus: int
) -> None:
    variables = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert parse_devices(text, variables) == Devices(gpus=gpus, cpus=cpus)


@pytest.mark.parametrize(
    ("text", "visible", "bad"),
    [("2", "3,5", "2"), ("0,0", None, "0"), ("a", None, "a"), ("0,", None, ""), ("0", "", "0")],
)
def test_what_is_none_is_refused(text: str, visible: str | None, bad: str) -> None:
    variables = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    with pytest.raises(HarnessError, match=f"--devices: found '{bad}' in '{text}'; allowed: "):
        parse_devices(text, variables)


class TestRun:
    def events(self, workers: Workers, executor: Devices, *prompts: str, **fields: Any) -> list[Event]:
        return list(executor.run(workers.job(**fields), requests(*prompts)))

    def test_each_worker_sees_its_own_gpu_and_has_a_log(self, workers: Workers) -> None:
        found = self.events(
            workers,
            Devices(("3", "MIG-b"), 0),
            *(f"variable CUDA_VISIBLE_DEVICES {n}" for n in range(6)),
            batch_size=1,
            device="cuda",
        )
        texts = {event.key: event.answer.text for event in found if isinstance(event, Scored)}
        assert len(texts) == 6
        assert {*texts.values()} == {"3", "MIG-b"}
        assert sorted(file.name for file in workers.folder.glob("*.log")) == [
            "engine.gpu-0.log",
            "engine.gpu-1.log",
        ]

    def test_batches_are_whole_and_answers_those_of_one_worker(self, workers: Workers) -> None:
        prompts = [f"company {n}" for n in range(11)]
        one = {
            event.key: event.answer
            for event in run(workers.job(batch_size=3), requests(*prompts))
            if isinstance(event, Scored)
        }
        found = self.events(workers, Devices((), 2), *prompts, batch_size=3)
        assert {e.key: e.answer for e in found if isinstance(e, Scored)} == one
        groups: set[Any] = {
            e.loaded["group"] for e in found if isinstance(e, Scored) and e.loaded is not None
        }
        assert len(groups) == 2
        assert all(workers.gone(group) for group in groups)

    def test_who_kills_one_worker_is_blamed_as_with_one(self, workers: Workers) -> None:
        found = self.events(workers, Devices((), 2), "a", "exit 3", "b", "c", "d", "e", batch_size=2)
        (failed,) = [event for event in found if isinstance(event, Failed)]
        assert failed.key == "key1"
        assert failed.error.kind is ErrorKind.CRASH
        assert len([event for event in found if isinstance(event, Scored)]) == 5

    def test_an_engine_that_is_not_there_on_one_of_them_is_not_there(self, workers: Workers) -> None:
        found = self.events(
            workers,
            Devices(("0", "1"), 0),
            *map(str, range(50)),
            batch_size=1,
            device="cuda",
            options={"load": "unless CUDA_VISIBLE_DEVICES 0"},
        )
        outcomes = [event for event in found if isinstance(event, Scored | Failed)]
        assert sorted(event.key for event in outcomes) == sorted(f"key{n}" for n in range(50))
        failed = [event for event in outcomes if isinstance(event, Failed)]
        assert failed
        assert {event.error.kind for event in failed} == {ErrorKind.LOAD}

    def test_closing_ends_all_workers(self, workers: Workers) -> None:
        events = Devices((), 2).run(workers.job(batch_size=1), requests(*["hang"] * 4))
        groups: list[Any] = []
        for event in events:
            if isinstance(event, Loaded):
                groups.append(event.fingerprint["group"])
            if len(groups) == 2:
                break
        events.close()
        assert all(workers.gone(group) for group in groups)


def settings(**options: Any) -> EngineSettings:
    return EngineSettings(
        kind="lmdeploy",
        model="m",
        dtype="float16",
        device="cuda",
        paths=(),
        top_k=0,
        batch_size=1,
        options=options,
    )


def test_an_engine_of_two_gpus_has_two_to_a_worker() -> None:
    assert gpus_per_worker(settings(tp=2)) == gpus_per_worker(settings(engine_config={"tp": 2})) == 2
    assert Devices(("4", "5", "6", "7"), 0)._places(settings(tp=2)) == [
        ("gpu-0", {"CUDA_VISIBLE_DEVICES": "4,5"}),
        ("gpu-1", {"CUDA_VISIBLE_DEVICES": "6,7"}),
    ]
    with pytest.raises(EngineError, match="found 1 GPUs, where tp is 2; allowed: a multiple"):
        Devices(("4",), 0)._places(settings(tp=2))


def test_an_engine_on_the_cpu_takes_no_gpu_and_a_server_is_asked_by_one() -> None:
    assert Devices(("4",), 0)._places(replace(settings(), device="cpu")) == [("", {})]
    assert Devices(("4", "5"), 0)._places(settings(url="http://localhost:1")) == [("", {})]


def test_gpus_of_two_kinds_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def probe(python: str, *, environment: Mapping[str, str], **_: Any) -> dict[str, Any]:
        return {"gpus": [{"0": "A100", "1": "H100", "2": "A100"}[environment["CUDA_VISIBLE_DEVICES"]]]}

    monkeypatch.setattr(devices, "probe", probe)
    ask: dict[str, Any] = {"cache": tmp_path, "show": lambda _: None}
    assert Devices(("0", "2"), 0).probe("python", settings(), **ask) == {"gpus": ["A100"]}
    with pytest.raises(EngineError, match=r"found GPUs of several kinds: \['A100'\] and \['H100'\]"):
        Devices(("0", "1"), 0).probe("python", settings(), **ask)


def test_a_mig_instance_is_locked_by_itself() -> None:
    assert gpu_turn.free_memory({"CUDA_VISIBLE_DEVICES": "MIG-a"}) == {"MIG-a": None}

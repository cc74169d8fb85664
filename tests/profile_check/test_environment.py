"""The environment of an engine: loads it, lacks something, or is not made yet."""

from __future__ import annotations

import sys

import pytest

from harness.cases.folder import load
from harness.cases.profiles import EngineSpec
from harness.environments.checking import Loadable, check_loadable
from harness.environments.store import Environments
from harness.machine.findings import Mark
from harness.machine.nvidia import Gpu
from harness.profile_check import environment
from harness.profile_check.checking import ProfileCheck
from tests.profile_check.conftest import Checked


def test_versions_are_told(checked: Checked) -> None:
    checked.loadable = Loadable(python=sys.executable, found={"torch": "2.6"}, notes=("old",))
    finding = checked.of("environment")
    assert (finding.mark, finding.text) == (Mark.RIGHT, "torch 2.6\nnote: old")


def test_what_is_missing_is_wrong(checked: Checked) -> None:
    checked.write(engine={"python": sys.executable})
    checked.loadable = Loadable(
        python="/p", found={}, missing=("torch: gone", "x"), mend="/p -m pip install x"
    )
    found = {finding.topic: finding for finding in checked.findings()}
    assert found["environment"].mark is Mark.WRONG
    assert found["environment"].text == "/p: missing: torch: gone; x"
    assert found["environment"].command == "/p -m pip install x"
    assert str(found["environment"].place) == "profiles.yaml:9:17"
    assert found["letters"].mark is Mark.UNKNOWN


def test_an_interpreter_that_does_not_start(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "check_loadable", check_loadable)
    python = checked.folder / "python"
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    checked.write(engine={"python": "./python"})
    finding = checked.of("environment")
    assert finding.mark is Mark.WRONG
    assert "exit code 3" in finding.text


def test_one_that_is_not_made_cannot_be_judged(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "check_loadable", check_loadable)
    checked.write(engine={"requirements": ["six"]})
    finding = checked.of("environment")
    assert finding.mark is Mark.UNKNOWN
    assert "six" in finding.text
    assert "not made" in finding.text
    assert finding.command == "harness env make p-e --cases . --environments environments"
    assert checked.of("letters").mark is Mark.UNKNOWN


def test_a_field_that_lmdeploy_lacks_is_wrong_at_its_place(checked: Checked) -> None:
    fields = ("session_len", "prefill_interval")
    checked.loadable = Loadable(python=sys.executable, found={"lmdeploy": "0.18.0"}, fields=fields)
    engine = {"kind": "lmdeploy", "options": {"session_len": 9}, "engine_config": {"prefil_interval": 8}}
    checked.write(engine=engine)
    finding = checked.of("engine_config")
    assert finding.mark is Mark.WRONG
    assert finding.text == "prefil_interval, a field that LMDeploy 0.18.0 does not have"
    assert finding.allowed == "prefill_interval (the nearest), session_len"
    assert str(finding.place) == "profiles.yaml:12:28"
    checked.write(engine={**engine, "engine_config": {"prefill_interval": 8}})
    assert [found for found in checked.findings() if found.topic == "engine_config"] == []


@pytest.mark.parametrize(("gpus", "device"), [((), "cpu"), ((Gpu("NVIDIA X1", "GPU-aa"),), "cuda")])
def test_a_gpu_is_asked_for_where_there_is_one(
    checked: Checked, monkeypatch: pytest.MonkeyPatch, gpus: tuple[Gpu, ...], device: str
) -> None:
    asked: list[str] = []

    def stand_in(label: str, spec: EngineSpec, environments: object) -> Loadable:
        asked.append(spec.settings.device)
        return checked.loadable

    monkeypatch.setattr(environment, "check_loadable", stand_in)
    checked.see(monkeypatch, *gpus)
    checked.write(device="cuda", dtype="float16")
    checked.findings()
    assert asked == [device]


@pytest.mark.parametrize("there", [True, False], ids=["a GPU", "none"])
@pytest.mark.parametrize(
    ("kind", "options", "topics"),
    [
        ("lmdeploy", {}, {"torch", "Python.h", "compiler"}),
        ("lmdeploy", {"backend": "turbomind"}, {"torch"}),
        ("torch", {}, {"torch"}),
    ],
)
def test_what_an_engine_on_a_gpu_needs_beside_packages(
    checked: Checked,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    options: dict[str, str],
    topics: set[str],
    there: bool,
) -> None:
    told = {"python": "3.11.7", "include": "/inc", "headers": False, "torch": "2.12.1+cu130", "cuda": "13.0"}
    monkeypatch.setattr("harness.environments.checking.toolkit", lambda python: told)
    monkeypatch.setenv("CC", "/no/compiler")
    checked.see(monkeypatch, *([Gpu("NVIDIA X1", "GPU-aa")] if there else []), driver="535.129.03")
    checked.write(device="cuda", dtype="float16", engine={"kind": kind, "options": options})
    needs = {look.topic: look.mark for look in checked.findings()}
    needs = {topic: mark for topic, mark in needs.items() if topic in {"torch", "Python.h", "compiler"}}
    expected = dict.fromkeys(topics, Mark.WRONG if there else Mark.UNKNOWN)
    assert needs == (expected if there else {**expected, "torch": Mark.RIGHT})
    # Where the driver is why torch sees no GPU, the engine cannot be loaded, and this tells the cause.
    checked.loadable = Loadable(
        python="/p", found={"torch": "2.12.1"}, missing=("a GPU",), mend="harness doctor"
    )
    assert {look.topic for look in checked.findings()} >= topics
    checked.write(dtype="float32", engine={"kind": kind})
    assert {look.topic for look in checked.findings()}.isdisjoint({"torch", "Python.h", "compiler"})


def test_what_loads_in_one_interpreter_is_tried_once(
    checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def stand_in(label: str, *_: object) -> Loadable:
        tried.append(label)
        return Loadable(python=sys.executable, found={"torch": "0"})

    monkeypatch.setattr(environment, "check_loadable", stand_in)
    (checked.folder / "profiles.yaml").write_text(
        "profiles:\n  p:\n    model: model\n    reference: one\n    engines:\n"
        "      one: {kind: torch}\n      two: {kind: torch}\n      other: {kind: lmdeploy}\n"
    )
    loaded = load(checked.folder)
    check = ProfileCheck(loaded, loaded.profiles[0], Environments(checked.folder / "environments"))
    for engine in loaded.profiles[0].engines:
        assert any(one.topic == "environment" for one in check.engine(engine))
    assert tried == ["p-one", "p-other"]

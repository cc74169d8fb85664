"""`harness doctor`: its page, its data and its exit status, on stand-in machines."""

from __future__ import annotations

import ctypes
import functools
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli import main
from harness.machine import nvidia
from harness.workers.interpreter_report import told
from tests.machine.stand_in_nvml import GIB, Nvml, no_library, write_driver_files

A100 = (("NVIDIA A100-SXM4-80GB", "GPU-eaf23aa1"),)
IDLE = {"memory": (80 * GIB, 79 * GIB), "capability": (8, 0), "cuda": 13000}
PROFILES = """\
profiles:
  cpu:
    model: m
    reference: torch
    engines: {torch: {}}
  gpu:
    model: org/not-here
    device: cuda
    dtype: float16
    reference: torch
    engines: {torch: {}, lmdeploy: {}, made: {kind: lmdeploy, requirements: [six]}}
  turbomind:
    model: m
    device: cuda
    dtype: float16
    reference: lmdeploy
    engines: {lmdeploy: {options: {backend: turbomind}}}
"""


@dataclass
class Machine:
    """A machine that has all that a run on a GPU needs, until something is taken from it."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def gpus(self, nvml: Nvml | None) -> None:
        library: Callable[[str], Any] = no_library if nvml is None else lambda _: nvml
        places: Any = {"proc": self.folder / "nvidia", "devices": self.folder / "dev"}
        read = functools.partial(nvidia.read_nvidia, library=library, **places)
        self.monkeypatch.setattr("harness.machine.nvidia.read_nvidia", read)

    def toolkit(self, **changes: Any) -> None:
        kit = {"python": "3.11.7", "include": "/usr/include/python3.11", "headers": True}
        kit |= {"torch": "2.12.1+cu130", "cuda": "13.0", **changes}
        self.monkeypatch.setattr("harness.workers.interpreter.toolkit", lambda python: kit)

    def disk(self, free: int) -> None:
        self.monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))

    def doctor(self, *arguments: str) -> tuple[int, dict[str, tuple[str, str, str]]]:
        """The exit status, and the findings that are not right: mark, text and command by topic."""
        status = main(["doctor", "--json", *arguments])
        findings = json.loads(self.capsys.readouterr().out)["findings"]
        found = {each["topic"]: (each["mark"], each["text"], each["command"]) for each in findings}
        return status, {topic: look for topic, look in found.items() if look[0] != "right"}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Machine:
    for name in filter(told, list(os.environ)):
        monkeypatch.delenv(name)
    for name in ("CC", "CUDA_VISIBLE_DEVICES", "HF_ENDPOINT", "HF_HUB_CACHE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.machine.looks._unreached", lambda address: "")
    (tmp_path / "gcc").write_text("#!/bin/sh\n")
    (tmp_path / "gcc").chmod(0o755)
    stand_in = Machine(tmp_path, monkeypatch, capsys)
    stand_in.gpus(Nvml(A100, driver="580.95.05", details=IDLE))
    stand_in.toolkit()
    stand_in.disk(50 * 10**9)
    return stand_in


@pytest.fixture
def cases(machine: Machine) -> Path:
    folder = machine.folder / "cases"
    (folder / "m").mkdir(parents=True)
    (folder / "m" / "config.json").write_text("{}")
    (folder / "s.yaml").write_text("defaults: {prompt: x, letters: [A, B]}\ncases:\n  - {id: a, expect: A}\n")
    (folder / "profiles.yaml").write_text(PROFILES)
    return folder


def test_a_machine_that_has_all(machine: Machine) -> None:
    assert machine.doctor() == (0, {})


def test_the_page(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.folder / "gcc").unlink()
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert main(["doctor", "--environments", "e"]) == 1
    *page, disk, memory, hub, variables, value, last = machine.capsys.readouterr().out.splitlines()
    assert page[:-1] == [
        "  ✓ driver       580.95.05, up to CUDA 13.0",
        "  ✓ GPU 0        NVIDIA A100-SXM4-80GB, compute capability 8.0, 79.0 of 80.0 GiB free",
        f"  ✓ torch        2.12.1+cu130 for CUDA 13.0; {sys.executable}",
        "  ✓ Python.h     /usr/include/python3.11/Python.h",
        "  ✗ compiler     neither gcc nor clang on PATH, and Triton compiles: LMDeploy's PyTorch engine ends "
        "at its first token without; CC may name one",
        "      next: apt-get install gcc",
    ]
    assert page[-1].startswith("  ✓ uv           uv ")
    assert disk == (
        f"  ✓ disk         50.0 GB free for recordings (1 GB) in {machine.folder / '.harness'}, "
        f"environments (1 GB) in {machine.folder / 'e'}, models (17 GB) in {machine.folder / 'hub' / 'hub'}"
    )
    assert memory.startswith(("  ✓ memory       ", "  ? memory       "))
    assert hub == "  ✓ hub          https://huggingface.co answers"
    assert (variables, value) == (
        "  ✓ variables    that may change answers, by which recordings are keyed:",
        "      NVIDIA_TF32_OVERRIDE=0",
    )
    assert last.startswith("1 wrong, ")


def test_no_compiler(machine: Machine) -> None:
    (machine.folder / "gcc").unlink()
    status, found = machine.doctor()
    assert (status, found["compiler"][0], list(found)) == (1, "wrong", ["compiler"])


def test_an_old_driver(machine: Machine) -> None:
    machine.gpus(Nvml(A100, driver="535.104.05", details={**IDLE, "cuda": 12020}))
    status, found = machine.doctor()
    assert (status, list(found)) == (1, ["torch"])
    mark, text, command = found["torch"]
    assert mark == "wrong"
    assert text.startswith(
        "driver 535.104.05 is too old for torch 2.12.1+cu130 (CUDA 13.0), which needs 580 or"
    )
    assert command == "export UV_TORCH_BACKEND=auto"
    machine.toolkit(torch="2.6.0+cu124", cuda="12.4")
    assert machine.doctor() == (0, {})


def test_no_nvml(machine: Machine) -> None:
    """A container with the driver's files alone, and no nvidia-smi: nothing is asked of that program."""
    machine.gpus(None)
    write_driver_files(machine.folder, "NVIDIA A10G", driver="580.95.05")
    status, found = machine.doctor()
    assert (status, list(found)) == (0, ["driver"])
    assert found["driver"][0] == "unknown"
    assert "libnvidia-ml.so.1: cannot open shared object file" in found["driver"][1]
    write_driver_files(machine.folder, driver="535.129.03")
    assert machine.doctor()[1]["torch"][0] == "wrong"


def test_a_machine_without_a_gpu_has_nothing_wrong(machine: Machine) -> None:
    machine.gpus(None)
    (machine.folder / "gcc").unlink()
    machine.toolkit(headers=False)
    status, found = machine.doctor()
    assert status == 0
    assert {topic: mark for topic, (mark, *_) in found.items()} == dict.fromkeys(
        ("GPU", "Python.h", "compiler"), "unknown"
    )


@pytest.mark.parametrize(
    ("details", "topic", "mark", "text"),
    [
        ({"mig": ()}, "GPU 0", "wrong", "MIG is on without an instance"),
        (
            {"memory": (80 * GIB, GIB), "processes": ((4242, "/opt/bin/python3 -m server", 79 * GIB),)},
            "GPU 0",
            "wrong",
            "1.0 of 80.0 GiB free; held by python3 (4242, 79.0 GiB)",
        ),
        (
            {"memory": (80 * GIB, 20 * GIB), "processes": ((4242, None, 2**64 - 1),)},
            "GPU 0",
            "unknown",
            "20.0 of 80.0 GiB free; held by ? (4242)",
        ),
    ],
    ids=["MIG", "full", "held"],
)
def test_a_gpu_that_is_not_free(
    machine: Machine, details: Mapping[str, Any], topic: str, mark: str, text: str
) -> None:
    machine.gpus(Nvml(A100, driver="580.95.05", details={**IDLE, **details}))
    status, found = machine.doctor()
    assert (status, list(found)) == (int(mark == "wrong"), [topic])
    assert found[topic][0] == mark
    assert text in found[topic][1]


def test_a_gpu_that_is_named_and_not_there(machine: Machine) -> None:
    machine.monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    status, found = machine.doctor()
    assert (status, list(found)) == (1, ["CUDA_VISIBLE_DEVICES"])
    assert found["CUDA_VISIBLE_DEVICES"][2] == "export CUDA_VISIBLE_DEVICES=0"


def test_no_header(machine: Machine) -> None:
    machine.toolkit(headers=False)
    status, found = machine.doctor()
    assert (status, list(found)) == (1, ["Python.h"])


def test_no_uv(machine: Machine) -> None:
    machine.monkeypatch.setitem(sys.modules, "uv", None)
    status, found = machine.doctor()
    assert (status, list(found)) == (1, ["uv"])
    assert found["uv"][2] == f"{sys.executable} -m pip install uv"


def test_a_full_disk(machine: Machine) -> None:
    machine.disk(10**8)
    status, found = machine.doctor()
    assert (status, list(found)) == (1, ["disk"])
    machine.disk(5 * 10**9)
    status, found = machine.doctor()
    assert (status, found["disk"][0]) == (0, "unknown")


def test_the_room_that_a_profile_needs(machine: Machine, cases: Path) -> None:
    """An environment for each `requirements` of its own, and none where nothing is to be made or fetched."""
    made = "made: {kind: lmdeploy, requirements: [six]}"
    others = f"{made}, same: {made[6:]}, other: {made[6:].replace('six', 'pip')}"
    (cases / "profiles.yaml").write_text(PROFILES.replace(made, others))
    of_gpu = ["recordings (1 GB)", "environments (16 GB)", "models (17 GB)"]
    for profile, needs in (("gpu", of_gpu), ("cpu", of_gpu[:1])):
        main(["doctor", "--profile", profile])
        (line,) = [line for line in machine.capsys.readouterr().out.splitlines() if " disk " in line]
        assert re.findall(r"\w+ \(\d+ GB\)", line) == needs
    main(["doctor"])
    assert "environments (16 GB)" in machine.capsys.readouterr().out


def test_environments_that_are_not_made(machine: Machine, cases: Path) -> None:
    """Of all profiles they are counted; a profile on the CPU asks nothing of a driver."""
    text = PROFILES.replace(
        "engines: {torch: {}}", "engines: {torch: {}, other: {kind: torch, requirements: [pip]}}"
    )
    (cases / "profiles.yaml").write_text(text)
    assert machine.doctor("--environments", "e")[1]["torch"] == (
        "unknown",
        "2 environments of cases: each is not made, so what its torch needs of the driver is not known",
        "harness env list --environments e",
    )
    assert machine.doctor("--profile", "cpu") == (0, {})


def test_no_network(machine: Machine) -> None:
    machine.monkeypatch.setattr("harness.machine.looks._unreached", lambda address: "no route")
    status, found = machine.doctor()
    assert (status, found["hub"][0]) == (0, "unknown")


@pytest.mark.usefixtures("cases")
def test_a_profile_is_asked_for_what_its_engines_need(machine: Machine) -> None:
    machine.gpus(None)
    (machine.folder / "gcc").unlink()
    machine.toolkit(headers=False)
    machine.monkeypatch.setattr("harness.machine.looks._unreached", lambda address: "no route")
    machine.monkeypatch.setitem(sys.modules, "uv", None)
    assert machine.doctor("--profile", "cpu") == (0, {})
    status, found = machine.doctor("--profile", "gpu")
    assert (status, set(found)) == (1, {"GPU", "Python.h", "compiler", "uv", "hub", "model", "torch"})
    assert found.pop("torch") == (
        "unknown",
        "environment of gpu-made is not made, so what its torch needs of the driver is not known",
        "harness env make gpu-made",
    )
    assert {mark for mark, *_ in found.values()} == {"wrong"}
    assert found["model"][1:] == ("org/not-here is not in hub/hub", "hf download org/not-here")
    assert "compiler" not in machine.doctor("--profile", "turbomind")[1]


@pytest.mark.parametrize(
    ("reached", "offline", "mark"),
    [("", "", "unknown"), ("no route", "", "wrong"), ("", "1", "wrong")],
    ids=["reached", "not reached", "offline"],
)
def test_each_model_that_is_not_whole_in_the_cache(
    machine: Machine, cases: Path, reached: str, offline: str, mark: str
) -> None:
    """Absent, or there in part: a line each, with its own revision."""
    machine.monkeypatch.setattr("harness.machine.looks._unreached", lambda address: reached)
    machine.monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    engines = "torch: {model: org/part, revision: v2}, lmdeploy: {model: org/absent, revision: v1}"
    text = PROFILES.replace("org/not-here", "org/part\n    revision: v1")
    (cases / "profiles.yaml").write_text(text.replace("torch: {}, lmdeploy: {}", engines))
    part = machine.folder / "hub" / "hub" / "models--org--part" / "snapshots" / "v1"
    part.mkdir(parents=True)
    (part / "config.json").write_text("{}")
    assert main(["doctor", "--json", "--profile", "gpu"]) == int(mark == "wrong")
    findings = json.loads(machine.capsys.readouterr().out)["findings"]
    models = {each["text"]: (each["mark"], each["command"]) for each in findings if each["topic"] == "model"}
    fetch = "HF_HUB_OFFLINE=0 hf download" if offline else "hf download"
    assert models == {
        "org/part at revision v2 is not in hub/hub": (mark, f"{fetch} org/part --revision v2"),
        "org/absent at revision v1 is not in hub/hub": (mark, f"{fetch} org/absent --revision v1"),
        f"org/part at revision v1: {part.relative_to(machine.folder)} has no weights, no tokenizer": (
            mark,
            f"{fetch} org/part --revision v1",
        ),
    }


@pytest.mark.usefixtures("cases")
def test_a_profile_that_is_not_there(machine: Machine) -> None:
    assert main(["doctor", "--profile", "q"]) == 2
    assert machine.capsys.readouterr().err.startswith("profile: found 'q'; allowed: ")


@pytest.mark.usefixtures("cases")
def test_an_interpreter_and_what_two_of_them_share_is_told_once(machine: Machine, cases: Path) -> None:
    (machine.folder / "python").symlink_to(sys.executable)
    profiles = cases / "profiles.yaml"
    profiles.write_text(PROFILES.replace("engines: {torch: {}}", "engines: {torch: {python: ../python}}"))
    main(["doctor"])
    page = machine.capsys.readouterr().out
    assert page.count(f"; {sys.executable}, gpu-torch and 2 more") == 1
    assert page.count("; python, cpu-torch") == 1
    assert page.count("/usr/include/python3.11/Python.h") == 1


@pytest.mark.parametrize(
    "arguments", [("--profile", "cpu"), ("--cases", "cases"), ("--cases", "file")], ids=lambda words: words[1]
)
def test_cases_that_are_asked_for_and_not_there(machine: Machine, arguments: tuple[str, str]) -> None:
    (machine.folder / "file").touch()
    assert main(["doctor", *arguments]) == 2
    named = "file" if "file" in arguments else "cases"
    said = machine.capsys.readouterr()
    assert said.err == f"--cases: found {named}, no folder; allowed: one with profiles.yaml\n"
    assert said.out == ""


def test_a_wrong_command_line(machine: Machine) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["doctor", "--nope"])


def test_the_data(machine: Machine) -> None:
    """The form that docs/doctor.md gives."""
    processes = ((4242, "/opt/bin/python3", 60 * GIB),)
    machine.gpus(Nvml(A100, driver="580.95.05", details={**IDLE, "processes": processes}))
    machine.monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert main(["doctor", "--json", "all.json"]) == 0
    assert machine.capsys.readouterr().out.startswith("  ✓ driver"), "the page too"
    data = json.loads(Path("all.json").read_text())
    assert data["version"] == 1
    assert data["findings"][0] == {
        "mark": "right",
        "topic": "driver",
        "text": "580.95.05, up to CUDA 13.0",
        "command": "",
    }
    assert set(data["machine"]) == {*nvidia.Nvidia._fields, "pythons", "variables"}
    (gpu,) = data["machine"]["gpus"]
    assert gpu == {
        "name": "NVIDIA A100-SXM4-80GB",
        "uuid": "GPU-eaf23aa1",
        "total": 80 * GIB,
        "free": 79 * GIB,
        "capability": "8.0",
        "mig": None,
        "holders": [{"pid": 4242, "name": "python3", "held": 60 * GIB}],
    }
    assert data["machine"]["pythons"][sys.executable]["cuda"] == "13.0"
    assert data["machine"]["variables"] == {"NVIDIA_TF32_OVERRIDE": "0"}


def test_the_machine_that_this_is(machine: Machine) -> None:
    """Nothing of it replaced: a page, whatever is on it."""
    machine.monkeypatch.undo()
    machine.monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    machine.monkeypatch.chdir(machine.folder)
    assert (nvidia.read_nvidia.__kwdefaults__ or {})["library"] is ctypes.CDLL
    assert main(["doctor", "--environments", "e"]) in (0, 1)
    assert "not to be known from here" in machine.capsys.readouterr().out

"""`harness env`: what it prints, its exit status, and what it leaves on the disk."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.cases.folder import load
from harness.cli import main
from harness.environments.inventory import named_engines
from harness.environments.store import Environments
from harness.machine.nvidia import Gpu, Nvidia
from tests.environments.conftest import StandInUv, unseen

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[str], tuple[int, str]]

PROFILES = """\
profiles:
  p:
    model: m
    reference: torch
    engines:
      torch: {}
      old: {kind: torch, requirements: [six==1.0]}
      new: {kind: torch, requirements: [six==2.0]}
  q:
    model: m
    reference: torch
    engines:
      torch: {python: ../bin/python}
      same: {kind: torch, requirements: [six==1.0]}
"""


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandInUv:
    return StandInUv.in_place_of_uv(tmp_path / "uv", monkeypatch)


@pytest.fixture
def run(
    uv: StandInUv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    cases = tmp_path / "cases"
    (cases / "m").mkdir(parents=True)
    (cases / "m" / "config.json").write_text("{}")
    (cases / "s.yaml").write_text("defaults: {prompt: x, letters: [A, B]}\ncases:\n  - {id: a, expect: A}\n")
    (cases / "profiles.yaml").write_text(PROFILES)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)

    def run(arguments: str) -> tuple[int, str]:
        status = main(["env", *shlex.split(arguments), "--environments", "envs"])
        told = capsys.readouterr()
        return status, told.out + told.err

    return run


def made(tmp_path: Path) -> list[str]:
    return sorted(path.parent.name for path in (tmp_path / "envs").glob("*/harness-environment.json"))


def test_what_is_missing_is_made_and_listed(run: Run, tmp_path: Path, uv: StandInUv) -> None:
    status, told = run("list")
    assert status == 0
    assert told.splitlines()[:5] == [
        "p-old: six==1.0",
        "    not made, not resolved",
        "p-new: six==2.0",
        "    not made, not resolved",
        f"q-torch: {tmp_path / 'bin' / 'python'}, named by `python`",
    ]
    status, told = run("make")
    assert status == 0
    assert "p-old: resolving its requirements: six==1.0 ..." in told
    assert "q-same: " in told
    assert uv.commands == ["compile", "venv", "sync"] * 2, "p-old and q-same are one environment"
    status, told = run("list p/old")
    first = told.splitlines()[1]
    assert first.startswith("    made just now, used just now, Python 3.11.99, ")
    assert first.endswith(
        " of it not shared with uv's cache, " + f"{made_for(tmp_path, 'p-old')}, lock of 1 packages"
    )
    assert run("make")[0] == 0
    assert len(uv.calls) == 6


def made_for(tmp_path: Path, label: str) -> str:
    for name in made(tmp_path):
        marker = json.loads((tmp_path / "envs" / name / "harness-environment.json").read_text())
        if marker["engine"] == label:
            return name[:12]
    raise AssertionError(label)


@pytest.mark.parametrize(("name", "count"), [("p", 2), ("p/new", 1), ("p-old", 1), ("q-torch", 0)])
def test_names_choose(run: Run, tmp_path: Path, name: str, count: int) -> None:
    status, told = run(f"make {name}")
    assert status == 0
    assert len(made(tmp_path)) == count
    assert ("nothing to make" in told) == (count == 0)


@pytest.mark.parametrize("action", ["list", "make", "check", "remove"])
def test_an_unknown_name_is_a_wrong_command_line(run: Run, action: str) -> None:
    status, told = run(f"{action} p-odl")
    assert status == 2
    assert "found the name 'p-odl'; allowed: p-old (the nearest), p, " in told


def test_one_that_cannot_be_made_does_not_keep_others_from_it(
    run: Run, tmp_path: Path, uv: StandInUv
) -> None:
    uv.order(venv={"exit": 1, "say": "error: No space left on device"})
    status, told = run("make p-old")
    assert status == 1
    assert "cases/profiles.yaml:7:7" in told
    assert "then: harness env make p-old --environments envs" in told
    uv.order(compile={"exit": 1, "say": "error: No solution found"})
    status, told = run("make p-new p-old")
    assert status == 1
    assert (
        "engine p-new (cases/profiles.yaml:8:7, requirements: six==2.0): its requirements could not" in told
    )
    assert made_for(tmp_path, "p-old"), "its lock was there already"
    uv.order()
    assert run("make")[0] == 0


def test_make_again_resolves_anew(run: Run, uv: StandInUv) -> None:
    run("make p-old")
    status, told = run("make --again p-old")
    assert status == 0
    assert "p-old: the same lock as before" in told
    assert uv.commands == ["compile", "venv", "sync", "compile"]


def test_check_says_what_mends(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bin" / "python").unlink()
    package = {"version": None, "error": "ModuleNotFoundError: No module named 'torch'"}
    told = {"python": "3.12.0", "packages": {"torch": package}, "names": {}, "cuda": None}
    (tmp_path / "bin" / "python").write_text(f"#!/bin/sh\necho '{json.dumps(told).replace(chr(39), '_')}'\n")
    (tmp_path / "bin" / "python").chmod(0o755)
    status, out = run("check q")
    assert status == 1
    assert out.splitlines() == [
        f"q-torch: cannot be loaded in {tmp_path / 'bin' / 'python'}: Python 3.12.0",
        "    missing: torch: ModuleNotFoundError: No module named _torch_",
        f"    to mend: {tmp_path / 'bin' / 'python'} -m pip install 'torch>=2.6'",
        "q-same: cannot be loaded",
        "    missing: its environment, which is not made",
        "    to mend: harness env make q-same --environments envs",
    ]


def test_check_says_what_a_gpu_run_lacks(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that loads, on a machine whose driver is too old."""
    profiles = PROFILES.replace("torch: {python", "torch: {device: cuda, python")
    (tmp_path / "cases" / "profiles.yaml").write_text(profiles)
    told: dict[str, object] = {"python": "3.12.0", "packages": {}, "names": {}, "cuda": None}
    kit = {**told, "include": "/inc", "headers": False, "torch": "2.12.1+cu130", "cuda": "13.0"}
    python = tmp_path / "bin" / "python"
    python.unlink()
    loadable = f"case $1 in *loadable_report.py) echo '{json.dumps(told)}'; exit; esac"
    python.write_text(f"#!/bin/sh\n{loadable}\necho '{json.dumps(kit)}'\n")
    python.chmod(0o755)
    old = Nvidia((Gpu("NVIDIA X1", "GPU-aa"),), "535.129.03", "12.2", ("NVML",), True)
    monkeypatch.setattr("harness.machine.nvidia.read_nvidia", lambda: old)
    status, out = run("check q-torch")
    assert status == 1
    can, driver, mend = out.splitlines()
    assert can == f"q-torch: can be loaded in {python}: Python 3.12.0"
    assert driver.startswith("    ✗ torch        driver 535.129.03 is too old for torch 2.12.1+cu130 ")
    assert "UV_TORCH_BACKEND=auto" in mend
    new = old._replace(driver="580.95.05", cuda="13.0")
    monkeypatch.setattr("harness.machine.nvidia.read_nvidia", lambda: new)
    assert run("check q-torch") == (0, f"{can}\n")
    python.write_text("#!/bin/sh\nexit 3\n")
    status, out = run("check q-torch")
    assert (status, "missing: load: " in out) == (1, True), "one that does not start is asked no more"


def test_named_ones_are_removed_and_the_rest_stays(run: Run, tmp_path: Path) -> None:
    run("make")
    status, told = run("remove q/same")
    assert status == 0
    assert "freed " in told
    assert len(made(tmp_path)) == 1
    assert run("remove q/same") == (0, "nothing to remove\n")
    assert "q-same: six==1.0\n    not made, resolved as " in run("list")[1]
    name = made(tmp_path)[0][:12]
    assert run(f"remove {name}")[1].startswith(f"removed {name}: freed ")
    assert made(tmp_path) == []


def test_unused_are_those_that_no_profile_names(run: Run, tmp_path: Path) -> None:
    run("make")
    old = made_for(tmp_path, "p-old")
    text = PROFILES.replace("six==1.0", "six==3.0")
    (tmp_path / "cases" / "profiles.yaml").write_text(text)
    status, told = run("list")
    assert f"named by no profile of this folder:\n{old}: six==1.0, made for p-old of " in told
    status, told = run("remove --unused")
    assert status == 0
    assert told.startswith(f"removed {old}: ")
    assert len(made(tmp_path)) == 1


def test_old_are_those_that_no_run_has_used_for_long(run: Run, tmp_path: Path) -> None:
    run("make")
    old = made_for(tmp_path, "p-old")
    (hold,) = (tmp_path / "envs" / "holds").glob(f"{old}*")
    os.utime(hold, (time.time() - 5 * 86400,) * 2)
    assert run("remove --older-than 6")[1] == "nothing to remove\n"
    assert run("remove --older-than 4")[1].startswith(f"removed {old}: ")


def test_one_in_use_stays(run: Run, tmp_path: Path) -> None:
    run("make")
    environments = Environments(Path("envs"))
    (engine,) = (e for e in named_engines(load(Path("cases")).profiles) if e.label == "p-old")
    environments.interpreter(engine.label, engine.spec, unseen)
    status, told = run("remove p")
    assert status == 1
    assert f"{made_for(tmp_path, 'p-old')} is in use and stays" in told
    assert len(made(tmp_path)) == 1
    environments.close()


@pytest.mark.parametrize("arguments", ["remove", "remove --unused p", "remove --older-than 3 --unused"])
def test_removing_wants_to_know_what(run: Run, arguments: str) -> None:
    assert run(arguments) == (2, "found none or several of names, --unused and --older-than; allowed: one\n")


def test_mistakes_in_the_case_files_come_first(run: Run, tmp_path: Path) -> None:
    (tmp_path / "cases" / "profiles.yaml").write_text(PROFILES.replace("six==1.0", "six=1"))
    status, told = run("list")
    assert status == 1
    assert "2 problems in the case files" in told

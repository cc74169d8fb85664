"""Whether an engine can be loaded: what is missing, and the command that mends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.cases.profiles import EngineSpec
from harness.engines.requirements import LOADED_NAMES, REQUIREMENTS
from harness.environments import checking
from harness.environments.checking import check_loadable, needs_gpu
from harness.environments.store import Environments
from tests.environments.conftest import engine, unseen

if TYPE_CHECKING:
    from tests.environments.conftest import StandInUv


def interpreter(folder: Path, **changes: Any) -> str:
    """A stand-in for an interpreter with all that the torch engine needs, but for ``changes``."""
    packages = {name: {"version": "99.0", "error": None} for name in ("numpy", "jinja2", "pillow", "torch")}
    told = {"python": "3.12.1", "packages": packages, "names": {}, "cuda": None, **changes}
    program = folder / "python"
    program.write_text(f"#!/bin/sh\ncat <<'E'\nnoise\n{json.dumps(told)}\nE\n")
    program.chmod(0o755)
    return str(program)


def named(folder: Path, **changes: Any) -> EngineSpec:
    spec = engine(folder, "six")
    return replace(spec, environment=None, python=interpreter(folder, **changes))


def test_all_is_there(tmp_path: Path, environments: Environments) -> None:
    loadable = check_loadable("p-e", named(tmp_path), environments)
    assert loadable
    assert loadable.found["Python"] == "3.12.1"
    assert loadable.mend == ""


def test_an_old_python(tmp_path: Path, environments: Environments) -> None:
    loadable = check_loadable("p-e", named(tmp_path, python="3.9.2"), environments)
    assert not loadable
    assert loadable.missing == ("Python 3.11 or newer; found 3.9.2",)
    assert "name another `python`" in loadable.mend


def test_a_package_that_is_missing_is_installed_as_required(
    tmp_path: Path, environments: Environments
) -> None:
    packages = {"torch": {"version": None, "error": "ModuleNotFoundError: No module named 'torch'"}}
    spec = named(tmp_path, packages=packages, names={"transformers.Auto": "too"})
    loadable = check_loadable("p-e", spec, environments)
    assert loadable.missing == ("torch: ModuleNotFoundError: No module named 'torch'",)
    (wanted,) = (requirement for requirement in REQUIREMENTS["torch"] if requirement.startswith("torch>"))
    assert loadable.mend == f"{spec.python} -m pip install '{wanted}'"


def test_a_name_that_the_library_lacks(tmp_path: Path, environments: Environments) -> None:
    names = {"transformers.AutoX": "AttributeError: module transformers has no attribute AutoX"}
    loadable = check_loadable("p-e", named(tmp_path, names=names), environments)
    assert loadable.missing == (f"transformers.AutoX: {names['transformers.AutoX']}",)
    assert "'transformers>=" in loadable.mend


def test_a_version_out_of_range_is_a_note(tmp_path: Path, environments: Environments) -> None:
    packages = {"torch": {"version": "1.0", "error": None}}
    loadable = check_loadable("p-e", named(tmp_path, packages=packages), environments)
    assert loadable
    assert "torch 1.0 is outside" in loadable.notes[0]


def test_no_gpu_for_an_engine_on_cuda(tmp_path: Path, environments: Environments) -> None:
    loadable = check_loadable("p-e", named(tmp_path, cuda="it is False"), environments)
    assert loadable.missing == ("an NVIDIA GPU, for `device: cuda`: it is False",)
    assert "harness doctor" in loadable.mend


def test_an_interpreter_that_gives_no_report(tmp_path: Path, environments: Environments) -> None:
    spec = replace(engine(tmp_path, "six"), environment=None, python="/bin/false")
    loadable = check_loadable("p-e", spec, environments)
    assert "no report on itself" in loadable.missing[0]
    assert "profiles.yaml:7:5" in loadable.mend


@pytest.mark.usefixtures("uv")
def test_an_environment_is_not_made_to_be_checked(
    tmp_path: Path, environments: Environments, uv: StandInUv
) -> None:
    spec = engine(tmp_path, "six")
    loadable = check_loadable("p-e", spec, environments)
    assert loadable.missing == ("its environment, which is not made",)
    assert loadable.mend.startswith("harness env make p-e --cases ")
    assert uv.calls == []
    python = Path(environments.interpreter("p-e", spec, unseen).path)
    python.unlink()
    packages = {"torch": {"version": None, "error": "ModuleNotFoundError: no"}}
    python.symlink_to(interpreter(tmp_path, packages=packages))
    loadable = check_loadable("p-e", spec, environments)
    assert loadable.mend.startswith(f"add to `requirements` at {tmp_path / 'profiles.yaml'}:7:5: torch>=")


def test_every_kind_that_has_requirements_has_names() -> None:
    assert set(LOADED_NAMES) <= set(REQUIREMENTS)
    for kind, names in LOADED_NAMES.items():
        packages = {requirement.partition(">")[0].partition("<")[0] for requirement in REQUIREMENTS[kind]}
        assert {name.partition(".")[0] for name in names} <= packages


TABLE = "TABLE = {'BForCausalLM': 1, 'AForCausalLM': 2}\n"
CONFIG = """from dataclasses import dataclass
@dataclass
class Config:
    session_len: int = 0
    devices: int = 0
"""


def test_the_fields_of_lmdeploys_config_are_asked_for(tmp_path: Path, environments: Environments) -> None:
    spec = named(tmp_path, fields=["session_len"])
    assert check_loadable("p-e", spec, environments).fields == ("session_len",)


@pytest.mark.parametrize(
    ("kind", "options", "asked"),
    [
        ("torch", {}, None),
        ("lmdeploy", {}, "lmdeploy.PytorchEngineConfig"),
        ("lmdeploy", {"backend": "turbomind"}, "lmdeploy.TurbomindEngineConfig"),
        ("api", {"serve": True}, "lmdeploy.PytorchEngineConfig"),
    ],
)
def test_which_config_is_asked_for(
    tmp_path: Path,
    environments: Environments,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    options: dict[str, Any],
    asked: str | None,
) -> None:
    spec = named(tmp_path)
    orders: list[dict[str, Any]] = []

    def stand_in(python: str, order: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        orders.append(order)
        return {"python": "3.12.1", "packages": {}, "names": {}, "cuda": None, "fields": []}

    monkeypatch.setattr(checking, "ask", stand_in)
    check_loadable(
        "p-e", replace(spec, settings=replace(spec.settings, kind=kind, options=options)), environments
    )
    assert orders[0]["fields_of"] == asked


def test_the_report_tells_what_really_loads(tmp_path: Path) -> None:
    (tmp_path / "painted.py").write_text(f"RED = 1\nprint('noise', end='')\n{CONFIG}{TABLE}")
    (tmp_path / "leaves.py").write_text("raise SystemExit('no licence')\n")
    (tmp_path / "torch.py").write_text("class cuda:\n    is_available = staticmethod(lambda: False)\n")
    order = {
        "packages": {"numpy": "numpy", "painted": "painted", "leaves": "leaves", "gone": "gone"},
        "names": ["painted.RED", "painted.BLUE", "gone.X"],
        "cuda": True,
        "fields_of": "painted.Config",
        "keys_of": "painted.TABLE",
    }
    script = Path(checking.__file__).with_name("loadable_report.py")
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(order)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    errors = {name: package["error"] for name, package in told["packages"].items()}
    assert errors == {
        "numpy": None,
        "painted": None,
        "leaves": "SystemExit: no licence",
        "gone": "ModuleNotFoundError: No module named 'gone'",
    }
    assert told["packages"]["numpy"]["version"]
    assert told["names"] == {
        "painted.RED": None,
        "painted.BLUE": "AttributeError: module 'painted' has no attribute 'BLUE'",
        "gone.X": "ModuleNotFoundError: No module named 'gone'",
    }
    assert told["fields"] == ["session_len", "devices"]
    assert told["keys"] == ["AForCausalLM", "BForCausalLM"]
    assert told["cuda"] == "torch.cuda.is_available() is False"


@pytest.mark.parametrize(
    ("kind", "device", "options", "gpu", "compiler"),
    [
        ("torch", "cuda", {}, True, False),
        ("torch", "cpu", {}, False, False),
        ("lmdeploy", "cuda", {}, True, True),
        ("lmdeploy", "cuda", {"backend": "turbomind"}, True, False),
        ("lmdeploy", "cpu", {}, False, False),
        ("api", "cuda", {"serve": True}, True, True),
        ("api", "cuda", {"url": "http://host:1"}, False, False),
        ("/of/ones/own.py", "cuda", {}, True, False),
    ],
)
def test_which_engine_needs_a_gpu_and_which_a_compiler(
    tmp_path: Path, kind: str, device: str, options: dict[str, Any], gpu: bool, compiler: bool
) -> None:
    spec = named(tmp_path)
    spec = replace(spec, settings=replace(spec.settings, kind=kind, device=device, options=options))
    assert (needs_gpu(spec), needs_gpu(spec, compiler=True)) == (gpu, compiler)

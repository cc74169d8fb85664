from __future__ import annotations

import sys

import pytest

from benchmarks import machine
from harness.cases.folder import load
from tests.gate_folder import Folder


def test_the_line_names_the_packages_that_matter_and_no_other(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"torch": "2.12", "numpy": "2.4", "ruff": "1", "lmdeploy": None}
    found = {"packages": told, "processor": "P", "cores": 2, "python": "3.11", "gpus": []}
    monkeypatch.setattr(machine, "probe", lambda *_, **__: found)
    folder = Folder(tmp_path_factory.mktemp("folder"))
    folder.clean(1)
    (profile,) = load(folder.cases).profiles
    line = machine.machine_line(sys.executable, profile)
    assert line.startswith("P, 2 cores, Python 3.11, torch 2.12, numpy 2.4, profile p ")

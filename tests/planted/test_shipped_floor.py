"""The noise floor that the embedded model ships: green on any CPU, and it sees what the table does not."""

from __future__ import annotations

import shutil

import numpy.fft  # noqa: F401 - it can be loaded once in a process, and each run ends by unloading what it loaded
import pytest

from tests.planted.conftest import FAULTS, ROOT, Planted
from tests.planted.test_planted_changes import failing_checks

SHIPPED = "snapshots/embedded"
FLOOR = "lmdeploy: limits: noise floor of "


def ship(planted: Planted) -> None:
    """Lay the committed floors beside what was accepted."""
    for file in (ROOT / SHIPPED).glob("*/any-cpu.floor.json*"):
        folder = planted.folder / SHIPPED / file.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "variable", ["ATEN_CPU_CAPABILITY=default", "ATEN_CPU_CAPABILITY=avx2", "OMP_NUM_THREADS=1"]
)
def test_it_holds_under_other_kernels_and_threads(
    planted: Planted, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    ship(planted)
    monkeypatch.setenv(*variable.split("="))
    result = planted.run()
    assert failing_checks(result) == set()
    assert result.ret == 0
    told = [line for line in result.outlines if line.startswith(FLOOR)]
    assert len(told) == 1  # for every case
    assert ", for any CPU (default, avx2" in told[0]


@pytest.mark.slow
def test_a_norms_epsilon_a_hundred_times_as_large_is_found_by_it_and_not_by_the_table(
    unaccepted: Planted,
) -> None:
    unaccepted.engine("lmdeploy", patch=str(FAULTS / "epsilon_of_a_norm.py"))
    result = unaccepted.run("-k", "engines_agree")
    assert failing_checks(result) == set()
    result.stdout.fnmatch_lines(
        ["lmdeploy: limits: table for float32; no noise floor: changes of up to 0.0001 in log-odds *"]
    )
    ship(unaccepted)
    result = unaccepted.run("-k", "engines_agree")
    assert failing_checks(result) == {"test_engines_agree"}
    result.stdout.fnmatch_lines(["*log_odds*over*"])

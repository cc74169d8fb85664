"""`harness explain` on engines that cannot be looked into: what is said, and what is not begun."""

from __future__ import annotations

import pytest

from harness.cli import main
from tests.gate_folder import Folder


@pytest.fixture
def broken(gate_folder: Folder) -> Folder:
    """p/lmdeploy cannot be loaded, by its own patch."""
    (gate_folder.path / "cases" / "broken.py").write_text("raise RuntimeError('no such driver')\n")
    gate_folder.write_profiles(q={"engines": {"torch": {}, "lmdeploy": {"patch": "broken.py"}}})
    gate_folder.clean(3)
    return gate_folder


def test_of_an_engine_that_cannot_be_loaded_no_noise_is_measured(
    broken: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "q/torch..q/lmdeploy", "s.c1"]) == 2
    said = capsys.readouterr().err
    assert f"behind its patch {broken.path / 'cases' / 'broken.py'}) could not be loaded" in said
    assert "each stage's own noise" not in said


def test_a_wrong_case_is_told_with_the_nearest_before_the_first_is_traced(
    broken: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "q/torch..q/lmdeploy", "s.c1", "s.c22"]) == 2
    assert "case: found 's.c22'; allowed: one that both engines are asked: s.c2 (the nearest)" in (
        capsys.readouterr().err
    )
    assert not (broken.path / ".harness").exists()


@pytest.mark.parametrize("number", ["0", "-3"])
def test_noise_takes_a_case(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["explain", "p/torch..p/lmdeploy", "--noise-cases", number])
    assert f"--noise-cases: found {number}; allowed: a whole number from 1" in capsys.readouterr().err

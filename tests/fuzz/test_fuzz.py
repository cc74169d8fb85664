"""The fuzzers themselves: their first inputs hold, and a planted bug is found within seconds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fuzz.__main__ import main
from tests.fuzz.driving import has_atheris, load_targets

BACKENDS = ["hypothesis", *(["atheris"] if has_atheris() else [])]


@pytest.mark.parametrize("name", [name for name in load_targets() if name != "planted"])
def test_the_first_inputs_hold(tmp_path: Path, name: str) -> None:
    one = load_targets()[name]
    seeds = [*one.seeds()]
    assert len(seeds) >= 4
    for number, seed in enumerate(seeds):
        folder = tmp_path / str(number)
        folder.mkdir()
        one.check(seed, folder)


def test_every_target_says_what_it_promises() -> None:
    assert [one.name for one in load_targets().values() if not (one.check.__doc__ and one.covers)] == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_planted_bug_is_found_within_seconds_and_ends_in_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], backend: str
) -> None:
    assert main(["planted", "--minutes", "0.5", "--kept", str(tmp_path), "--backend", backend]) == 1
    said = capsys.readouterr()
    row = r"^\| planted \| [\d,]+ \| [1-8] of 8 \| TypeError: .*has no len\(\) \|$"
    assert re.search(row, said.out, re.MULTILINE)
    (found,) = (tmp_path / "planted" / "found").iterdir()
    assert f"the input is {found}" in said.err
    with pytest.raises(TypeError, match="has no len"):
        load_targets()["planted"].check(found.read_bytes(), tmp_path)


def test_a_target_that_is_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["shwon"])
    assert "found shwon; allowed: yaml, suites" in capsys.readouterr().err

"""`harness run`: what pytest is asked to do, and how it ends."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli import main
from tests.gate_folder import Folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What pytest was called with; it ends well."""
    calls: list[list[str]] = []
    monkeypatch.chdir(tmp_path)

    def ends_well(words: list[str], plugins: list[object]) -> int:
        calls.append(words)
        return 0

    monkeypatch.setattr(pytest, "main", ends_well)
    return calls


def test_every_option_is_handed_on(asked: list[list[str]]) -> None:
    command = (
        "run shapes other --profile p --profile q --cases c --recordings r --environments e --snapshots s"
    )
    more = "--fresh --keep-logits --gate p/a..p/b --explain --report r.html --report-json r.json"
    assert main(f"{command} {more}".split()) == 0
    (words,) = asked
    assert words[words.index("--pyargs") :] == [
        *("--pyargs", "harness.suite", "--bulk", "--cases=c", "--snapshots=s", "--recordings=r"),
        *("--environments=e", "--report=r.html", "--report-json=r.json", "--explain=3", "--gate=p/a..p/b"),
        *("--profile=p", "--profile=q", "--suite=shapes", "--suite=other", "--fresh", "--keep-logits"),
    ]


@pytest.mark.parametrize(("found", "status"), [(0, 0), (1, 1), (2, 2), (3, 2), (4, 2), (5, 2)])
def test_exit_statuses_are_those_of_the_harness(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: int, status: int
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pytest, "main", lambda words, plugins: found)
    assert main(["run"]) == status


@pytest.mark.parametrize(("internal", "status"), [(False, 3), (True, 2)])
def test_a_gate_that_is_inconclusive_is_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, internal: bool, status: int
) -> None:
    def ended(words: list[str], plugins: list[Any]) -> int:
        if internal:
            plugins[0].pytest_internalerror()
        return 3

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pytest, "main", ended)
    assert main(["run", "--gate", "p/a..p/b"]) == status


@pytest.mark.parametrize(
    ("raised", "status"),
    [(KeyboardInterrupt, 130), (pytest.Session.Interrupted, 2), (pytest.exit.Exception, 2)],
)
def test_only_ctrl_c_is_an_interruption(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, raised: type[BaseException], status: int
) -> None:
    def interrupted(words: list[str], plugins: list[Any]) -> int:
        for plugin in plugins:
            plugin.pytest_keyboard_interrupt(SimpleNamespace(type=raised))
        return 2

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pytest, "main", interrupted)
    assert main(["run"]) == status


def test_a_suite_is_asked_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(tmp_path)
    folder.clean(3)
    folder.write_suite("say B", name="wrong")
    # What the configuration adds is for tests of single cases.
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -q -k nothing\n")
    monkeypatch.chdir(tmp_path)
    assert folder.accept() == 0
    assert folder.accept(engine="p/lmdeploy") == 0
    capfd.readouterr()
    assert main(["run", "s"]) == 0
    assert "p: 3 cases × 2 engines, 24 checks: 24 passed" in capfd.readouterr().out
    assert main(["run", "wrong"]) == 1
    assert "wrong: 2 of 8 checks failed" in capfd.readouterr().out
    assert main(["run", "srong"]) == 2
    assert "--suite: found 'srong'; allowed: wrong (the nearest)" in capfd.readouterr().out

"""Environments: made once, whatever happens meanwhile, and what is said when they cannot be made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.cases.environment_request import with_requirement
from harness.environments.making import request_id
from harness.environments.store import Environments
from harness.errors import EngineError, ErrorKind
from harness.workers.serving import ENVIRONMENT_MARKER
from tests.environments.conftest import engine, unseen

if TYPE_CHECKING:
    from tests.environments.conftest import StandInUv

# What another process does: the stand-in as uv, and one environment. Prints the interpreter's path.
PROCESS = """
import sys
from pathlib import Path
import uv
from harness.environments.store import Environments
from harness.errors import EngineError
from tests.environments.conftest import engine, unseen
uv.find_uv_bin = lambda: sys.argv[1]
environments = Environments(Path(sys.argv[2]), run_id="run-1")
try:
    print(environments.interpreter("p-e", engine(Path(sys.argv[3]), "six"), unseen).path)
except EngineError as error:
    print(f"error {error.message}")
"""


def make(environments: Environments, folder: Path, *requirements: str, **fields: str) -> str:
    return environments.interpreter("p-e", engine(folder, *requirements, **fields), unseen).path


def start(uv: StandInUv, folder: Path) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(uv.program), str(folder / "environments"), str(folder)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )


def until(true: object, *, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def test_an_engine_without_requirements_runs_in_its_interpreter(
    environments: Environments, uv: StandInUv, tmp_path: Path
) -> None:
    spec = engine(tmp_path, "six")
    plain = type(spec)(name="e", settings=spec.settings, location=spec.location, python="/opt/python")
    interpreter = environments.interpreter("p-e", plain, unseen)
    assert (interpreter.path, interpreter.fingerprint) == ("/opt/python", None)
    assert uv.calls == []


def test_an_environment_is_made_in_three_steps_and_then_found(
    environments: Environments, uv: StandInUv, tmp_path: Path
) -> None:
    interpreter = environments.interpreter("p-e", engine(tmp_path, "six==1.16.0", "idna"), unseen)
    assert uv.commands == ["compile", "venv", "sync"]
    compile_call, venv, sync = uv.calls
    assert compile_call["given"] == "six==1.16.0\nidna\n"
    assert "--generate-hashes" in compile_call["words"]
    assert {call["cwd"] for call in uv.calls} == {str(tmp_path)}, "where uv looks for its uv.toml"
    place = Path(venv["words"][-1])
    assert interpreter.path == str(place / "bin" / "python")
    assert interpreter.path in sync["words"]
    installed = Path(sync["words"][-1]).read_text()
    assert f"six==1.16.0 \\\n    --hash=sha256:{'0' * 64}" in installed
    assert interpreter.fingerprint == {
        "lock": interpreter.lock and interpreter.lock.digest,
        "packages": {"idna": "1.0", "six": "1.16.0"},
    }
    marker = json.loads((place / ENVIRONMENT_MARKER).read_text())
    assert (marker["engine"], marker["python"]) == ("p-e", "3.11.99")
    again = Environments(environments.folder.root)
    assert make(again, tmp_path, "six==1.16.0", "idna") == interpreter.path
    again.close()
    assert len(uv.calls) == 3, "the second time uv is not even started"


def test_what_is_resolved_alike_is_made_once(
    environments: Environments, uv: StandInUv, tmp_path: Path
) -> None:
    first = make(environments, tmp_path, "six==1.0")
    assert make(environments, tmp_path, "six") == first
    assert uv.commands == ["compile", "venv", "sync", "compile"]
    assert make(environments, tmp_path, "six", python_version="3.99") != first, "another Python"


def test_a_day_means_to_its_end(environments: Environments, uv: StandInUv, tmp_path: Path) -> None:
    make(environments, tmp_path, "six", as_of="2024-12-31")
    words = uv.calls[0]["words"]
    assert words[words.index("--exclude-newer") + 1] == "2025-01-01T00:00:00Z"


def test_another_python_is_looked_for_and_then_installed(
    environments: Environments, uv: StandInUv, tmp_path: Path
) -> None:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    make(environments, tmp_path, "six", python_version=own)
    assert uv.commands == ["compile", "venv", "sync"], "pytest's own is of that version"
    make(environments, tmp_path, "six", python_version="3.99")
    assert uv.commands[3:] == ["find", "compile", "find", "venv", "sync"]
    uv.order(find={"exit": 2, "say": "error: No interpreter found for Python 3.98"})
    with pytest.raises(
        EngineError, match=r"Python 3\.98 could not be found\n(?s:.*)leave `python_version` out"
    ):
        make(environments, tmp_path, "six", python_version="3.98")
    assert uv.commands[8:] == ["find", "install", "find"]


@pytest.mark.parametrize("leftover", ["folder", "marker", "interpreter", "lock"])
def test_what_is_not_whole_is_made_again(
    environments: Environments, uv: StandInUv, tmp_path: Path, leftover: str
) -> None:
    python = Path(make(environments, tmp_path, "six"))
    environments.close()
    place = python.parent.parent
    if leftover == "folder":
        (place / ENVIRONMENT_MARKER).unlink()
        (place / "half-a-package").write_text("")
    elif leftover == "marker":
        (place / ENVIRONMENT_MARKER).write_text('{"made": ')
    elif leftover == "interpreter":
        python.unlink()
        python.symlink_to("/nowhere/python")
    else:
        (lock,) = (environments.folder.root / "resolved").glob("*.txt")
        lock.write_text("six==1.0")
    assert make(environments, tmp_path, "six") == str(python)
    assert uv.commands[3:] == (["compile"] if leftover == "lock" else ["venv", "sync"])
    assert not (place / "half-a-package").exists()


def test_processes_that_want_the_same_make_it_once(uv: StandInUv, tmp_path: Path) -> None:
    uv.order(compile={"sleep": 0.5}, sync={"sleep": 0.5})
    processes = [start(uv, tmp_path) for _ in range(3)]
    paths = {process.communicate(timeout=240)[0] for process in processes}
    assert len(paths) == 1
    assert "bin/python" in paths.pop()
    assert sorted(uv.commands) == ["compile", "sync", "venv"]


def test_a_failure_is_found_out_once_by_the_processes_of_a_run(
    environments: Environments, uv: StandInUv, tmp_path: Path
) -> None:
    uv.order(compile={"sleep": 0.5, "exit": 1, "say": "error: No solution found"})
    processes = [start(uv, tmp_path) for _ in range(3)]
    told = {process.communicate(timeout=240)[0] for process in processes}
    assert len(told) == 1
    assert told.pop().startswith("error engine p-e (")
    assert uv.commands == ["compile"]
    with pytest.raises(EngineError, match="could not be resolved"):
        make(environments, tmp_path, "six")  # of the same run
    assert uv.commands == ["compile"]
    uv.order()
    make(Environments(environments.folder.root, run_id="run-2"), tmp_path, "six")
    assert uv.commands == ["compile", "compile", "venv", "sync"], "another run tries again"


def test_nobody_makes_it_while_the_uv_of_a_killed_process_still_writes(
    environments: Environments, uv: StandInUv, tmp_path: Path
) -> None:
    uv.order(sync={"sleep": 3})
    process = start(uv, tmp_path)
    until(lambda: "sync" in uv.commands)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    uv.order()
    told: list[str] = []
    spec = engine(tmp_path, "six")
    path = environments.interpreter("p-e", spec, lambda what, note: told.append(f"{what}: {note}")).path
    assert "waiting for another process that makes its environment: 1 s" in told
    assert uv.commands == ["compile", "venv", "sync", "venv", "sync"], "and what it left is made anew"
    assert Path(path).exists()


def test_when_it_is_broken_off_uv_is_ended(environments: Environments, uv: StandInUv, tmp_path: Path) -> None:
    uv.order(sync={"sleep": 60, "say": "Downloading six (11.0KiB)"})
    told: list[str] = []

    def show(what: str, note: str) -> None:
        told.append(f"{what}: {note}")
        if note.startswith("2 s"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        environments.interpreter("p-e", engine(tmp_path, "six"), show)
    assert "making its environment: six: 1 s; Downloading six (11.0KiB)" in told
    with pytest.raises(ProcessLookupError):
        os.kill(uv.calls[-1]["pid"], 0)
    uv.order()
    make(environments, tmp_path, "six")
    assert uv.commands == ["compile", "venv", "sync", "venv", "sync"]


@pytest.mark.parametrize(
    ("step", "words", "advice"),
    [
        ("compile", "error: No solution found when resolving dependencies", "change `requirements`, `as_of`"),
        ("compile", "error: Request failed after 3 retries in 7.8s", "check the network"),
        ("compile", "hint: the network was disabled", "uv may not use the network (UV_OFFLINE"),
        (
            "sync",
            "error: Failed to download `x`\n  cause: No space left on device (os error 28)",
            "disk is full",
        ),
        ("sync", "error: Hash mismatch for `six`", "add --again"),
        ("sync", "error: Failed to build `six`", "take a version that has a wheel"),
        ("venv", "error: something new", "see what uv says"),
    ],
    ids=["unsatisfiable", "network", "offline", "disk", "hash", "build", "other"],
)
def test_an_error_says_what_where_and_what_next(
    environments: Environments, uv: StandInUv, tmp_path: Path, step: str, words: str, advice: str
) -> None:
    uv.order(**{step: {"exit": 1, "say": words}})
    with pytest.raises(EngineError) as caught:
        make(environments, tmp_path, "six>1")
    error = caught.value
    assert error.kind is ErrorKind.LOAD
    assert f"engine p-e ({tmp_path / 'profiles.yaml'}:7:5, requirements: six>1): " in error.message
    assert advice in error.message
    command = f"harness env make p-e --cases {tmp_path} --environments {tmp_path / 'environments'}"
    assert error.message.endswith(f"then: {command}")
    assert words.splitlines()[0] in error.log_tail
    assert words.splitlines()[0] in Path(error.log).read_text()


def test_what_was_set_for_one_run_is_not_made_by_another_command(
    environments: Environments, uv: StandInUv, tmp_path: Path
) -> None:
    uv.order(compile={"exit": 1, "say": "error: No solution found when resolving dependencies"})
    spec = engine(tmp_path, "six>1")
    assert spec.environment is not None
    changed = replace(spec, environment=with_requirement(spec.environment, "six>2"))
    with pytest.raises(EngineError, match="requirements: six>2") as caught:
        environments.interpreter("p-e", changed, unseen)
    assert caught.value.message.endswith(
        "\nthen: the same command again (its `requirements` are not those of profiles.yaml)"
    )
    assert "env make" not in caught.value.message


def test_an_environment_without_an_interpreter_is_not_made_for_ever(
    environments: Environments, uv: StandInUv, tmp_path: Path
) -> None:
    uv.order(venv={"python": "/nowhere/python"})
    with pytest.raises(EngineError, match="its environment was made and cannot be used"):
        make(environments, tmp_path, "six")


def test_without_uv_it_says_how_to_get_it(
    environments: Environments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uv", None)
    with pytest.raises(EngineError, match="-m pip install uv"):
        make(environments, tmp_path, "six")


def test_a_folder_that_cannot_be_written_is_an_error_of_the_engine(tmp_path: Path, uv: StandInUv) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="name another folder with --environments") as caught:
        make(Environments(tmp_path / "file" / "environments"), tmp_path, "six")
    assert caught.value.kind is ErrorKind.LOAD


def test_credentials_go_to_uv_and_nowhere_else(
    environments: Environments, uv: StandInUv, tmp_path: Path
) -> None:
    secret = "demo @ https://me:hush@host/demo-1.0-py3-none-any.whl"
    interpreter = environments.interpreter("p-e", engine(tmp_path, secret), unseen)
    assert "hush" in uv.calls[0]["given"]
    assert "hush" not in json.dumps(interpreter.fingerprint)
    uv.order(compile={"exit": 1, "say": "error: failed to fetch https://me:hush@host/demo"})
    with pytest.raises(EngineError) as caught:
        make(environments, tmp_path, secret, as_of="2024-01-01")
    assert "hush" not in str(caught.value)


def test_a_changed_folder_is_another_request(
    environments: Environments, uv: StandInUv, tmp_path: Path
) -> None:
    (tmp_path / "demo" / ".git").mkdir(parents=True)
    source = tmp_path / "demo" / "demo.py"
    source.write_text("X = 1\n")
    first = environments.interpreter("p-e", engine(tmp_path, "demo @ ./demo"), unseen)
    assert "--refresh-package" in uv.calls[0]["words"], "uv keeps what it built of a folder"
    assert "--refresh-package" in uv.calls[2]["words"]
    (tmp_path / "demo" / ".git" / "index").write_text("")
    (tmp_path / "demo" / "build").mkdir()
    (tmp_path / "demo" / "build" / "demo.py").write_text("")
    assert environments.interpreter("p-e", engine(tmp_path, "demo @ demo"), unseen) == first
    source.write_text("X = 2\n")
    second = environments.interpreter("p-e", engine(tmp_path, "demo @ ./demo"), unseen)
    assert second.path != first.path
    assert second.fingerprint != first.fingerprint


def test_a_request_keeps_its_lock_until_it_is_resolved_again(
    environments: Environments, uv: StandInUv, tmp_path: Path
) -> None:
    spec = engine(tmp_path, "six")
    first = environments.interpreter("p-e", spec, unseen)
    environments.close()
    uv.order(compile={"version": "2.0"})
    assert environments.interpreter("p-e", spec, unseen) == first
    environments.close()
    assert environments.resolve_again("p-e", spec, unseen) is True
    assert environments.resolve_again("p-e", spec, unseen) is False
    second = environments.interpreter("p-e", spec, unseen)
    assert second.lock is not None
    assert second.lock.packages == {"six": "2.0"}
    assert second.path != first.path
    uv.order(compile={"exit": 1})
    with pytest.raises(EngineError):
        environments.resolve_again("p-e", spec, unseen)
    environments.close()
    assert environments.interpreter("p-e", spec, unseen) == second


def test_what_is_in_use_is_not_removed(environments: Environments, uv: StandInUv, tmp_path: Path) -> None:
    python = Path(make(environments, tmp_path, "six"))
    other = Environments(environments.folder.root)
    make(other, tmp_path, "six")
    name = python.parent.parent.name
    environments.close()
    assert environments.remove(name) is False
    assert python.exists()
    other.close()
    assert environments.remove(name) is True
    assert not python.exists()
    assert make(environments, tmp_path, "six") == str(python)
    assert uv.commands.count("compile") == 1, "the lock outlives it"


def test_another_build_of_torch_is_another_request(
    environments: Environments, uv: StandInUv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an old driver needs is not what was locked for a new one."""
    monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)
    spec = engine(tmp_path, "torch")
    assert spec.environment is not None
    without = request_id(spec.environment)
    make(environments, tmp_path, "torch")
    uv.order(compile={"version": "1.0+cu126"})
    monkeypatch.setenv("UV_TORCH_BACKEND", "auto")
    assert request_id(spec.environment) != without
    interpreter = environments.interpreter("p-e", spec, unseen)
    assert interpreter.lock is not None
    assert interpreter.lock.packages == {"torch": "1.0+cu126"}

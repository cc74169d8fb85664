"""What happens between starting a worker and a loaded engine, and what it finds there."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.engines.requirements import REQUIREMENTS
from harness.errors import ErrorKind

if TYPE_CHECKING:
    from tests.workers.conftest import Workers


@pytest.mark.parametrize(
    ("load", "kind", "words"),
    [
        ("raise no weights here", ErrorKind.LOAD, ": RuntimeError: no weights here"),
        ("raise-engine-error no such dtype", ErrorKind.UNSUPPORTED, ": no such dtype"),
        ("exit 3", ErrorKind.LOAD, ": the worker exited with code 3: about to exit"),
        (
            "kill-9",
            ErrorKind.LOAD,
            ": the worker was killed by signal 9 (SIGKILL); signal 9 is often the kernel's out-of-memory",
        ),
        ("sys.exit no licence", ErrorKind.LOAD, ": SystemExit: no licence"),
        (
            "import surely_not_there.deep",
            ErrorKind.LOAD,
            f"No module named 'surely_not_there'; install it with: {sys.executable} -m pip install "
            "surely_not_there",
        ),
    ],
    ids=lambda value: value.split(" ")[0] if isinstance(value, str) else "",
)
def test_every_case_says_why_the_engine_did_not_load(
    workers: Workers, load: str, kind: ErrorKind, words: str
) -> None:
    result = workers.run("a", "b", "c", batch_size=2, options={"load": load})
    assert sorted(result.errors) == [0, 1, 2]
    for error in result.errors.values():
        assert error.kind is kind
        assert f"could not be loaded in {sys.executable}" in error.message
        assert words in error.message
        assert error.log == str(result.job.log)
    assert result.job.log.read_text().count("worker in") == 1, "it is not tried again"


def test_a_pointer_of_git_lfs_is_why_an_engine_did_not_load(workers: Workers) -> None:
    (workers.folder / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\nsize 132\n")
    for load in ("raise Expecting value", "raise-engine-error Expecting value"):
        error = workers.run("a", options={"load": load}).errors[0]
        assert error.kind is ErrorKind.LOAD
        assert f"{workers.folder}: tokenizer.json: a Git LFS pointer in place of the file" in error.message
        assert "run `git lfs pull`" in error.message
        assert "Expecting value" in error.message


def test_an_engine_that_does_not_load_in_time_is_ended(workers: Workers) -> None:
    result = workers.run("a", "b", options={"load": "hang"}, load_seconds=3)
    assert {error.kind for error in result.errors.values()} == {ErrorKind.LOAD}
    assert "within 3 s, the profile's `deadlines.load`" in result.errors[0].message
    assert "_misbehave" in result.job.log.read_text(), "the log shows where it hung"


def test_an_engine_that_loads_once_only_fails_the_cases_that_are_left(
    workers: Workers, tmp_path: Path
) -> None:
    patch = tmp_path / "patch.py"
    patch.write_text(
        f"import pathlib\nmarker = pathlib.Path({str(tmp_path / 'marker')!r})\n"
        "if marker.exists():\n    raise RuntimeError('the licence allows one start')\nmarker.touch()\n"
    )
    result = workers.run("a", "exit 3", "b", "c", batch_size=1, patch=patch)
    assert sorted(result.answers) == [0]
    assert [result.errors[number].kind for number in (1, 2, 3)] == [
        ErrorKind.CRASH,
        ErrorKind.LOAD,
        ErrorKind.LOAD,
    ]
    assert "the licence allows one start" in result.errors[3].message


def test_a_fingerprint_that_is_no_json_is_refused(workers: Workers) -> None:
    result = workers.run("a", options={"fingerprint": "bad"})
    assert "TypeError: Object of type set is not JSON serializable" in result.error.message


def test_an_unknown_kind_names_the_known_ones(workers: Workers) -> None:
    result = workers.run("a", kind="tensorflow")
    assert result.error.kind is ErrorKind.LOAD
    assert "'tensorflow'; allowed: api, lmdeploy, torch or the path of a .py file" in result.error.message


@pytest.mark.parametrize("python", ["/nowhere/python", "/etc/passwd"])
def test_without_its_interpreter_every_case_is_an_error(workers: Workers, python: str) -> None:
    result = workers.run("a", "b", python=python)
    assert sorted(result.errors) == [0, 1]
    assert result.errors[1].kind is ErrorKind.LOAD
    assert f"the interpreter {python} could not be started: " in result.errors[1].message
    assert "`python:` of the profile's engine" in result.errors[1].message


def test_a_program_that_is_no_python_is_reported_with_its_words(workers: Workers, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho this is no snake\nexit 4\n")
    program.chmod(0o755)
    result = workers.run("a", python=str(program))
    assert "the worker exited with code 4: this is no snake" in result.error.message


def test_a_patch_runs_before_the_engine_is_imported(workers: Workers, tmp_path: Path) -> None:
    engine = tmp_path / "engine.py"
    engine.write_text(
        "import os\nASKED = os.environ.get('PATCHED')\n"
        f"exec(compile(open({str(workers.FAKE_ENGINE)!r}).read(), 'fake', 'exec'))\nPATCHED.append(ASKED)\n"
    )
    patch = tmp_path / "patch.py"
    patch.write_text("import os\nos.environ['PATCHED'] = f'by {__name__}'\n")
    assert workers.run("a", kind=str(engine), patch=patch).loads[0]["patched"] == ["by __patch__"]
    assert workers.run("a", kind=str(engine)).loads[0]["patched"] == [None]


def test_a_patch_that_fails_keeps_the_engine_from_loading(workers: Workers, tmp_path: Path) -> None:
    patch = tmp_path / "patch.py"
    patch.write_text("import surely_not_there\n")
    result = workers.run("a", patch=patch)
    assert "No module named 'surely_not_there'" in result.error.message
    assert str(patch) in result.error.log_tail


def test_the_worker_finds_a_sane_environment(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    found = workers.run("a").loads[0]
    assert found["group"] == found["pid"] != os.getpgrp()
    assert found["stdin"] == "/dev/null"
    assert found["parallelism"] == "false"
    assert found["faulthandler"] is True
    assert found["threads"] == 1
    assert len(found["argv"]) == 1
    assert not any(entry.startswith(str(Path(__file__).parents[2] / "harness")) for entry in found["path"])


def test_the_users_own_choice_of_tokenizer_threads_is_kept(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    assert workers.run("a").loads[0]["parallelism"] == "true"


def test_a_bare_interpreter_runs_a_worker(workers: Workers, tmp_path: Path) -> None:
    """A virtual environment with numpy and nothing else, above all not this package."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (site_packages,) = venv.glob("lib/python*/site-packages")
    numpy = Path(np.__file__).parent
    for folder in (numpy, numpy.with_name("numpy.libs")):
        if folder.exists():
            (site_packages / folder.name).symlink_to(folder)
    python = str(venv / "bin" / "python")
    result = workers.run("a", "raise x", "b", python=python)
    assert sorted(result.answers) == [0, 2]
    found = result.loads[0]
    assert found["prefix"] == str(venv)
    roots = {module.partition(".")[0] for module in found["modules"]}
    assert not roots & {"pydantic", "yaml", "rich", "pytest", "torch", "transformers"}
    alone = subprocess.run([python, "-c", "import harness"], cwd="/", capture_output=True, check=False)
    assert b"No module named 'harness'" in alone.stderr


def test_an_interpreter_that_is_too_old_can_read_the_script_that_tells_it_so() -> None:
    script = Path(__file__).parents[2] / "harness" / "workers" / "worker.py"
    ast.parse(script.read_text(), feature_version=(3, 7))
    with pytest.raises(SyntaxError):
        ast.parse("match 1:\n    case 1:\n        pass\n", feature_version=(3, 7))


def test_an_interpreter_without_numpy_is_told_what_to_install(workers: Workers, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = str(venv / "bin" / "python")
    engine = tmp_path / "engine.py"
    engine.write_text("import numpy\n")
    result = workers.run("a", python=python, kind=str(engine))
    assert result.error.kind is ErrorKind.LOAD
    assert "No module named 'numpy'; " in str(result.error)
    assert f"{python} -m pip install" in str(result.error)


def test_children_that_are_spawned_can_import_the_harness(workers: Workers, tmp_path: Path) -> None:
    engine = tmp_path / "engine.py"
    engine.write_text(
        "import multiprocessing\n"
        "from harness.errors import ErrorKind\n"
        f"exec(compile(open({str(workers.FAKE_ENGINE)!r}).read(), 'fake', 'exec'))\n"
        "with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "    PATCHED.append(pool.apply(ErrorKind, ('load',)))\n"
    )
    assert workers.run("a", kind=str(engine)).loads[0]["patched"] == ["load"]


def test_a_program_that_never_listens_blocks_nobody(workers: Workers, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    more_than_a_pipe_holds = {"filler": "x" * 1_000_000}
    result = workers.run("a", python=str(program), options=more_than_a_pipe_holds, load_seconds=0.5)
    assert "within 0.5 s, the profile's `deadlines.load`" in result.error.message


def test_the_install_command_asks_for_what_the_extras_do() -> None:
    for kind, requirements in REQUIREMENTS.items():
        declared = metadata.requires("vlm-consistency-harness") or []
        of_kind = [line.partition(";")[0].strip() for line in declared if f"extra == '{kind}'" in line]
        assert sorted(of_kind) == sorted(requirements)

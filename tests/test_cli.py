"""The command `harness`: what it prints and its exit status."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from harness.cli import main
from harness.machine.system import elsewhere
from harness.schemas.json_schema import SCHEMAS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cases = tmp_path / "cases"
    (cases / "m").mkdir(parents=True)
    (cases / "m" / "config.json").write_text("{}")
    (cases / "shapes.yaml").write_text(
        "defaults: {prompt: x, letters: [A, B]}\ncases:\n  - {id: a, expect: A}\n  - {id: b, expect: B}\n"
    )
    (cases / "profiles.yaml").write_text(
        "profiles: {p: {model: m, reference: torch, engines: {torch: {}, lmdeploy: {}}}}\n"
    )
    monkeypatch.chdir(tmp_path)
    return cases


@pytest.mark.parametrize("arguments", [["check"], ["check", "cases"]])
@pytest.mark.usefixtures("folder")
def test_check_counts_what_is_there(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines() == [
        "suite    shapes: 2 cases",
        "profile  p: torch, lmdeploy",
        "2 cases, 1 suite, 1 profile: no problems",
    ]


def test_check_remarks_on_profiles_that_run_by_name_only(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "profiles.yaml").write_text(
        "profiles: {p: {model: m, by_name_only: true, reference: torch, engines: {torch: {}}}}\n"
    )
    assert main(["check"]) == 0
    assert "profile  p: torch (only with --profile p)" in capsys.readouterr().out.splitlines()


def test_check_prints_remarks_and_passes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "shapes.yaml").write_text(
        "cases:\n  - {id: a, prompt: <image> Which?, letters: [A, B], expect: B}\n"
    )
    assert main(["check"]) == 0
    *_, remark, total = capsys.readouterr().out.splitlines()
    assert remark == (
        "cases/shapes.yaml:2:21: cases.0.prompt: remark: <image>, by which a model or engine finds the place "
        "of an image; better: the words alone; the image is put before the prompt by itself, or at {image:1}"
    )
    assert total == "1 case, 1 suite, 1 profile: no problems, 1 remark"


def test_check_prints_all_problems(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "shapes.yaml").write_text("cases:\n  - {id: a, prompt: x, letters: [A, B], expect: N}\n")
    (folder / "profiles.yaml").write_text(
        "profiles: {p: {model: m, reference: torch, engines: {lmdeploy: {}}}}\n"
    )
    assert main(["check"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "2 problems in the case files:",
        "  cases/profiles.yaml:1:37: profiles.p.reference: found 'torch'; allowed: an engine of this "
        "profile: lmdeploy",
        "  cases/shapes.yaml:2:49: cases.0.expect: found 'N'; allowed: one of the letters on offer: A, B",
    ]


@pytest.mark.usefixtures("folder")
def test_check_of_a_folder_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "elsewhere"]) == 1
    assert "harness check DIR" in capsys.readouterr().err


def test_schemas_of_the_package_are_in_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--check"]) == 0
    assert capsys.readouterr().out == ""


def test_schemas_are_written_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = str(tmp_path / "new")
    assert main(["schema", "--check", there]) == 1
    assert f"run `harness schema {there}`" in capsys.readouterr().err
    assert main(["schema", there]) == 0
    assert capsys.readouterr().out.count("wrote ") == len(SCHEMAS)
    assert main(["schema", "--check", there]) == 0
    (tmp_path / "new" / "suite.schema.json").write_text("{}")
    assert main(["schema", "--check", there]) == 1
    assert "suite.schema.json: missing or out of date" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["walk"], ["check", "a", "b"], ["--nope"]])
def test_a_wrong_command_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: harness" in capsys.readouterr().err


def test_help_says_what_the_exit_status_means(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "1 problems were found" in capsys.readouterr().out


def test_as_a_process_without_engines(folder: Path) -> None:
    program = (
        "import sys; from harness.cli import main; status = main(['check']);"
        "print([name for name in ('torch', 'transformers', 'lmdeploy') if name in sys.modules]);"
        "sys.exit(status)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-2:] == ["2 cases, 1 suite, 1 profile: no problems", "[]"]


@pytest.mark.usefixtures("folder")
def test_an_interruption_is_told_in_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.cases.folder.load", interrupted)
    assert main(["check"]) == 130
    assert capsys.readouterr().err.strip().splitlines() == [
        "interrupted; what was recorded is kept, and the same command goes on from there"
    ]


_FOLDERS = (
    ["schema"],
    ["init", "--model=/", "--cases"],
    ["import", "t.csv", "--into"],
    ["merge", "a", "--into"],
    ["report-bug", "s.c", "--out"],
    ["search", "p/a..p/b", "--out"],
    ["clean", "--recordings"],
    ["env", "list", "--environments"],
)
_FILES = (
    ["gate", "p", "--report"],
    ["gate", "p", "--json"],
    ["gate", "p", "--junit-xml"],
    ["run", "--report"],
    ["run", "--report-json"],
    ["bundle", "--out"],
    ["explain", "p/a..p/b", "--picture"],
    ["kernels", "0.17.0..0.18.0", "--markdown"],
    ["selftest", "--markdown"],
    ["clean", "--json"],
)


@pytest.mark.parametrize("place", ["file/more", "/proc/of-no-process/x"])
@pytest.mark.parametrize("command", [*_FOLDERS, *_FILES], ids=" ".join)
def test_a_place_that_cannot_be_written_to_is_refused_in_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    place: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    Path("t.csv").write_text("question,A,B,answer\nq,a,b,A\n")
    with pytest.raises(SystemExit, match="2"):
        main([*command, place])
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"found {place} (" in last
    assert "; see: ls -ld " in last
    assert Path("file").read_text() == "mine"


@pytest.mark.parametrize("command", _FOLDERS, ids=" ".join)
def test_a_file_is_no_folder(tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        main([*command, f"{tmp_path}/file"])
    assert f"found {tmp_path}/file ({tmp_path}/file: Not a directory); allowed: " in capsys.readouterr().err


@pytest.mark.parametrize("command", _FILES, ids=" ".join)
def test_a_folder_is_no_file(tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*command, str(tmp_path)])
    assert f"found {tmp_path} ({tmp_path}: Is a directory); allowed: a file " in capsys.readouterr().err


def test_a_place_that_is_found_out_only_in_use_is_told_with_the_next_step(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.parent / "pyproject.toml").write_text("[tool.vlm-harness]\nrecordings = 'file'\n")
    (folder.parent / "file").write_text("mine")
    (folder.parent / "r" / "recordings").mkdir(parents=True)
    (folder.parent / "r" / "recordings" / "torch-1.jsonl").touch()
    assert main(["merge", "r"]) == 1
    told = capsys.readouterr().err
    assert f"{folder.parent}/file" in told
    assert f"  ls -la {folder.parent}" in told


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"harness {version('vlm-consistency-harness')}\n"


def test_every_command_says_its_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    (commands,) = re.findall(r"^  \{([\w,-]+)\}$", capsys.readouterr().out, re.MULTILINE)
    assert "gate" in commands.split(",")
    for command in commands.split(","):
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        assert "Exit status: 0 " in " ".join(capsys.readouterr().out.split()), command


def test_pyproject_names_the_folder_of_cases(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.rename(folder.with_name("checks"))
    (folder.parent / "pyproject.toml").write_text("[tool.vlm-harness]\ncases = 'checks'\n")
    assert main(["check"]) == 0
    assert "2 cases, 1 suite, 1 profile: no problems" in capsys.readouterr().out
    (folder.parent / "pyproject.toml").write_text("[tool.vlm-harness]\ncase = 'checks'\n")
    with pytest.raises(SystemExit, match="2"):
        main(["check"])
    assert "harness: error: pyproject.toml: [tool.vlm-harness]: found 'case'" in capsys.readouterr().err


def test_shells_can_complete_it(tmp_path: Path) -> None:
    line, out = "harness ga", tmp_path / "words"
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    environment = {**os.environ, **asked, "_ARGCOMPLETE_STDOUT_FILENAME": str(out)}
    subprocess.run([sys.executable, "-m", "harness.cli"], env=environment, check=True)
    assert out.read_text().split() == ["gate"]


def test_elsewhere_than_on_linux_a_sentence_says_what_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert elsewhere("linux") is None
    assert "engines were run on Linux only" in (elsewhere("darwin", unix=True) or "")
    said = elsewhere("win32", unix=False) or ""
    assert "-p no:vlm-harness" in said

    def lacking(_: object) -> int:
        raise ModuleNotFoundError("No module named 'fcntl'", name="fcntl")

    monkeypatch.setattr("harness.commands.doctor.look", lacking)
    monkeypatch.setattr("harness.cli.elsewhere", lambda: said)
    with pytest.raises(SystemExit, match="2"):
        main(["doctor"])
    assert said in capsys.readouterr().err

"""The workflows of this repository: linted, and their commands tried."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml

from tests.repository.workflow_lint import findings_in_gitlab, findings_in_workflow

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CHECKS, GATE = (ROOT / ".github" / "workflows" / name for name in ("checks.yml", "gpu-gate.yml"))
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
ON_DEMAND = {"GITHUB_EVENT_NAME": "workflow_dispatch"}

Step = Mapping[str, Any]


def read(file: Path) -> dict[str, Any]:
    """A workflow; the key ``on`` is read as a text, as GitHub does, not as YAML 1.1's true."""
    found: dict[str, Any] = yaml.load(file.read_text(encoding="utf-8"), yaml.BaseLoader)
    return found


def steps(file: Path) -> list[Step]:
    return [step for job in read(file)["jobs"].values() for step in job["steps"]]


def step(file: Path, name: str) -> Step:
    (found,) = (one for one in steps(file) if one.get("name") == name)
    return found


def help_of(*command: str) -> str:
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_are_both() -> None:
    assert {CHECKS, GATE} <= set(WORKFLOWS)


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
class TestEvery:
    def test_linters_find_nothing(self, file: Path) -> None:
        assert findings_in_workflow(file) == ""

    def test_actions_are_pinned_to_a_commit_with_its_version(self, file: Path) -> None:
        uses = re.findall(r"uses: *(.*)", file.read_text(encoding="utf-8"))
        assert uses
        assert [one for one in uses if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v[\d.]+", one)] == []

    def test_one_version_of_an_action_is_one_commit_everywhere(self, file: Path) -> None:
        found = re.findall(r"uses: *(\S+)@(\S+) # (\S+)", "".join(f.read_text() for f in WORKFLOWS))
        assert len({name for name, _, _ in found}) == len(set(found))

    def test_it_may_read_the_repository_and_nothing_more(self, file: Path) -> None:
        workflow = read(file)
        assert workflow["permissions"] == {"contents": "read"}
        assert not any("permissions" in job for job in workflow["jobs"].values())

    def test_runs_do_not_pile_up(self, file: Path) -> None:
        workflow = read(file)
        assert workflow["concurrency"]["group"]
        assert all(int(job["timeout-minutes"]) > 0 for job in workflow["jobs"].values())

    def test_results_are_uploaded_whatever_happened(self, file: Path) -> None:
        uploads = [one for one in steps(file) if "upload-artifact" in one.get("uses", "")]
        assert len(uploads) == 1
        assert uploads[0]["if"] == "always()"
        folder = uploads[0]["with"]["path"].rstrip("/")
        assert any(re.search(rf"\b{folder}\b", one.get("run", "")) for one in steps(file))

    def test_no_expression_stands_in_a_shell_script(self, file: Path) -> None:
        assert [one["run"] for one in steps(file) if "${{" in one.get("run", "")] == []

    def test_scripts_are_bash(self, file: Path) -> None:
        for one in steps(file):
            if "run" in one:
                done = subprocess.run(
                    ["bash", "-n", "-c", one["run"]], capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, done.stderr

    def test_files_that_are_named_exist(self, file: Path) -> None:
        text = file.read_text(encoding="utf-8")
        hashed = re.findall(r"'([\w./-]+)'", "".join(re.findall(r"hashFiles\(([^)]*)\)", text)))
        pages = re.findall(r"docs/[\w-]+\.md", text)
        assert [name for name in (*hashed, *pages) if not (ROOT / name).is_file()] == []


class TestOptions:
    def test_of_the_gate_exist(self) -> None:
        known = help_of(str(BIN / "harness"), "gate")
        used = OPTION.findall(step(GATE, "Gate")["run"])
        assert used
        assert [option for option in used if option not in OPTION.findall(known)] == []

    @pytest.mark.parametrize("command", ["doctor", "profile check", "noise"])
    def test_of_what_comes_before_the_gate_exist(self, command: str) -> None:
        known = OPTION.findall(help_of(str(BIN / "harness"), *command.split()))
        scripts = "\n".join(one.get("run", "") for one in steps(GATE)).replace("\\\n", " ")
        (line,) = re.findall(rf'/harness" {command} .*', scripts)
        used = OPTION.findall(line)
        assert used
        assert [option for option in used if option not in known] == []

    def test_of_pytest_and_the_linters_exist(self) -> None:
        checked = 0
        for one in steps(CHECKS):
            for line in one.get("run", "").splitlines():
                words = shlex.split(line, comments=True)
                if words[:2] == ["tox", "exec"]:
                    program, *rest = words[words.index("--") + 1 :]
                    subcommand = [word for word in rest[:1] if not word.startswith("-")]
                    known = help_of(str(BIN / program), *subcommand)
                elif words[:2] == ["tox", "run"] and "--" in words:
                    rest, known = words[words.index("--") + 1 :], help_of(str(BIN / "pytest"))
                else:
                    continue
                checked += 1
                for option in OPTION.findall(" ".join(rest)):
                    assert option in known, option
        assert checked == 7

    def test_of_the_gate_on_the_page_are_those_of_the_workflow(self) -> None:
        page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
        blocks = [block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "harness" in block]
        used = {
            option
            for block in blocks
            for line in block.splitlines()
            if "venv" not in line or "gate" in line
            for option in OPTION.findall(line)
        }
        scripts = "".join(one["run"] for one in steps(GATE) if "harness/bin" in one.get("run", ""))
        assert used <= {*OPTION.findall(scripts)}
        sides = {"--baseline", "--candidate"}  # an input of the workflow alone
        assert used >= {*OPTION.findall(step(GATE, "Gate")["run"])} - sides


class TestGpu:
    def run(self, folder: Path, nvidia_smi: str | None) -> subprocess.CompletedProcess[str]:
        if nvidia_smi is not None:
            program = folder / "nvidia-smi"
            program.write_text(f"#!/bin/sh\n{nvidia_smi}\n")
            program.chmod(0o755)
        (folder / "grep").symlink_to("/bin/grep")
        script = steps(GATE)[0]["run"]
        environment = {"PATH": str(folder), "RUNNER_NAME": "lab-1"}
        return subprocess.run(
            ["/bin/bash", "-e", "-c", script], env=environment, capture_output=True, text=True, check=False
        )

    def test_it_is_looked_for_first(self) -> None:
        assert "nvidia-smi -L" in steps(GATE)[0]["run"]

    def test_where_one_is_the_job_goes_on(self, tmp_path: Path) -> None:
        done = self.run(tmp_path, "echo 'GPU 0: NVIDIA L4 (UUID: GPU-1)'")
        assert (done.returncode, done.stdout) == (0, "GPU 0: NVIDIA L4 (UUID: GPU-1)\n")

    @pytest.mark.parametrize(
        ("nvidia_smi", "said"),
        [
            (None, "nvidia-smi: command not found"),
            ("echo No devices were found; exit 6", "No devices were found"),
            ("echo No devices found.", "No devices found."),
            ("printf 'NVIDIA-SMI has failed\\n100%% sure\\n'; exit 9", "has failed 100%25 sure"),
        ],
    )
    def test_without_one_it_fails_and_says_what_to_do(
        self, tmp_path: Path, nvidia_smi: str | None, said: str
    ) -> None:
        done = self.run(tmp_path, nvidia_smi)
        assert done.returncode == 1
        (line,) = done.stdout.splitlines()
        assert line.startswith("::error title=No GPU on this runner::nvidia-smi -L says: ")
        assert said in line
        assert "Install the driver on lab-1" in line


def run_step(
    name: str, folder: Path, *, status: int = 0, given: Mapping[str, str] = MappingProxyType(ON_DEMAND)
) -> subprocess.CompletedProcess[str]:
    """A step with a stand-in for the command: it writes its arguments, one a line, and ends as told."""
    program = folder / "harness" / "bin" / "harness"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >"{folder}/arguments"\nexit {status}\n')
    program.chmod(0o755)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "RUNNER_TEMP": str(folder),
        "GITHUB_REPOSITORY": "me/mine",
        **dict.fromkeys(("LMDEPLOY", "BASELINE", "KEPT"), ""),
        "ENGINES": "candidate candidate_pytorch",
        "PROFILE": "upgrade-internvl2-8b",
        **given,
    }
    return subprocess.run(
        ["bash", "-e", "-c", step(GATE, name)["run"]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


class TestBundle:
    def test_it_is_made_where_the_gate_does_not_pass(self, tmp_path: Path) -> None:
        names = [one.get("name") for one in steps(GATE)]
        assert names.index("Gate") < names.index("Bundle") < names.index("Report")
        assert step(GATE, "Bundle")["if"] == "failure()"
        (tmp_path / "report").mkdir()
        (tmp_path / "report" / "gate.json").touch()
        assert run_step("Bundle", tmp_path).returncode == 0
        kept = f"{tmp_path}/.cache/vlm-harness"
        assert (tmp_path / "arguments").read_text().split() == [
            "bundle", "--out", "report/night.bundle.zip",
            "--environments", f"{kept}/environments", "--recordings", f"{kept}/recordings/me/mine",
        ]  # fmt: skip
        assert step(GATE, "Report")["with"]["path"] == "report/"

    def test_where_nothing_was_judged_no_other_night_is_taken_for_this_one(self, tmp_path: Path) -> None:
        assert run_step("Bundle", tmp_path).returncode == 0
        assert not (tmp_path / "arguments").exists()

    def test_its_options_exist(self) -> None:
        used = OPTION.findall(step(GATE, "Bundle")["run"])
        assert {*used} <= {*OPTION.findall(help_of(str(BIN / "harness"), "bundle"))}


class TestGate:
    def arguments(self, folder: Path) -> dict[str, list[str]]:
        """The values of each option, a flag's none, and of '' the arguments by place."""
        words = (folder / "arguments").read_text().splitlines()
        assert words.pop(0) == "gate"
        found: dict[str, list[str]] = {}
        option = ""
        for word in words:
            if word.startswith("--"):
                option = word
                found.setdefault(option, [])
            else:
                found.setdefault(option, []).append(word)
                option = ""
        return found

    @pytest.mark.parametrize(
        ("status", "told"),
        [
            (0, "::notice title=Gate passed (0)::"),
            (1, "::error title=Gate failed (1)::"),
            (2, "::error title=Gate met an error (2)::"),
            (3, "::error title=Gate is inconclusive (3)::"),
            (137, "::error title=Gate ended with 137::"),
        ],
    )
    def test_the_exit_status_is_told_and_kept(self, tmp_path: Path, status: int, told: str) -> None:
        done = run_step("Gate", tmp_path, status=status)
        assert done.returncode == status
        assert done.stdout.startswith(told)

    def test_on_schedule_it_is_what_the_profile_says(self, tmp_path: Path) -> None:
        assert run_step("Gate", tmp_path, given={"GITHUB_EVENT_NAME": "schedule"}).returncode == 0
        assert self.arguments(tmp_path) == {
            "": ["upgrade-internvl2-8b"],
            "--environments": [f"{tmp_path}/.cache/vlm-harness/environments"],
            "--recordings": [f"{tmp_path}/.cache/vlm-harness/recordings/me/mine"],
            "--report": ["report/gate.html"],
            "--json": ["report/gate.json"],
            "--junit-xml": ["report/gate.xml"],
            "--explain": [],
            "--fresh": [],
        }

    def test_on_demand_it_is_what_was_asked(self, tmp_path: Path) -> None:
        given = {
            **ON_DEMAND,
            "LMDEPLOY": "0.17.1",
            "BASELINE": "accepted",
            "PROFILE": "mine",
            "KEPT": "/data/kept",
        }
        run_step("Gate", tmp_path, given=given)
        found = self.arguments(tmp_path)
        assert not {"--fresh", ""} & set(found)
        assert found["--baseline"] == ["accepted"]
        assert found["--candidate"] == ["mine/candidate"]
        assert found["--set"] == [
            "mine/candidate=lmdeploy==0.17.1",
            "mine/candidate_pytorch=lmdeploy==0.17.1",
        ]
        assert found["--environments"] == ["/data/kept/environments"]

    def test_without_a_baseline_all_engines_are_judged(self, tmp_path: Path) -> None:
        run_step("Gate", tmp_path, given={**ON_DEMAND, "PROFILE": "upgrade-gpu", "ENGINES": "candidate"})
        found = self.arguments(tmp_path)
        assert found[""] == ["upgrade-gpu"]
        assert not {"--baseline", "--candidate", "--set"} & set(found)

    @pytest.mark.parametrize(
        "asked", ["lmdeploy @ https://example.org/x.whl", "lmdeploy==1; touch planted $(touch planted)"]
    )
    def test_what_was_typed_is_one_argument_and_no_command(self, tmp_path: Path, asked: str) -> None:
        run_step("Gate", tmp_path, given={**ON_DEMAND, "LMDEPLOY": asked})
        engines = ("candidate", "candidate_pytorch")
        found = self.arguments(tmp_path)["--set"]
        assert found == [f"upgrade-internvl2-8b/{engine}={asked}" for engine in engines]
        assert not (tmp_path / "planted").exists()

    def test_it_runs_on_schedule_and_on_demand_only(self) -> None:
        # On a runner of one's own, code of anybody's pull request would run.
        assert set(read(GATE)["on"]) == {"schedule", "workflow_dispatch"}
        assert set(read(GATE)["on"]["workflow_dispatch"]["inputs"]) == {
            "lmdeploy",
            "baseline",
            "profile",
            "engines",
        }
        assert read(GATE)["jobs"]["gate"]["runs-on"] == ["self-hosted", "gpu"]
        assert read(GATE)["concurrency"]["cancel-in-progress"] == "false"

    def test_its_profile_is_there_with_a_candidate_that_can_be_set(self) -> None:
        from harness.cases.folder import load
        from harness.gate.candidates import engine_setting, with_settings

        inputs = read(GATE)["on"]["workflow_dispatch"]["inputs"]
        profile = inputs["profile"]["default"]
        assert f"'{profile}'" in step(GATE, "Gate")["env"]["PROFILE"]
        engines = inputs["engines"]["default"]
        assert f"'{engines}'" in step(GATE, "Gate")["env"]["ENGINES"]
        loaded = load(ROOT / "cases")
        for name in engines.split():
            after = with_settings(loaded, [engine_setting(f"{profile}/{name}=lmdeploy==0.17.0")])
            assert after != loaded


@pytest.mark.parametrize(
    ("sound", "planted", "told"),
    [
        ("runs-on:", "run-on:", "run-on"),
        ("timeout-minutes: 240", "timeout-minutes: long", "timeout-minutes"),
        ('--baseline "$BASELINE"', '--baseline "${{ inputs.baseline }}"', "template-injection"),
        ("persist-credentials: false", "fetch-depth: 1", "artipacked"),
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7", "unpinned-uses"),
        ("contents: read", "contents: write", "excessive-permissions"),
        ("concurrency:", "env:", "concurrency-limits"),
    ],
)
def test_linters_would_notice(sound: str, planted: str, told: str, tmp_path: Path) -> None:
    text = GATE.read_text(encoding="utf-8")
    assert sound in text
    folder = tmp_path / ".github" / "workflows"  # zizmor takes other files for no workflows
    folder.mkdir(parents=True)
    file = folder / "gpu-gate.yml"
    file.write_text(text, encoding="utf-8")
    assert findings_in_workflow(file) == ""
    file.write_text(text.replace(sound, planted, 1), encoding="utf-8")
    assert told in findings_in_workflow(file)


def test_a_wrong_pipeline_for_gitlab_would_be_noticed(tmp_path: Path) -> None:
    file = tmp_path / ".gitlab-ci.yml"
    file.write_text("gate:\n  script: [harness gate]\n")
    assert findings_in_gitlab(file) == ""
    file.write_text("gate:\n  script: [harness gate]\n  artifacts: {when: sometimes}\n")
    assert "sometimes" in findings_in_gitlab(file)

"""The action that gates an upgrade, and the workflow that uses it: their commands, tried."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.repository.workflow_files import ACTION, GATE, ROOT, read, step, steps
from tests.repository.workflow_lint import BIN, OPTION, help_of

ON_DEMAND = {"GITHUB_EVENT_NAME": "workflow_dispatch"}


class TestOptions:
    def test_of_the_gate_exist(self) -> None:
        known = help_of(str(BIN / "harness"), "gate")
        used = OPTION.findall(step(ACTION, "Gate")["run"])
        assert used
        assert [option for option in used if option not in OPTION.findall(known)] == []

    @pytest.mark.parametrize("command", ["doctor", "profile check", "noise"])
    def test_of_what_comes_before_the_gate_exist(self, command: str) -> None:
        known = OPTION.findall(help_of(str(BIN / "harness"), *command.split()))
        scripts = "\n".join(one.get("run", "") for one in steps(ACTION)).replace("\\\n", " ")
        (line,) = re.findall(rf'/harness" {command} .*', scripts)
        used = OPTION.findall(line)
        assert used
        assert [option for option in used if option not in known] == []

    def test_of_the_gate_on_the_page_are_those_of_the_action(self) -> None:
        page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
        blocks = [block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "harness" in block]
        used = {option for block in blocks for option in OPTION.findall(block.replace("venv --clear", ""))}
        scripts = "".join(one["run"] for one in steps(ACTION) if "harness/bin" in one.get("run", ""))
        assert used
        assert used <= {*OPTION.findall(scripts)}

    @pytest.mark.parametrize("file", [GATE, ROOT / "docs" / "ci.md"], ids=lambda file: file.name)
    def test_inputs_that_are_given_exist(self, file: Path) -> None:
        text = file.read_text(encoding="utf-8")
        inputs = read(ACTION)["inputs"]
        needed = {name for name, each in inputs.items() if each.get("required")}
        blocks = re.findall(r"( *)- uses: [^\n]*/\.github/actions/gate.*\n +with:\n((?:\1    .*\n)+)", text)
        assert blocks
        for _, block in blocks:
            given = set(re.findall(r"^ +([\w-]+):", block, re.MULTILINE))
            assert needed <= given <= set(inputs)

    def test_every_input_is_on_the_page(self) -> None:
        page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
        assert [name for name in read(ACTION)["inputs"] if f"| `{name}` |" not in page] == []


class TestGpu:
    def run(self, folder: Path, nvidia_smi: str | None) -> subprocess.CompletedProcess[str]:
        if nvidia_smi is not None:
            program = folder / "nvidia-smi"
            program.write_text(f"#!/bin/sh\n{nvidia_smi}\n")
            program.chmod(0o755)
        (folder / "grep").symlink_to("/bin/grep")
        script = steps(ACTION)[0]["run"]
        environment = {"PATH": str(folder), "RUNNER_NAME": "lab-1"}
        return subprocess.run(
            ["/bin/bash", "-e", "-c", script], env=environment, capture_output=True, text=True, check=False
        )

    def test_it_is_looked_for_first(self) -> None:
        assert "nvidia-smi -L" in steps(ACTION)[0]["run"]
        assert steps(ACTION)[0]["if"] == "inputs.gpu == 'true'"

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
        **dict.fromkeys(("LMDEPLOY", "BASELINE", "CASES", "KEPT"), ""),
        "ENGINES": "candidate candidate_pytorch",
        "PROFILE": "upgrade-internvl2-8b",
        **given,
    }
    return subprocess.run(
        ["bash", "-e", "-c", step(ACTION, name)["run"]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


class TestBundle:
    def test_it_is_made_where_the_gate_does_not_pass(self, tmp_path: Path) -> None:
        names = [one.get("name") for one in steps(ACTION)]
        assert names.index("Gate") < names.index("Bundle") < names.index("Report")
        assert step(ACTION, "Bundle")["if"] == "failure()"
        (tmp_path / "report").mkdir()
        (tmp_path / "report" / "gate.json").touch()
        assert run_step("Bundle", tmp_path).returncode == 0
        kept = f"{tmp_path}/.cache/vlm-harness"
        assert (tmp_path / "arguments").read_text().split() == [
            "bundle", "--out", "report/night.bundle.zip",
            "--environments", f"{kept}/environments", "--recordings", f"{kept}/recordings/me/mine",
        ]  # fmt: skip
        assert step(ACTION, "Report")["with"]["path"] == "report/"

    def test_where_nothing_was_judged_no_other_night_is_taken_for_this_one(self, tmp_path: Path) -> None:
        assert run_step("Bundle", tmp_path).returncode == 0
        assert not (tmp_path / "arguments").exists()

    def test_its_options_exist(self) -> None:
        used = OPTION.findall(step(ACTION, "Bundle")["run"])
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

    def test_a_report_of_another_run_is_taken_away(self, tmp_path: Path) -> None:
        (tmp_path / "report").mkdir()
        (tmp_path / "report" / "gate.json").touch()
        run_step("Gate", tmp_path, status=2)
        assert [*(tmp_path / "report").iterdir()] == []

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
        given = steps(GATE)[-1]["with"]
        assert f"'{profile}'" in given["profile"]
        engines = inputs["engines"]["default"]
        assert f"'{engines}'" in given["engines"]
        loaded = load(ROOT / "cases")
        for name in engines.split():
            after = with_settings(loaded, [engine_setting(f"{profile}/{name}=lmdeploy==0.17.0")])
            assert after != loaded

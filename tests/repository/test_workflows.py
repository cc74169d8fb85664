"""The workflows of this repository and its action: linted, and the commands of the checks tried."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.repository.workflow_files import (
    ACTION,
    ADVISORIES,
    CHECKS,
    GATE,
    RELEASE,
    ROOT,
    WORKFLOWS,
    read,
    step,
    steps,
)
from tests.repository.workflow_lint import (
    BIN,
    OPTION,
    findings_in_action,
    findings_in_gitlab,
    findings_in_workflow,
    help_of,
)

FILES = [*WORKFLOWS, ACTION]
PINNED = re.compile(r"actions/[a-z-]+@[0-9a-f]{40} # v[\d.]+")


def findings(file: Path) -> str:
    return findings_in_action(file) if file.name == "action.yml" else findings_in_workflow(file)


def test_there_are_all() -> None:
    assert {ADVISORIES, CHECKS, GATE, RELEASE} <= set(WORKFLOWS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
class TestEvery:
    def test_linters_find_nothing(self, file: Path) -> None:
        assert findings(file) == ""

    def test_actions_are_pinned_to_a_commit_with_its_version(self, file: Path) -> None:
        uses = re.findall(r"uses: *(.*)", file.read_text(encoding="utf-8"))
        assert uses
        local = f"./{ACTION.parent.relative_to(ROOT)} # "
        assert [one for one in uses if not PINNED.fullmatch(one) and not one.startswith(local)] == []

    def test_one_version_of_an_action_is_one_commit_everywhere(self, file: Path) -> None:
        found = re.findall(r"uses: *(\S+)@(\S+) # (\S+)", "".join(f.read_text() for f in FILES))
        assert len({name for name, _, _ in found}) == len(set(found))

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


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
class TestWorkflow:
    def test_it_may_read_the_repository_and_nothing_more(self, file: Path) -> None:
        workflow = read(file)
        assert workflow["permissions"] == {"contents": "read"}
        own = {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
        assert own == ({"publish": {"id-token": "write"}} if file == RELEASE else {})

    def test_runs_do_not_pile_up(self, file: Path) -> None:
        workflow = read(file)
        assert workflow["concurrency"]["group"]
        assert all(int(job["timeout-minutes"]) > 0 for job in workflow["jobs"].values())


@pytest.mark.parametrize("file", [CHECKS, RELEASE, ACTION], ids=lambda file: file.stem)
def test_results_are_uploaded_whatever_happened(file: Path) -> None:
    uploads = [one for one in steps(file) if "upload-artifact" in one.get("uses", "")]
    assert len(uploads) == 1
    assert uploads[0]["if"] == "always()"
    folder = uploads[0]["with"]["path"].rstrip("/")
    assert any(re.search(rf"\b{folder}\b", one.get("run", "")) for one in steps(file))


def unknown_to_uv(line: str) -> list[str]:
    """Options that uv's subcommand does not have."""
    words = [word for word in line.split()[1:3] if word.isalpha() and word != "dist"]
    known = OPTION.findall(help_of(find_uv_bin(), *words))
    return [option for option in OPTION.findall(line) if option not in known]


def test_what_is_audited_is_what_the_harness_asks_for() -> None:
    """It needs a network to run: what is held is that its options exist, and that no package is let go."""
    text = step(ADVISORIES, "Audit")["run"]
    (line,) = re.findall(r"^uv pip .*", text, re.MULTILINE)
    assert unknown_to_uv(line) == []
    assert unknown_to_uv(line.replace("--all-extras", "--all-exras")) == ["--all-exras"]
    assert {"--all-extras", "--group"} <= set(OPTION.findall(line))
    assert re.search(r"^pip-audit --strict ", text, re.MULTILINE)  # one that is not known fails


class TestRelease:
    def test_what_publishes_runs_nothing_of_the_repository(self) -> None:
        publish = read(RELEASE)["jobs"]["publish"]
        assert (publish["needs"], publish["environment"]) == ("build", "release")
        assert not any("checkout" in one.get("uses", "") for one in publish["steps"])
        assert set(read(RELEASE)["on"]) == {"push"}
        assert set(read(RELEASE)["on"]["push"]) == {"tags"}

    def test_both_are_tried_before(self) -> None:
        script = step(RELEASE, "Distributions")["run"]
        (line,) = (line for line in script.splitlines() if line.startswith(".ci/"))
        assert os.access(ROOT / line.split()[0], os.X_OK)
        assert line.endswith('"${GITHUB_REF_NAME#v}"')

    def test_options_of_uv_exist(self) -> None:
        (line,) = re.findall(r"^uv publish .*", step(RELEASE, "Publish")["run"], re.MULTILINE)
        assert unknown_to_uv(line) == []


def test_options_of_pytest_and_the_linters_exist() -> None:
    checked = 0
    for one in steps(CHECKS):
        for line in one.get("run", "").splitlines():
            words = shlex.split(line, comments=True)
            if words[:2] == ["tox", "exec"]:
                program, *rest = words[words.index("--") + 1 :]
                subcommand = rest[:2] if program == "python" else []
                subcommand += [word for word in rest[:1] if not word.startswith("-")]
                known = help_of(str(BIN / program), *subcommand)
            elif words[:2] == ["tox", "run"] and "--" in words:
                rest, known = words[words.index("--") + 1 :], help_of(str(BIN / "pytest"))
            else:
                continue
            checked += 1
            for option in OPTION.findall(" ".join(rest)):
                assert option in known, option
    assert checked == 9


@pytest.mark.parametrize(
    ("sound", "planted", "told"),
    [
        ("runs-on:", "run-on:", "run-on"),
        ("timeout-minutes: 240", "timeout-minutes: long", "timeout-minutes"),
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


@pytest.mark.parametrize(
    ("sound", "planted", "told"),
    [
        ("shell: bash", "shel: bash", "shel"),
        ('--baseline "$BASELINE"', '--baseline "${{ inputs.baseline }}"', "template-injection"),
        ("@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f # v7.0.0", "@v7", "unpinned-uses"),
    ],
)
def test_linters_would_notice_in_the_action(sound: str, planted: str, told: str, tmp_path: Path) -> None:
    text = ACTION.read_text(encoding="utf-8")
    assert sound in text
    file = tmp_path / "action.yml"
    file.write_text(text.replace(sound, planted, 1), encoding="utf-8")
    assert told in findings_in_action(file)


def test_a_wrong_pipeline_for_gitlab_would_be_noticed(tmp_path: Path) -> None:
    file = tmp_path / ".gitlab-ci.yml"
    file.write_text("gate:\n  script: [harness gate]\n")
    assert findings_in_gitlab(file) == ""
    file.write_text("gate:\n  script: [harness gate]\n  artifacts: {when: sometimes}\n")
    assert "sometimes" in findings_in_gitlab(file)


def test_a_command_in_an_environment_of_tox_names_it() -> None:
    """Without ``-e`` tox takes one of its own making, in which nothing is installed."""
    files = [ROOT / ".ci" / "run", *ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]
    files += sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    commands = re.findall(r'tox"? exec [^\n`]+', text)
    assert len(commands) > 10
    assert [command for command in commands if not re.match(r'tox"? exec -e harness -- ', command)] == []

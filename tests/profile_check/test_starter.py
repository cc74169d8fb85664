"""`harness init`: what it writes for models of several kinds, and that it overwrites nothing."""

from __future__ import annotations

import importlib.metadata
import io
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from uv import find_uv_bin

from harness.cases.folder import load
from harness.cli import main
from harness.profile_check.starter import Starter, starter_files
from tests.repository.workflow_files import ACTION, CHECKS, read
from tests.repository.workflow_lint import findings_in_workflow

ROOT = Path(__file__).parents[2]
EMBEDDED = ROOT / "cases" / "models" / "embedded"
QWEN: Mapping[str, Any] = {
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "dtype": "bfloat16",
    "vision_config": {"depth": 2},
}
TEXT: Mapping[str, Any] = {"architectures": ["LlamaForCausalLM"], "torch_dtype": "float16"}
INTERNVL2: Mapping[str, Any] = {
    "architectures": ["InternVLChatModel"],
    "auto_map": {"AutoModel": "modeling_internvl_chat.InternVLChatModel"},
    "max_dynamic_patch": 12,
    "llm_config": {"torch_dtype": "bfloat16"},
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def model(here: Path, name: str, config: Mapping[str, Any]) -> str:
    (here / name).mkdir()
    (here / name / "config.json").write_text(json.dumps(config))
    return name


def profile(here: Path, name: str, *, gpu: bool = False) -> tuple[str, dict[str, Any]]:
    """The text of profiles.yaml for a model, and its only profile."""
    files = starter_files(Starter(model=name, cases=Path("cases"), here=here, gpu=gpu))
    text = files[Path("cases/profiles.yaml")].decode()
    ((_, found),) = yaml.safe_load(text)["profiles"].items()
    return text, found


def test_a_model_with_images_gets_pictures_that_are_what_is_asked_of_them(here: Path) -> None:
    files = starter_files(Starter(model=str(EMBEDDED), cases=Path("cases"), here=here, gpu=False))
    pictures = {
        path.stem: Image.open(io.BytesIO(data)) for path, data in files.items() if path.suffix == ".png"
    }
    assert {name: image.size for name, image in pictures.items()} == {
        "red-circle": (224, 224),
        "blue-square": (224, 224),
        "green-triangle": (224, 224),
        "yellow-cross-wide": (672, 224),
    }
    for name, image in pictures.items():
        red, green, blue = np.asarray(image)[image.height // 2, image.width // 2].astype(int)
        colour = (
            "yellow"
            if min(red, green) > blue + 50
            else "red"
            if red > 200
            else "blue"
            if blue > green
            else "green"
        )
        assert name.startswith(colour)


def test_it_is_valid_and_every_line_that_was_decided_has_its_reason(here: Path) -> None:
    assert main(["init", "--model", str(EMBEDDED)]) == 0
    loaded = load(here / "cases")
    (found,) = loaded.profiles
    assert (found.name, [engine.name for engine in found.engines]) == ("embedded", ["torch", "lmdeploy"])
    assert len(loaded.cases) == 9
    assert found.engines[0].settings.max_tiles == 3
    for line in (here / "cases" / "profiles.yaml").read_text().splitlines():
        if line.split(":")[0].strip() in {"dtype", "device", "max_tiles", "model", "deadlines", "reference"}:
            assert " # " in line


@pytest.mark.parametrize(
    ("config", "gpu", "dtype"),
    [
        (QWEN, True, "bfloat16"),
        (QWEN, False, "float32"),
        (TEXT, True, "float16"),
        ({**TEXT, "torch_dtype": "float32"}, True, "float16"),
        (INTERNVL2, True, "bfloat16"),
    ],
)
def test_the_dtype_is_the_models_where_the_device_has_it(
    here: Path, config: Mapping[str, Any], gpu: bool, dtype: str
) -> None:
    _, found = profile(here, model(here, "m", config), gpu=gpu)
    assert (found["dtype"], found["device"]) == (dtype, "cuda" if gpu else "cpu")
    assert found.get("marks") == (["gpu"] if gpu else None)


def test_a_text_model_is_asked_without_pictures(here: Path) -> None:
    files = starter_files(Starter(model=model(here, "m", TEXT), cases=Path("c"), here=here, gpu=False))
    assert not [path for path in files if path.suffix == ".png"]
    (case,) = yaml.safe_load(files[Path("c/starter.yaml")])["cases"]
    assert "image" not in case


def test_code_of_a_models_own_is_named_and_not_switched_on(here: Path) -> None:
    text, found = profile(here, model(here, "InternVL2-8B", INTERNVL2))
    assert "code of its own (modeling_internvl_chat.py)" in text
    assert all("options" not in (engine or {}) for engine in found["engines"].values())
    assert found["max_tiles"] == 12


def test_a_hub_id_is_not_looked_at(here: Path) -> None:
    text, found = profile(here, "OpenGVLab/InternVL3-1B-hf")
    assert found["model"] == "OpenGVLab/InternVL3-1B-hf"
    assert "a hub id; add `revision:`" in text


def test_nothing_is_overwritten_and_what_git_ignores_stays(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / ".gitignore").write_text("*.log")
    name = model(here, "m", QWEN)
    assert main(["init", "--model", name, "--cases", "checks", "--workflow"]) == 0
    said = capsys.readouterr().out
    assert (here / ".gitignore").read_text() == "*.log\n.harness/\n"
    for line in ("harness profile check m --cases=checks", "pytest --pyargs harness.suite --cases=checks"):
        assert f"  {line}\n" in said
    (here / "checks" / "starter.yaml").write_text("mine")
    assert main(["init", "--model", name, "--cases", "checks"]) == 2
    assert "checks/profiles.yaml: found, and " in capsys.readouterr().err
    assert (here / "checks" / "starter.yaml").read_text() == "mine"


@pytest.mark.parametrize("gpu", [True, False])
@pytest.mark.parametrize(
    ("noted", "uses", "installs"),
    [
        (None, "OWNER/REPOSITORY/.github/actions/gate@COMMIT", "${{ vars.HARNESS }}"),
        (
            {"url": "https://github.com/o/r.git", "vcs_info": {"vcs": "git", "commit_id": "0" * 40}},
            f"o/r/.github/actions/gate@{'0' * 40}",
            f"vlm-consistency-harness[lmdeploy,torch] @ git+https://github.com/o/r.git@{'0' * 40}",
        ),
        (
            {"url": "https://git.example/o/r", "vcs_info": {"vcs": "git", "commit_id": "0" * 40}},
            "OWNER/REPOSITORY/.github/actions/gate@COMMIT",
            f"vlm-consistency-harness[lmdeploy,torch] @ git+https://git.example/o/r@{'0' * 40}",
        ),
        (
            {"url": "file:///home/me/x.whl", "archive_info": {}},
            "OWNER/REPOSITORY/.github/actions/gate@COMMIT",
            "${{ vars.HARNESS }}",
        ),
    ],
)
def test_the_workflow_installs_what_is_installed_here(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    noted: Mapping[str, Any] | None,
    uses: str,
    installs: str,
    gpu: bool,
) -> None:
    text = None if noted is None else json.dumps(noted)
    found = SimpleNamespace(read_text=lambda _: text, version="1")
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: found)
    name = model(here, "m", QWEN)
    starter = Starter(model=name, cases=Path("checks"), here=here, gpu=gpu, workflow=True)
    files = starter_files(starter)
    (path,) = (path for path in files if path.suffix == ".yml")
    (here / path).parent.mkdir(parents=True)
    (here / path).write_text(files[path].decode().replace("@COMMIT", f"@{'1' * 40}"))
    assert findings_in_workflow(here / path) == ""
    workflow = read(here / path)
    checkout, *rest = workflow["jobs"]["consistency"]["steps"]
    pinned = [one["uses"] for one in (checkout, *rest) if one.get("uses", "").startswith("actions/")]
    assert [one for one in pinned if f"uses: {one} #" not in CHECKS.read_text()] == []
    if gpu:
        # On a runner of one's own, code of anybody's pull request would run.
        assert set(workflow["on"]) == {"schedule", "workflow_dispatch"}
        (gate,) = rest
        assert gate["uses"] == uses.replace("@COMMIT", f"@{'1' * 40}")
        assert set(gate["with"]) <= set(read(ACTION)["inputs"])
        assert (gate["with"]["profile"], gate["with"]["cases"]) == ("m", "checks")
    else:
        assert set(workflow["on"]) == {"pull_request"}
        assert rest[0]["env"]["HARNESS"] == installs
        assert "--cases=checks " in rest[1]["run"]


@pytest.mark.parametrize("given", [["--model", "nosuch"], []])
@pytest.mark.usefixtures("here")
def test_without_a_model_nothing_is_written(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", *given]) == 2
    assert "allowed: a folder that exists, or a hub id" in capsys.readouterr().err
    assert not Path("cases").exists()


@pytest.mark.slow
def test_from_a_wheel_in_an_empty_repository(here: Path) -> None:
    uv, python = find_uv_bin(), here / "v" / "bin" / "python"

    def run(*words: object) -> str:
        done = subprocess.run([*map(str, words)], cwd=here, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{shlex.join(map(str, words))}: {done.stdout}{done.stderr}"
        return done.stdout

    run(uv, "build", "--wheel", "--out-dir", here / "dist", ROOT)
    run(uv, "venv", "--python", sys.executable, here / "v")
    run(uv, "pip", "install", "--python", python, *(here / "dist").glob("*.whl"))
    for name in (str(EMBEDDED), model(here, "qwen", QWEN), model(here, "text", TEXT)):
        folder = f"cases-{Path(name).name}"
        told = run(python.with_name("harness"), "init", "--model", name, "--cases", folder)
        assert "Next:\n  harness profile check " in told
        assert "no problems" in run(python.with_name("harness"), "check", folder)
        # Neither library is there, so each engine gets an environment of its own.
        engines = yaml.safe_load((here / folder / "profiles.yaml").read_text())["profiles"].popitem()[1][
            "engines"
        ]
        assert all(engine["requirements"] for engine in engines.values())

"""What is missing from a model's folder, each thing by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cases.folder import load
from harness.environments.store import Environments
from harness.machine.findings import Mark
from harness.profile_check.checking import ProfileCheck
from harness.profile_check.model_files import look_into
from harness.profile_check.safetensors import read_header
from tests.profile_check.conftest import Checked


def troubles(folder: Path) -> list[tuple[str, str]]:
    return [(trouble.topic, trouble.found) for trouble in look_into(folder).troubles]


def split(folder: Path) -> None:
    """The weights in two files with an index, as large models have them."""
    whole = folder / "model.safetensors"
    names = sorted(read_header(whole))
    (folder / "model-00001-of-00002.safetensors").write_bytes(whole.read_bytes())
    raw = b"{}"
    (folder / "model-00002-of-00002.safetensors").write_bytes(len(raw).to_bytes(8, "little") + raw)
    shards = dict.fromkeys(names, "model-00001-of-00002.safetensors")
    index = {"weight_map": {**shards, "extra": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    whole.unlink()


def test_a_whole_model(checked: Checked) -> None:
    files = look_into(checked.model)
    assert files.troubles == []
    assert (files.parameters, files.saved_as(), files.takes_images) == (813_248, "F32", True)
    assert (files.weight_bytes(None), files.weight_bytes(2)) == (4 * 813_248, 2 * 813_248)
    assert (files.tokenizer, files.template, files.processor, files.most_patches) == (
        "tokenizer.json",
        "chat_template.jinja",
        "processor_config.json",
        3,
    )


@pytest.mark.parametrize(
    ("gone", "topic", "found"),
    [
        ("tokenizer.json", "tokenizer", "no tokenizer"),
        ("chat_template.jinja", "template", "no chat template"),
        ("processor_config.json", "processor", "no configuration of the processor"),
        ("model.safetensors", "model", "no weights"),
    ],
)
def test_a_file_that_is_missing_is_wrong(checked: Checked, gone: str, topic: str, found: str) -> None:
    (checked.model / gone).unlink()
    (finding,) = checked.wrongs()
    assert (finding.topic, finding.mark) == (topic, Mark.WRONG)
    assert found in finding.text
    assert str(finding.place) == "profiles.yaml:3:12"
    assert finding.allowed
    assert ("put the template" if topic == "template" else "change `model:`") in finding.command


def test_a_shard_cut_short(checked: Checked) -> None:
    file = checked.model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    (finding,) = checked.wrongs()
    assert "model.safetensors has 3,262,868 bytes of 3,262,872" in finding.text
    assert finding.allowed == "the whole file; fetch it again"


def test_shards_are_those_of_the_index(checked: Checked) -> None:
    split(checked.model)
    assert troubles(checked.model) == [
        ("model", "model-00002-of-00002.safetensors without 1 of its tensors, among them extra")
    ]
    (checked.model / "model-00002-of-00002.safetensors").unlink()
    assert troubles(checked.model) == [
        ("model", "no model-00002-of-00002.safetensors, which the index of weights names")
    ]
    assert look_into(checked.model).parameters == 0


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs_is_called_so_and_nothing_else(checked: Checked, name: str) -> None:
    (checked.model / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 132\n")
    (finding,) = checked.wrongs()
    assert f"{name}: a Git LFS pointer in place of the file; run `git lfs pull`" in finding.text
    assert {each.mark for each in checked.findings() if each.topic in ("tokenizer", "letters", "memory")} == {
        Mark.UNKNOWN
    }


@pytest.mark.parametrize("name", ["picture.png", "pytorch_model.bin"])
def test_a_pointer_in_place_of_what_is_not_read_is_none(checked: Checked, name: str) -> None:
    (checked.model / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 132\n")
    assert checked.wrongs() == []


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_configuration_that_cannot_be_read(checked: Checked, text: str) -> None:
    (checked.model / "config.json").write_text(text)
    assert [topic for topic, _ in troubles(checked.model)] == ["model"]
    assert checked.of("memory").mark is Mark.UNKNOWN


def test_one_whole_file_is_taken_before_an_index_left_from_its_parts(checked: Checked) -> None:
    """As Transformers and LMDeploy do."""
    stale = {"weight_map": {"a.weight": "model-00001-of-00002.safetensors"}}
    (checked.model / "model.safetensors.index.json").write_text(json.dumps(stale))
    assert troubles(checked.model) == []
    (checked.model / "model.safetensors.index.json").write_text("no")
    assert troubles(checked.model) == []


def test_an_index_that_cannot_be_read(checked: Checked) -> None:
    (checked.model / "model.safetensors.index.json").write_text("no")
    (checked.model / "model.safetensors").unlink()
    assert any("index.json cannot be read" in found for _, found in troubles(checked.model))


def test_pickled_weights_are_not_read(checked: Checked) -> None:
    (checked.model / "model.safetensors").rename(checked.model / "pytorch_model.bin")
    assert "pickled" in checked.of("model").text
    assert checked.wrongs() == []


@pytest.mark.parametrize("name", ["tokenizer_config.json", "processor_config.json", "chat_template.json"])
def test_a_template_may_be_in_other_files(checked: Checked, name: str) -> None:
    (checked.model / "chat_template.jinja").unlink()
    file = checked.model / name
    before = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**before, "chat_template": "{{ x }}"}))
    assert look_into(checked.model).template == name


def test_code_of_the_models_own(checked: Checked) -> None:
    checked.config(auto_map={"AutoConfig": "configuration_x.C", "AutoModel": "org/name--modeling_x.M"})
    assert troubles(checked.model) == [
        ("model", "no configuration_x.py, which auto_map of config.json names"),
        ("model", "no modeling_x.py, which auto_map of config.json names"),
    ]
    for name in ("configuration_x.py", "modeling_x.py", "conversation.py"):
        (checked.model / name).write_text("")
    for name in ("chat_template.jinja", "processor_config.json"):
        (checked.model / name).unlink()
    files = look_into(checked.model)
    assert (files.troubles, files.template) == ([], "conversation.py")
    assert checked.of("remote code").text == (
        "comes with configuration_x.py, modeling_x.py; trust_remote_code is off"
    )


def test_what_engines_share_is_told_at_the_place_of_each(checked: Checked) -> None:
    (checked.model / "model.safetensors").unlink()
    (checked.folder / "profiles.yaml").write_text(
        "profiles:\n  p:\n    model: model\n    reference: one\n    engines:\n"
        "      one: {kind: torch, model: model}\n      two: {kind: torch, model: model}\n"
    )
    loaded = load(checked.folder)
    check = ProfileCheck(loaded, loaded.profiles[0], Environments(checked.folder / "environments"))
    found = [next(check.engine(engine)) for engine in loaded.profiles[0].engines]
    assert [(one.topic, one.mark) for one in found] == [("model", Mark.WRONG)] * 2
    assert [str(one.place).split(":")[-2] for one in found] == ["6", "7"]

"""Letters are resolved by the real tokenizer of the embedded model, in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from harness.machine.findings import Finding, Mark
from harness.profile_check import letters
from harness.workers import ask_tokenizer
from tests.profile_check.conftest import Checked

pytestmark = pytest.mark.engines


@pytest.fixture
def asking(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> Checked:
    monkeypatch.setattr(letters, "ask_tokenizer", ask_tokenizer)
    return checked


def suite(folder: Path, *cases: dict[str, object]) -> None:
    entries = [{"id": f"c{n}", "prompt": "What?", "expect": "A", **case} for n, case in enumerate(cases)]
    (folder / "s.yaml").write_text(yaml.safe_dump({"defaults": {"letters": ["A", "B"]}, "cases": entries}))


def of(findings: list[Finding], topic: str) -> list[Finding]:
    return [finding for finding in findings if finding.topic == topic]


def test_letters_that_a_tokenizer_lowers(asking: Checked) -> None:
    file = asking.model / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "normalizer": {"type": "Lowercase"}}))
    config = asking.model / "tokenizer_config.json"
    plain = {"tokenizer_class": "PreTrainedTokenizerFast"}
    config.write_text(json.dumps({**json.loads(config.read_text()), **plain}))
    suite(asking.folder, {}, {"prompt": "What is it, if one may ask?"}, {"answer_prefix": "Answer: "})
    found = of(asking.findings(), "letters")
    assert [finding.mark for finding in found] == [Mark.WRONG, Mark.WRONG]
    assert [str(finding.place) for finding in found] == ["s.yaml:5:3", "s.yaml:8:3"]
    assert [finding.text.partition(":")[0] for finding in found] == ["s.c1", "s.c2"]
    assert all("no single token id of its own" in finding.text for finding in found)
    assert all("answer_prefix" in finding.command for finding in found)


def test_the_profiles_system_text_is_one_for_all(asking: Checked) -> None:
    suite(asking.folder, {}, {"system": "Be brief."})
    asking.write(system="Be brief.")
    (found,) = of(asking.findings(), "letters")
    assert found.text.startswith("all resolve: 1 combination of")


def test_all_that_resolve(asking: Checked) -> None:
    suite(asking.folder, {}, {}, {"answer_prefix": "Answer: "}, {"system": "Be brief."})
    (found,) = of(asking.findings(), "letters")
    assert found.text == "all resolve: 3 combinations of letters, answer_prefix and system in 4 cases"


def test_a_tokenizer_that_cannot_be_loaded(asking: Checked) -> None:
    (asking.model / "tokenizer.json").write_text("{}")
    found = of(asking.findings(), "tokenizer")[-1]
    assert found.mark is Mark.WRONG
    assert str(found.place) == "profiles.yaml:3:12"


def test_a_template_that_fails(asking: Checked) -> None:
    (asking.model / "chat_template.jinja").write_text("{{ nothing.at.all }}")
    (found,) = of(asking.findings(), "template")
    assert found.mark is Mark.WRONG
    assert "the chat template fails: UndefinedError" in found.text
    assert found.command.startswith("mend the template in the model's folder")


@pytest.mark.parametrize("kind", ["torch", "lmdeploy"])
def test_an_end_of_text_that_the_tokenizer_adds(asking: Checked, kind: str) -> None:
    end = {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}
    file = asking.model / "tokenizer.json"
    post = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, end],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            "<|endoftext|>": {"id": "<|endoftext|>", "ids": [694], "tokens": ["<|endoftext|>"]}
        },
    }
    file.write_text(json.dumps({**json.loads(file.read_text()), "post_processor": post}))
    config = asking.model / "tokenizer_config.json"
    plain = {"tokenizer_class": "PreTrainedTokenizerFast"}
    config.write_text(json.dumps({**json.loads(config.read_text()), **plain}))
    asking.write(engine={"kind": kind})
    (found,) = of(asking.findings(), "tokenizer")[-1:]
    assert found.mark is Mark.WRONG
    assert "adds '<|endoftext|>' (ids [694]) behind every text" in found.text


def test_remote_code_is_asked_for_by_name(asking: Checked) -> None:
    asking.config(auto_map={"AutoConfig": "configuration_x.C"}, model_type="x-of-its-own")
    (asking.model / "configuration_x.py").write_text(
        "from transformers import PretrainedConfig\n"
        "class C(PretrainedConfig):\n    model_type = 'x-of-its-own'\n"
        "open('ran', 'w').close()\n"
    )
    found = [finding for finding in asking.wrongs() if finding.topic == "remote code"]
    assert [finding.mark for finding in found] == [Mark.WRONG]
    assert "trust_remote_code: true" in found[0].allowed
    assert not Path("ran").exists()
    asking.write(engine={"options": {"trust_remote_code": True}})
    assert of(asking.findings(), "letters")[0].mark is Mark.RIGHT
    assert Path("ran").exists()


def test_a_template_in_a_file_for_processors(asking: Checked) -> None:
    file = asking.model / "chat_template.jinja"
    template = file.read_text()
    file.unlink()
    (asking.model / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    assert of(asking.findings(), "letters")[0].mark is Mark.RIGHT


def test_without_a_template_the_models_own_code_renders(checked: Checked) -> None:
    checked.answers["answers"] = None
    (found,) = of(checked.findings(), "letters")
    assert found.mark is Mark.UNKNOWN


def test_a_text_that_holds_the_end_of_an_answer_is_found_before_a_run(asking: Checked) -> None:
    cases = [
        {"id": name, "prompt": "What?", "expect_text": text}
        for name, text in (("plain", "A"), ("ends", "A<|im_end|>"))
    ]
    (asking.folder / "s.yaml").write_text(yaml.safe_dump({"cases": cases}))
    found = [finding for finding in of(asking.findings(), "text") if finding.mark is Mark.WRONG]
    assert found
    assert all(finding.text.startswith("s.ends: the text") for finding in found)
    assert all("expect_text" in finding.command for finding in found)

"""Each planted asymmetry of what two real engines are asked is named as what it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.recordings.store import RecordingStore
from tests.planted.conftest import FAULTS, Planted

SYSTEM = "You are a careful observer."
BEGIN = "<|endoftext|>"


def edit_template(model: Path, old: str, new: str) -> None:
    template = model / "chat_template.jinja"
    assert old in template.read_text()
    template.write_text(template.read_text().replace(old, new))


def edit_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def drop_system(model: Path) -> None:
    edit_template(
        model, "for message in messages %}", "for message in messages if message.role != 'system' %}"
    )


def add_newline(model: Path) -> None:
    edit_template(model, r"'<|im_end|>\n'", r"'<|im_end|>\n\n'")


def drop_header(model: Path) -> None:
    edit_template(model, r"{{- '<|im_start|>assistant\n' }}", "")


def normalise_otherwise(model: Path) -> None:
    file = model / "processor_config.json"
    processor = json.loads(file.read_text())
    processor["image_processor"] |= {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    file.write_text(json.dumps(processor))


ASYMMETRIES: dict[str, tuple[Callable[[Path], None] | None, dict[str, Any], str]] = {
    # engine: what is done to its copy of the model, what its entry says, and what must be named
    "dropped": (drop_system, {}, "system text dropped"),
    "behind": (None, {"patch": str(FAULTS / "image_after_the_question.py")}, "image after the question"),
    "fewer": (None, {"max_tiles": 1}, "4 against 1 tiles"),
    "pieces": (None, {"patch": str(FAULTS / "tokenized_in_pieces.py")}, "segment-wise tokenisation"),
    "newline": (add_newline, {}, "white space in the template"),
    "headless": (drop_header, {}, "assistant header missing"),
    "pixels": (normalise_otherwise, {}, "pixel values"),
}


def ask(planted: Planted, engines: dict[str, dict[str, Any]], **fields: Any) -> None:
    """Put ``engines`` of LMDeploy beside ``torch``, and one case with an image of several tiles."""
    with planted.edit("profiles.yaml") as profiles:
        profile = profiles["profiles"]["embedded"] | {"suites": ["shapes"], **fields}
        profile["engines"] = {"torch": profile["engines"]["torch"]} | {
            name: {"kind": "lmdeploy", **entry} for name, entry in engines.items()
        }
        profiles["profiles"]["embedded"] = profile
    with planted.edit("shapes.yaml") as suite:
        suite["cases"] = [suite["cases"][0] | {"image": "images/four-yellow-circle-168x56.png"}]


def named(result: pytest.RunResult) -> dict[str, list[str]]:
    """What is found in each engine's question: the titles of its findings."""
    found: dict[str, list[str]] = {}
    engine = ""
    for line in result.outlines:
        if "short test summary" in line:
            break  # in CI pytest writes the messages there once more, in full
        if subject := re.fullmatch(r"  shapes\.[\w-]+, embedded-(\w+) against embedded-torch", line):
            engine = subject[1]
        elif finding := re.match(r"  - ([^:]+): ", line):
            found.setdefault(engine, []).append(finding[1])
    return found


@pytest.mark.slow
def test_every_asymmetry_is_named_and_nothing_else(unaccepted: Planted) -> None:
    engines = {}
    for name, (change, entry, _) in ASYMMETRIES.items():
        engines[name] = entry
        if change is not None:
            change(unaccepted.other_model(name))
            engines[name] = {**entry, "model": f"models/{name}"}
    ask(unaccepted, {"same": {}, **engines}, system=SYSTEM)
    result = unaccepted.run("-k", "same_question")
    assert named(result) == {name: [title] for name, (_, _, title) in ASYMMETRIES.items()}
    result.assert_outcomes(passed=1, failed=len(ASYMMETRIES))


@pytest.mark.slow
def test_a_begin_of_text_that_the_tokenizer_adds_to_the_templates_own(unaccepted: Planted) -> None:
    """Both engines get such a model; Transformers' processor and LMDeploy 0.18 see to it that one is left."""
    model = unaccepted.folder / "cases/models/embedded"
    edit_json(model / "tokenizer_config.json", bos_token=BEGIN, tokenizer_class="PreTrainedTokenizerFast")
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    (begin,) = (token["id"] for token in tokenizer["added_tokens"] if token["content"] == BEGIN)
    tokenizer["post_processor"] |= {
        "single": [
            {"SpecialToken": {"id": BEGIN, "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "special_tokens": {BEGIN: {"id": BEGIN, "ids": [begin], "tokens": [BEGIN]}},
    }
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    template = model / "chat_template.jinja"
    template.write_text(f"{{{{- '{BEGIN}' }}}}\n" + template.read_text())
    ask(unaccepted, {"guarded": {}, "twice": {"patch": str(FAULTS / "begin_of_text_twice.py")}})
    result = unaccepted.run("-k", "same_question or engines_agree")
    found = named(result)
    assert found.keys() == {"twice"}
    assert (found["twice"][0], found["twice"][-1]) == ("question", "double begin-of-text")
    result.stdout.fnmatch_lines(
        ["*question: the engines were asked different questions: double begin-of-text*"]
    )


@pytest.mark.slow
def test_pins_hold_for_both_sides(unaccepted: Planted) -> None:
    ask(unaccepted, {"lmdeploy": {}}, system=SYSTEM, max_tiles=2)
    result = unaccepted.run("-k", "same_question", "--recordings", "own")
    result.assert_outcomes(passed=1)
    store = RecordingStore(unaccepted.folder / "own")
    keys = [key for each in (store.root / "recordings").glob("*.jsonl") for key in store.answers(each.stem)]
    asked = [recording.answer.question for key in keys if (recording := store.get(key)) is not None]
    assert [question.tiles for question in asked] == [3, 3]  # two tiles and the thumbnail
    assert all(f"<|im_start|>system\n{SYSTEM}" in str(question.text) for question in asked)

"""Texts of ids, read from tokenizer.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.reports.token_texts import token_texts

EMBEDDED = Path(__file__).parents[2] / "cases" / "models" / "embedded"


def test_the_embedded_tokenizer() -> None:
    texts = token_texts(str(EMBEDDED))
    assert texts[697] == "<IMG_CONTEXT>"
    assert {"A", "\u0120red"} <= set(texts.values())


def test_a_vocabulary_of_pairs(tmp_path: Path) -> None:
    vocabulary = {"model": {"vocab": [["<unk>", 0.0], ["\u2581A", -1.5]]}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(vocabulary))
    assert token_texts(str(tmp_path)) == {0: "<unk>", 1: "\u2581A"}


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"model": {"vocab": 3}}', '{"model": null}'])
def test_without_one_that_can_be_read_there_are_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    assert token_texts(str(tmp_path)) == {}

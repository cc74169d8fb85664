"""What LMDeploy asked, from inputs as its versions prepare them."""

from __future__ import annotations

from typing import Any

import pytest

from harness.engines.contract import Question, Request
from harness.engines.lmdeploy_pipeline.prompts import check_placeholders, check_rendered, question_of
from harness.errors import EngineError

WORDS = {1: "<s>", 7: "<IMG_CONTEXT>", 2: "What", 3: "?"}


class Words:
    """A stand-in for a tokenizer of four words."""

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(WORDS[i] for i in ids)

    def convert_ids_to_tokens(self, token: int) -> str:
        return WORDS[token]


def ask(inputs: dict[str, Any], *, dtype: str = "float32", placeholder: int | None = 7) -> Any:
    tokenizer: Any = Words()
    return question_of(inputs, tokenizer=tokenizer, placeholder=placeholder, dtype=dtype, images=1)


def test_the_prompt_is_taken_as_rendered() -> None:
    import torch

    pixels = torch.linspace(-1, 1, 24).reshape(2, 3, 2, 2)
    inputs = {
        "prompt": "<IMG_CONTEXT>What?",
        "input_ids": [7, 7, 2, 3],
        "multimodal": [{"pixel_values": pixels}],
    }
    asked = ask(inputs)
    assert (asked.text, asked.tokens, asked.tiles) == ("<image>What?", 4, 2)
    # Rounded here or where they enter the model: the same values.
    early = {**inputs, "multimodal": [{"pixel_values": pixels.to(torch.bfloat16)}]}
    rounded = ask(inputs, dtype="bfloat16")
    assert rounded == ask(early, dtype="bfloat16")
    assert rounded.pixels != asked.pixels


def test_a_prompt_that_is_not_kept_is_read_back_from_the_ids() -> None:
    assert ask({"input_ids": [1, 7, 7, 7, 2, 3], "multimodal": []}).text == "<s><image>What?"
    assert ask({"prompt": None, "input_ids": [2, 3]}, placeholder=None).text == "What?"


@pytest.mark.parametrize("placeholder", [None, 7])
def test_lmdeploys_own_mark_of_an_image_is_one(placeholder: int | None) -> None:
    """Of LLaVA, whose places it fills with padding: not known where that is 0 (lmdeploy/vl/model/base.py)."""
    inputs = {"prompt": "<IMAGE_TOKEN>What?", "input_ids": [1, 0, 0, 2, 3]}
    assert ask(inputs, placeholder=placeholder).text == "<image>What?"


def test_pixels_that_are_not_shown_are_not_known() -> None:
    asked = ask({"prompt": "What?", "input_ids": [2, 3], "multimodal": [{"image_tokens": 4}]})
    assert (asked.tokens, asked.tiles, asked.pixels) == (2, None, None)
    assert ask({"prompt": "What?", "input_ids": [2, 3]}).tiles == 0


@pytest.mark.parametrize(
    "item",
    [
        # vl/model/internvl3_hf.py, whose items get the place of the first beside it (vl/model/base.py).
        {"image_tokens": 3, "offset": 1},
        # vl/model/preprocess_utils.py of 0.18: from where to where, the end not included.
        {"offset": (1, 4)},
    ],
)
def test_placeholders_are_counted_by_number_or_by_place(item: dict[str, Any]) -> None:
    check_placeholders({"input_ids": [1, 7, 7, 7, 2], "multimodal": [item]}, 7)
    with pytest.raises(EngineError, match="4 times; allowed: 3 times"):
        check_placeholders({"input_ids": [1, 7, 7, 7, 2, 7], "multimodal": [item]}, 7)


class BaseChatTemplate:
    """As LMDeploy's of that name, which it takes where it finds no other (lmdeploy/model.py)."""

    def __init__(self, capability: str = "chat") -> None:
        self.capability = capability


class HFChatTemplate(BaseChatTemplate):
    """Of the model's own."""


@pytest.mark.parametrize(
    ("system", "text"), [(None, "<image>\nWhat?"), ("Be brief.", "Be brief.<image>\nWhat?")]
)
def test_a_bare_prompt_is_refused(system: str | None, text: str) -> None:
    request, asked = Request(case="c", prompt="What?", letters=("A",), system=system), Question(text=text)
    with pytest.raises(EngineError, match="applied no chat template and would ask the bare text"):
        check_rendered(BaseChatTemplate(), asked, request)
    # A template of one's own may write so, and so may one that was asked for.
    check_rendered(HFChatTemplate(), asked, request)
    check_rendered(BaseChatTemplate("completion"), asked, request)
    check_rendered(BaseChatTemplate(), Question(text=f"USER: {text}"), request)

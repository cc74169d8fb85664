"""A profile's ``patch``: the image behind the text, where LMDeploy's own tuples put it from 0.11 on."""

from typing import Any

from harness.engines.lmdeploy_pipeline import prompts as lmdeploy_prompts

_messages = lmdeploy_prompts.messages


def messages(*args: Any, **kwargs: Any) -> list[dict[str, Any]]:
    conversation = _messages(*args, **kwargs)
    conversation[-1]["content"].reverse()
    return conversation


lmdeploy_prompts.messages = messages

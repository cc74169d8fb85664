"""The date of a chat template, on the real Transformers and LMDeploy's template over it."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.engines.contract import EngineSettings, Request
from harness.engines.template_date import pin_template_date
from harness.errors import EngineError, ErrorKind

EMBEDDED = Path(__file__).parents[2] / "cases" / "models" / "embedded"
DAY = "2024-02-29"
# As Llama 3.2 has it: by a variable where somebody gives one, else by the clock.
LLAMA = """{%- if not date_string is defined %}
{%- set date_string = strftime_now("%d %b %Y") %}
{%- endif %}
{{- "Today Date: " + date_string + "\\n" }}"""


def settings(**options: Any) -> EngineSettings:
    return EngineSettings(
        kind="torch",
        model="m",
        dtype="float32",
        device="cpu",
        paths=(),
        top_k=0,
        batch_size=1,
        options=options,
    )


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that a pin changes, changed back afterwards."""
    from transformers.utils import chat_template_utils

    monkeypatch.setattr(chat_template_utils, "datetime", chat_template_utils.datetime)
    return chat_template_utils


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The embedded model's tokenizer and processor, with a template that writes the date."""
    for file in EMBEDDED.iterdir():
        if file.suffix in (".json", ".jinja"):
            shutil.copy(file, tmp_path / file.name)
    template = tmp_path / "chat_template.jinja"
    template.write_text(LLAMA + template.read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def by_torch(model: Path) -> str:
    import torch
    import transformers

    from harness.engines.torch_native.inputs import Prepared, Prompts

    processor = transformers.AutoProcessor.from_pretrained(model)
    prompts = Prompts(processor, takes_images=True, dtype=torch.float32, model_takes=())
    prepared = prompts.prepare(Request(case="s.c", prompt="Which letter?", letters=("A", "B")))
    assert isinstance(prepared, Prepared)
    return prepared.question.text or ""


def by_lmdeploy(model: Path) -> str:
    from lmdeploy.model import HFChatTemplate

    return str(HFChatTemplate(str(model)).messages2prompt([{"role": "user", "content": "Which letter?"}]))


@pytest.mark.slow
@pytest.mark.parametrize("render", [by_torch, by_lmdeploy])
def test_a_pin_changes_what_an_engine_renders(
    module: Any, model: Path, render: Callable[[Path], str]
) -> None:
    today = datetime.datetime.now().astimezone().strftime("%d %b %Y")
    assert f"Today Date: {today}\n" in render(model)
    pin_template_date(settings(template_date=DAY))
    assert "Today Date: 29 Feb 2024\n" in render(model)


def test_without_a_pin_nothing_is_touched(module: Any) -> None:
    pin_template_date(settings())
    assert module.datetime is datetime.datetime


@pytest.mark.parametrize(
    "missing",
    [
        {"datetime": datetime},  # the module in the place of the class, as `import datetime` makes it
        {"_compile_jinja_template": lambda _: SimpleNamespace(render=lambda: "2026-01-01")},
        {"_compile_jinja_template": None},
    ],
)
def test_a_transformers_of_another_clock_is_refused(
    module: Any, monkeypatch: pytest.MonkeyPatch, missing: dict[str, Any]
) -> None:
    for name, value in missing.items():
        monkeypatch.setattr(module, name, value)
    with pytest.raises(
        EngineError, match=f"template_date: {DAY}: this Transformers writes .* all the same"
    ) as raised:
        pin_template_date(settings(template_date=DAY))
    assert raised.value.kind is ErrorKind.LOAD

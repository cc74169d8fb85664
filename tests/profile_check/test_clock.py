"""A chat template that writes the date is found, and a pin ends it."""

from __future__ import annotations

import json

import pytest

from harness.machine.findings import Finding, Mark
from tests.profile_check.conftest import Checked

DATED = "{# no date #}\nToday strftime_now\n{%- set day =\n  strftime_now('%d %b') %}\n{{ day }}"


def remarks(checked: Checked) -> list[Finding]:
    return [one for one in checked.findings() if one.topic == "template"]


def test_the_embedded_template_writes_none(checked: Checked) -> None:
    assert remarks(checked) == []


@pytest.mark.parametrize(
    ("name", "data", "where"),
    [
        ("chat_template.jinja", None, "model/chat_template.jinja:4: strftime_now('%d %b') %}"),
        ("additional_chat_templates/rag.jinja", None, "additional_chat_templates/rag.jinja:4: strftime"),
        ("chat_template.json", {"chat_template": DATED}, "chat_template.json: chat_template:4: strftime"),
        (
            "tokenizer_config.json",
            {"chat_template": [{"name": "default", "template": DATED}]},
            "tokenizer_config.json: chat_template default:4: strftime_now",
        ),
    ],
)
def test_a_date_is_found_wherever_the_template_stands(
    checked: Checked, name: str, data: object, where: str
) -> None:
    file = checked.model / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(DATED if data is None else json.dumps(data))
    (found,) = remarks(checked)
    assert found.mark is Mark.REMARK
    assert where in found.text
    assert found.command.startswith("write `template_date: 2026-01-31`")
    first, *_ = found.lines()
    assert first.startswith("  ! template     it writes the date")


def test_a_pin_silences_it(checked: Checked) -> None:
    (checked.model / "chat_template.jinja").write_text(DATED)
    checked.write(template_date="2026-01-31")
    (found,) = remarks(checked)
    assert (found.mark, found.text.partition(":")[0]) == (
        Mark.RIGHT,
        "its date is 2026-01-31, by template_date",
    )


@pytest.mark.parametrize("code", ["{{ now() }}", "{{ datetime.now().year }}", "{% if today %}x{% endif %}"])
def test_a_clock_that_is_not_transformers_cannot_be_pinned(checked: Checked, code: str) -> None:
    (checked.model / "chat_template.jinja").write_text(code)
    checked.write(template_date="2026-01-31")
    (found,) = remarks(checked)
    assert (found.mark, found.command) == (Mark.REMARK, "write a fixed text there")


@pytest.mark.parametrize(
    "text", ["Now (today) datetime", "{{ 'strftime_now' }}", '{{ "it\\"s now ()" }}', "{# now() #}"]
)
def test_words_are_no_clock(checked: Checked, text: str) -> None:
    (checked.model / "chat_template.jinja").write_text(text)
    assert remarks(checked) == []

"""Does a chat template write the date? Then the same question is another one tomorrow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from harness.cases.problems import shown
from harness.cases.profiles import EngineSpec
from harness.engines.template_date import TEMPLATE_DATE
from harness.machine.findings import Finding, remark, right

__all__ = ["look_at_clock"]

_PLAIN = ("chat_template.jinja", "additional_chat_templates/*.jinja")
_JSON = ("chat_template.json", "processor_config.json", "tokenizer_config.json")
_PINNED = "strftime_now"
_CLOCK = re.compile(rf"\b(?:{_PINNED}|strftime|datetime|utcnow|today|now\s*\()")
_COMMENT, _BLOCK = re.compile(r"\{#.*?#\}", re.DOTALL), re.compile(r"\{[{%].*?[%}]\}", re.DOTALL)
_TEXT = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_LONGEST = 80


def look_at_clock(engine: EngineSpec, folder: Path, *, served: bool) -> Iterator[Finding]:
    """The first line of each template in ``folder`` that asks for the time: pinned by ``engine``, or not.

    ``served`` is whether a server renders it, whose clock is its own.
    """
    day = engine.settings.options.get(TEMPLATE_DATE)
    for name, template in _templates(folder):
        blocks = _BLOCK.finditer(_COMMENT.sub(_blank, template))
        clocks = ((block, _CLOCK.search(_TEXT.sub(_blank, block[0]))) for block in blocks)
        block, found = next((pair for pair in clocks if pair[1] is not None), (None, None))
        if block is None or found is None:
            continue
        number = template.count("\n", 0, block.start() + found.start()) + 1
        line = template.splitlines()[number - 1].strip()
        where = f"{name}:{number}: {line if len(line) <= _LONGEST else f'{line[: _LONGEST - 1]}…'}"
        if found[0] == _PINNED and day is not None:
            yield right("template", f"its date is {day}, by {TEMPLATE_DATE}: {where}")
            continue
        pin = f"write `{TEMPLATE_DATE}: 2026-01-31`, or another day, in the profile, for all engines"
        command = "write a fixed text there" if served or found[0] != _PINNED else pin
        told = f"it writes the date, so prompts and answers change from day to day: {where}"
        yield remark("template", told, command=command)


def _templates(folder: Path) -> Iterator[tuple[str, str]]:
    """All chat templates of the folder with their places; one in JSON by its key and name."""
    for file in (file for pattern in _PLAIN for file in sorted(folder.glob(pattern))):
        yield shown(file), file.read_text(encoding="utf-8", errors="replace")
    for file in (folder / name for name in _JSON):
        try:
            found = json.loads(file.read_text(encoding="utf-8"))["chat_template"]
            named = {"": found} if isinstance(found, str) else {one["name"]: one["template"] for one in found}
        except (OSError, ValueError, LookupError, TypeError):
            continue
        yield from ((f"{shown(file)}: chat_template {name}".strip(), text) for name, text in named.items())


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])

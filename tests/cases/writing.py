"""Texts of YAML: a good case, a marked place, and a dumper without aliases."""

from __future__ import annotations

from typing import Any

import yaml

GOOD = "  - {id: good, prompt: Which?, letters: [A, B], expect: A}\n"


def place_in(name: str, text: str) -> tuple[str, str]:
    """Text with one § to the text without it, and the place of the mark."""
    before, _, after = text.partition("§")
    lines = before.split("\n")
    return before + after, f"{name}:{len(lines)}:{len(lines[-1]) + 1}"


class Dumper(yaml.SafeDumper):
    """Writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


# PyYAML leaves unquoted some text that YAML 1.2 reads as a number.
Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)

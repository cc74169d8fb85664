"""docs/options.md, made from the table of options."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter

from harness.schemas.options import OPTIONS, PATHS, PINNED, Option, takers

__all__ = ["options_page"]

_INTRODUCTION = """\
# Options and paths of engines

Made by `python -m docs.make_reference`. What an engine does not take of these is refused before
anything runs. Names under `engine_config:` are held against the LMDeploy that is installed: by
`harness profile check`, and at load. All of it was run on a CPU, or against stand-ins of LMDeploy; nothing
on a GPU, and what cannot be run without one says so.
"""
_TYPES = {
    "boolean": "`true`, `false`",
    "integer": "a whole number, 1 or more",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}


def options_page() -> str:
    """The whole text of the page."""
    options = ((each.name, _values(each.type), takers(each), _words(each)) for each in OPTIONS)
    paths = ((path.name, takers(path), path.words + "; the default" * path.default) for path in PATHS)
    return "\n".join(
        [
            _INTRODUCTION,
            *_table("options", ("values", "taken by", "\\* is passed to LMDeploy"), options),
            *_table("paths", ("taken by", ""), paths),
            *_table("engine_config", ("is refused: write",), PINNED.items()),
        ]
    )


def _table(field: str, columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> list[str]:
    titles = [f"`{field}:`", *columns]
    lines = [titles, ["---"] * len(titles), *([f"`{name}`", *cells] for name, *cells in rows)]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def _words(option: Option) -> str:
    limits = (f"For {' '.join(only.on)}: {only}" for only in option.only if only.on)
    not_run = [f"Not run by us: {option.not_run}"] if option.not_run else []
    return "\\* " * option.field + ". ".join([option.words, *limits, *not_run])


def _values(kind: Any) -> str:
    schema = TypeAdapter(kind).json_schema()
    choices = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    return ", ".join(f"`{str(each).lower()}`" for each in choices) or _TYPES[schema["type"]]

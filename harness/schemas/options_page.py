"""docs/options.md, made from the table of options."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from harness.schemas.options import OPTIONS, PATHS, PINNED, takers

__all__ = ["options_page"]

_PAGE = """\
# Options and paths of engines

Made from `harness/schemas/options.py` by `harness schema --options`. What an engine does not take is refused
with file, line and column before anything runs.

## `options:`

| option | values | taken by | field of LMDeploy's | |
| --- | --- | --- | --- | --- |
{options}

## `paths:`

| path | taken by | |
| --- | --- | --- |
{paths}

## `engine_config:`

Every other field of LMDeploy's `PytorchEngineConfig` or `TurbomindEngineConfig`, by its name, for the kind
`lmdeploy` and for `api` with `serve: true`:

```yaml
engines:
  lmdeploy:
    engine_config: {{prefill_interval: 8}}
```

They are part of a recording's key. `harness profile check` compares their names with those of the LMDeploy
that is installed for the engine, and a name that it lacks is an error when the engine is loaded. These are
refused:

| field | write |
| --- | --- |
| an option from above | it under `options:` |
{pinned}
"""


def options_page() -> str:
    """The whole text of the page."""
    options = (
        f"| `{each.name}` | {_values(each.type)} | {takers(each)} | {'yes' if each.field else '–'} | "
        + ". ".join([each.words, *(f"For {' '.join(only.on)}: {only}" for only in each.only if only.on)])
        for each in OPTIONS
    )
    paths = (
        f"| `{path.name}` | {takers(path)} | {path.words}{'; the default' * path.default}" for path in PATHS
    )
    pinned = (f"| `{name}` | {instead}" for name, instead in PINNED.items())
    rows = {"options": options, "paths": paths, "pinned": pinned}
    return _PAGE.format(**{name: "\n".join(f"{row} |" for row in lines) for name, lines in rows.items()})


def _values(kind: Any) -> str:  # noqa: ANN401 - a type as pydantic takes it
    schema = TypeAdapter(kind).json_schema()
    choices = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if choices:
        return ", ".join(f"`{str(each).lower()}`" for each in choices)
    return {
        "boolean": "`true`, `false`",
        "integer": "a whole number, 1 or more",
        "number": "a number",
        "object": "a mapping",
        "string": "text",
    }[schema["type"]]

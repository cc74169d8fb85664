"""docs/options.md and the schema of profiles, which are made of the table of options."""

from __future__ import annotations

from pathlib import Path

from harness.schemas.json_schema import SCHEMAS, schema_text
from harness.schemas.options import OPTIONS, PATHS, takers
from harness.schemas.options_page import options_page
from harness.schemas.profiles import Options

PAGE = Path(__file__).parents[2] / "docs" / "options.md"


def test_what_nobody_here_has_run_is_said_on_the_page() -> None:
    rows = {line.split("`")[1]: line for line in options_page().splitlines() if line.startswith("| `")}
    for name in ("tp", "quant_policy", "model_format", "vision_config", "cache_max_entry_count"):
        assert "Not run by us: " in rows[name]
    assert "Not run by us" not in rows["session_len"]


def test_each_option_is_in_the_schema_and_documented() -> None:
    assert "profiles.schema.json" in SCHEMAS
    schema, page = schema_text("profiles.schema.json"), options_page()
    assert set(Options.model_fields) == {option.name for option in OPTIONS}
    for option in OPTIONS:
        assert f'"{takers(option)}: {option.words}.' in schema
        assert f"| `{option.name}` |" in page
        assert f"{option.words}" in page
    for path in PATHS:
        assert f"{path.name} ({takers(path)}): {path.words}" in schema
        assert f"| `{path.name}` |" in page


def test_the_committed_page_is_that_of_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == options_page(), "write it: harness schema --options"

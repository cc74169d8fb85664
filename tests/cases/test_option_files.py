"""Files and fields that options name: what is not there, or is none, is an error of profiles.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.options_page import options_page
from harness.errors import CaseFileError
from harness.schemas.json_schema import SCHEMAS, schema_text
from harness.schemas.options import OPTIONS, PATHS, takers
from harness.schemas.profiles import Options
from tests.cases.test_engine_options import CUDA, profile

pytestmark = pytest.mark.usefixtures("folder")

TURBOMIND = CUDA + "kind: lmdeploy, options: {backend: turbomind, gemm_tuning: "

PAGE = Path(__file__).parents[2] / "docs" / "options.md"


@pytest.mark.parametrize(
    ("entry", "content", "words"),
    [
        ("kind: lmdeploy, options: {chat_template_config: f.json}", "{nonsense", "holds a JSON object"),
        ("kind: lmdeploy, options: {chat_template_config: f.json}", "[1]", "holds a JSON object"),
        (TURBOMIND + "none.cache}", "", "a file that exists (looked for none.cache); TurboMind writes it"),
        (TURBOMIND + "./}", "", "a file that exists"),
        (
            "kind: lmdeploy, options: {vision_config: {max_bath_size: 8}}",
            "",
            "vision_config.max_bath_size: found 'max_bath_size'; allowed: max_batch_size (the nearest)",
        ),
    ],
    ids=["no JSON", "no object", "no tuning", "a folder", "no such field"],
)
def test_what_is_not_there_is_refused_at_its_place(entry: str, content: str, words: str) -> None:
    Path("f.json").write_text(content)
    with pytest.raises(CaseFileError) as error:
        profile(entry)
    (problem,) = error.value.problems
    assert words in str(problem)
    assert problem.place.startswith("profiles.yaml:2:")


@pytest.mark.parametrize(
    "entry",
    [
        "kind: lmdeploy, options: {chat_template_config: f.json}",
        "kind: lmdeploy, options: {chat_template_config: internvl2_5}",
        TURBOMIND + "f.json}",
        "kind: lmdeploy, options: {vision_config: {max_batch_size: 8, thread_safe: true}}",
    ],
)
def test_what_is_there_is_taken(entry: str) -> None:
    Path("f.json").write_text("{}")
    assert profile(entry).engines[0].settings.kind == "lmdeploy"


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
    assert PAGE.read_text(encoding="utf-8") == options_page(), "write it: python -m docs.make_reference"

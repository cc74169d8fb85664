"""The JSON Schemas: in step with the models, with help on every field, and of one mind with the loader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from harness.cases.problems import ProblemList
from harness.cases.suites import load_suite
from harness.cases.validation import validate
from harness.cases.yaml_source import parse_document
from harness.errors import CaseFileError
from harness.schemas import json_schema
from harness.schemas.fields import FileModel
from harness.schemas.profiles import EngineEntry, ProfileEntry, ProfilesFile
from harness.schemas.suite import CaseEntry, Defaults, SuiteFile

CASES = Path(__file__).parents[2] / "cases"
SCHEMAS = {name: json.loads(json_schema.schema_text(name)) for name in json_schema.SCHEMAS}


def test_committed_schemas_are_in_step() -> None:
    assert json_schema.out_of_step(json_schema.FOLDER) == []


@pytest.mark.parametrize("name", json_schema.SCHEMAS)
def test_a_schema_that_differs_is_noticed(tmp_path: Path, name: str) -> None:
    assert json_schema.out_of_step(tmp_path) == [tmp_path / other for other in json_schema.SCHEMAS]
    assert json_schema.write_schemas(tmp_path) == [tmp_path / other for other in json_schema.SCHEMAS]
    assert json_schema.out_of_step(tmp_path) == []
    path = tmp_path / name
    path.write_text(path.read_text(encoding="utf-8").replace("additional", "more"), encoding="utf-8")
    assert json_schema.out_of_step(tmp_path) == [path]


@pytest.mark.parametrize("name", json_schema.SCHEMAS)
def test_schema_is_one_of_draft_2020_12(name: str) -> None:
    assert SCHEMAS[name]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(SCHEMAS[name])


def properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for definition in (schema, *schema["$defs"].values()):
        yield from definition.get("properties", {}).items()  # an enumeration has none


@pytest.mark.parametrize("name", json_schema.SCHEMAS)
def test_every_field_has_help_for_editors(name: str) -> None:
    found = dict(properties(SCHEMAS[name]))
    known = ({"cases", "expect"}, {"profiles", "engines"}, {"format", "version", "sum"})
    assert any(names < set(found) for names in known)
    for field, schema in found.items():
        described = (
            schema.get("description") or SCHEMAS[name]["$defs"][schema["$ref"].split("/")[-1]]["description"]
        )
        assert len(described) > 8, field
        assert "title" not in schema, field


@pytest.mark.parametrize("path", sorted(CASES.glob("*.y*ml")), ids=lambda path: path.name)
def test_first_line_names_the_schema(path: Path) -> None:
    first, *_ = path.read_text(encoding="utf-8").splitlines()
    schema = "profiles" if path.name == "profiles.yaml" else "suite"
    assert first == f"# yaml-language-server: $schema=../harness/schemas/{schema}.schema.json"
    named = CASES / first.partition("$schema=")[2]
    assert named.is_file()
    data = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    assert list(Draft202012Validator(json.loads(named.read_text(encoding="utf-8"))).iter_errors(data)) == []


# Values that are right somewhere and wrong elsewhere. Whole numbers as 1.0, which JSON Schema takes for
# integers, and duplicates, which are no matter of one field's type, are left out.
ATOMS: st.SearchStrategy[Any] = st.sampled_from([
    None, True, False, 0, 1, -1, 4096, 4097, 0.5, 1e-5, "", " ", "a", "A", "AB", "x y", "a-b", "a.b", "-a",
    "cpu", "cuda", "float32", "torch", "lmdeploy", "forward", "captured", "sdpa", "x" * 200, [], ["A"],
    ["A", "B"], ["A", "b"], ["a b"], ["forward"], ["generate", "x"], {}, {"kl": 0.1}, {"kl": 0}, {"kl": None},
    {"zz": 1}, {"load": 5}, {"load": 1e9}, {"threads": 0}, {"hf_overrides": {"a": [1]}},
    {"attention": "eager"}, {"torch": {}}, {"a-b": {}}, {"a": None},
])  # fmt: skip
SHARED = (*Defaults.model_fields, "zz")
ENGINE = (*EngineEntry.model_fields, "zz")
PROFILE = (*(name for name in ProfileEntry.model_fields if name != "engines"), "zz")


def fields(names: tuple[str, ...], good: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping that has these fields, of which some are replaced or left out."""
    changed = st.dictionaries(st.sampled_from(names), ATOMS, max_size=2)
    left_out = st.lists(st.sampled_from([*good, "zz", "zz"]), max_size=1)
    return st.builds(
        lambda change, gone: {name: value for name, value in {**good, **change}.items() if name not in gone},
        changed,
        left_out,
    )


GOOD_CASE = {"id": "a", "prompt": "x", "letters": ["A", "B"], "expect": "A"}
SUITES = st.fixed_dictionaries(
    {
        "cases": ATOMS
        | st.lists(ATOMS | fields((*CaseEntry.model_fields, "zz"), GOOD_CASE), min_size=1, max_size=2)
    },
    optional={
        "defaults": fields(SHARED, {"letters": ["A", "B"], "prompt": "x"}),
        "description": ATOMS,
        "zz": ATOMS,
    },
)
ENGINES = st.dictionaries(
    st.sampled_from(["torch", "b", "a-b", "e" * 40]), fields(ENGINE, {"kind": "torch"}), max_size=2
)
PROFILES = st.fixed_dictionaries(
    {
        "profiles": ATOMS
        | st.dictionaries(
            st.sampled_from(["p", "p-q", "p.q", "-p", "p" * 60]),
            st.builds(
                lambda profile, engines: {**profile, "engines": engines},
                fields(PROFILE, {"model": "x/y", "reference": "torch"}),
                ENGINES | ATOMS,
            ),
            max_size=2,
        )
    }
)


@pytest.mark.parametrize(
    ("name", "model", "strategy"),
    [("suite.schema.json", SuiteFile, SUITES), ("profiles.schema.json", ProfilesFile, PROFILES)],
    ids=["suite", "profiles"],
)
@given(data=st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_schema_and_model_accept_the_same(
    name: str, model: type[FileModel], strategy: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    value = data.draw(strategy)
    problems = ProblemList()
    document = parse_document(json.dumps(value).encode(), Path("/x.yaml"), problems)
    assert document.data == value
    validate(model, document)
    errors = [error.message for error in Draft202012Validator(SCHEMAS[name]).iter_errors(value)]
    assert bool(errors) == bool(problems), (errors, problems.in_file_order())


@given(suite=SUITES)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_loads_is_right_by_its_schema(tmp_path: Path, suite: Any) -> None:
    (tmp_path / "s.yaml").write_text(json.dumps(suite), encoding="utf-8")
    try:
        load_suite(tmp_path / "s.yaml")
    except CaseFileError:
        return
    assert Draft202012Validator(SCHEMAS["suite.schema.json"]).is_valid(suite)

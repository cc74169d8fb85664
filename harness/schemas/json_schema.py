"""JSON Schemas made from the models: of the YAML files, for editors, and of what the harness writes.

A suite names its schema on its first line::

    # yaml-language-server: $schema=../harness/schemas/suite.schema.json
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from harness.schemas.accepted import AcceptedLine, KeptFloor
from harness.schemas.profiles import ProfilesFile
from harness.schemas.report import ReportFile
from harness.schemas.suite import SuiteFile

__all__ = ["FOLDER", "SCHEMAS", "out_of_step", "schema_text", "write_schemas"]

FOLDER = Path(__file__).parent
SCHEMAS: dict[str, type[BaseModel]] = {
    "accepted.schema.json": AcceptedLine,
    "floor.schema.json": KeptFloor,
    "profiles.schema.json": ProfilesFile,
    "report.schema.json": ReportFile,
    "suite.schema.json": SuiteFile,
}


class _Generator(GenerateJsonSchema):
    """Leaves out what is only noise in an editor: titles, and null for what is left out."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, _schema: object) -> bool:
        return False

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        result = super().dict_schema(schema)
        return {**result, "additionalProperties": False} if "patternProperties" in result else result


def schema_text(name: str) -> str:
    """The JSON Schema (draft 2020-12) called ``name``, one of `SCHEMAS`, as the text of its file."""
    schema = SCHEMAS[name].model_json_schema(schema_generator=_Generator)
    for definition in (schema, *schema.get("$defs", {}).values()):
        definition.pop("title", None)
    schema = {"$schema": GenerateJsonSchema.schema_dialect, **schema}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write_schemas(folder: Path) -> list[Path]:
    """Write all schemas into ``folder``, which is made if need be; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in SCHEMAS]
    for path in paths:
        path.write_text(schema_text(path.name), encoding="utf-8", newline="\n")
    return paths


def out_of_step(folder: Path) -> list[Path]:
    """The schemas in ``folder`` that are missing or differ from what the models say."""
    paths = [folder / name for name in SCHEMAS]
    return [p for p in paths if not p.is_file() or p.read_text(encoding="utf-8") != schema_text(p.name)]

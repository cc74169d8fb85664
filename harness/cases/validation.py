"""Check a document against its model, and turn what pydantic says into problems with places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from harness.cases.problems import describe, nearest
from harness.cases.yaml_document import REFUSED, Document, Steps
from harness.schemas.fields import LETTER, MEANINGS, FileModel
from harness.schemas.suite import ONE_ANSWER

__all__ = ["Broken", "validate"]

# The steps just below each path that lead to a problem: what later rules must not judge.
Broken = Mapping[Steps, set[str | int]]

_YAML_1_1_BOOLEANS = frozenset(("true", "false", "yes", "no", "on", "off", "y", "n"))
_LETTER_FIELDS = frozenset(("letters", "expect"))
_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "finite_number": "a finite number",
}


def validate(model: type[FileModel], document: Document) -> Broken:
    """Note every problem of the document's fields; return where they are."""
    broken: defaultdict[Steps, set[str | int]] = defaultdict(set)
    try:
        model.model_validate(document.data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            steps = _note(model, document, detail)
            for length in range(len(steps)):
                broken[steps[:length]].add(steps[length])
    return broken


def _note(model: type[FileModel], document: Document, detail: ErrorDetails) -> Steps:
    steps, value, kind = detail["loc"], detail["input"], detail["type"]
    if kind == ONE_ANSWER:  # a suite's rules tell the same where other fields are broken, too
        limits, steps = detail["ctx"], (*steps, "expect")
        document.add(steps, limits["found"], limits["allowed"], at_key=True)
    elif kind == "extra_forbidden":
        allowed = nearest(str(steps[-1]), _known_keys(model, steps[:-1]))
        document.add(steps, f"the unknown key {describe(steps[-1])}", allowed, at_key=True)
    elif kind == "missing":
        document.add(steps, "nothing", _description(model, steps))
    elif steps[-1:] == ("[key]",):
        steps = steps[:-1]
        document.add(steps, describe(value), _allowed(detail), at_key=True)
    elif value is not REFUSED:
        document.add(steps, describe(value), _allowed(detail))
    return steps


def _allowed(detail: ErrorDetails) -> str:
    kind, value, limits = detail["type"], detail["input"], detail.get("ctx", {})
    match kind:
        case "string_pattern_mismatch":
            meaning = MEANINGS[limits["pattern"]]
            return meaning + _boolean_hint(value, detail["loc"])
        case "string_type" if value is not None and not isinstance(value, list | dict):
            if _LETTER_FIELDS.intersection(detail["loc"]):
                return MEANINGS[LETTER] + _boolean_hint(value, detail["loc"])
            return "text; put it in quotes"
        case "string_too_long":
            return f"at most {limits['max_length']} characters"
        case "too_short":
            return f"at least {limits['min_length']}"
        case "too_long":
            return f"at most {limits['max_length']}"
        case "greater_than":
            return f"a number greater than {limits['gt']}"
        case "greater_than_equal":
            return f"{limits['ge']} or more"
        case "less_than":
            return f"a number less than {limits['lt']}"
        case "less_than_equal":
            return f"{limits['le']} or less"
        case "literal_error":
            return str(limits["expected"])
    return _TYPES.get(kind, detail["msg"])


def _boolean_hint(value: object, steps: Steps) -> str:
    """Say what YAML 1.1 makes of `Yes` where a letter is wanted."""
    word = str(value).lower() if isinstance(value, bool) else str(value)
    if word.lower() not in _YAML_1_1_BOOLEANS or not _LETTER_FIELDS.intersection(steps):
        return ""
    return f"; YAML 1.1 reads {word} as a boolean: use a single letter such as {word[0].upper()}"


@cache
def _schema(model: type[FileModel]) -> Mapping[str, Any]:
    return model.model_json_schema()


def _schema_at(model: type[FileModel], steps: Steps) -> Mapping[str, Any]:
    root = _schema(model)
    node: Mapping[str, Any] = root
    for step in steps:
        node = _resolved(root, node)
        if isinstance(step, int):
            node = node.get("items", {})
        elif step in node.get("properties", {}):
            node = node["properties"][step]
        else:
            node = next(iter(node.get("patternProperties", {}).values()), {})
    return node


def _resolved(root: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in node:
        return node
    resolved: Mapping[str, Any] = root["$defs"][node["$ref"].rpartition("/")[2]]
    return resolved


def _known_keys(model: type[FileModel], steps: Steps) -> Iterable[str]:
    return list(_resolved(_schema(model), _schema_at(model, steps)).get("properties", {}))


def _description(model: type[FileModel], steps: Steps) -> str:
    return str(_schema_at(model, steps).get("description", "a value"))

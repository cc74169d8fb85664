"""A suite as YAML for people to edit, wherever its cases come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from harness.cases.problems import ProblemList
from harness.cases.suites import Case, Suite
from harness.cases.yaml_source import CONTROL, read_document
from harness.engines.contract import Request

__all__ = ["image_names", "suite_text"]

# What every reader of YAML takes for text.
_PLAIN: Final = re.compile(r"(?!(?i:true|false|null|yes|no|on|off)$)[A-Za-z][\w/-]*(\.\w+)*", re.ASCII)
_LINES: Final = re.compile(r"\S[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]*\n")
_SHARED: Final = ("letters", "system", "answer_prefix", "max_new_tokens", "tolerances", "tags", "marks")


def image_names(suite: Suite) -> dict[Path, str]:
    """A path for each picture, below the suite's folder: ``images/SUITE/CASE.png``, by its first case."""
    names: dict[Path, str] = {}
    for case in suite.cases:
        for number, image in enumerate(case.images, start=1):
            more = f"-{number}" if number > 1 else ""
            names.setdefault(image, f"images/{suite.name}/{case.id}{more}{image.suffix.lower()}")
    return names


def suite_text(suite: Suite, images: Mapping[Path, str]) -> str:
    """The suite's file: what all cases have alike under ``defaults``, and ``images`` by these names.

    Raises `CaseFileError` where a table's prompts have what YAML cannot hold.
    """
    problems = ProblemList()
    for case in suite.cases:
        if control := CONTROL.search(case.prompt):
            allowed = "text that YAML can hold; mend the table, or leave it under `source:` of a suite"
            what = f"the control character U+{ord(control[0]):04X}"
            problems.add(case.location, field="prompt", found=what, allowed=allowed)
    problems.raise_if_any()
    entries = [_entry(case, images) for case in suite.cases]
    shared = {
        name: value
        for name, value in entries[0].items()
        if name in _SHARED and all(entry.get(name) == value for entry in entries)
    }
    found = {
        "description": suite.description,
        "defaults": shared,
        "budgets": (read_document(suite.path, ProblemList()).data or {}).get("budgets"),
        "cases": [{name: value for name, value in e.items() if name not in shared} for e in entries],
    }
    text = yaml.dump(
        {name: value for name, value in found.items() if value},
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=10**9,
        default_flow_style=None,
    )
    return f"# yaml-language-server: $schema=schemas/suite.schema.json\n{text}"


def _entry(case: Case, images: Mapping[Path, str]) -> dict[str, Any]:
    pictures = [images[image] for image in case.images]
    found = {
        "id": case.id,
        "image": pictures[0] if len(pictures) == 1 else None,
        "images": pictures if len(pictures) > 1 else None,
        "prompt": case.prompt,
        **(
            {"expect_text": case.expect}
            if case.kind == Request.TEXT
            else {"letters": list(case.letters), "expect": case.expect}
        ),
        "known_failure": case.known_failure,
        "tolerances": dict(case.tolerances),
        **{name: getattr(case, name) for name in ("system", "answer_prefix", "max_new_tokens")},
        **{name: list(getattr(case, name)) for name in ("tags", "marks")},
    }
    return {name: value for name, value in found.items() if value not in (None, [], {}, "")}


class _Dumper(yaml.SafeDumper):
    """Quotes what another reader may take for a number, and writes lines as lines."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - as PyYAML has it
        return True

    def analyze_scalar(self, scalar: str) -> Any:  # noqa: ANN401 - as PyYAML has it
        analysis = super().analyze_scalar(scalar)
        # A blank before a line's end is refused for no reason that YAML has; prompts of VLMEvalKit's end so.
        analysis.allow_block = analysis.allow_block or _LINES.fullmatch(scalar) is not None
        return analysis


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    style = None if _PLAIN.fullmatch(text) else "|" if "\n" in text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_multi_representer(dict, _Dumper.represent_dict)  # with places, as they are read
_Dumper.add_multi_representer(list, _Dumper.represent_list)

"""Writes docs/reference.md and docs/options.md from what the harness says: ``python -m docs.make_reference``."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from docs.options_page import options_page
from harness.cases.budgets import MARGINS
from harness.cases.folders import FOLDERS
from harness.checks.tolerances import DEFAULTS, NAMES
from harness.cli import make_parser
from harness.errors import ErrorKind
from harness.plugin import hooks
from harness.plugin.run import COLUMNS
from harness.schemas.budgets import BudgetsEntry, NoiseBudget, RegressionBudget
from harness.schemas.fields import MEANINGS, FileModel, Tolerances
from harness.schemas.profiles import Deadlines, EngineEntry, ProfileEntry, ProfilesFile
from harness.schemas.source import SourceEntry
from harness.schemas.suite import CaseEntry, SuiteFile
from harness.verdicts.rules import TESTS
from harness.verdicts.verdict import ExitStatus, Verdict

__all__ = ["PAGE", "commands", "main", "options_of_pytest", "reference_page"]

PAGE = Path(__file__).with_name("reference.md")

_INTRODUCTION = """\
# Reference

Made by `python -m docs.make_reference` from the harness's own tables, so it is never out of date. The words are
explained in [words.md](words.md), options of engines and paths in [options.md](options.md), and the fields of the
report's data in `harness/schemas/report.schema.json`.
"""
_PYTEST = """\
Besides, of pytest and its plugins: `--snapshot-update` accepts what is answered now ([snapshots.md](snapshots.md)),
`-k WORD` chooses tests by name or tag, `-m gpu` those of profiles with the mark `gpu`, `-n 4` runs on four processes
(pytest-xdist), `-v` shows all rows of the table, and `--junit-xml=FILE` writes verdicts and figures as properties.
A path is written with `=`, as in `--cases=checks`: behind a space pytest may take it for a path of tests.
"""
_PYTEST_STATUS = {
    0: "all checks passed; with `--gate`, the gate passes",
    1: "a check failed or is an ERROR, or a report could not be written; with `--gate`, as the gate says",
    2: "the run was interrupted, or a case file is wrong; with `--gate`, as the gate says",
    3: "an error inside pytest; with `--gate` INCONCLUSIVE",
    4: "the command line is wrong",
    5: "no test was selected",
    6: "too many warnings, with pytest's `--max-warnings`",
}
_GATE_STATUS = {
    ExitStatus.PASSED: "SAME, NOISE, DRIFT within the margin, or what budgets allow",
    ExitStatus.FAILED: "right answers lost, a wide lead flipped, or a move beyond noise that is not shown to "
    "be within the margin",
    ExitStatus.ERROR: "an engine could not answer, a side is not there, or the sides cannot be compared",
    ExitStatus.INCONCLUSIVE: "INCONCLUSIVE, also where different questions were asked",
}
_FOLDERS = {
    "cases": "suites and `profiles.yaml`; `cases` if left out",
    "snapshots": "accepted outputs; `snapshots` beside the folder of cases if left out",
    "recordings": "recordings, logs, noise floors, stored runs; `.harness` if left out",
    "environments": "environments made for engines; in the user's cache folder if left out",
}
_KINDS = {
    ErrorKind.LOAD: "the engine did not start",
    ErrorKind.CRASH: "its process ended",
    ErrorKind.TIMEOUT: "it was silent for longer than `deadlines` allow",
    ErrorKind.OUT_OF_MEMORY: "memory of GPU or machine ran out",
    ErrorKind.NOT_FINITE: "there is NaN or infinity among the logits",
    ErrorKind.UNSUPPORTED: "the engine cannot do what the profile or case asks",
    ErrorKind.LETTERS: "a letter has no token id of its own where it is generated",
    ErrorKind.FAILED: "anything else",
}
_SELECTIONS = {
    "every": "every engine",
    "compared": "every engine but the reference",
    "top-k": "engines that report log-probabilities",
    "staged": "engines with two ways to an answer",
}
_FILES = """\
| file | what | commit it |
| --- | --- | --- |
| `cases/*.yaml`, `cases/profiles.yaml` | suites and profiles | yes |
| `snapshots/PROFILE/ENGINE/SUITE.jsonl` | accepted answers, a line a case ([snapshots.md](snapshots.md)) | yes |
| `snapshots/PROFILE/ENGINE/*.floor.json` | a noise floor that was kept ([noise.md](noise.md#keeping-a-floor)) | yes |
| `.harness/` | the folder of recordings: answers, full rows, logs, noise floors, stored runs, traces | no |
| `.harness/runs.jsonl` | which recordings each run used, for `@previous` and days | no |
| `.harness/looks.jsonl` | how often a gate with `--stop-early` has looked ([gate.md](gate.md#stopping-early)) | no |
| `.harness/logs/` | the log of each engine's process | no |
"""


def reference_page() -> str:
    """The whole text of the page."""
    parts = [
        _INTRODUCTION,
        *_command_part(),
        *_pytest_part(),
        *_test_part(),
        *_verdict_part(),
        *_field_part(),
    ]
    parts += ["## Limits of the checks\n", _limits(), "## Files\n", _FILES]
    return "\n".join(parts)


def commands() -> dict[str, argparse.ArgumentParser]:
    """Each command line without subcommands, by its words, such as ``harness env list``."""
    return dict(_below("harness", make_parser()))


def options_of_pytest() -> argparse.ArgumentParser:
    """The options that the plugin adds, as argparse has them."""
    found = argparse.ArgumentParser("pytest", add_help=False)

    class Group:
        def getgroup(self, *_: str) -> Group:
            return self

        def addoption(self, *names: str, **settings: Any) -> None:
            found.add_argument(*names, **settings)

    hooks.pytest_addoption(Group())  # type: ignore[arg-type]
    return found


def _below(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    nested = [action for action in _actions(parser) if isinstance(action.choices, dict)]
    if not nested:
        yield name, parser
    for action in nested:
        words = {entry.dest: entry.help for entry in vars(action)["_choices_actions"]}
        for word, each in dict(action.choices or {}).items():
            each.description, each.epilog = words[word], each.epilog or parser.epilog
            yield from _below(f"{name} {word}", each)


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Those that take something: help and version are of every command."""
    quiet = ("help", "version")
    return [action for action in vars(parser)["_actions"] if action.dest not in quiet]


def _command_part() -> Iterator[str]:
    yield "## Commands\n"
    yield (
        "Every command takes `--help`, and ends with 130 where it is interrupted; what was recorded is kept. "
        "`harness --version`\ntells the version.\n"
    )
    for name, parser in commands().items():
        text, _, status = " ".join((parser.epilog or "").split()).partition("Exit status:")
        yield f"### `{name}`\n"
        yield _wrapped(f"{_sentence(parser.description or '')} {text}") + "\n"
        rows = [(_signature(action), _help(action, parser)) for action in _actions(parser)]
        yield _table(("argument", "meaning"), rows) if rows else "It takes nothing.\n"
        yield _wrapped(f"Exit status: {_sentence(status.strip().removesuffix('.'))}") + "\n"


def _pytest_part() -> Iterator[str]:
    parser = options_of_pytest()
    yield "## Options of pytest\n"
    yield _table(("option", "meaning"), [(_signature(a), _help(a, parser)) for a in _actions(parser)])
    yield _PYTEST
    yield _table(("exit status", "means"), [(f"{n}", text) for n, text in _PYTEST_STATUS.items()])
    yield "### Folders in pyproject.toml\n"
    yield (
        "`[tool.vlm-harness]` names folders for pytest and every command, relative to pyproject.toml; an option "
        "wins:\n"
    )
    yield _table(("key", "meaning"), [(f"`{name}`", _FOLDERS[name]) for name in FOLDERS])


def _test_part() -> Iterator[str]:
    yield "## Tests\n"
    rows = []
    for file in sorted((Path(hooks.__file__).parents[1] / "suite").glob("test_*.py")):
        module = import_module(f"harness.suite.{file.stem}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if not name.startswith("test_"):
                continue
            marks = [m.args[0] for m in getattr(function, "pytestmark", ()) if m.name == "subjects"]
            about = _SELECTIONS[marks[0]] if marks else "the run"
            rows.append((f"`{name}`", COLUMNS.get(name, ""), about, _first(function.__doc__)))
    yield _table(("test", "column", "for", "passes where"), rows)
    yield "An engine that could not answer is an ERROR of its case, with one of these kinds:\n"
    yield _table(("kind", "why"), [(f"`{kind}`", _KINDS[kind]) for kind in ErrorKind])


def _verdict_part() -> Iterator[str]:
    yield "## Verdicts\n"
    words = dict(
        re.findall(r"``([A-Z]+)``: (.*?)(?= ``[A-Z]+``: |$)", " ".join((Verdict.__doc__ or "").split()))
    )
    yield _table(("verdict", "means"), [(v.value, words[v.value]) for v in Verdict])
    yield _table(
        ("exit status of a gate", "means"), [(f"{s.value}", _GATE_STATUS[s]) for s in sorted(ExitStatus)]
    )
    yield "What a gate looks for in all cases together, and in each suite, tag and expected letter:\n"
    yield _table(("test", "finds that"), [(f"`{name}`", text) for name, text in TESTS.items()])
    yield "The margin, in log-odds, where no suite, profile or `--margin` says another:\n"
    yield _table(tuple(MARGINS), [tuple(f"{value:g}" for value in MARGINS.values())])


def _field_part() -> Iterator[str]:
    yield "## Fields of a suite\n"
    yield "A suite is a `.yaml` file with `cases:`, `source:` or both; its name is that of the file. ● must be there.\n"
    yield from _fields("", SuiteFile)
    yield from _fields("cases", CaseEntry)
    yield from _fields("source", SourceEntry)
    yield (
        "`defaults:` takes the fields of a case but `id`, `expect` and `known_failure`. A case's own value wins; "
        "tolerances,\ntags and marks add up.\n"
    )
    yield "## Fields of profiles.yaml\n"
    yield "● must be there.\n"
    yield from _fields("", ProfilesFile)
    shared = set(ProfileEntry.model_fields) & set(EngineEntry.model_fields) - {"model", "revision"}
    yield from _fields("profile", ProfileEntry, without=shared)
    yield from _fields("engine", EngineEntry, without=shared)
    yield from _fields("profile and engine", EngineEntry, without=set(EngineEntry.model_fields) - shared)
    yield from _fields("deadlines", Deadlines)
    yield "## Fields of both\n"
    yield from _fields("budgets", BudgetsEntry)
    yield from _fields("budgets: noise", NoiseBudget)
    yield from _fields("budgets: regression", RegressionBudget)
    yield from _fields("tolerances", Tolerances)


def _fields(title: str, model: type[FileModel], *, without: Collection[str] = ()) -> Iterator[str]:
    schema = model.model_json_schema()
    if title:
        yield f"### {title}\n"
        told = "An engine's own value wins." if "and" in title else schema.get("description", "")
        yield _wrapped(" ".join(told.split())) + "\n"
    known, needed = schema.get("$defs", {}), schema.get("required", ())
    rows = [
        (
            f"`{field}`" + " ●" * (field in needed),
            _type(each),
            each.get("description") or known[each["$ref"].rpartition("/")[2]]["description"],
        )
        for field, each in schema["properties"].items()
        if field not in without
    ]
    yield _table(("field", "value", "meaning"), rows)


def _type(schema: Mapping[str, Any]) -> str:
    if any_of := schema.get("anyOf"):
        return ", or ".join(_type(each) for each in any_of)
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    match schema.get("type"):
        case "array":
            return f"list: {_type(schema['items'])}"
        case "object":
            return "mapping"
        case "string":
            return {"\\S": "text"}.get(pattern := schema.get("pattern", ""), MEANINGS.get(pattern, "text"))
        case "boolean":
            return "`true`, `false`"
        case "number" | "integer" as kind:
            low = schema.get("minimum", schema.get("exclusiveMinimum"))
            above = f" {'from' if 'minimum' in schema else 'above'} {low:g}" if low is not None else ""
            return f"{'number' if kind == 'number' else 'whole number'}{above}"
        case "null":
            return "`null`"
    return "mapping"


def _limits() -> str:
    rows = [(f"`{name}`", *(f"{getattr(each, name):g}" for each in DEFAULTS.values())) for name in NAMES]
    text = (
        "The table by dtype, in force where no noise floor was measured and nothing else is said "
        "([noise.md](noise.md#what-it-is-used-for)). What each one limits stands under "
        "[tolerances](#tolerances). `logprob` grows with the logits."
    )
    return _wrapped(text) + "\n\n" + _table(("limit", *DEFAULTS), rows)


def _signature(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else ""
    if not value and action.choices is not None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    if action.nargs == "?" and action.option_strings:
        value = f"[{value}]"
    name = ", ".join(action.option_strings)
    return f"`{f'{name} {value}'.strip()}`"


def _help(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    return (action.help or "") % {**vars(action), "prog": parser.prog}


def _first(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split())


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _wrapped(text: str) -> str:
    return textwrap.fill(text.strip(), 118, break_long_words=False, break_on_hyphens=False)


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = tuple(titles)
    lines = [titles, ("---",) * len(titles), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def main() -> int:
    """Write the pages."""
    for file, text in ((PAGE, reference_page()), (PAGE.with_name("options.md"), options_page())):
        file.write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {file}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

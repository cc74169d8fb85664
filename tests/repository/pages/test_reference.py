"""docs/reference.md: as it is made, and with everything that the harness offers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.make_reference import PAGE, commands, reference_page
from harness.errors import ErrorKind
from harness.verdicts.rules import TESTS
from harness.verdicts.verdict import ExitStatus, Verdict

ROOT = Path(__file__).parents[3]
TEXT = PAGE.read_text(encoding="utf-8")
OPTIONS = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    """What stands under a heading, down to the next one of any level."""
    return page.partition(f"\n{title}\n")[2].partition("\n#")[0]


def undocumented_in_commands(page: str) -> list[str]:
    """Of the help that people see: subcommands, their options, and exit statuses."""
    found = []
    for name, parser in commands().items():
        part, shown = section(page, f"### `{name}`"), parser.format_help()
        # Long ones stand at the start of a line, with their value behind them.
        options = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", shown, re.MULTILINE)) - {"--help"}
        found += [f"{name} {option}" for option in sorted(options) if f"| `{option}" not in part]
        found += [name] * ("Exit status: 0 " not in part)
    return found


def fields() -> set[str]:
    """Of both kinds of files, as editors know them."""
    folder = ROOT / "harness" / "schemas"
    files = [json.loads((folder / f"{name}.schema.json").read_text()) for name in ("suite", "profiles")]
    parts = [part for schema in files for part in (schema, *schema["$defs"].values())]
    return {name for part in parts for name in part.get("properties", {})}


def undocumented(page: str) -> list[str]:
    """Fields, verdicts, exit statuses of a gate, kinds of errors, checks and what a gate tests."""
    suite = (ROOT / "harness" / "suite").glob("test_*.py")
    checks = {
        name for file in suite for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    names = {*checks, *map(str, ErrorKind), *TESTS}
    found = [name for name in sorted(fields()) if f"| `{name}`" not in page + OPTIONS]
    found += [name for name in sorted(names) if f"| `{name}` |" not in page]
    verdicts = section(page, "## Verdicts")
    found += [name for name in (*Verdict, *map(str, map(int, ExitStatus))) if f"\n| {name} |" not in verdicts]
    return found


def test_it_is_as_it_is_made() -> None:
    assert reference_page() == TEXT, "write it: python -m docs.make_reference"


def test_every_subcommand_option_and_exit_status_is_documented() -> None:
    assert len(commands()) >= 20
    assert undocumented_in_commands(TEXT) == []


def test_every_check_verdict_and_field_is_documented() -> None:
    assert undocumented(TEXT) == []


def test_every_option_of_pytest_is_documented() -> None:
    command = [sys.executable, "-m", "pytest", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    ours = done.stdout.partition("\nconsistency of vision-language models:\n")[2].partition("\n\n")[0]
    options = re.findall(r"^  (--[a-z-]+)", ours, re.MULTILINE)
    assert len(options) >= 12
    part = section(TEXT, "## Options of pytest")
    assert [option for option in (*options, "--snapshot-update") if f"`{option}" not in part] == []
    statuses = [int(status) for status in pytest.ExitCode]
    assert [status for status in statuses if f"\n| {status} |" not in part] == []


@pytest.mark.parametrize(
    "gone",
    [
        "--stop-early",
        "### `harness env list`",
        "`test_top_k_matches_full`",
        "| NOISE |",
        "\n| 3 |",
        "`as_of`",
    ],
)
def test_what_is_missing_would_be_noticed(gone: str) -> None:
    without = TEXT.replace(gone, "")
    assert undocumented_in_commands(without) + undocumented(without)

"""Linters of CI files: those of this repository, and those that documentation shows."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["BIN", "OPTION", "findings_in_action", "findings_in_gitlab", "findings_in_workflow", "help_of"]

BIN: Final = Path(sys.executable).parent
OPTION: Final = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
_AUDIT: Final = ("zizmor", "--offline", "--strict-collection", "--pedantic", "--no-progress", "--color=never")


def findings_in_workflow(file: Path) -> str:
    """What GitHub's schema and zizmor say against a workflow; '' where they say nothing."""
    return _findings_by_schema("github-workflows", file) + _said(*_AUDIT, "--quiet", str(file))


def findings_in_action(file: Path) -> str:
    """The same against an action; ``file`` must be called ``action.yml``."""
    return _findings_by_schema("github-actions", file) + _said(*_AUDIT, "--quiet", str(file))


def findings_in_gitlab(file: Path) -> str:
    """What GitLab's schema says against a pipeline; '' where it says nothing."""
    return _findings_by_schema("gitlab-ci", file)


@cache
def help_of(*command: str) -> str:
    """What a command says of its options."""
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _findings_by_schema(name: str, file: Path) -> str:
    # The GitLab schema's own patterns are for another dialect of regular expressions, and tell nothing here.
    return _said(
        "check-jsonschema", "--builtin-schema", f"vendor.{name}", "--regex-variant", "nonunicode", str(file)
    )


def _said(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [str(BIN / program), *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    return (
        ""
        if done.returncode == 0
        else f"{program}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
    )

"""Linters of CI files: those of this repository, and those that documentation shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["findings_in_gitlab", "findings_in_workflow"]

BIN = Path(sys.executable).parent


def findings_in_workflow(file: Path) -> str:
    """What GitHub's schema and zizmor say against a workflow; '' where they say nothing."""
    audit = ("zizmor", "--offline", "--strict-collection", "--pedantic", "--no-progress", "--color=never")
    return _findings_by_schema("github-workflows", file) + _said(*audit, "--quiet", str(file))


def findings_in_gitlab(file: Path) -> str:
    """What GitLab's schema says against a pipeline; '' where it says nothing."""
    return _findings_by_schema("gitlab-ci", file)


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

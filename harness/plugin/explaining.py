"""Where differences begin: the command that every failure names, and what `--explain` adds to a run."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import pytest

from harness.checks.agreement import ROWS_MISSING, check_agreement
from harness.errors import EngineError, HarnessError
from harness.reports.refusals import Refusal
from harness.reports.summary import CheckSummary, Status

if TYPE_CHECKING:
    from harness.plugin.run import Run
    from harness.reports.report_input import Explanation
    from harness.scoring.subjects import Subject

__all__ = [
    "OPTION",
    "add_option",
    "explain_command",
    "explain_failures",
    "given_folders",
    "refusal_of",
    "typed",
]

OPTION = "harness_explain"
_DEFAULT = 3


def add_option(group: pytest.OptionGroup) -> None:
    """Add ``--explain``."""
    group.addoption(
        "--explain",
        dest=OPTION,
        nargs="?",
        type=int,
        const=_DEFAULT,
        default=0,
        metavar="N",
        help=f"look into both engines for the first N cases that failed ({_DEFAULT} without N), and name the "
        "stage at which they part; as harness explain",
    )


def typed(words: Sequence[str]) -> str:
    """A command of the environment that pytest runs in, as it is typed: under tox it is not on the path.

    tox tells by ``TOX_ENV_NAME``; an environment of its configuration runs pytest with what stands behind --.
    """
    if (name := os.environ.get("TOX_ENV_NAME")) is None:
        return shlex.join(words)
    if words[0] == "pytest":
        return shlex.join(["tox", "run", "-e", name, "--", *words[1:]])
    return shlex.join(["tox", "exec", "-e", name, "--", *words])


def given_folders(config: pytest.Config, *names: str) -> list[str]:
    """The folders of these names that the command line has, as options."""
    given = {name: config.getoption(f"harness_{name}") for name in names}
    return [f"--{name}={value}" for name, value in given.items() if value is not None]


def explain_command(config: pytest.Config, run: Run, subject: Subject) -> str:
    """The command that looks where a case's difference begins; '' where none to the reference is known."""
    if subject.is_reference or not _part(run, subject):
        return ""
    profile = subject.profile
    words = [
        "harness",
        "explain",
        f"{profile.name}/{profile.reference}..{profile.name}/{subject.engine.name}",
    ]
    words.append(subject.case.name)
    return typed([*words, *given_folders(config, "cases", "recordings", "environments")])


def _part(run: Run, subject: Subject) -> bool:
    """Whether an engine's answer and its reference's are known to differ beyond their limits."""
    try:
        agreement = run.scoring.agreement(subject.reference(), subject)
        judged = check_agreement(agreement, run.tolerances(subject, agreement))
    except HarnessError:
        return False
    return any(finding.text != ROWS_MISSING for finding in judged.findings)


def refusal_of(config: pytest.Config, subject: Subject, error: EngineError, *, again: str) -> Refusal:
    """That a subject's engine could not be loaded, with the commands that look and try it ``again``."""
    check = ["harness", "profile", "check", subject.profile.name]
    look = typed([*check, *given_folders(config, "cases", "environments")])
    return Refusal.of(subject.engine_label, error, again=again, look=look)


def explain_failures(
    run: Run, summaries: Sequence[CheckSummary], most: int, write_line: Callable[[str], None]
) -> list[Explanation]:
    """Explain the first ``most`` cases that failed beside their profile's reference."""
    # Imported here: a run without it needs none of it.
    from harness.drift.run import Pair, explanations
    from harness.scoring.subjects import subjects

    failed = dict.fromkeys((s.profile, s.engine, s.case) for s in summaries if _is_red(s))
    loaded, explained = run.loaded, []
    wanted = [key for key in failed if loaded.profile(key[0]).reference != key[1]][:most]
    for (profile_name, engine), keys in groupby(sorted(wanted), key=lambda key: key[:2]):
        profile = loaded.profile(profile_name)
        every = subjects(loaded.cases, [profile], selection="every")
        pairs = [Pair(one.reference(), one) for one in every if one.engine.name == engine]
        for one in explanations(pairs, [case for *_, case in keys], run.scoring, write_line):
            for line in ["", *one.text.splitlines()]:
                write_line(line)
            explained.append(one)
    return explained


def _is_red(summary: CheckSummary) -> bool:
    return summary.status in (Status.FAILED, Status.ERROR) and not summary.refused

"""What holds for all of the harness's own tests; ``pytest tests`` runs quick ones on several processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings

HERE = Path(__file__).parent
QUICK = "not slow and not browser and not faults and not cluster"
MOST_PROCESSES = 4  # each may hold two engines

if not os.environ.get(
    "CI"
):  # there the profile of the conftest.py on top holds, which has no deadline either
    settings.register_profile("without deadlines", deadline=None)  # a machine may be busy
    settings.load_profile("without deadlines")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Where all tests are asked for, select the quick ones and share them out; what is given wins.

    A file or a folder of them that is named runs as it is named.
    """
    if not _asked_for_all(config):
        return
    option = config.option
    option.markexpr = option.markexpr or QUICK
    if hasattr(config, "workerinput") or option.collectonly or option.usepdb:
        return
    if not config.pluginmanager.has_plugin("xdist"):
        return
    if option.numprocesses is None and not option.tx:
        option.numprocesses = max(2, min(len(os.sched_getaffinity(0)), MOST_PROCESSES))
    if option.dist == "no":
        # A file is one process's, so that fixtures of a file are made once. In order: the longest come early.
        # (xdist 3.8 groups by marks, `loadgroup`, not at all under pytest 9.2.)
        option.dist, option.loadscopereorder = "loadfile", False


def _asked_for_all(config: pytest.Config) -> bool:
    return any((config.invocation_params.dir / name).resolve() == HERE for name in config.args)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what opens a browser."""
    if "browser" in getattr(item, "fixturenames", ()):
        item.add_marker("browser")


# Each of xdist's processes deselects by itself, and none of them is told to the one that prints the summary.


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Have the process that prints the summary know how many tests were left out."""
    output = getattr(items[0].config, "workeroutput", {}) if items else {}
    output["deselected"] = output.get("deselected", 0) + len(items)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Count them once: all processes leave out the same."""
    reporter = node.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not reporter.stats.get("deselected"):
        count = getattr(node, "workeroutput", {}).get("deselected", 0)
        reporter.pytest_deselected([SimpleNamespace() for _ in range(count)])  # only counted


@pytest.fixture(scope="session", autouse=True)
def _outside_ci() -> Iterator[None]:
    """Runs inside tests tell GitHub nothing, where their planted faults would end, and are not tox's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "TOX_ENV_NAME"):
            patch.delenv(name, raising=False)
        yield

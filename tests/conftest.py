"""What holds for all of the harness's own tests; ``pytest tests`` runs quick ones on several processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

HERE = Path(__file__).parent
QUICK = "not slow and not browser"
MOST_PROCESSES = 4  # each may hold two engines


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Where all tests are asked for, select the quick ones and share them out; what is given wins.

    A file or a folder of them that is named runs as it is named.
    """
    if hasattr(config, "workerinput") or not _asked_for_all(config):
        return
    option = config.option
    option.markexpr = option.markexpr or QUICK
    if option.collectonly or option.usepdb or not config.pluginmanager.has_plugin("xdist"):
        return
    if option.numprocesses is None and not option.tx:
        option.numprocesses = max(2, min(len(os.sched_getaffinity(0)), MOST_PROCESSES))
    if option.dist == "no":
        option.dist = "loadgroup"


def _asked_for_all(config: pytest.Config) -> bool:
    return any((config.invocation_params.dir / name).resolve() == HERE for name in config.args)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what opens a browser, and keep together what shares a fixture, so that it is made once a run."""
    if "browser" in getattr(item, "fixturenames", ()):
        item.add_marker("browser")
    if (group := shared_by(item)) is not None:
        item.add_marker(pytest.mark.xdist_group(group))


def shared_by(item: pytest.Item) -> str | None:
    """The file or folder whose fixtures of more than one test this one uses, the outermost; None for none."""
    fixtures: dict[str, Sequence[pytest.FixtureDef[Any]]] = item._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined]
    wide = {one.baseid for own in fixtures.values() for one in own if one.scope != "function"}
    return min((place for place in wide if place.startswith(f"{HERE.name}/")), key=len, default=None)


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
    """Runs inside tests tell GitHub nothing: their planted faults would end in the real run's summary."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
            patch.delenv(name, raising=False)
        yield

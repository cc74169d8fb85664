"""``--shard``, this process's share of the tests, and the options that say who answers them."""

from __future__ import annotations

import pytest

from harness.commands.measuring import add_workers
from harness.errors import HarnessError
from harness.plugin.run import Run, subject_of
from harness.scoring.shards import Shard, parse_shard
from harness.workers.executors import Executor
from harness.workers.executors.choosing import chosen

__all__ = ["add_options", "executor_of", "left_out", "shard_of"]

_WHOLE = (
    ("harness_gate", "--gate"),
    ("update_snapshots", "--snapshot-update"),
    ("update_new_snapshots_only", "--snapshot-update-new-only"),
)


def add_options(group: pytest.OptionGroup) -> None:
    """Add ``--shard``, and those of executors."""
    group.addoption(
        "--shard",
        dest="harness_shard",
        metavar="K/N",
        help="this share of the cases only, such as 3/8, in whole batches; shards share a folder of "
        "recordings, or have one each for harness merge (see docs/cluster.md)",
    )
    add_workers(group.addoption, prefix="harness_")


def shard_of(config: pytest.Config) -> Shard | None:
    """The shard that was asked for; raises UsageError for what is none, or beside what takes all cases."""
    if (text := config.getoption("harness_shard")) is None:
        return None
    try:
        shard = parse_shard(text)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    for name, option in _WHOLE:
        if config.getoption(name, default=None):
            raise pytest.UsageError(
                f"--shard: found {option} beside it, which is about all cases; allowed: {option} without "
                "--shard, once the recordings of all shards are in one folder"
            )
    return shard


def executor_of(config: pytest.Config) -> Executor | None:
    """Who runs the workers, None for one after another; raises UsageError for what cannot be."""
    try:
        return chosen(
            *(config.getoption(f"harness_{name}") for name in ("devices", "executor", "ray_address"))
        )
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error


def left_out(run: Run, items: list[pytest.Item]) -> set[pytest.Item]:
    """Those of ``items`` that belong to other shards. Cases are dealt in the order of their folder."""
    if run.scoring.shard is None:
        return set()
    about = [(item, subject) for item in items if (subject := subject_of(item)) is not None]
    places = {case.name: place for place, case in enumerate(run.loaded.cases)} if about else {}
    wanted = sorted((subject for _, subject in about), key=lambda subject: places[subject.case.name])
    mine = {subject.id for subject in run.scoring.dealt(wanted)}
    return {item for item, subject in about if subject.id not in mine}

"""What an engine answers is what was accepted before."""

import shlex

import pytest

from harness.plugin.fixtures import AcceptedAnswer
from harness.plugin.run import RUN
from harness.snapshots.extension import unused_snapshots


@pytest.mark.subjects("every")
def test_matches_snapshot(accepted: AcceptedAnswer) -> None:
    """Letter probabilities match within tolerance; top letter, text and token ids match exactly.

    With ``--snapshot-update`` it fails where the update would lose a right answer:
    `harness.snapshots.update`.
    """
    accepted.require_allowed()
    assert accepted.answer == accepted.snapshot


def test_no_snapshot_unused(request: pytest.FixtureRequest) -> None:
    """Every snapshot belongs to a case; one left behind by a removed case would be mistaken for a check."""
    run = request.config.stash[RUN]
    live = {f"test_matches_snapshot[{subject.id}]" for subject in run.all_subjects()}
    unused = unused_snapshots(run.snapshots_folder, "test_matches_snapshot", live)
    assert not unused, (
        f"{len(unused)} snapshots of cases that are no more. Put the cases back, or remove the files:\n"
        f"  rm {shlex.join(map(str, unused))}"
    )

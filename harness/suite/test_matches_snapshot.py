"""What an engine answers is what was accepted before."""

import shlex

import pytest

from harness.plugin.fixtures import AcceptedAnswer
from harness.plugin.run import RUN
from harness.snapshots.extension import unused_cases
from harness.snapshots.files import read_suite


@pytest.mark.subjects("every")
def test_matches_snapshot(accepted: AcceptedAnswer) -> None:
    """Letter probabilities match within tolerance; top letter, text and token ids match exactly.

    With ``--snapshot-update`` it fails where the update would lose a right answer:
    `harness.snapshots.update`.
    """
    accepted.require_allowed()
    if not accepted.taken:
        assert accepted.answer == accepted.snapshot


def test_no_snapshot_unused(request: pytest.FixtureRequest) -> None:
    """Every snapshot belongs to a case; one left behind by a removed case would be mistaken for a check."""
    run = request.config.stash[RUN]
    live = {(one.profile.name, one.engine.name, one.case.name) for one in run.all_subjects()}
    unused = unused_cases(run.snapshots_folder, live)
    remedies = [
        f"rm {shlex.quote(str(file))}"
        if len(cases) == len(read_suite(file).cases)
        else f"sed -i '{''.join(f'{line}d;' for line in cases.values())}' {shlex.quote(str(file))}"
        for file, cases in unused.items()
    ]
    names = [f"{'/'.join(file.parts[-3:-1])} {case}" for file, cases in unused.items() for case in cases]
    assert not unused, (
        f"{len(names)} snapshots of cases that are no more: {', '.join(names)}\n"
        "Put the cases back, or remove their lines:\n" + "".join(f"  {one}\n" for one in remedies)
    )

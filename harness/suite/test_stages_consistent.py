"""Every account one engine gives of its answer is the same."""

import pytest

from harness.checks.stages import check_stages
from harness.checks.tolerances import Tolerances
from harness.plugin.fixtures import Verify
from harness.recordings.store import Recording
from harness.scoring.subjects import Subject


@pytest.mark.subjects("staged")
def test_stages_consistent(
    subject: Subject, recording: Recording, tolerances: Tolerances, verify: Verify
) -> None:
    """Generation, the second stage and the captured rows have the same tokens and log-probabilities."""
    verify(check_stages(recording, subject.case.letters, tolerances))

"""The letter is the expected one, for every engine."""

import pytest

from harness.checks.expected_letter import check_expected_letter
from harness.plugin.fixtures import Verify
from harness.recordings.store import Recording
from harness.scoring.subjects import Subject


@pytest.mark.subjects("every")
def test_expected_letter(subject: Subject, recording: Recording, verify: Verify) -> None:
    """Of the letters on offer the expected one is the most probable, and it is what the engine wrote."""
    verify(check_expected_letter(recording, subject.case))

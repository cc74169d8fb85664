"""The log-probabilities that an engine's own interface reports are those of the full distribution."""

import pytest

from harness.checks.tolerances import Tolerances
from harness.checks.top_k import check_top_k
from harness.engines.contract import Row
from harness.plugin.fixtures import Verify
from harness.recordings.store import Recording
from harness.scoring.subjects import Subject


@pytest.mark.subjects("top-k")
def test_top_k_matches_full(
    subject: Subject, recording: Recording, rows: dict[str, Row], tolerances: Tolerances, verify: Verify
) -> None:
    """Every reported entry equals the full log-probability; order and membership are right."""
    asked = subject.engine.settings.top_k
    verify(check_top_k(recording, subject.case.letters, tolerances, asked=asked, rows=rows))

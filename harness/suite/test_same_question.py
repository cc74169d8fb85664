"""An engine is asked what the profile's reference is asked."""

import pytest

from harness.checks.agreement import Agreement
from harness.checks.same_question import check_question
from harness.plugin.fixtures import Verify


@pytest.mark.subjects("compared")
def test_same_question(agreement: Agreement, verify: Verify) -> None:
    """Rendered prompt, token ids, number of tiles and pixel values are the same, whatever is answered."""
    verify(check_question(agreement))

"""An engine gives the same probabilities as the profile's reference."""

import pytest

from harness.checks.agreement import Agreement, check_agreement
from harness.checks.tolerances import Tolerances
from harness.plugin.fixtures import Verify


@pytest.mark.subjects("compared")
def test_engines_agree(agreement: Agreement, tolerances: Tolerances, verify: Verify) -> None:
    """Letters and full vocabulary have the same distribution within tolerance, and the same ids come out.

    Where the two were asked different questions, that is named first as the cause; `test_same_question` tells
    it in full.
    """
    verify(check_agreement(agreement, tolerances))

"""A candidate may take the baseline's place: collected with ``--gate A..B`` only."""

from harness.plugin.gate_tests import SuiteGate


def test_gate(suite_gate: SuiteGate) -> None:
    """The suite is the same, noise, or let pass by margin or budgets; what is inconclusive fails, too."""
    suite_gate.require()

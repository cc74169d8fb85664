"""What pytest is asked."""

from __future__ import annotations

from pathlib import Path

from benchmarks.gpu.checks import checks_command, gate_command


def test_no_snapshots_and_no_expected_letters_of_near_ties_or_random_weights() -> None:
    def chosen(model: str) -> str:
        command = checks_command(Path("work"), "p", model)
        assert command[command.index("-m", 3) + 1] == "gpu"
        return command[command.index("-k") + 1]

    assert chosen("embedded") == "not matches_snapshot and not (expected_letter and near-tie)"
    assert chosen("random") == "not matches_snapshot and not expected_letter"


def test_a_gate_alone_on_the_recordings_of_the_checks() -> None:
    checks, gate = (
        checks_command(Path("work"), "p", "embedded"),
        gate_command(Path("work"), "p/a", "p/b", snapshots=Path("kept")),
    )
    assert "harness/suite/test_gate.py" in gate
    assert gate[gate.index("--gate") + 1] == "p/a..p/b"
    for option in ("-m", "--cases", "--recordings"):
        assert checks[checks.index(option, 3) + 1] == gate[gate.index(option, 3) + 1]
    # Else the gate would have to start engines for the rows that the checks dropped.
    assert "--keep-logits" in checks

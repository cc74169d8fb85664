"""What pytest is asked, and what is taken from what it says."""

from __future__ import annotations

from pathlib import Path

from benchmarks.gpu.checks import command_for, counts, table

SAID = """\
....F
=========== FAILURES ===========
text
=========== engines ============
case   torch
s.a    A 0.9
================================
1 failed
"""


def test_no_snapshots_and_no_expected_letters_of_near_ties_or_random_weights() -> None:
    def chosen(model: str) -> str:
        command = command_for(Path("cases"), "p", model, root=Path("r"), report=Path("x.xml"))
        assert command[command.index("-m", 3) + 1] == "gpu"
        return command[command.index("-k") + 1]

    assert chosen("embedded") == "not matches_snapshot and not (expected_letter and near-tie)"
    assert chosen("random") == "not matches_snapshot and not expected_letter"


def test_counts(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    assert counts(report) == {}
    report.write_text(
        '<testsuites><testsuite tests="9" failures="2" errors="1" skipped="1"></testsuite></testsuites>'
    )
    assert counts(report) == {"passed": 5, "failed": 2, "errors": 1, "skipped or known failures": 1}


def test_the_table_or_the_last_lines() -> None:
    assert table(SAID) == ["case   torch", "s.a    A 0.9"]
    assert table("it broke\nat once\n") == ["it broke", "at once"]
    long = SAID.replace("s.a    A 0.9\n", "".join(f"s.{n}\n" for n in range(500)))
    assert len(table(long)) == 151
    assert table(long)[-1] == "s.499"

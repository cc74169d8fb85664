"""`pytest --snapshot-update` in whole runs: what it writes, what it refuses, and what it tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cases.kept import write_whole
from harness.snapshots import files
from harness.snapshots.accepted import AcceptedCase
from harness.snapshots.files import read_suite
from tests.accepted_lines import move_letters
from tests.suite.conftest import HERE, Project

COMPARE = ("-k", "matches_snapshot and not unused")
UPDATE = (*COMPARE, "--snapshot-update")


@pytest.fixture
def one_engine(project: Project) -> Project:
    project.write_profiles(engines={"torch": {"patch": str(HERE / "stand_in_engine.py")}})
    return project


def file(project: Project) -> Path:
    return project.folder / "snapshots" / "p" / "torch" / "s.jsonl"


def held(project: Project, case: str = "one") -> AcceptedCase:
    return read_suite(file(project)).cases[f"s.{case}"]


def edit(project: Project, case: str, **by: float) -> AcceptedCase:
    """Move letters' probabilities in an accepted snapshot."""
    return move_letters(project.folder / "snapshots", "p/torch", f"s.{case}", **by)


def told(result: pytest.RunResult) -> list[str]:
    """The lines of the section on snapshots."""
    lines = [line.rstrip() for line in result.outlines]
    start = next(n for n, line in enumerate(lines) if line.strip("= ") == "snapshots")
    end = next((n for n in range(start + 1, len(lines)) if lines[n].startswith(("---", "==="))), len(lines))
    return [line for line in lines[start + 1 : end] if line]


def test_new_ones_are_written_and_told(one_engine: Project) -> None:
    one_engine.write_suite(one="say A", two="say B")
    result = one_engine.run(*UPDATE)
    result.assert_outcomes(passed=2)
    lines = told(result)
    assert lines[:2] == ["p: 2 new", "NEW  s.one, p-torch; cases/s.yaml:7:3"]
    assert "    the top letter is A, right" in lines
    assert "    the top letter is B, wrong" in lines
    assert "    snapshots/p/torch/s.jsonl" in lines
    assert (held(one_engine).top, held(one_engine).lowered) == ("A", "")
    assert "lowered" not in file(one_engine).read_text()


def test_without_the_option_there_is_no_section(one_engine: Project) -> None:
    one_engine.write_suite(one="say A")
    one_engine.run(*UPDATE)
    one_engine.run(*COMPARE).stdout.no_fnmatch_line("*= snapshots =*")


def test_same_and_noise_are_kept_and_drift_is_written(one_engine: Project) -> None:
    one_engine.write_suite(same="say A", noise="say A 2", drift="say A 3")
    one_engine.run(*UPDATE)
    kept = edit(one_engine, "noise", A=-0.000005)
    was = edit(one_engine, "drift", A=-0.01).letters
    result = one_engine.run(*UPDATE)
    result.assert_outcomes(passed=3)
    lines = told(result)
    assert lines[:2] == [
        "p: 1 written, 2 kept (1 NOISE, 1 SAME)",
        "WRITTEN DRIFT  s.drift, p-torch; cases/s.yaml:13:3",
    ]
    now = held(one_engine, "drift").letters
    assert was != now
    assert lines[2] == "    " + ", ".join(f"{x} {was[x]:.6f} → {now[x]:.6f}" for x in "ABC")
    assert "    probability of A: by 0.01; allowed: 1e-05" in lines
    assert any(line.startswith("    log-odds of ") for line in lines)
    assert held(one_engine, "noise") == kept
    one_engine.run(*COMPARE).assert_outcomes(passed=3)


def test_a_regression_is_refused_and_the_file_stays(one_engine: Project) -> None:
    one_engine.write_suite(one="say A", two="say A 2")
    one_engine.run(*UPDATE)
    before = file(one_engine).read_text()
    one_engine.write_suite(one="say B", two="say A 2")
    result = one_engine.run(*UPDATE)
    result.assert_outcomes(passed=1, failed=1)
    assert file(one_engine).read_text() == before
    result.stdout.fnmatch_lines(
        [
            "cases/s.yaml:7:3: snapshot: REGRESSION, so not written",
            "  - the top letter was A, right and is B, wrong",
            "*accepted*now*",
            "kept: snapshots/p/torch/s.jsonl",
            "to accept it all the same: pytest *s.one-p-torch* --snapshot-update --accept-regressions *",
        ]
    )
    lines = told(result)
    assert lines[:2] == [
        "p: 1 refused, 1 kept (1 SAME)",
        "REFUSED REGRESSION  s.one, p-torch; cases/s.yaml:7:3",
    ]
    assert '    text: "A" -> "B" (must be equal)' in lines


def test_a_regression_is_written_with_its_reason(one_engine: Project) -> None:
    one_engine.write_suite(one="say A", two="say A 2")
    one_engine.run(*UPDATE)
    one_engine.write_suite(one="say B", two="say A 2")
    result = one_engine.run(*UPDATE, "--accept-regressions", "the picture was relabelled")
    result.assert_outcomes(passed=2)
    assert "    lowered because: the picture was relabelled" in told(result)
    assert held(one_engine).lowered == "the picture was relabelled"
    assert held(one_engine, "two").lowered == ""
    one_engine.run(*COMPARE).assert_outcomes(passed=2)
    # Back to right: written as any other change, and the reason goes.
    one_engine.write_suite(one="say A", two="say A 2")
    assert "WRITTEN DRIFT  s.one, p-torch; cases/s.yaml:7:3" in told(one_engine.run(*UPDATE))
    assert held(one_engine).lowered == ""


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("say A nan", "not-finite: cases/s.yaml:7:3: s.one-p-torch: forward: 1 of 64 logits are NaN"),
        ("say A wander", "the model never reached the letter: it wrote 'A'"),
        ("say A die", "crash: cases/s.yaml:7:3: s.one-p-torch: "),
    ],
)
def test_an_answer_that_is_none_is_an_error_and_the_file_stays(
    one_engine: Project, prompt: str, reason: str
) -> None:
    one_engine.write_suite(one="say A")
    one_engine.run(*UPDATE)
    before = file(one_engine).read_text()
    one_engine.write_suite(one=prompt)
    result = one_engine.run(*UPDATE, "--accept-regressions", "not this one, though")
    result.assert_outcomes(errors=1)
    assert file(one_engine).read_text() == before
    lines = told(result)
    assert lines[:2] == ["p: 1 refused", "REFUSED ERROR  s.one, p-torch; cases/s.yaml:7:3"]
    assert " ".join(line.strip() for line in lines[2:]).startswith(reason)


def test_no_snapshot_comes_of_an_answer_that_is_none(one_engine: Project) -> None:
    one_engine.write_suite(one="say A wander")
    result = one_engine.run(*UPDATE)
    result.assert_outcomes(errors=1)
    assert not file(one_engine).exists()
    result.stdout.fnmatch_lines(
        ["failed: cases/s.yaml:7:3: s.one, p-torch: the model never reached the letter*"]
    )


@pytest.mark.parametrize("options", [(), ("--accept-regressions", "all the same")])
def test_a_file_that_cannot_be_read_is_not_overwritten(one_engine: Project, options: tuple[str, ...]) -> None:
    one_engine.write_suite(one="say A")
    one_engine.run(*UPDATE)
    file(one_engine).write_text("<<<<<<< ours")
    result = one_engine.run(*UPDATE, *options)
    result.assert_outcomes(failed=1)
    assert file(one_engine).read_text() == "<<<<<<< ours"
    result.stdout.fnmatch_lines(["*s.jsonl:1:1: found no JSON*", "*Restore the file from version control*"])


@pytest.mark.parametrize("workers", [(), pytest.param(("-n", "2"), marks=pytest.mark.slow)])
@pytest.mark.parametrize("options", [(), ("--snapshot-update",)], ids=["compare", "update"])
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"top": "A"', '"top": "B"', "s.one: found a line that was edited"),
        ('{"case": "s.one"', '{"case": "s.one', "found no JSON"),
    ],
    ids=["edited", "no JSON"],
)
def test_a_line_that_cannot_be_read_is_told_once_and_other_cases_keep_their_results(
    one_engine: Project, old: str, new: str, said: str, options: tuple[str, ...], workers: tuple[str, ...]
) -> None:
    one_engine.write_suite(one="say A", two="say A 2", three="say A 3")
    one_engine.run(*UPDATE)
    edited = file(one_engine).read_text().replace(old, new, 1)
    file(one_engine).write_text(edited)
    result = one_engine.run("-k", "snapshot", *options, *workers)
    result.assert_outcomes(passed=2, failed=2)  # two and three; one, and that no snapshot is unused
    assert file(one_engine).read_text() == edited
    assert result.stdout.str().count("Restore the file from version control") == 1
    result.stdout.fnmatch_lines([f"*s.jsonl:*{said}*", "2 tests for one reason, told once: *s.jsonl:*"])


def test_an_answer_that_changed_is_found_in_a_file_with_a_damaged_line(one_engine: Project) -> None:
    one_engine.write_suite(one="say A", two="say A 2")
    one_engine.run(*UPDATE)
    lines = file(one_engine).read_text().splitlines()
    moved = lines[-1].replace('"s.two"', '"s.one"')  # another case's line, so its sum does not hold
    file(one_engine).write_text("\n".join((*lines[:-2], moved, lines[-1])))
    one_engine.write_suite(one="say A", two="say B 2")
    result = one_engine.run(*COMPARE)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*s.one: found a line that was edited*"])
    result.stdout.fnmatch_lines(["*top: *A* -> *B*"])


def test_a_run_of_one_profile_keeps_the_lines_of_others(project: Project) -> None:
    project.write_suite(one="say A")
    project.run(*UPDATE)
    torch, other = file(project), project.folder / "snapshots" / "p" / "lmdeploy" / "s.jsonl"
    before = other.read_bytes()
    edit(project, "one", A=-0.01)
    project.run(*UPDATE, "-k", "matches_snapshot and torch").assert_outcomes(passed=1)
    assert other.read_bytes() == before
    # The line tells what was asked, and what was made of it.
    own = read_suite(torch).cases["s.one"]
    assert own.asked is not None
    assert own.asked["letters"] == ["A", "B", "C"]
    assert own.rendered is not None
    assert sorted(own.rendered) == ["ids", "pixels", "text", "tiles", "tokens", "version"]


def test_an_earlier_layout_ends_in_one_message(one_engine: Project) -> None:
    one_engine.write_suite(one="say A", two="say A 2")
    old = one_engine.folder / "snapshots" / "test_matches_snapshot"
    old.mkdir(parents=True)
    (old / "test_matches_snapshot[s.one-p-torch].json").write_text("{}")
    result = one_engine.run(*UPDATE)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*harness accept --convert --snapshots snapshots"])
    assert [path.name for path in (one_engine.folder / "snapshots").iterdir()] == ["test_matches_snapshot"]


def test_a_file_that_cannot_be_written_is_not_told_as_written(one_engine: Project) -> None:
    one_engine.write_suite(one="say A")
    (one_engine.folder / "snapshots").symlink_to("nowhere")
    result = one_engine.run(*UPDATE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "p: 1 refused" in told(result)
    lines = told(result)
    assert lines[0].startswith("cannot write ")
    assert "/snapshots/p/torch/s.jsonl: " in lines[0]
    assert "    the file could not be written; why stands above" in lines


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_each_engine_has_its_own_and_workers_report_the_same(
    project: Project, options: tuple[str, ...]
) -> None:
    project.write_suite(one="say A", two="say A 2", three="say A 3")
    project.run(*UPDATE)
    before = held(project, "two")
    project.write_suite(one="say A", two="torch: say torch: A lmdeploy: say lmdeploy: B", three="say A nan")
    lines = told(project.run(*UPDATE, *options))
    assert lines[0] == "p: 3 refused, 1 written, 2 kept (2 SAME)"
    assert [line.partition(";")[0] for line in lines if line.startswith(("REFUSED", "WRITTEN"))] == [
        "REFUSED ERROR  s.three, p-lmdeploy",
        "REFUSED ERROR  s.three, p-torch",
        "REFUSED REGRESSION  s.two, p-lmdeploy",
        "WRITTEN DRIFT  s.two, p-torch",
    ]
    assert held(project, "two").letters != before.letters


def test_each_file_is_written_once_and_after_an_interrupt_with_what_was_accepted(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write_suite(**{f"c{number}": f"say A {number}" for number in range(5)})
    written: list[str] = []

    def counted(path: Path, content: str) -> None:
        written.append(path.parent.name)
        write_whole(path, content)

    monkeypatch.setattr(files, "write_whole", counted)
    project.pytester.makepyfile(
        interrupting="""
        def pytest_runtest_call(item):
            if "c3-p-lmdeploy" in item.name:
                raise KeyboardInterrupt
        """
    )
    project.pytester.syspathinsert()
    with pytest.raises(KeyboardInterrupt):
        project.run(*UPDATE, "-p", "interrupting")
    assert sorted(written) == ["lmdeploy", "torch"]
    assert [*read_suite(file(project)).cases] == [f"s.c{number}" for number in range(4)]
    written.clear()
    project.run(*UPDATE).assert_outcomes(passed=10)
    assert sorted(written) == ["lmdeploy", "torch"]
    own = read_suite(file(project))
    assert [*own.cases] == [f"s.c{number}" for number in range(5)]
    assert own.fingerprint["model"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--accept-regressions", "why"), "found no --snapshot-update"),
        (("--snapshot-update", "--accept-regressions", " "), "found an empty reason"),
    ],
)
def test_regressions_are_accepted_by_an_update_with_a_reason_only(
    one_engine: Project, options: tuple[str, ...], found: str
) -> None:
    one_engine.write_suite(one="say A")
    result = one_engine.run(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--accept-regressions: {found}; allowed: *"])


def test_workers_that_were_interrupted_are_no_error_where_warnings_are(project: Project) -> None:
    """syrupy warns of them at the session's end, before anything is written."""
    project.write_suite(one="say A")
    project.pytester.makepyfile(
        interrupted="""
        from syrupy.utils import warn_incomplete_worker_reports

        def pytest_sessionfinish(session):
            warn_incomplete_worker_reports(received=0, expected=2)
        """
    )
    project.pytester.syspathinsert()
    strict = ("-o", "filterwarnings=error", "-p", "interrupted")
    assert project.run(*UPDATE, *strict).ret == pytest.ExitCode.OK
    assert [*read_suite(file(project)).cases] == ["s.one"]

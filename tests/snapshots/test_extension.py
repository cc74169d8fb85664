"""The snapshot extension, alone and in real pytest runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.engines.contract import Json
from harness.snapshots.extension import extension, unused_snapshots

SUITE = """
import json
from pathlib import Path

import pytest

from harness.snapshots.extension import extension, unused_snapshots

HERE = Path(__file__).parent
CASES = json.loads((HERE / "cases.json").read_text())
ROOT = HERE / "accepted"

@pytest.mark.parametrize(
    "values", [pytest.param(c, id=name, marks=[getattr(pytest.mark, m) for m in c.pop("marks", [])])
               for name, c in CASES.items()])
def test_matches(values, snapshot):
    assert values == snapshot.use_extension(extension(ROOT, 1e-5))

def test_none_left_over(request):
    live = [f"test_matches[{name}]" for name in CASES]
    assert unused_snapshots(ROOT, "test_it", live) == ()
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder with a test module, two cases, one of them for a GPU, and their accepted snapshots."""
    pytester.makepyfile(test_it=SUITE)
    pytester.makeini("[pytest]\nmarkers = gpu")
    write_cases(pytester, red=data(0.5), blue=data(0.25) | {"marks": ["gpu"]})
    run(pytester, "--snapshot-update").assert_outcomes(passed=3)
    return pytester


def data(share: float, text: str = "A") -> dict[str, Json]:
    return {"letters": {"A": share, "B": 1e-6}, "text": text, "token_ids": [11, 2], "top": "A"}


def write_cases(pytester: pytest.Pytester, **cases: Json) -> None:
    (pytester.path / "cases.json").write_text(json.dumps(cases))


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:vlm-harness", *options)


def accepted(pytester: pytest.Pytester, name: str = "red") -> Path:
    return pytester.path / "accepted" / "test_it" / f"test_matches[{name}].json"


def test_files_are_small_sorted_and_in_a_folder_for_each_module(suite: pytest.Pytester) -> None:
    text = accepted(suite).read_text()
    assert list(json.loads(text)) == ["letters", "text", "token_ids", "top"]
    assert len(text) < 300
    assert sorted(p.name for p in (suite.path / "accepted").iterdir()) == ["test_it"]
    run(suite).assert_outcomes(passed=3)


def test_a_file_edited_by_a_hundredth_fails_and_shows_only_what_moved(suite: pytest.Pytester) -> None:
    accepted(suite).write_text(accepted(suite).read_text().replace("0.5", "0.51"))
    result = run(suite)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*letters.A: 0.51 -> 0.5 (moved by 0.01; allowed: 1e-05)*"])
    result.stdout.fnmatch_lines(["*--snapshot-update*"])
    assert "letters.B" not in result.stdout.str()


def test_drift_within_tolerance_passes_and_an_update_leaves_the_file_alone(suite: pytest.Pytester) -> None:
    write_cases(suite, red=data(0.5 + 1e-7), blue=data(0.25 + 9e-6) | {"marks": ["gpu"]})
    before = {
        name: (accepted(suite, name).read_bytes(), accepted(suite, name).stat()) for name in ("red", "blue")
    }
    run(suite).assert_outcomes(passed=3)
    run(suite, "--snapshot-update").assert_outcomes(passed=3)
    for name, (content, status) in before.items():
        assert accepted(suite, name).read_bytes() == content
        assert accepted(suite, name).stat().st_mtime_ns == status.st_mtime_ns


def test_drift_beyond_tolerance_is_accepted_by_an_update(suite: pytest.Pytester) -> None:
    write_cases(suite, red=data(0.6), blue=data(0.25) | {"marks": ["gpu"]})
    run(suite).assert_outcomes(passed=2, failed=1)
    run(suite, "--snapshot-update").assert_outcomes(passed=3)
    assert json.loads(accepted(suite).read_text())["letters"]["A"] == 0.6


def test_another_text_fails_however_small_the_move(suite: pytest.Pytester) -> None:
    write_cases(suite, red=data(0.5, text="A."), blue=data(0.25) | {"marks": ["gpu"]})
    result = run(suite)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(['*text: "A" -> "A." (must be equal)*'])


def test_a_missing_snapshot_fails_and_shows_what_would_be_accepted(suite: pytest.Pytester) -> None:
    accepted(suite).unlink()
    result = run(suite)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*does not exist!*", '*+     "A": 0.5*'])


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe\x00", b"<<<<<<< HEAD\n{}\n"])
def test_a_damaged_file_fails_with_its_remedy_and_an_update_repairs_it(
    suite: pytest.Pytester, damage: bytes
) -> None:
    before = accepted(suite).read_bytes()
    accepted(suite).write_bytes(damage)
    result = run(suite)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*not valid JSON*restore the file from version control*"])
    run(suite, "--snapshot-update").assert_outcomes(passed=3)
    assert accepted(suite).read_bytes() == before


def test_the_snapshot_of_a_removed_case_is_found(suite: pytest.Pytester) -> None:
    write_cases(suite, red=data(0.5))
    result = run(suite)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*test_matches?blue?.json*"])


@pytest.mark.parametrize(
    "selection", [["-m", "not gpu"], ["-m", "gpu"], ["-k", "red"], ["test_it.py::test_matches[red]"]]
)
def test_cases_that_are_not_selected_keep_their_snapshots(
    suite: pytest.Pytester, selection: list[str]
) -> None:
    for update in ([], ["--snapshot-update"]):
        result = run(suite, *selection, *update)
        assert result.ret == 0
        assert "unused" not in result.stdout.str()
        assert accepted(suite, "red").exists()
        assert accepted(suite, "blue").exists()


def test_under_xdist_all_is_the_same(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # these tests themselves may run under xdist
    write_cases(suite, red=data(0.6))
    options = ["-p", "no:cacheprovider", "-p", "xdist", "-p", "syrupy", "-n", "1", "--snapshot-update"]
    result = suite.runpytest_subprocess(*options)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*test_matches?blue?.json*", "1 snapshot updated."])
    assert json.loads(accepted(suite).read_text())["letters"]["A"] == 0.6
    assert accepted(suite, "blue").exists()


def test_the_same_root_and_tolerance_give_the_same_class(tmp_path: Path) -> None:
    assert extension(tmp_path, 1e-5) is extension(tmp_path, 1e-5)
    assert extension(tmp_path, 1e-5) is not extension(tmp_path, 1e-4)


def test_no_folder_means_nothing_is_left_over(tmp_path: Path) -> None:
    assert unused_snapshots(tmp_path, "test_it", []) == ()

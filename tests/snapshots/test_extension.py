"""The snapshot extension, alone and in real pytest runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.snapshots.accepted import AcceptedCase, AcceptedSuite
from harness.snapshots.extension import unused_cases
from harness.snapshots.files import put_cases

SUITE = """
import json
from pathlib import Path

import pytest

from harness.snapshots.accepted import AcceptedSuite
from harness.snapshots.extension import compared_with, unused_cases

HERE = Path(__file__).parent
CASES = json.loads((HERE / "cases.json").read_text())
ROOT = HERE / "accepted"

@pytest.mark.parametrize(
    ("name", "values"),
    [pytest.param(name, c, id=name, marks=[getattr(pytest.mark, m) for m in c.pop("marks", [])])
     for name, c in CASES.items()])
def test_matches(name, values, snapshot):
    head = AcceptedSuite(profile="p", engine="e", suite="s", model="m", fingerprint={"model": {"hash": "1"}})
    assert values == compared_with(snapshot, ROOT, head, f"s.{name}", 1e-5)

def test_none_left_over(request):
    live = {("p", "e", f"s.{name}") for name in CASES}
    assert unused_cases(ROOT, live) == {}
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder with a test module, two cases, one of them for a GPU, and their accepted snapshots."""
    pytester.makepyfile(test_it=SUITE)
    pytester.makeini("[pytest]\nmarkers = gpu")
    write_cases(pytester, red=data(0.5), blue=data(0.25) | {"marks": ["gpu"]})
    accept(pytester, red=data(0.5), blue=data(0.25))
    return pytester


def accept(pytester: pytest.Pytester, **cases: Any) -> None:
    head = AcceptedSuite(profile="p", engine="e", suite="s", model="m", fingerprint={"model": {"hash": "1"}})
    every = {f"s.{name}": AcceptedCase(**one) for name, one in cases.items()}
    put_cases(pytester.path / "accepted", head, every)


def data(share: float, text: str = "A") -> dict[str, Any]:
    return {
        "top": "A",
        "text": text,
        "letters": {"A": share, "B": 1e-6},
        "logprobs": None,
        "token_ids": [11, 2],
        "dtype": "float32",
        "asked": None,
        "rendered": None,
    }


def write_cases(pytester: pytest.Pytester, **cases: Any) -> None:
    (pytester.path / "cases.json").write_text(json.dumps(cases))


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:vlm-harness", *options)


def xdist(pytester: pytest.Pytester, workers: int, *options: str) -> pytest.RunResult:
    plugins = ["-p", "no:cacheprovider", "-p", "xdist", "-p", "syrupy"]
    return pytester.runpytest_subprocess(*plugins, "-n", str(workers), *options)


def file(pytester: pytest.Pytester) -> Path:
    return pytester.path / "accepted" / "p" / "e" / "s.jsonl"


def lines(pytester: pytest.Pytester) -> dict[str, bytes]:
    """The lines of the file, by case; the others under their kind."""
    every = [(json.loads(line), line) for line in file(pytester).read_bytes().splitlines()]
    return {one.get("case", next(iter(one))): line for one, line in every}


def test_there_is_one_file_with_a_line_a_case(suite: pytest.Pytester) -> None:
    assert list(lines(suite)) == ["format", "fingerprint", "s.blue", "s.red"]
    assert list(json.loads(lines(suite)["s.red"])) == ["case", *data(0.5), "sum"]
    assert [p for p in (suite.path / "accepted").rglob("*") if p.is_file()] == [file(suite)]  # no lock
    run(suite).assert_outcomes(passed=3)


def test_a_move_by_a_hundredth_fails_and_shows_only_what_moved(suite: pytest.Pytester) -> None:
    write_cases(suite, red=data(0.51), blue=data(0.25) | {"marks": ["gpu"]})
    result = run(suite)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*letters.A: 0.5 -> 0.51 (moved by 0.01; allowed: 1e-05)*"])
    result.stdout.fnmatch_lines(["*--snapshot-update*"])
    assert "letters.B" not in result.stdout.str()


def test_drift_within_tolerance_passes(suite: pytest.Pytester) -> None:
    write_cases(suite, red=data(0.5 + 1e-7), blue=data(0.25 + 9e-6) | {"marks": ["gpu"]})
    run(suite).assert_outcomes(passed=3)


def test_another_text_fails_however_small_the_move(suite: pytest.Pytester) -> None:
    write_cases(suite, red=data(0.5, text="A."), blue=data(0.25) | {"marks": ["gpu"]})
    result = run(suite)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(['*text: "A" -> "A." (must be equal)*'])


def test_a_missing_snapshot_fails_and_shows_what_would_be_accepted(suite: pytest.Pytester) -> None:
    file(suite).write_bytes(b"\n".join(line for name, line in lines(suite).items() if name != "s.red"))
    result = run(suite)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*does not exist!*", '*+     "A": 0.5*'])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (b"", "s.jsonl: found 0 lines of format; allowed: one"),
        (b"{", "s.jsonl:1:1: found no JSON"),
        (b"\xff\xfe\x00", "s.jsonl:1:1: found no JSON"),
        (b"<<<<<<< HEAD\n{}\n", "s.jsonl:1:1: found no JSON"),
        (b"[" * 100_000, "s.jsonl:1:1: found no JSON (maximum recursion"),
        (b"9" * 5000, "s.jsonl:1:1: found no JSON (Exceeds the limit"),
        (b'{"fingerprint": "a", "value": NaN, "sum": "0"}', "s.jsonl:1:1: a: found a line that was edited"),
        (b"[]", "s.jsonl:1:1: found another line; allowed: one that begins with format,"),
    ],
)
def test_a_damaged_file_fails_with_its_remedy(suite: pytest.Pytester, damage: bytes, said: str) -> None:
    file(suite).write_bytes(damage)
    result = run(suite, "-k", "matches")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines([f"*{said}*", "*Restore the file from version control*"])
    result.stdout.no_fnmatch_line("*accept the present output*")  # which would be refused
    result.stdout.no_fnmatch_line("*\\nRestore*")


def test_the_snapshot_of_a_removed_case_is_found(suite: pytest.Pytester) -> None:
    write_cases(suite, red=data(0.5))
    result = run(suite)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*s.jsonl*s.blue*3*"])


@pytest.mark.parametrize(
    "selection", [["-m", "not gpu"], ["-m", "gpu"], ["-k", "red"], ["test_it.py::test_matches[red]"]]
)
def test_cases_that_are_not_selected_keep_their_snapshots(
    suite: pytest.Pytester, selection: list[str]
) -> None:
    before = file(suite).read_bytes()
    for update in ([], ["--snapshot-update"]):
        result = run(suite, *selection, *update)
        assert result.ret == 0
        assert "unused" not in result.stdout.str()
        assert file(suite).read_bytes() == before


def test_under_xdist_all_is_the_same(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # these tests themselves may run under xdist
    write_cases(suite, red=data(0.6))
    result = xdist(suite, 1)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*letters.A: 0.5 -> 0.6*", "*s.jsonl*s.blue*"])


def test_no_folder_means_nothing_is_left_over(tmp_path: Path) -> None:
    assert unused_cases(tmp_path, set()) == {}


def test_a_prompt_rendered_otherwise_is_told_where_the_answer_moved(suite: pytest.Pytester) -> None:
    def asked(share: float, ids: str) -> dict[str, Any]:
        shown = {"version": 1, "text": "a", "ids": ids, "tokens": 3, "tiles": 0, "pixels": None}
        return data(share) | {"rendered": shown}

    accept(suite, red=asked(0.5, "1"), blue=asked(0.25, "1"))
    write_cases(suite, red=asked(0.6, "2"), blue=asked(0.25, "2"))
    result = run(suite)
    result.assert_outcomes(passed=2, failed=1)
    told = "the prompt was rendered differently than when this was accepted (token ids differ)"
    result.stdout.fnmatch_lines([f"*{told}*", "*letters.A: 0.5 -> 0.6*"])

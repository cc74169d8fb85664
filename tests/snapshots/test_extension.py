"""The snapshot extension, alone and in real pytest runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.snapshots.accepted import AcceptedSuite
from harness.snapshots.extension import extension, unused_cases
from harness.snapshots.files import read_suite

SUITE = """
import json
from pathlib import Path

import pytest

from harness.snapshots.accepted import AcceptedSuite
from harness.snapshots.extension import extension, unused_cases

HERE = Path(__file__).parent
CASES = json.loads((HERE / "cases.json").read_text())
ROOT = HERE / "accepted"

@pytest.mark.parametrize(
    ("name", "values"),
    [pytest.param(name, c, id=name, marks=[getattr(pytest.mark, m) for m in c.pop("marks", [])])
     for name, c in CASES.items()])
def test_matches(name, values, snapshot):
    head = AcceptedSuite(profile="p", engine="e", suite="s", model="m", fingerprint={"model": {"hash": "1"}})
    assert values == snapshot.use_extension(extension(ROOT, head, f"s.{name}", 1e-5))

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
    run(pytester, "--snapshot-update").assert_outcomes(passed=3)
    return pytester


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


def held(pytester: pytest.Pytester, name: str = "red") -> dict[str, Any]:
    return read_suite(file(pytester)).cases[f"s.{name}"].to_json()


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


def test_drift_within_tolerance_passes_and_an_update_leaves_the_file_alone(suite: pytest.Pytester) -> None:
    write_cases(suite, red=data(0.5 + 1e-7), blue=data(0.25 + 9e-6) | {"marks": ["gpu"]})
    before = (file(suite).read_bytes(), file(suite).stat().st_mtime_ns)
    run(suite).assert_outcomes(passed=3)
    run(suite, "--snapshot-update").assert_outcomes(passed=3)
    assert (file(suite).read_bytes(), file(suite).stat().st_mtime_ns) == before


def test_drift_beyond_tolerance_is_accepted_by_an_update_of_its_line(suite: pytest.Pytester) -> None:
    before = lines(suite)
    write_cases(suite, red=data(0.6), blue=data(0.9) | {"marks": ["gpu"]})
    run(suite).assert_outcomes(passed=1, failed=2)
    run(suite, "--snapshot-update", "-k", "red").assert_outcomes(passed=1)
    after = lines(suite)
    assert held(suite)["letters"]["A"] == 0.6
    assert [name for name in before if before[name] != after[name]] == ["s.red"]
    assert list(after) == list(before)


def test_a_new_last_case_leaves_every_other_line_as_it_is(suite: pytest.Pytester) -> None:
    before = lines(suite)
    write_cases(suite, red=data(0.5), zebra=data(0.5), blue=data(0.25) | {"marks": ["gpu"]})
    run(suite, "--snapshot-update", "-k", "zebra").assert_outcomes(passed=1)
    assert list(lines(suite).items())[:-1] == list(before.items())


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
        (b"\xff\xfe\x00", "s.jsonl: cannot be read"),
        (b"<<<<<<< HEAD\n{}\n", "s.jsonl:1:1: found no JSON"),
        (b"[]", "s.jsonl:1:1: found another line; allowed: one that begins with format,"),
    ],
)
def test_a_damaged_file_fails_with_its_remedy_and_is_never_written(
    suite: pytest.Pytester, damage: bytes, said: str
) -> None:
    file(suite).write_bytes(damage)
    result = run(suite, "-k", "matches")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines([f"*{said}*", "*Restore the file from version control*"])
    result.stdout.no_fnmatch_line("*accept the present output*")  # which would be refused
    result.stdout.no_fnmatch_line("*\\nRestore*")
    run(suite, "--snapshot-update", "-k", "matches").assert_outcomes(failed=2)
    assert file(suite).read_bytes() == damage


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


@pytest.fixture
def plugins_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # these tests themselves may run under xdist


def test_under_xdist_all_is_the_same(suite: pytest.Pytester, plugins_named: None) -> None:
    write_cases(suite, red=data(0.6))
    result = xdist(suite, 1, "--snapshot-update")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*s.jsonl*s.blue*", "1 snapshot updated."])
    assert held(suite)["letters"]["A"] == 0.6
    assert "s.blue" in lines(suite)


def test_workers_that_write_one_file_lose_no_case(suite: pytest.Pytester, plugins_named: None) -> None:
    names = [f"c{number:02}" for number in range(40)]
    write_cases(suite, red=data(0.5), blue=data(0.25), **{name: data(0.5) for name in names})
    xdist(suite, 4, "--snapshot-update", "-k", "matches").assert_outcomes(passed=42)
    assert list(lines(suite))[2:] == ["s.blue", *(f"s.{name}" for name in names), "s.red"]


def test_an_extension_knows_its_case(tmp_path: Path) -> None:
    head = AcceptedSuite(profile="p", engine="e", suite="s")
    kind = extension(tmp_path, head, "s.one", 1e-5)
    assert (kind.case, kind.stored_text()) == ("s.one", None)


def test_no_folder_means_nothing_is_left_over(tmp_path: Path) -> None:
    assert unused_cases(tmp_path, set()) == {}


def test_a_prompt_rendered_otherwise_is_told_where_the_answer_moved(suite: pytest.Pytester) -> None:
    def asked(share: float, ids: str) -> dict[str, Any]:
        shown = {"version": 1, "text": "a", "ids": ids, "tokens": 3, "tiles": 0, "pixels": None}
        return data(share) | {"rendered": shown}

    write_cases(suite, red=asked(0.5, "1"), blue=asked(0.25, "1"))
    file(suite).unlink()
    run(suite, "--snapshot-update").assert_outcomes(passed=3)
    write_cases(suite, red=asked(0.6, "2"), blue=asked(0.25, "2"))
    result = run(suite)
    result.assert_outcomes(passed=2, failed=1)
    told = "the prompt was rendered differently than when this was accepted (token ids differ)"
    result.stdout.fnmatch_lines([f"*{told}*", "*letters.A: 0.5 -> 0.6*"])

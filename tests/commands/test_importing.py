"""`harness import`: the same questions as of the table, in files that one may edit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.tables import draw_mmbench, draw_mmmu
from harness.cases.suites import Case, load_suite
from harness.cli import main
from harness.engines.codec import request_to_json
from harness.recordings.fingerprint import digest
from harness.scoring.subjects import images_of
from tests.cases.sources.tables import base64_of, picture, rows_like, write_table


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(case: Case) -> tuple[Any, ...]:
    """What a recording's key holds of a case, and what an answer is judged by."""
    from types import SimpleNamespace

    from harness.scoring.subjects import request_for

    request: Any = request_to_json(request_for(case, SimpleNamespace(system=None)))  # type: ignore[arg-type]
    del request["images"]
    return digest({"request": request, "images": list(images_of(case))}), case.expect, case.tags


@pytest.mark.parametrize("draw", [draw_mmbench, draw_mmmu])
def test_an_imported_suite_asks_what_the_table_asks(
    folder: Path, capsys: pytest.CaptureFixture[str], draw: Any
) -> None:
    draw(folder / "t.tsv", 30)
    (folder / "cases").mkdir()
    (folder / "cases" / "t.yaml").write_text("source: {file: ../t.tsv, first: 9}\n")
    direct = load_suite(folder / "cases" / "t.yaml")
    assert main(["import", "cases/t.yaml", "--into=other"]) == 0
    assert sorted(path.name for path in (folder / "other").iterdir()) == ["images", "t.yaml"]
    imported = load_suite(folder / "other" / "t.yaml")
    assert [*map(asked, imported.cases)] == [*map(asked, direct.cases)]
    assert (
        "    Please select the correct answer from the options above. \n"
        in (folder / "other" / "t.yaml").read_text()
    ), "lines stand as lines"
    assert len(direct.cases) == 9
    pictures = {image for case in imported.cases for image in case.images}
    assert {path.parent for path in pictures} == {folder / "other" / "images" / "t"}
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "wrote other/t.yaml: 9 cases",
        f"wrote other/images/t: {len(pictures)} pictures",
        "Next: harness check other",
    ]


REFUSED = {
    "a suite there": (
        ["import", "t.csv"],
        "found cases/t.yaml, and nothing is overwritten; allowed: another --name",
    ),
    "pictures there": (["import", "t.csv", "--name=u"], "found cases/images/u, and nothing is overwritten"),
    "a name with a folder": (["import", "t.csv", "--name=a/b"], "found 'a/b'; allowed: letters, digits"),
    "the name of the profiles": (
        ["import", "t.csv", "--name=profiles"],
        "found 'profiles'; allowed: letters",
    ),
    "a file for a folder": (
        ["import", "t.csv", "--into=t.csv"],
        "--into: found t.csv (t.csv: Not a directory); allowed",
    ),
    "a folder below a file": (["import", "t.csv", "--into=t.csv/a"], "found t.csv/a (t.csv: Not a dir"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_is_overwritten(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    write_table(folder / "t.csv", rows_like([{}]))
    (folder / "cases" / "images" / "u").mkdir(parents=True)
    (folder / "cases" / "t.yaml").write_text("mine")
    arguments, told = REFUSED[name]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert (folder / "cases" / "t.yaml").read_text() == "mine"
    assert sorted(path.name for path in (folder / "cases").iterdir()) == ["images", "t.yaml"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"answer": "Z"}, "  t.csv: row 1 (index 0): answer: found 'Z'; allowed"),
        ({"question": "a\x0bb"}, "  t.csv: row 1 (index 0): prompt: found the control character U+000B; all"),
    ],
)
def test_problems_are_told_and_nothing_is_left(
    folder: Path, capsys: pytest.CaptureFixture[str], row: dict[str, Any], told: str
) -> None:
    write_table(folder / "t.csv", rows_like([{"image": base64_of(picture() + bytes(60)), **row}]))
    assert main(["import", "t.csv"]) == 1
    head, problem = capsys.readouterr().err.splitlines()
    assert head == "1 problem in the case files:"
    assert problem.startswith(told)
    assert not (folder / "cases").exists()


def test_what_a_suite_says_beside_its_table_is_kept(folder: Path) -> None:
    write_table(folder / "t.csv", rows_like([{}, {"answer": "B"}]))
    (folder / "cases").mkdir()
    suite = {
        "description": "mine",
        "budgets": {"noise": {"spread": 2}},
        "defaults": {"system": "Look!", "tags": ["x"]},
        "source": {"file": "../t.csv"},
        "cases": [{"id": "own", "prompt": "Which?", "letters": ["A", "B"], "expect": "A"}],
    }
    (folder / "cases" / "t.yaml").write_text(json.dumps(suite))
    assert main(["import", "cases/t.yaml", "--into=other"]) == 0
    before, after = (load_suite(folder / name / "t.yaml") for name in ("cases", "other"))
    assert [*map(asked, after.cases)] == [*map(asked, before.cases)]
    assert (after.description, after.budgets) == (before.description, before.budgets)


def test_all_rows_of_a_table(folder: Path) -> None:
    write_table(folder / "my table.csv", rows_like([{"image_path": "a.png"}] * 3))
    (folder / "a.png").write_bytes(picture())
    assert main(["import", "my table.csv"]) == 0
    cases = load_suite(folder / "cases" / "my-table.yaml").cases
    assert [case.id for case in cases] == ["0", "1", "2"]
    assert {case.images for case in cases} == {((folder / "cases/images/my-table/0.png").resolve(),)}
    assert cases[0].images[0].read_bytes() == picture()


def test_a_table_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "t.csv"]) == 1
    assert "TABLE.file: found" in capsys.readouterr().err
    assert not (folder / "cases").exists()

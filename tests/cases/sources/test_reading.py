"""Rows chosen, pictures decoded once, what is kept of a table and when it is made again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.tables import draw_mmbench, draw_mmmu
from harness.cases.folder import load
from harness.cases.images import look_at
from harness.cases.sources import reading
from harness.cases.sources.choosing import chosen
from harness.cases.sources.tables import rows_of
from harness.cases.suites import load_suite
from harness.errors import CaseFileError
from tests.cases.sources.tables import base64_of, picture, rows_like, suite_of, write_table

ROWS = {
    n: {"kind": "ab"[n % 2], "split": "dev" if n < 6 else "test", "hint": "h" * (n > 7)} for n in range(1, 11)
}
NAMES = {n: f"i{n}" for n in ROWS}


@pytest.mark.parametrize(
    ("source", "taken"),
    [
        ({}, [*ROWS]),
        ({"where": {"split": "dev"}}, [1, 2, 3, 4, 5]),
        ({"where": {"split": "dev", "kind": ["a", "c"]}}, [2, 4]),
        ({"where": {"hint": True}}, [8, 9, 10]),
        ({"where": {"hint": False}, "first": 2}, [1, 2]),
        ({"where": {"split": "none"}}, []),
    ],
)
def test_filters(source: dict[str, Any], taken: list[int]) -> None:
    assert chosen(ROWS, source, NAMES) == taken


def test_a_sample_is_drawn_by_seed_from_each_kind() -> None:
    drawn = {
        seed: tuple(chosen(ROWS, {"sample": 2, "per": "kind", "seed": seed}, NAMES)) for seed in range(20)
    }
    assert all([ROWS[n]["kind"] for n in rows].count("a") == 2 == len(rows) - 2 for rows in drawn.values())
    assert len(set(drawn.values())) > 10
    assert drawn[0] == tuple(chosen(ROWS, {"sample": 2, "per": "kind"}, NAMES)), "0 if left out"
    assert drawn[0] == (2, 3, 4, 5), "the same on every machine"
    assert chosen(ROWS, {"sample": 99}, NAMES) == [*ROWS]


def test_half_a_surrogate_pair_is_kept_and_read_again(tmp_path: Path) -> None:
    row = {"index": 1, "question": "half \ud83d", "A": "x", "B": "y", "answer": "A"}
    (tmp_path / "t.jsonl").write_text(json.dumps(row))
    (tmp_path / "s.yaml").write_text("source: {file: t.jsonl}\n")
    first, again = (load_suite(tmp_path / "s.yaml").cases[0] for _ in range(2))
    assert "\ud83d" in first.prompt
    assert again.prompt == first.prompt


def test_a_longer_table_changes_a_sample_little() -> None:
    longer = {**ROWS, 11: {"kind": "a"}, 12: {"kind": "b"}}
    source = {"sample": 4}
    before, after = chosen(ROWS, source, NAMES), chosen(longer, source, {**NAMES, 11: "i11", 12: "i12"})
    assert len({*after} - {*before} - {11, 12}) == 0


def counted_readings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A list that gets a table's path whenever one is read."""
    made: list[Path] = []

    def counted(file: Path) -> Any:
        made.append(file)
        return rows_of(file)

    monkeypatch.setattr("harness.cases.sources.reading.rows_of", counted)
    return made


def files_in(folder: Path) -> set[Path]:
    return {path for path in (folder / ".pictures").glob("??/*") if path.is_file()}


def test_pictures_by_index_by_path_and_by_content(tmp_path: Path) -> None:
    """A picture in three ways: of itself, of the row whose index stands there, and as a file."""
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.png").write_bytes(picture())
    row = {"image": base64_of(picture() + bytes(60))}
    rows = rows_like(
        [row, {"image": "0"}, {"image": f"data:image/png;base64,{row['image']}"}, {"image": "a.png"}]
    )
    rows[3]["index"] = "True"  # by which it is noted that a picture is there
    cases = suite_of(write_table(tmp_path / "t.csv", rows), images="p").cases
    first, second, third, fourth = (case.images for case in cases)
    assert first == second == third
    assert files_in(tmp_path) == {*first}
    assert fourth == ((tmp_path / "p" / "a.png").resolve(),)


def test_nothing_is_decoded_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Path] = []

    def counted(path: Path) -> Any:
        looked.append(path)
        return look_at(path)

    monkeypatch.setattr("harness.cases.images.look_at", counted)
    rows = rows_like([{"image": base64_of(picture((n, 0, 0)) + bytes(60))} for n in range(3)])
    table = write_table(tmp_path / "t.csv", rows)
    cases = suite_of(table).cases
    assert len(looked) == 3
    suite_of(table, where={"index": ["0", "1"]})
    assert len(looked) == 3, "another choice of rows"
    monkeypatch.setattr("harness.cases.sources.reading.rows_of", None)
    assert suite_of(table, where={"index": ["0", "1"]}).cases == cases[:2], "the table is not read again"


@pytest.mark.parametrize(
    "change", ["table", "suite", "defaults", "picture gone", "picture cut", "note damaged", "code"]
)
def test_what_is_kept_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    rows = rows_like([{"image": base64_of(picture() + bytes(60)), "A": "", "B": ""}])
    table = write_table(tmp_path / "t.csv", rows)
    defaults = {"letters": ["A", "B"]}
    (before,) = suite_of(table, defaults=defaults).cases
    source: dict[str, Any] = {"defaults": defaults}
    if change == "table":
        stamp = table.stat()
        table.write_bytes(table.read_bytes().replace(b"Which", b"Where"))
        os.utime(table, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as `cp -p` does
    elif change == "suite":
        source["prompt"] = "{question}"
    elif change == "defaults":
        source["defaults"] = {"letters": ["A", "C"]}
    elif change == "picture gone":
        before.images[0].unlink()
    elif change == "picture cut":
        before.images[0].write_bytes(before.images[0].read_bytes()[:50])
    elif change == "note damaged":
        (tmp_path / ".pictures" / "t.json").write_text("{")
    else:
        monkeypatch.setattr(reading, "__file__", str(tmp_path / "other" / "reading.py"))
    made = counted_readings(monkeypatch)
    (after,) = suite_of(table, **source).cases
    assert made
    assert after.images[0].read_bytes() == picture() + bytes(60)
    assert (after == before) is (change not in ("table", "suite", "defaults"))


def test_git_leaves_the_pictures_out(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    rows = rows_like([{"image": base64_of(picture() + bytes(60))}])
    suite_of(write_table(tmp_path / "t.csv", rows))
    command = ["git", "-C", str(tmp_path), "status", "--porcelain", "-uall"]
    seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert files_in(tmp_path)
    assert sorted(seen.split()) == ["??", "??", "t.csv", "t.yaml"]


def test_a_folder_that_nobody_may_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write_table(tmp_path / "t.csv", rows_like([{"image": base64_of(picture() + bytes(60))}]))
    (tmp_path / ".pictures").write_text("")  # a folder's bits bind no root
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (case,) = suite_of(table).cases
    assert case.images[0].is_relative_to(tmp_path / "home")


def test_several_at_once_decode_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = counted_readings(monkeypatch)
    draw_mmbench(tmp_path / "t.tsv", 40)
    (tmp_path / "t.yaml").write_text("source: {file: t.tsv}\n")
    found: list[int] = []
    each = [
        threading.Thread(target=lambda: found.append(len(load_suite(tmp_path / "t.yaml").cases)))
        for _ in range(4)
    ]
    for one in each:
        one.start()
    for one in each:
        one.join()
    assert found == [40] * 4
    assert len(made) == 2, "once for texts and once for pictures"


def test_remarks_are_told_once_for_all_rows(tmp_path: Path) -> None:
    turned = tmp_path / "turned.jpg"
    image = Image.new("RGB", (8, 6), "red")
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(turned, exif=exif)
    row = {"image": base64_of(turned.read_bytes()), "question": "<image> Which?"}
    table = write_table(tmp_path / "t.csv", rows_like([row, row, {"image": ""}]))
    for again in range(3):  # as found, as kept of the suite, as kept with the picture
        told = [f"{r.field}: {r.found}; {r.allowed}" for r in suite_of(table).remarks]
        assert len(told) == 3
        assert any("EXIF" in each and "(row 1 and 1 more rows)" in each for each in told)
        assert any("where: rows without a picture (row 3); `where: {image: true}`" in each for each in told)
        assert any("<image>, by which" in each for each in told)
        if again:
            (tmp_path / ".pictures" / "t.json").unlink()


@pytest.mark.parametrize(("prompt", "told"), [("Which?", True), ("{question", True), ("{question}", False)])
def test_a_prompt_that_names_no_column(tmp_path: Path, prompt: str, told: bool) -> None:
    suite = suite_of(write_table(tmp_path / "t.csv", rows_like([{}])), prompt=prompt)
    assert [r.found for r in suite.remarks] == ["a text without a column's name, asked of every row"] * told


def test_a_table_in_the_layout_of_mmbench(tmp_path: Path) -> None:
    draw_mmbench(tmp_path / "t.tsv", 21)
    cases = suite_of(tmp_path / "t.tsv").cases
    assert len(cases) == 21
    copies = {case.id: case for case in cases if int(case.id) >= 1_000_000}
    assert len(copies) == 10
    for case in cases:
        if copy := copies.get(str(int(case.id) + 1_000_000)):
            assert copy.images == case.images
            assert copy.prompt != case.prompt
    assert {tag for case in cases for tag in case.tags} >= {"colour-perception", "fine-grained"}


def test_a_table_with_several_pictures_a_row(tmp_path: Path) -> None:
    draw_mmmu(tmp_path / "t.tsv", 12)
    cases = suite_of(tmp_path / "t.tsv").cases
    assert {len(case.images) for case in cases} == {2, 3, 4}
    for case in cases:
        places = [f"{{image:{n}}}" for n in range(1, len(case.images) + 1)]
        assert case.prompt.startswith(f"Question: {' '.join(places)} What colour")


def test_an_error_of_a_table_is_one_of_its_folder(tmp_path: Path) -> None:
    """Beside problems of other files, each at its place."""
    write_table(tmp_path / "t.csv", rows_like([{"answer": "Z"}]))
    (tmp_path / "a.yaml").write_text(json.dumps({"source": {"file": "t.csv"}}))
    (tmp_path / "b.yaml").write_text("cases: []\n")
    with pytest.raises(CaseFileError) as caught:
        load(tmp_path)
    assert [problem.field for problem in caught.value.problems][:3].count("answer") == 1
    assert any(problem.field == "cases" for problem in caught.value.problems)


def test_no_library_of_tables_is_imported_without_one() -> None:
    code = "import harness.cases.suites, sys; print([n for n in ('pyarrow', 'csv') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pyarrow" not in done.stdout

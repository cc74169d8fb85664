"""One table in four formats is one suite, and what is no table is told with its row."""

from __future__ import annotations

import csv
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cases.sources import tables
from harness.cases.sources.tables import Unreadable, rows_of
from harness.cases.suites import Case
from harness.errors import CaseFileError
from harness.scoring.subjects import images_of
from tests.cases.sources.tables import FORMATS, base64_of, picture, rows_like, suite_of, write_table
from tests.cases.writing import problems_of

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
CELL = st.one_of(TEXT, st.just('say "so"\tand\nso, too'), st.just(" 12 ")).filter(
    lambda text: text.strip() not in ("", "nan", "NaN")
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "question": CELL,
            "hint": CELL | st.none(),
            "A": CELL,
            "B": CELL,
            "C": CELL | st.none(),
            "answer": st.sampled_from("AB"),
            "category": CELL | st.none(),
            "image": st.sampled_from([base64_of(picture(c)) for c in ("red", "blue")]) | st.none(),
        }
    ),
    min_size=1,
    max_size=6,
)


def bare(case: Case) -> tuple[Any, ...]:
    """What is asked and expected, pictures by content."""
    return (case.id, case.prompt, case.letters, case.expect, case.tags, images_of(case))


@given(ROWS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_table_in_each_format_gives_the_same_cases(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    suites = [suite_of(write_table(tmp_path / f"t.{kind}", rows_like(rows))) for kind in FORMATS]
    read = [[bare(case) for case in suite.cases] for suite in suites]
    assert len(read[0]) == len(rows)
    assert read.count(read[0]) == len(FORMATS)


@pytest.mark.parametrize("kind", FORMATS)
def test_numbers_lists_and_bytes(tmp_path: Path, kind: str) -> None:
    """What Parquet and JSON have as such, and text spells."""
    text = kind in ("tsv", "csv")
    row: dict[str, Any] = {"index": 7, "question": 5, "options": ["1", "2.5"], "answer": "B"}
    row["image"] = base64_of(picture()) if kind != "parquet" else {"bytes": picture(), "path": None}
    row |= {"options": str(row["options"])} if text else {}
    (case,) = suite_of(write_table(tmp_path / f"t.{kind}", [row])).cases
    assert (case.id, case.letters, case.expect) == ("7", ("A", "B"), "B")
    assert "Question: 5\nOptions:\nA. 1\nB. 2.5\n" in case.prompt
    assert case.images[0].read_bytes() == picture()


def test_fields_of_any_length(tmp_path: Path) -> None:
    """Longer than the usual limit of csv."""
    before = 131072
    csv.field_size_limit(before)
    rows = rows_like([{"question": "?" * (before + 1)}, {}])
    assert len(suite_of(write_table(tmp_path / "t.tsv", rows)).cases[0].prompt) > before


@pytest.mark.parametrize("kind", ["tsv", "jsonl", "parquet"])
def test_pictures_are_never_all_in_memory(tmp_path: Path, kind: str) -> None:
    """Of 48 MB a reading holds less than half at any time, the copies that decoding makes counted."""
    many, large = 96, 500_000
    rows = rows_like([{"image": f"{number}".zfill(large)} for number in range(many)])
    file = write_table(tmp_path / f"t.{kind}", rows)
    del rows
    pyarrow.default_memory_pool().release_unused()
    before = pyarrow.total_allocated_bytes()
    most = 0
    tracemalloc.start()
    for _ in rows_of(file):
        most = max(most, pyarrow.total_allocated_bytes() - before)
    most += tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < many * large / 2


BROKEN: dict[str, tuple[str, str | bytes, str, str]] = {
    "too many cells": ("t.tsv", "index\tquestion\tanswer\n1\tq\tA\n2\tq\tA\tB\n", "t.tsv: row 2", "4 cells"),
    "open quote": ("t.csv", 'index,question,answer\n1,"q,A\n2,q,A\n', "t.csv: row 1", "2 cells"),
    "column twice": ("t.csv", "index,index\n1,2\n", "t.csv", "'index' twice"),
    "no rows": ("t.csv", "index,question,answer\n", "s.yaml", "a table without rows"),
    "nothing": ("t.csv", "", "s.yaml", "a table without rows"),
    "no UTF-8": ("t.csv", b"index,question\n1,\xff\n", "t.csv", "not UTF-8 (invalid start byte) in line 2"),
    "no JSON": ("t.jsonl", '{"index": 1, "question": "q", "answer": "A"}\n{\n', "t.jsonl: row 2", "no JSON"),
    "a list": ("t.jsonl", "[1]\n", "t.jsonl: row 1", "no object"),
    "nested": ("t.jsonl", '{"index": ' + "[" * 100_000, "t.jsonl: row 1", "no JSON (maximum recursion"),
    "no Parquet": ("t.parquet", "PAR1", "t.parquet", "no whole Parquet file"),
    "another format": ("t.xlsx", "PK", "t.xlsx", ".jsonl"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_table_is_told_with_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file, content, place, found = BROKEN[name]
    monkeypatch.chdir(tmp_path)
    Path(file).write_bytes(content if isinstance(content, bytes) else content.encode())
    Path("s.yaml").write_text(f"source: {{file: {file}}}\n")
    (problem,) = problems_of(Path("s.yaml"))
    assert problem.place.startswith(place)
    assert found in str(problem)


def test_parquet_of_bytes_that_are_no_text(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    spoilt = pyarrow.StringArray.from_buffers(
        1, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0"), pyarrow.py_buffer(b"\xff")
    )
    parquet.write_table(pyarrow.table({"index": spoilt}), tmp_path / "t.parquet")
    with pytest.raises(Unreadable, match=r"no whole Parquet file \('utf-8' codec"):
        [*rows_of(tmp_path / "t.parquet")]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_no_more_rows_than_are_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    file = write_table(tmp_path / f"t.{kind}", rows_like([{}, {}, {}]))
    monkeypatch.setattr(tables, "_MOST_ROWS", 2)
    with pytest.raises(Unreadable, match="more than 2 rows"):
        [*rows_of(file)]


def test_parquet_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_table(tmp_path / "t.parquet", rows_like([{}]))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CaseFileError, match=r"vlm-consistency-harness\[parquet\]"):
        suite_of(file)

"""A row is laid out as VLMEvalKit does, and what a row lacks is told with its name."""

from __future__ import annotations

import math
import string
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cases.sources.layout import TEMPLATE, entry_of, list_in, placed
from harness.cases.suites import load_suite
from harness.errors import CaseFileError
from tests.cases.sources.tables import base64_of, picture, rows_like, suite_of, write_table

CELL = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1).map(lambda t: f"t{t}")


def as_vlmevalkit_has_it(row: dict[str, Any]) -> str:
    """What ImageMCQDataset.build_prompt gives as the message's text, in words of our own."""
    missing = (None, "")
    prompt = f"Hint: {row['hint']}\n" if row.get("hint") not in missing else ""
    prompt += f"Question: {row['question']}\n"
    options = [(letter, row[letter]) for letter in string.ascii_uppercase if row.get(letter) not in missing]
    if options:
        prompt += "Options:\n" + "".join(f"{letter}. {text}\n" for letter, text in options)
        prompt += "Please select the correct answer from the options above. \n"
    return prompt


@given(
    st.fixed_dictionaries({"question": CELL, "hint": CELL | st.none()}),
    st.dictionaries(st.sampled_from(string.ascii_uppercase), CELL | st.none()),
)
def test_the_prompt_is_that_of_vlmevalkit(row: dict[str, Any], options: dict[str, Any]) -> None:
    row = {**row, **options}
    entry = entry_of(row, 1, {}, (), lambda *_: None)
    assert entry["prompt"] == as_vlmevalkit_has_it(row)


def test_a_prompt_of_ones_own(tmp_path: Path) -> None:
    shown = {"image": base64_of(picture() + bytes(60))}
    rows = rows_like([{**shown, "topic": "maps"}, {**shown, "topic": "", "hint": "{question}", "A": "x\\1"}])
    prompt = "In {topic}:\n{hint}\n{question} {image:1} {}\n{options}\nLetter?"
    first, second = suite_of(write_table(tmp_path / "t.csv", rows), prompt=prompt).cases
    assert first.prompt == "In maps:\nWhich? {image:1} {}\nA. red\nB. blue\nLetter?"
    assert second.prompt == "{question}\nWhich? {image:1} {}\nA. x\\1\nB. blue\nLetter?"


def test_names_of_ones_own(tmp_path: Path) -> None:
    row = {"nr": "x-1", "text": "Which?", "choices": '["red", "blue"]', "label": "B", "kind": "a b"}
    columns = {"index": "nr", "question": "text", "options": "choices", "answer": "label"}
    (case,) = suite_of(write_table(tmp_path / "t.csv", [row]), columns=columns, tags=["kind"]).cases
    assert (case.id, case.letters, case.expect, case.tags) == ("x-1", ("A", "B"), "B", ("a-b",))
    assert case.prompt == TEMPLATE.partition("\n")[2].format(question="Which?", options="A. red\nB. blue")


def test_what_rows_share_and_add(tmp_path: Path) -> None:
    """Defaults hold for rows too; categories become tags; letters of the defaults where a row has none."""
    rows = rows_like([{"category": "fine grained", "l2-category": "x"}, {"A": "", "B": "", "question": "Z?"}])
    defaults = {"letters": ["A", "Z"], "system": "s", "answer_prefix": "Answer: ", "tags": ["mine"]}
    first, second = suite_of(write_table(tmp_path / "t.tsv", rows), defaults=defaults).cases
    assert (first.letters, first.tags) == (("A", "B"), ("mine", "fine-grained", "x"))
    assert (second.letters, second.tags, second.system) == (("A", "Z"), ("mine",), "s")
    assert second.prompt == "Question: Z?\n"


def test_a_table_beside_cases(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", rows_like([{"index": "one"}, {"index": "two"}]))
    own = "cases:\n  - {id: ONE, prompt: x, letters: [A, B], expect: A}\n"
    (tmp_path / "s.yaml").write_text(own + "source: {file: t.csv, where: {index: two}}\n")
    assert [case.name for case in load_suite(tmp_path / "s.yaml").cases] == ["s.ONE", "s.two"]
    (tmp_path / "s.yaml").write_text(own + "source: {file: t.csv}\n")
    with pytest.raises(CaseFileError, match=r"row 1 \(index one\): index: found 'one' a second .*s\.yaml:2"):
        load_suite(tmp_path / "s.yaml")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "answer not on offer": (
        {"answer": "C"},
        "found 'C'; allowed: the letter of one of its options: A, B",
    ),
    "answer in words": ({"answer": "red"}, "answer: found 'red'; allowed: the letter"),
    "no answer": ({"answer": ""}, "answer: found nothing; allowed: a letter (`where: {answer: true}`"),
    "no options": ({"A": "", "B": "nan"}, "options: found none; allowed: two or more in columns A, B, C"),
    "one option": ({"B": math.nan}, "options: found 1 of them; allowed: two or more"),
    "no question": ({"question": " "}, "question: found nothing; allowed: a question"),
    "index": ({"index": "a b"}, "index: found 'a b'; allowed: letters, digits, _, . and -"),
    "long index": ({"index": "a" * 101}, "at most 100"),
    "index twice": ({"index": "0"}, "index: found '0' a second time; allowed: each once"),
    "broken base64": ({"image": "A" * 101}, "image: found base64 that is broken"),
    "no picture": ({"image": base64_of(b"\0" * 99)}, "image: found picture data, which is not an image"),
    "a GIF": (
        {"image": base64_of(picture(kind="GIF") + bytes(60))},
        "picture data, an image as GIF",
    ),
    "half a picture": (
        {"image": base64_of(picture(kind="BMP")[:90])},
        "picture data, which is truncated",
    ),
    "no file": ({"image_path": "gone.png"}, "image: found 'gone.png' (No such file or directory)"),
    "no index": ({"image": "999"}, "found '999' (No such file or directory); allowed: a file that exists; "),
    "no index either": ({"image": "999"}, "or base64, or the index of another row that has its picture"),
    "no name at all": ({"image_path": "a\0.png"}, "image: found 'a\\x00.png' (embedded null byte)"),
    "outside": ({"image_path": "../x.png"}, "which is outside"),
    "a place of no picture": ({"question": "{image:1}?"}, "prompt: found {image:1}; allowed: each of its 0"),
    "picture 2 of 1": (
        {"question": "<image 2>?", "image": base64_of(picture())},
        "found <image 2>",
    ),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("kind", ["tsv", "jsonl"])
def test_one_message_names_the_row(tmp_path: Path, name: str, kind: str) -> None:
    row, told = WRONG[name]
    table = write_table(tmp_path / f"t.{kind}", rows_like([{}, row]))
    with pytest.raises(CaseFileError) as caught:
        suite_of(table)
    (problem,) = caught.value.problems
    assert f"t.{kind}: row 2 (index {row.get('index', '1')})" in str(problem)
    assert told in str(problem)
    assert not [*tmp_path.glob(".pictures/??/.new-*")]


def test_a_tag_is_a_word(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.jsonl", rows_like([{"category": "a\x1b]0;b\x07 \x9bc"}]))
    assert suite_of(table).cases[0].tags == ("a-]0;b-c",)


@pytest.mark.parametrize(
    ("cell", "items"),
    [
        ("['a', \"b\"]", ["a", "b"]),
        (r"['\frac', 2]", [rb"\x0crac".decode("unicode_escape"), 2]),
        (r"['\d', 2]", [r"\d", 2]),  # of which Python warns
        ("[" + "-" * 50_000 + "1]", None),
        (f"['{'A' * 200_000}', \"b\" , ]", ["A" * 200_000, "b"]),
        ("[" + "'a' " * 50_000 + "]", None),
        ("[" + "1," * 100_000 + "]", None),
    ],
    ids=["texts", "formula", "warning", "deep", "long", "no commas", "long numbers"],
)
def test_a_list_as_a_text_spells_it(cell: str, items: list[Any] | None) -> None:
    with warnings.catch_warnings(action="error"):
        assert list_in(cell) == ([cell] if items is None else items)


def test_as_many_rows_as_anybody_reads(tmp_path: Path) -> None:
    with pytest.raises(CaseFileError) as caught:
        suite_of(write_table(tmp_path / "t.csv", rows_like([{"answer": "Z"}] * 50)))
    assert len(caught.value.problems) == 21
    assert "30 more rows with problems" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"where": {"splt": "dev"}}, "s.yaml:1:"),
        (
            {"where": {"splt": "dev"}},
            "where.splt: found the column 'splt'; allowed: split (the nearest)",
        ),
        (
            {"columns": {"questoin": "index"}},
            "source.columns.questoin: found 'questoin'; allowed: question",
        ),
        ({"columns": {"question": "q"}}, "source.columns.question: found the column 'q'"),
        ({"tags": ["kind"]}, "source.tags.0: found the column 'kind'"),
        ({"sample": 1, "per": "kind"}, "source.per: found the column 'kind'"),
        (
            {"prompt": "{questoin}"},
            "source.prompt: found the column 'questoin'; allowed: question (the",
        ),
        (
            {"where": {"split": None}},
            "where.split: found nothing; allowed: a value, a list of values, true",
        ),
        ({"seed": 1}, "source.seed: found the number 1; allowed: a seed beside `sample`"),
        (
            {"where": {"split": "no"}},
            "source: found no row of 1 that `where` keeps; allowed: one row or more; split has ",
        ),
        (
            {"prompt": "{question} {image}"},
            "source.prompt: found {image}, a column of pictures; allowed: {im",
        ),
        ({"first": 0}, "source.first: found the number 0; allowed: 1 or more"),
        (
            {"file": "u.csv"},
            "file: found 'u.csv'; allowed: a table, its path relative to this file; looked",
        ),
        ({"file": "u.csv"}, "in that folder: s.csv (the nearest)"),
    ],
)
def test_what_a_suite_may_not_say_of_a_table(tmp_path: Path, source: dict[str, Any], told: str) -> None:
    table = write_table(tmp_path / "s.csv", rows_like([{"split": "dev", "image": "", "x" * 999: ""}]))
    with pytest.raises(CaseFileError) as caught:
        suite_of(table, **source)
    (problem,) = caught.value.problems
    assert told in str(problem)
    assert "x" * 99 not in str(problem), "a cell of a table without a heading"


def test_a_path_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cases").mkdir()
    write_table(tmp_path / "t.csv", rows_like([{}]))
    (tmp_path / "cases" / "s.yaml").write_text("source: {file: t.csv}\n")
    with pytest.raises(CaseFileError, match=r"looked for cases/t\.csv; it is there .*: write \.\./t\.csv"):
        load_suite(tmp_path / "cases" / "s.yaml")


@pytest.mark.parametrize("lacking", ["question", "answer"])
def test_a_table_without_a_column(tmp_path: Path, lacking: str) -> None:
    (row,) = rows_like([{}])
    del row[lacking]
    with pytest.raises(CaseFileError, match=f"found a table without {lacking}; allowed: a column {lacking}"):
        suite_of(write_table(tmp_path / "t.csv", [row]))


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("Which?", ("Which?", ["a", "b", "c"])),
        ("<image 2> or <image 1>?", ("{image:1} or {image:2}?", ["b", "a"])),
        ("<image 1>, <image 1>", ("{image:1}, {image:2}", ["a", "a"])),
    ],
)
def test_places_of_pictures(prompt: str, shown: tuple[str, list[str]]) -> None:
    """As split_MMMU has it: none named, all first; else those that are named, as often as they are."""
    assert placed(prompt, ["a", "b", "c"], lambda *_: None) == shown

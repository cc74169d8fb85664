"""YAML to located data: every scalar rule, every refusal with its exact place, and no input that crashes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.cases import yaml_source
from harness.cases.problems import ProblemList
from harness.cases.yaml_document import REFUSED, Document
from harness.cases.yaml_source import MAX_BYTES, MAX_DEPTH, parse_document, read_document
from harness.errors import Problem

FILE = Path("/suites/vqa.yaml")
LOADERS = (yaml.CSafeLoader, yaml.SafeLoader)


@pytest.fixture(params=LOADERS, ids=["c", "python"])
def _each_loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_source, "_LOADER", request.param)


def parse(raw: bytes | str) -> tuple[Document, tuple[Problem, ...]]:
    problems = ProblemList()
    document = parse_document(raw.encode() if isinstance(raw, str) else raw, FILE, problems)
    return document, problems.in_file_order()


def places(text: str) -> Iterator[tuple[str, str]]:
    """Split a text with § marks into the text without them and the place of each."""
    plain = ""
    for part in text.split("§")[:-1]:
        plain += part
        lines = plain.split("\n")
        yield f"{FILE}:{len(lines)}:{len(lines[-1]) + 1}", text.replace("§", "")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *[
            (word, word)
            for word in ("N", "Y", "n", "y", "no", "No", "YES", "on", "Off", "2024-01-01", "1_000", "=")
        ],
        *[(word, True) for word in ("true", "True", "TRUE")],
        *[(word, False) for word in ("false", "False", "FALSE")],
        *[(word, None) for word in ("null", "Null", "NULL", "~", "")],
        *[("12", 12), ("-3", -3), ("+7", 7), ("010", 10), ("0o17", 15), ("0x1F", 31), ("0b1", "0b1")],
        *[("1e-5", 1e-5), (".5", 0.5), ("5.", 5.0), ("1.0e+2", 100.0), ("-", [None]), ("+", "+"), (".", ".")],
        *[
            ("'12'", "12"),
            ('"true"', "true"),
            ('"\\t\\n\\u00e9"', "\t\né"),
            ("|\n  a\n  b", "a\nb"),
            ("'.nan'", ".nan"),
        ],
        ("[N, 1, ~]", ["N", 1, None]),
    ],
)
@pytest.mark.usefixtures("_each_loader")
def test_scalars_follow_yaml_1_2(written: str, value: object) -> None:
    document, problems = parse(f"key: {written}" if written != "-" else "key:\n-")
    assert problems == ()
    assert document.complete
    assert document.data == {"key": value}
    assert type(document.data["key"]) is type(value) or isinstance(value, list)


REFUSALS = {
    "duplicate key": ("a: 1\nb: 2\n§a: 3\n", "a", "the key 'a' a second time", ":1:1"),
    "duplicate key within": ("x:\n  - {p: 1, §p: 2}\n", "x.0.p", "the key 'p' a second time", "vqa.yaml:2:6"),
    "tag of Python": (
        "a: §!!python/object/apply:os.system [ls]\n",
        "a",
        "python/object/apply:os.system",
        "no tags",
    ),
    "own tag": ("a: §!thing x\n", "a", "the tag '!thing'", "no tags"),
    "tag of text": ("a: §!!str 5\n", "a", "the tag 'tag:yaml.org,2002:str'", "quote"),
    "non-specific tag": ("a: §! x\n", "a", "the tag '!'", "no tags"),
    "tag on a mapping": ("a: §!!map {b: 1}\n", "a", "the tag", "no tags"),
    "tag on a key": ("§!!str a: 1\n", "", "the tag", "no tags"),
    "anchor": ("a: §&x 5\n", "a", "the anchor '&x'", "`defaults:`"),
    "anchor on a list": ("a: §&x [1]\n", "a", "the anchor '&x'", "`defaults:`"),
    "alias": ("a: [1]\nb:\n  - §*x\n", "b.0", "the alias '*x'", "`defaults:`"),
    "merge key": ("a:\n  §<<: {b: 1}\n", "a", "the merge key", "`defaults:`"),
    "second document": ("a: 1\n§---\nb: 2\n", "", "a second document", "one document"),
    "number as a key": ("§1: x\n", "", "the number 1 as a key", "quotes"),
    "boolean as a key": ("§true: x\n", "", "true, a boolean as a key", "quotes"),
    "nothing as a key": ("a: {§~: x}\n", "a", "nothing as a key", "text"),
    "list as a key": ("? §[a, b]\n: x\n", "", "a list as a key", "text"),
    "mapping as a key": ("§{a: b}: x\n", "", "a mapping as a key", "text"),
    "NaN": ("a: §.nan\n", "a", "the number '.nan'", "finite"),
    "infinity": ("a: §-.inf\n", "a", "the number '-.inf'", "finite"),
    "overflow": ("a: §1e999\n", "a", "the number '1e999'", "finite"),
    "long number": ("a: §" + "9" * 5000 + "\n", "a", "a number of 5000 digits", "at most 18"),
    "control character": ("a: x§\x07y\n", "", "U+0007", "printable"),
    "delete": ("a: é§\x7f\n", "", "U+007F", "printable"),
    "line separator": ("a: 'é§\u2028'\n", "", "U+2028", "printable"),
    "byte order mark within": ("a: §\ufeffx\n", "", "U+FEFF", "printable"),
    "escaped control character": (
        'a: §"x\\0y"\n',
        "a",
        "an escape for the control character U+0000",
        "printable",
    ),
    "not YAML": ("a: 1\nb: x§: y\n", "", "mapping values are not allowed", "indentation"),
    "deep flow": (
        "a: " + "[" * (MAX_DEPTH - 1) + "§[" + "[" * 900,
        "a" + ".0" * (MAX_DEPTH - 1),
        "nesting",
        "32",
    ),
    "deep block": (
        "- " * MAX_DEPTH + "§- " * 1 + "- " * 20_000,
        "0" + ".0" * (MAX_DEPTH - 1),
        "nesting",
        "32",
    ),
}


@pytest.mark.parametrize(("text", "field", "found", "allowed"), REFUSALS.values(), ids=REFUSALS.keys())
@pytest.mark.usefixtures("_each_loader")
def test_refusal_at_its_place(text: str, field: str, found: str, allowed: str) -> None:
    ((place, plain),) = places(text)
    _, problems = parse(plain)
    matching = [p for p in problems if found in p.found]
    assert [p.place for p in matching] == [place]
    assert matching[0].field == field
    assert allowed in matching[0].allowed


@pytest.mark.usefixtures("_each_loader")
def test_nesting_that_the_parser_itself_refuses_is_one_problem() -> None:
    """libyaml from 0.2.6 on stops at 1,000 levels, before it tells of the first."""
    _, problems = parse("a: " + "[" * 100_000)
    (problem,) = problems
    assert "nesting" in problem.found
    assert problem.place.startswith("/suites/vqa.yaml:1:")


@pytest.mark.usefixtures("_each_loader")
def test_problems_are_all_reported_at_once() -> None:
    text = "§&x a: §!t 1\nb: §.nan\nb: 2\nc: [§*x, {§1: 2}]\n"
    expected = {place for place, _ in places(text)} | {f"{FILE}:3:1"}
    document, problems = parse(text.replace("§", ""))
    assert {p.place for p in problems} == expected
    assert list(problems) == sorted(problems, key=lambda p: [int(n) for n in p.place.split(":")[1:]])
    assert document.complete


def test_problems_before_a_syntax_error_are_reported_with_it() -> None:
    document, problems = parse("a: 1\na: 2\nb: [\n")
    assert problems[0].place == f"{FILE}:2:1"
    assert "not YAML" in problems[-1].found
    assert not document.complete


def test_refused_values_stand_in_for_themselves() -> None:
    document, _ = parse("a: !t 1\nb: [*x, 2]\n? [c]\n: 3\n")
    assert document.data == {"a": REFUSED, "b": [REFUSED, 2]}


def test_first_of_two_equal_keys_is_kept_whatever_the_second_holds() -> None:
    document, problems = parse("a: 1\na: {b: [1, {c: 2}], b: 3}\nd: 4\n")
    assert document.data == {"a": 1, "d": 4}
    assert [p.place for p in problems] == [f"{FILE}:2:1", f"{FILE}:2:21"]


def test_bytes_that_are_not_utf_8() -> None:
    document, problems = parse(b"a: 1\nb: caf\xe9 x\na: 2\n")
    assert [p.place for p in problems] == [f"{FILE}:2:7", f"{FILE}:3:1"]
    assert "0xe9" in problems[0].found
    assert document.complete
    told = parse("a: 1".encode("utf-16"))[1]  # each NUL of which would be a problem, too
    assert [problem.found for problem in told] == ["the byte 0xff, which is not UTF-8 (invalid start byte)"]


def test_a_file_of_control_characters_gives_few_problems() -> None:
    _, problems = parse(bytes(range(32)) * 1000)
    assert 1 < len(problems) < 20


def test_endless_problems_end() -> None:
    document, problems = parse("- *a\n" * 100_000)
    assert len(problems) == 1002
    assert problems[0].found == "more than 1000 problems"
    assert not document.complete


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_places_after_any_line_ending_and_a_byte_order_mark(ending: str) -> None:
    document, problems = parse("\ufeff" + ending.join(["a: é", "b:", "  - x", "  - y", "a: 2"]))
    assert str(document.place(("b", 1))) == f"{FILE}:4:5"
    assert [p.place for p in problems] == [f"{FILE}:5:1"]


def test_place_of_values_keys_and_what_is_missing() -> None:
    document, _ = parse("# comment\nx:\n  - id: a\n    tags: [p, 'q']\n")
    assert document.data == {"x": [{"id": "a", "tags": ["p", "q"]}]}
    assert str(document.place(())) == f"{FILE}:2:1"
    assert str(document.place(("x", 0))) == f"{FILE}:3:5"
    assert str(document.place(("x", 0, "id"))) == f"{FILE}:3:9"
    assert str(document.key_place(("x", 0, "tags"))) == f"{FILE}:4:5"
    assert str(document.place(("x", 0, "tags", 1))) == f"{FILE}:4:15"
    assert str(document.place(("x", 0, "prompt"))) == f"{FILE}:3:5"
    assert str(document.place(("x", 7))) == f"{FILE}:3:3"
    assert str(document.key_place(("y", "z"))) == f"{FILE}:2:1"


def test_place_is_shown_relative_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "vqa.yaml").write_text("a: 1\n")
    monkeypatch.chdir(tmp_path)
    document = read_document(Path("cases/vqa.yaml"), ProblemList())
    assert document.file == tmp_path / "cases" / "vqa.yaml"
    assert str(document.place(("a",))) == "cases/vqa.yaml:1:4"
    monkeypatch.chdir("/")
    assert str(document.place(("a",))) == f"{tmp_path}/cases/vqa.yaml:1:4".removeprefix("/")


def test_empty_text_is_nothing() -> None:
    document, problems = parse("# only a comment\n")
    assert (document.data, document.complete, problems) == (None, True, ())
    assert str(document.place(("cases",))) == f"{FILE}:1:1"


def test_size_limit(tmp_path: Path) -> None:
    with (tmp_path / "big.yaml").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    problems = ProblemList()
    assert not read_document(tmp_path / "big.yaml", problems).complete
    (problem,) = problems.in_file_order()
    assert str(MAX_BYTES) in problem.found
    assert "split" in problem.allowed


@pytest.mark.parametrize(
    "name", ["missing.yaml", "folder.yaml", "loop.yaml", "pipe.yaml", "zero.yaml", "x" * 300]
)
def test_what_cannot_be_read(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    problems = ProblemList()
    assert not read_document(tmp_path / name, problems).complete
    (problem,) = problems.in_file_order()
    assert name in problem.place


def judge(raw: bytes) -> None:
    document, problems = parse(raw)
    assert document.complete or problems
    for problem in problems:
        assert problem.place.startswith(f"{FILE}")
        assert problem.found
        assert problem.allowed
        "\n".join([problem.place, problem.field, problem.found, problem.allowed]).encode()
    document.place(("a", 0, "b"))


YAML_PIECES = st.sampled_from([
    *"-?:,[]{}#&*!|>'\"%@`~<=\\ \n\t0aN.", "a: ", "- ", "? ", ": ", "\n  ", "--- ", "\n...\n", "&a ", "*a",
    "<<: ", "!!str ", "!<", "!%ED%A0%80 ", "!%FF ", "%YAML 1.", "%YAML 1.1\n---\n", "%TAG ! tag:x,2000:\n",
    "|2-\n", '"\\', '"\\ud800"', '"\\UFFFFFFFF"', ".inf", "1e999", "0x", "9" * 30, "[[[[[[[[[", "\x85",
    "\u2028", "\ufeff", "é", "\0", "\r",
])  # fmt: skip


@pytest.mark.parametrize("loader", LOADERS)
@given(
    st.binary(max_size=200) | st.lists(YAML_PIECES, max_size=40).map(lambda pieces: "".join(pieces).encode())
)
@example(b"%YAML 1." + b"9" * 5000 + b"\n---\na")
@example(b'a: "\\UFFFFFFFF"')
@example(b"a: !%ED%A0%80 b")
@example(b'a: "\\ud800"')
@example(b"*a")
@example(b"&a &a a")
@settings(max_examples=300, deadline=None)
def test_no_bytes_crash_it(loader: Any, raw: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_source, "_LOADER", loader)
        judge(raw)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda f: math.isfinite(float(repr(f))))
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
    | st.sampled_from(
        ["N", "yes", "null", "~", "1", "1e5", "0o7", "<<", "- a", "a: b", "#", "\t", " a ", "a\nb\n"]
    )
)
KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8).filter(
    lambda k: k != "<<"
)


class QuotingDumper(yaml.SafeDumper):
    """Quotes all text, since what needs quotes differs between YAML 1.1, which PyYAML writes, and 1.2."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


QuotingDumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


@given(
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
        max_leaves=20,
    ),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_what_is_dumped_is_read_again(data: Any, flow: bool, unicode: bool) -> None:
    text = yaml.dump(data, Dumper=QuotingDumper, default_flow_style=flow, allow_unicode=unicode)
    document, problems = parse(text)
    assert problems == ()
    assert document.data == data


def test_the_c_parser_is_used_where_there_is_one() -> None:
    assert yaml_source._LOADER is yaml.CSafeLoader

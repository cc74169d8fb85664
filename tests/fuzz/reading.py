"""What people hand in: YAML, suites, profiles, tables and pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from harness.cases.images import MAX_PIXELS, ImageProblem, look_at
from harness.cases.problems import ProblemList
from harness.cases.suites import Suite, load_suite
from harness.cases.writing import image_names, suite_text
from harness.cases.yaml_source import MAX_DEPTH, parse_document
from harness.engines.images import open_image
from harness.errors import CaseFileError, EngineError
from tests.cases.writing import load_profiles
from tests.fuzz.ground import HOSTILE, deep, need, placed, target

CASES = Path(__file__).parents[2] / "cases"
SUFFIXES = (".tsv", ".csv", ".jsonl", ".parquet")


def _plain(value: Any) -> Any:
    """Without the marks of where it stood."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _depth(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(_depth, inside), default=0)


def _yaml_seeds() -> Iterator[bytes]:
    yield from (file.read_bytes()[:4000] for file in sorted(CASES.glob("*.yaml")))
    yield from (
        b"a: &x [1]\nb: *x\n",
        b"a: !!python/object/apply:os.system [id]\n",
        b"a: " + deep(),
        b"%YAML 9.9\n--- 1",
    )
    yield from (
        b"a: " + b"9" * 5000,
        b"a: 1e999",
        b'a: "\\x1b\\ud800"',
        "a: 1".encode("utf-16"),
        b"\xef\xbb\xbfa: \xe9",
    )
    yield from (
        b"- " * 200 + b"x",
        b"? {a: b}\n: c\n",
        b"a: 1\n<<: {b: 2}\n",
        b"&a a: 1\n---\n...\n",
        b"a: |\n  x\n\x00y\n",
    )
    yield b"".join(
        b"l%d: &l%d [%s]\n" % (n, n, b",".join([b"*l%d" % (n - 1)] * 9) if n else b"lol") for n in range(9)
    )


@target(
    "yaml",
    "harness.cases.yaml_source",
    "harness.cases.yaml_document",
    "harness.cases.problems",
    seeds=_yaml_seeds,
)
def yaml_text(data: bytes, folder: Path) -> None:
    """Plain data that is dumped and read again alike, or problems with a place each."""
    problems = ProblemList()
    document = parse_document(data, folder / "s.yaml", problems)
    if len(problems):
        for problem in problems.in_file_order():
            placed(str(problem), "s.yaml")
        need(len(problems) < 1100, "endless problems")
        return
    need(document.complete, "neither whole nor a problem")
    found = _plain(document.data)
    need(_depth(found) <= MAX_DEPTH, "too deep")
    text = json.dumps(found, ensure_ascii=False)  # which is YAML, too, but for its surrogate pairs
    again = "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in text)
    need(
        _plain(parse_document(again.encode(), folder / "s.yaml", problems).data) == found,
        "otherwise when written",
    )


def _suite_seeds() -> Iterator[bytes]:
    head = b"defaults: {letters: [A, B], prompt: 'Which?', image: i.png}\ncases:\n"
    yield from (
        head + case for case in (b"- {id: a, expect: A}\n", b"- {id: a, expect_text: '1984', tags: [x]}\n")
    )
    yield (
        head
        + "- {id: '🙂', expect: A, tags: ['a\u00a0b']}\n- {id: \"a\\n\", expect: A, image: ../x}\n".encode()
    )
    yield (head + b"- {id: a, expect: A, images: [/dev/zero, i.png], prompt: '{image:1} <IMG_CONTEXT>'}\n")
    yield b"cases:\n- {id: b, prompt: P, letters: [B, A], expect: A, tolerances: {kl: 1}}\n"
    yield (
        b"budgets: {lost: 1}\n" + head + b"- {id: a, expect: A, marks: [slow], known_failure: k, system: s}\n"
    )
    yield b"source: {file: ../t.csv, where: {a: [1]}, first: 2, sample: 3, images: /}\n"


def _same(suite: Suite, folder: Path) -> None:
    """The suite as it is written for people is read as the same cases."""
    file = folder / "again.yaml"
    file.write_text(suite_text(suite, {path: path.name for path in image_names(suite)}), encoding="utf-8")
    need(load_suite(file).cases == tuple(_renamed(case) for case in suite.cases), "otherwise when written")


def _renamed(case: Any) -> Any:
    from dataclasses import replace

    return replace(case, suite="again")


@target(
    "suites",
    "harness.cases.suites",
    "harness.cases.validation",
    "harness.cases.special_tokens",
    "harness.cases.budgets",
    "harness.cases.writing",
    seeds=_suite_seeds,
)
def suites(data: bytes, folder: Path) -> None:
    """Cases that are written and read again alike, or problems with a place each."""
    picture = folder / "i.png"
    if not picture.exists():
        Image.new("RGB", (4, 4)).save(picture)
    file = folder / "s.yaml"
    file.write_bytes(data)
    try:
        suite = load_suite(file)
    except CaseFileError as error:
        for problem in error.problems:
            placed(str(problem), "s.yaml")
        return
    need(suite.cases, "neither cases nor a problem")
    for case in suite.cases:
        need(all(path.is_relative_to(folder.resolve()) for path in case.images), "an image outside")
    _same(suite, folder)


def _profile_seeds() -> Iterator[bytes]:
    yield (CASES / "profiles.yaml").read_bytes()
    own = b"    model: m\n    dtype: float32\n    reference: a\n    engines:\n      a: {kind: torch}\n"
    start = b"profiles:\n  p:\n" + own
    yield start
    yield (
        start
        + b"      lmdeploy: {device: cuda, requirements: ['x==1', '-r y'], python: ../b, patch: /etc/x}\n"
    )
    yield (
        start + b"      b: {kind: api, options: {url: 'http://u:p@h', key_env: K}, top_k: 3, paths: [chat]}\n"
    )
    yield (
        start
        + b"    suites: [s]\n    tolerances: {kl: 1}\n    deadlines: {load: 1}\n    trust_remote_code: true\n"
    )


@target(
    "profiles",
    "harness.cases.profiles",
    "harness.cases.engine_options",
    "harness.cases.server_profiles",
    "harness.cases.environment_request",
    seeds=_profile_seeds,
)
def profiles(data: bytes, folder: Path) -> None:
    """Profiles, or problems with a place each, in which no password is shown."""
    (folder / "m").mkdir(exist_ok=True)
    (folder / "m" / "config.json").write_text("{}")
    file = folder / "profiles.yaml"
    file.write_bytes(data)
    try:
        found = load_profiles(file, ())
    except CaseFileError as error:
        for problem in error.problems:
            placed(str(problem), "profiles.yaml")
        return
    need(all(profile.engines for profile in found), "a profile without engines")


def _table_seeds() -> Iterator[bytes]:
    rows: list[dict[str, Any]] = [
        {"index": 1, "question": "Which?", "A": "x", "B": "y", "answer": "A", "category": "c"},
        {
            "index": "🙂",
            "question": HOSTILE.replace("\ud800", ""),
            "A": "['a'",
            "B": "[[",
            "answer": "B",
            "category": "\x1b]0;",
        },
    ]
    columns = [*rows[0]]
    for number, mark in enumerate("\t,"):
        lines = [columns, *([str(cell) for cell in row.values()] for row in rows)]
        text = "\n".join(mark.join(json.dumps(cell, ensure_ascii=False) for cell in line) for line in lines)
        yield bytes([number]) + text.encode()
        yield (
            bytes([number])
            + mark.join([*columns, "image"]).encode()
            + b"\n"
            + mark.join("1qxyAc").encode()
            + mark.encode()
            + b"A" * 3000
        )
    text = "\n".join(json.dumps(row) for row in rows)
    yield b"\x02" + text.encode()
    yield from (
        b"\x02" + line
        for line in (deep(), b'{"a": ' + deep(), b'{"a": ' + b"9" * 5000 + b"}", b'{"index": NaN}', b"[1]")
    )
    yield (
        b"\x02"
        + json.dumps(
            {**rows[0], "options": "[" + "-" * 3000 + "1]", "image": ["a", 1, {"bytes": 1}]}
        ).encode()
    )
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        return
    for more in ({}, {"index": b"\xff"}, {"options": ["a", "b"]}, {"index": 10**17}):
        held = io.BytesIO()
        table = {name: [cell] for name, cell in {**rows[0], **more}.items()}
        parquet.write_table(arrow.table(table), held)
        yield b"\x03" + held.getvalue()


@target(
    "tables",
    "harness.cases.sources.tables",
    "harness.cases.sources.layout",
    "harness.cases.sources.choosing",
    "harness.cases.sources.reading",
    "harness.cases.sources.pictures",
    seeds=_table_seeds,
)
def tables(data: bytes, folder: Path) -> None:
    """Cases, or problems with the file and its row; the first byte says which format."""
    suffix = SUFFIXES[data[0] % 4 if data else 0]
    (folder / f"t{suffix}").write_bytes(data[1:])
    file = folder / "s.yaml"
    file.write_text(f"source: {{file: t{suffix}}}\ndefaults: {{letters: [A, B]}}\n")
    try:
        suite = load_suite(file)
    except CaseFileError as error:
        for problem in error.problems:
            placed(str(problem), "s.yaml" if "s.yaml" in str(problem) else f"t{suffix}")
        return
    need(suite.cases, "neither cases nor a problem")
    need(load_suite(file).cases == suite.cases, "otherwise when read from what is kept")
    for remark in suite.remarks:
        placed(str(remark), "s.yaml")


def _picture_seeds() -> Iterator[bytes]:
    for kind, mode in (
        ("PNG", "RGB"),
        ("PNG", "P"),
        ("PNG", "LA"),
        ("JPEG", "L"),
        ("JPEG", "CMYK"),
        ("WEBP", "RGBA"),
        ("BMP", "RGB"),
        ("GIF", "P"),
        ("PNG", "I;16"),
        ("TIFF", "F"),
    ):
        held = io.BytesIO()
        Image.new(mode, (1, 9)).save(held, kind)
        yield held.getvalue()
    held = io.BytesIO()
    frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue")]
    frames[0].save(held, "PNG", save_all=True, append_images=frames[1:])
    yield held.getvalue()


@target("pictures", "harness.cases.images", "harness.engines.images", seeds=_picture_seeds)
def pictures(data: bytes, folder: Path) -> None:
    """A problem in words, or a picture that engines open, too, at a size within the limit."""
    file = folder / "i.png"
    file.write_bytes(data)
    found = look_at(file)
    if isinstance(found, ImageProblem):
        need(found.found and found.allowed, "a problem without words")
        return
    try:
        opened = open_image(str(file))
    except EngineError as error:
        raise AssertionError(f"taken, and then not opened: {error}") from error
    need(opened.mode == "RGB" and opened.width * opened.height <= MAX_PIXELS, "too large")

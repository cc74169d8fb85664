"""What is kept and read again: journals, recordings, rows, what was accepted, noise floors and bundles."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from harness.bundles.container import BundleError, read_bundle
from harness.bundles.opening import opened
from harness.engines.codec import answer_to_json
from harness.errors import GateError, RecordingError
from harness.noise.kept import keep_floor, kept_floor
from harness.recordings.fingerprint import digest
from harness.recordings.journal import Journal
from harness.recordings.store import RecordingStore
from harness.snapshots.files import read_suite, write_suite
from harness.workers.rows import read_row, save_rows
from tests.fuzz.ground import deep, need, placed, target
from tests.recordings.recording_data import answer, key_of, recording

ROOT = Path(__file__).parents[2]
FROZEN = ROOT / "tests" / "formats" / "f586fa1" / "store"
HEAD = {"format": "fuzz", "version": 1}


def _loaded(text: bytes) -> Any:
    """JSON, None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _sealed(data: bytes, head: dict[str, Any]) -> bytes:
    """Each line that begins with '!' with the checksum that it has in a journal."""
    first = json.dumps(head, separators=(",", ":")).encode()
    seed, lines = zlib.crc32(first), [b"%08x %s" % (zlib.crc32(first), first)]
    lines += [
        b"%08x %s" % (zlib.crc32(line[1:], seed), line[1:]) if line[:1] == b"!" else line
        for line in data.split(b"\n")
    ]
    return b"\n".join(lines)


def _journal_seeds() -> Iterator[bytes]:
    yield from (
        b'!{"key":"a","x":1}\n!{"key":"b"}\n',
        b'!{"key":"a"}\nrubbish\n!{"key":["a"]}',
        b"!" + deep(),
        b"#cut-off\n",
    )
    yield from (
        b'!{"key":"a"}\n\n00000000 {}\n',
        b'!{"key":"\\ud800","x":NaN}\n',
        b'!{"key":"a","x":' + b"9" * 5000 + b"}\n",
    )


@target("journal", "harness.recordings.journal", seeds=_journal_seeds)
def journal(data: bytes, folder: Path) -> None:
    """What was readable stays so when something is appended, and what is appended is found."""
    file = folder / "j.jsonl"
    file.write_bytes(_sealed(data, HEAD))
    try:
        before = Journal(file, format_name="fuzz", version=1)
        held = {key: before.get(key) for key in list(before.keys())}
        need(None not in held.values(), "a key without an entry")
        before.append("new", {"x": 1})
    except RecordingError as error:
        placed(str(error).replace("\n", " "), "j.jsonl")
        return
    after = Journal(file, format_name="fuzz", version=1)
    need(after.get("new") == {"key": "new", "x": 1}, "what was appended is lost")
    need(
        {key: after.get(key) for key in held if key != "new"}
        == {k: v for k, v in held.items() if k != "new"},
        "lost",
    )
    after.compact(lambda key: key != "new")
    need(set(after.keys()) == set(held) - {"new"}, "compacted otherwise")


def _packed(data: Any) -> str:
    return base64.b64encode(zlib.compress(json.dumps(data).encode())).decode()


def _recording_seeds() -> Iterator[bytes]:
    good = answer_to_json(answer(words=6, image=4))
    yield json.dumps(good).encode()
    changes: list[dict[str, Any]] = [
        {"p": [[7, 10**12]]},
        {"g": ["a"]},
        {"t": 5},
        {"s": "x"},
        {"w": []},
        {"l": None},
    ]
    changes += [
        {"q": [1, "a", [], {}]},
        {"k": [[1], []]},
        {"v": {"a": 1}},
        {"p": [[1, -5]]},
        {"r": [{"t": [[1], [1]]}]},
    ]
    for change in changes:
        yield json.dumps({**good, **change}).encode()
    reading = {**good["r"][0], "t": [["1e999"], [1], ["inf"], [1], [1]]}  # type: ignore[dict-item, index]
    yield json.dumps({**good, "r": [reading]}).encode()
    yield from (deep(), b"zlib" + zlib.compress(bytes(10**8))[:60000])


@target(
    "recordings",
    "harness.recordings.store",
    "harness.recordings.packing",
    "harness.engines.codec",
    seeds=_recording_seeds,
)
def recordings(data: bytes, folder: Path) -> None:
    """A recording that is stored again alike, none, or an error that names the file."""
    store = RecordingStore(folder)
    made, key = recording(), key_of(1)
    file = store.journal_of(key.rpartition("-")[0]).path
    for each in folder.rglob("*.jsonl"):
        each.unlink()
    store.put(made)
    text = base64.b64encode(data[4:] if data[:4] == b"zlib" else zlib.compress(data)).decode()
    names = list(store.journal_of(key.rpartition("-")[0]).keys())
    print_of = next(name for name in names if name.startswith("fingerprint:")).partition(":")[2]
    entry: dict[str, Any] = {
        "version": 3,
        "case": "s.a",
        "engine": "p-e",
        "run": "",
        "fingerprint": print_of,
        "answer": text,
    }
    try:
        store.journal_of(key.rpartition("-")[0]).append(key, entry)
        found = RecordingStore(folder).get(key)
    except RecordingError as error:
        placed(str(error).replace("\n", " "), file.name)
        return
    need(found is not None, f"lost from {file.name}")
    assert found is not None
    need(len(found.answer.prompt_ids) < 10**7, "endless")
    again = json.dumps(answer_to_json(found.answer))
    store.put(found)
    kept = store.get(key)
    need(kept is not None and json.dumps(answer_to_json(kept.answer)) == again, "otherwise when stored again")


def _row_seeds() -> Iterator[bytes]:
    for array in (
        np.arange(5, dtype=np.float32),
        np.zeros((2, 2), np.float32),
        np.zeros(3, np.float64),
        np.zeros(0, np.float32),
    ):
        held = io.BytesIO()
        np.save(held, array)
        yield held.getvalue()
        yield held.getvalue() + b"\n%08x" % zlib.crc32(held.getvalue())
    held = io.BytesIO()
    np.save(held, np.zeros(3, np.float32))
    yield held.getvalue().replace(b"(3,)", b"(9" + b"9" * 12 + b",)")
    yield held.getvalue().replace(b"<f4", b"|O ")
    yield b"PK\x03\x04" + bytes(40)


@target("rows", "harness.workers.rows", seeds=_row_seeds)
def rows(data: bytes, folder: Path) -> None:
    """A row of float32 that is written again byte for byte, or none; nothing is unpickled."""
    file = folder / "key.path.npy"
    file.write_bytes(data)
    row = read_row(file)
    if row is None:
        return
    need(row.dtype == np.float32 and row.ndim == 1 and row.nbytes <= len(data), "another thing than a row")
    save_rows(folder, "key", {"path": row})
    again = read_row(file)
    need(again is not None and again.tobytes() == row.tobytes(), "otherwise when written")


def _signed(line: Any) -> Any:
    """With the sum that it has in a file of accepted outputs, where it can have one."""
    if not isinstance(line, dict):
        return line
    own = {name: value for name, value in line.items() if name != "sum"}
    try:
        return {**own, "sum": digest(own)[:12]}
    except RecordingError:  # a number that JSON lacks
        return line


def _snapshot_seeds() -> Iterator[bytes]:
    lines = (ROOT / "snapshots" / "embedded" / "torch" / "shapes.jsonl").read_bytes().split(b"\n")
    few = [line for line in lines if line[:9] != b'{"case": '] + [
        line for line in lines if line[:9] == b'{"case": '
    ][:2]
    yield b"\n".join(few)
    yield from (
        b"\n".join([*few, more])
        for more in (deep(), b'{"case": ' + deep(), b"9" * 5000, b"\xff\xfe", b"[]", b"{}", b'"x"')
    )
    yield b"\n".join(
        [
            *few,
            b'{"decision": "2026-01-01", "author": "a", "reason": "r", "verdict": "", '
            b'"sentence": "", "lost": []}',
        ]
    )
    yield b"\n".join(
        [
            *few,
            b'{"moved": "a.b", "why": "w", "old": null, "new": {"A": NaN}}',
            b'{"fingerprint": "\\ud800", "value": NaN}',
        ]
    )


@target("snapshots", "harness.snapshots.files", "harness.snapshots.accepted", seeds=_snapshot_seeds)
def snapshots(data: bytes, folder: Path) -> None:
    """What was accepted, which is written and read again alike, or an error with file and line."""
    file = folder / "p" / "e" / "s.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = data.split(b"\n")
    if len(data) % 2:  # half of all as somebody would edit them, half with the sums that they should have
        lines = [
            line if (held := _loaded(line)) is None else json.dumps(_signed(held)).encode() for line in lines
        ]
    file.write_bytes(b"\n".join(lines))
    try:
        suite = read_suite(file)
    except GateError as error:
        placed(str(error).partition("\n")[0], "s.jsonl")
        return
    again = read_suite(write_suite(folder / "again", suite))
    need(repr(again) == repr(suite), "otherwise when written")


def _floor_seeds() -> Iterator[bytes]:
    cases: dict[str, Any] = {
        "s.a": {"asked": "x", "reference": [0.1, -0.1], "runs": {"r": [0.2, -0.2]}, "coordinates": ["A", "B"]}
    }
    floor = {
        "version": 2,
        "kind": "letter",
        "dtype": "float32",
        "device": "cpu",
        "made": "2026-01-01",
        "fingerprint": {"a": 1},
        "full": {},
    }
    head = {"format": "vlm-harness floor", "version": 1, "author": "a", "kept": "2026-01-01"}
    whole: dict[str, Any] = {**head, "floor": floor, "cases": cases}
    yield json.dumps(whole).encode()
    changes: list[dict[str, Any]] = [
        {"reference": []},
        {"runs": {"r": []}},
        {"runs": {"r": [None]}},
        {"asked": 1},
    ]
    for change in (*changes, {"coordinates": ["rest", "A"]}):
        yield json.dumps({**whole, "cases": {"s.a": {**cases["s.a"], **change}}}).encode()
    yield json.dumps({**whole, "floor": {**floor, "repeats": {"x": 1}}}).encode()
    yield from (
        deep(),
        b"GZ" + gzip.compress(bytes(3 * 10**8))[:60000] if False else b"GZ" + gzip.compress(b"{}"),
        b'{"a": ' + b"9" * 5000,
    )


@target("floors", "harness.noise.kept", "harness.noise.store", seeds=_floor_seeds)
def floors(data: bytes, folder: Path) -> None:
    """A floor that is kept and read again alike, none, or an error that names the file."""
    for old in folder.rglob("*.floor.json*"):
        old.unlink()
    place = folder / "p" / "e"
    place.mkdir(parents=True, exist_ok=True)
    if data[:2] == b"GZ":
        (place / "x.floor.json.gz").write_bytes(data[2:])
    else:
        held = _loaded(data)
        (place / "x.floor.json").write_bytes(data if held is None else json.dumps(_signed(held)).encode())
    about = held["floor"]["fingerprint"] if data[:2] != b"GZ" and _has_fingerprint(held) else {"a": 1}
    try:
        found = kept_floor(folder, "p", "e", about)
    except RecordingError as error:
        placed(str(error).partition("\n")[0], ".floor.json")
        return
    if found is None:
        return
    (place / "x.floor.json").unlink(missing_ok=True)
    try:
        keep_floor(folder, found, "somebody")
    except RecordingError:
        return
    again = kept_floor(folder, "p", "e", about)
    need(
        again is not None and repr(asdict(again)["cases"]) == repr(asdict(found)["cases"]),
        "otherwise when kept",
    )


def _has_fingerprint(held: Any) -> bool:
    floor = held.get("floor") if isinstance(held, dict) else None
    return isinstance(floor, dict) and isinstance(floor.get("fingerprint"), dict)


def _zipped(manifest: bytes, contents: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("manifest.json", manifest)
        for name, content in contents.items():
            file.writestr(name, content)
    return held.getvalue()


def _bundle_seeds() -> Iterator[bytes]:
    import hashlib

    content = b"cases:\n- {id: a, prompt: P, letters: [A, B], expect: A}\n"
    name = hashlib.sha256(content).hexdigest()
    head: dict[str, Any] = {"format": "vlm-harness bundle", "version": 1}
    places = (
        "cases/s.yaml",
        "../x",
        "/etc/x",
        "a\\b",
        "a",
        "a/b",
        "\x1b]0;",
        "x" * 300,
        "manifest.json",
        "\ud800",
    )
    for place in places:
        for sides in ({}, {"p/e": ["1"]}, [1]):
            manifest = json.dumps({**head, "files": {place: name}, "sides": sides}).encode()
            yield b"J" + manifest
    yield b"J" + json.dumps({**head, "files": {"a": name, "a/b": name}}).encode()
    yield from (b"J" + deep(), b'J{"files": ' + deep(), b"J[]", b"JNaN")
    yield b"Z" + _zipped(
        json.dumps({**head, "files": {"cases/s.yaml": name}, "sides": {}}).encode(), {name: content}
    )


@target("bundles", "harness.bundles.container", "harness.bundles.opening", seeds=_bundle_seeds)
def bundles(data: bytes, folder: Path) -> None:
    """A folder of what its manifest says, or an error that names the file; nothing is written elsewhere."""
    content = b"cases:\n- {id: a, prompt: P, letters: [A, B], expect: A}\n"
    import hashlib
    import shutil

    file, into = folder / "b.zip", folder / "into"
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    file.write_bytes(
        _zipped(data[1:], {hashlib.sha256(content).hexdigest(): content}) if data[:1] == b"J" else data[1:]
    )
    before = {path.name for path in folder.iterdir()}
    try:
        manifest = read_bundle(file, into)
        with opened(file) as bundle:
            need(all(isinstance(runs, list) for runs in bundle.sides.values()), "sides that are none")
            bundle.load()
    except BundleError as error:
        placed(str(error).replace("\n", " "), "b.zip")
        manifest = None
    need({path.name for path in folder.iterdir()} == before, "written outside")
    if manifest is not None:
        need(all((into / name).is_file() for name in manifest["files"]), "a file is missing")

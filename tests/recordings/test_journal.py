from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.engines.contract import Json
from harness.errors import RecordingError
from harness.recordings.journal import Journal

# Newlines, quotes, text of several bytes a character and halves of surrogate pairs: all that could end a line
# too early or not come back.
AWKWARD = '\n\r\u2028\u0085"\\红🙂\ud800 #{}'
TEXT = st.lists(st.characters() | st.sampled_from(AWKWARD), max_size=12).map("".join)
ENTRIES = st.lists(st.dictionaries(TEXT.filter(lambda name: name != "key"), TEXT, max_size=3), max_size=6)


def open_journal(path: Path, *, version: int = 1) -> Journal:
    return Journal(path, format_name="test", version=version)


def write(path: Path, entries: list[dict[str, str]]) -> list[int]:
    """Append the entries under the keys '0', '1', ...; returns where each line ends but for its newline."""
    journal = open_journal(path)
    ends = []
    for number, entry in enumerate(entries):
        journal.append(str(number), dict(entry))
        ends.append(path.stat().st_size - 1)
    return ends


def contents(path: Path) -> dict[str, Json]:
    journal = open_journal(path)
    return {key: journal.get(key) for key in journal.keys()}  # noqa: SIM118 - a method, not a mapping's view


def expected(entries: list[dict[str, str]]) -> dict[str, Json]:
    return {str(n): {"key": str(n), **entry} for n, entry in enumerate(entries)}


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "journal.jsonl"


@settings(deadline=None)
@given(ENTRIES)
def test_entries_come_back(entries: list[dict[str, str]]) -> None:
    with scratch() as path:
        write(path, entries)
        assert contents(path) == expected(entries)


@settings(deadline=None)
@given(ENTRIES, st.data())
def test_a_cut_at_any_byte_loses_no_complete_entry(
    entries: list[dict[str, str]], data: st.DataObject
) -> None:
    with scratch() as path:
        ends = write(path, entries)
        size = path.stat().st_size if entries else 0
        cut = data.draw(st.integers(0, size))
        if entries:
            os.truncate(path, cut)
        survivors = expected(entries[: sum(end <= cut for end in ends)])
        assert contents(path) == survivors

        open_journal(path).append("late", {"text": "红"})
        reopened = open_journal(path)
        assert contents(path) == {**survivors, "late": {"key": "late", "text": "红"}}
        assert reopened.damage == ""


def test_every_cut_of_one_file() -> None:
    entries = [{"text": "first"}, {"text": "红色 🙂"}, {}]
    with scratch() as path:
        ends = write(path, entries)
        whole = path.read_bytes()
        for cut in range(len(whole) + 1):
            path.write_bytes(whole[:cut])
            open_journal(path).append("late", {})
            found = contents(path)
            assert list(found) == [str(n) for n, end in enumerate(ends) if end <= cut] + ["late"], cut


@settings(deadline=None)
@given(ENTRIES.filter(bool), st.data())
def test_a_flipped_byte_loses_its_line_and_invents_nothing(
    entries: list[dict[str, str]], data: st.DataObject
) -> None:
    with scratch() as path:
        write(path, entries)
        whole = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= data.draw(st.integers(1, 255))
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(whole)

        start, touched = 0, set()
        for number, line in enumerate(lines):
            if start <= at < start + len(line):
                # A newline belongs to both of the lines that it keeps apart.
                touched = {number, number + 1} if at == start + len(line) - 1 else {number}
            start += len(line)
        everything = expected(entries)
        kept = {key: entry for key, entry in everything.items() if int(key) + 1 not in touched}
        found = contents(path)
        assert found.items() >= kept.items()
        assert found.items() <= everything.items()

        open_journal(path).append("late", {})
        assert contents(path) == {**found, "late": {"key": "late"}}


def test_damage_is_counted_by_line() -> None:
    with scratch() as path:
        write(path, [{"n": "0"}, {"n": "1"}, {"n": "2"}])
        lines = path.read_bytes().split(b"\n")
        lines[2] = lines[2].replace(b'"1"', b'"7"')
        path.write_bytes(b"\n".join(lines))
        journal = open_journal(path)
        assert journal.get("1") is None
        assert journal.get("2") == {"key": "2", "n": "2"}
        assert journal.damage == f"{path}: 1 damaged lines left out, first 3"


def test_a_line_cut_off_is_no_damage() -> None:
    with scratch() as path:
        ends = write(path, [{"n": "0"}, {"n": "1"}])
        os.truncate(path, ends[1] - 3)
        open_journal(path).append("2", {})
        journal = open_journal(path)
        assert list(journal.keys()) == ["0", "2"]
        assert journal.damage == ""


def test_a_lost_header_costs_no_entry() -> None:
    with scratch() as path:
        write(path, [{"n": "0"}])
        path.write_bytes(b"#" + path.read_bytes()[1:])
        journal = open_journal(path)
        journal.append("1", {})
        assert journal.keys() == ["0", "1"]
        assert journal.damage == f"{path}: 1 damaged lines left out, first 1"


def test_lines_have_a_checksum_and_the_first_is_the_header() -> None:
    with scratch() as path:
        write(path, [{"text": "红"}])
        header, entry = (line.split(b" ", 1) for line in path.read_bytes().splitlines())
        assert json.loads(header[1]) == {"format": "test", "version": 1}
        assert header[0] == b"%08x" % zlib.crc32(header[1])
        assert json.loads(entry[1]) == {"key": "0", "text": "红"}
        assert entry[0] == b"%08x" % zlib.crc32(entry[1], zlib.crc32(header[1]))


def test_another_version_is_refused_with_a_command_that_helps(tmp_path: Path) -> None:
    path = tmp_path / "with space" / "journal.jsonl"
    open_journal(path, version=7).append("0", {})
    with pytest.raises(
        RecordingError, match=r"with space.*\nfound: .*version 7\nallowed: .*version 1"
    ) as caught:
        open_journal(path).get("0")
    with pytest.raises(RecordingError, match="version 7"):
        open_journal(path).append("1", {})

    command = shlex.split(str(caught.value).splitlines()[-1])
    subprocess.run(command, check=True)
    open_journal(path).append("1", {})
    assert list(contents(path)) == ["1"]


def test_entries_of_another_version_never_pass_for_ours(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    open_journal(path, version=7).append("0", {})
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])
    journal = open_journal(path)
    assert journal.keys() == []
    assert journal.damage == f"{path}: 1 damaged lines left out, first 1"


def test_of_equal_keys_the_last_counts(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal.jsonl")
    journal.append("a", {"n": 1})
    journal.append("a", {"n": 2})
    assert journal.get("a") == {"key": "a", "n": 2}
    assert journal.keys() == ["a"]


def test_what_others_append_turns_up(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    reader, writer = open_journal(path), open_journal(path)
    assert not reader.has("a")
    writer.append("a", {})
    assert reader.has("a")
    reader.append("b", {})
    assert writer.keys() == ["a", "b"]


def test_only_what_is_new_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    writer, reader = open_journal(path), open_journal(path)
    for n in range(5):
        writer.append(str(n), {})
    reader.refresh()
    read: list[bytes] = []
    take = Journal._take

    def noting(journal: Journal, line: bytes) -> bool:
        read.append(line)
        return take(journal, line)

    monkeypatch.setattr(Journal, "_take", noting)
    reader.refresh()
    assert read == []
    writer.append("new", {})
    read.clear()
    reader.refresh()
    assert [json.loads(line.split(b" ", 1)[1])["key"] for line in read] == ["new"]


def test_a_line_that_is_still_being_written_is_read_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, [{"n": "0"}, {"n": "1"}])
    whole = path.read_bytes()
    reader = open_journal(path)
    for cut in range(len(whole) - 20, len(whole) + 1):
        path.write_bytes(whole[:cut])
        reader.refresh()
    assert reader.keys() == ["0", "1"]
    assert reader.damage == ""


def test_a_file_that_was_deleted_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = open_journal(path)
    journal.append("old", {})
    path.unlink()
    assert journal.get("old") is None
    journal.append("new", {})
    assert list(contents(path)) == ["new"]
    assert path.read_bytes().count(b'"format"') == 1


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    path, other = tmp_path / "journal.jsonl", tmp_path / "other.jsonl"
    journal = open_journal(path)
    journal.append("old", {})
    for number in range(3):
        open_journal(other).append(str(number), {})
    other.replace(path)
    assert journal.keys() == ["0", "1", "2"]


def test_a_file_changed_in_place_gives_no_wrong_entry(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, [{"n": "first"}, {"n": "other"}])
    journal = open_journal(path)
    journal.refresh()
    header, first, other = path.read_bytes().splitlines(keepends=True)
    with path.open("r+b") as file:
        file.write(header + other + first)
    assert journal.get("0") == {"key": "0", "n": "first"}


def test_memory_holds_places_not_entries(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal.jsonl")
    journal.append("a", {"text": "unmistakable"})
    assert "unmistakable" not in repr(journal._seen)
    assert journal.get("a") == {"key": "a", "text": "unmistakable"}


@pytest.mark.parametrize("value", [float("nan"), object()])
def test_what_is_not_json_is_refused_and_leaves_no_trace(tmp_path: Path, value: object) -> None:
    path = tmp_path / "journal.jsonl"
    with pytest.raises(RecordingError, match="not JSON"):
        open_journal(path).append("a", {"n": value})  # type: ignore[dict-item]
    assert not path.exists()


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(RecordingError, match=r"cannot read .*journal\.jsonl: Is a directory\n.*\n  ls -la"):
        open_journal(tmp_path / "journal.jsonl").append("a", {})


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match=r"cannot lock .*journal\.jsonl: "):
        open_journal(tmp_path / "file" / "journal.jsonl").append("a", {})


def run_python(code: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from harness.errors import RecordingError
from harness.recordings.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
journal = Journal(Path(sys.argv[1]), format_name="test", version=1)
try:
    for n in range(100):
        journal.append(str(n), {"text": "x" * 100})
except RecordingError as error:
    print(n, error)
"""


def test_a_full_disk_is_named_and_costs_only_the_entry_in_hand(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    process = run_python(FULL_DISK, path)
    output, errors = process.communicate()
    count, _, message = output.partition(" ")
    assert "cannot write" in message, errors
    assert f"df -h {tmp_path}" in message
    assert path.stat().st_size == 1000  # a part of the line did reach the disk
    open_journal(path).append("late", {})
    assert list(contents(path)) == [*map(str, range(int(count))), "late"]


APPENDER = """
import sys
from pathlib import Path
from harness.recordings.journal import Journal
journal = Journal(Path(sys.argv[1]), format_name="test", version=1)
n = 0
while True:
    key = f"{sys.argv[2]}-{n}"
    journal.append(key, {"text": "x" * (n * 997 % 5000)})
    print(key, flush=True)
    n += 1
"""


def test_killed_writers_lose_nothing_that_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    rng = random.Random(5)
    told: set[str] = set()
    for round_number in range(4):
        writers = [run_python(APPENDER, path, f"{round_number}{name}") for name in "ab"]
        for writer in writers:
            assert writer.stdout is not None
            told.update(writer.stdout.readline().strip() for _ in range(rng.randrange(5, 20)))
            writer.send_signal(signal.SIGKILL)
            told.update(line.strip() for line in writer.stdout)
            writer.communicate()
    journal = open_journal(path)
    assert told <= set(journal.keys())
    assert journal.damage == ""
    assert len(told) > 40
    assert all(journal.get(key) is not None for key in told)


INCREMENTER = """
import sys
from pathlib import Path
from harness.recordings.journal import Journal
journal = Journal(Path(sys.argv[1]), format_name="test", version=1)
for _ in range(25):
    with journal.locked():
        entry = journal.get("count")
        journal.append("count", {"n": (entry["n"] if entry else 0) + 1})
"""


def test_locked_makes_reading_and_writing_one_step(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    processes = [run_python(INCREMENTER, path) for _ in range(2)]
    assert [(process.communicate()[1], process.returncode) for process in processes] == [("", 0)] * 2
    assert open_journal(path).get("count") == {"key": "count", "n": 50}

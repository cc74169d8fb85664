"""An append-only journal: one JSON object per line, each with a checksum, safe against a cut at any byte.

A line is the CRC-32 of the JSON text as eight hexadecimal digits, a space, the JSON text in UTF-8, a newline.
The first line is a header, ``{"format": ..., "version": ...}``. An entry's checksum starts from that of the
header, so lines of another format or version never pass for ours, even where the header itself is lost. A
CRC-32 finds every error within 32 consecutive bits, so a flipped byte is always found.

Each append is one ``os.write`` to an ``O_APPEND`` descriptor under a file lock. What a killed process leaves
behind is a line without its end. Nothing is ever cut away or written over: the next append closes such a line
with a mark and goes on below it. A damaged line in the middle is left out and counted.

There is no fsync per entry: once written, an entry survives the death of every process, and a power cut costs
at most what the system had not written back yet (about half a minute's worth), which reading takes for a line
cut off. `Journal.sync` waits for the disk.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from harness.engines.contract import Json
from harness.errors import RecordingError

__all__ = ["Journal", "compact_json", "disk_error"]

_CUT_OFF = b"#cut-off"
_LOCK_POLL_SECONDS = 0.01
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


class _Place(NamedTuple):
    offset: int
    size: int


@dataclass(slots=True)
class _Seen:
    """What is known of the file so far."""

    identity: tuple[int, int] | None = None
    end: int = 0  # of what was read and understood, in bytes
    newlines: int = 0
    header: bool = False
    missing_end: bytes = b""  # what the next append must write first, to end the last line
    places: dict[str, _Place] = field(default_factory=dict)
    damaged: list[int] = field(default_factory=list)
    cut_off: int = 0


class Journal:
    """The journal at ``path``, a mapping from each entry's ``key`` to the entry.

    Of equal keys the last counts. Only the places of entries are held in memory; an entry is decoded when it
    is asked for. The file is read once and then only beyond what was read before, so entries that other
    processes append turn up. ``path`` need not exist. An instance belongs to one thread.
    """

    def __init__(self, path: Path, *, format_name: str, version: int) -> None:
        """Touches nothing yet. ``format_name`` and ``version`` are those of the header."""
        self.path = path
        self._header: dict[str, Json] = {"format": format_name, "version": version}
        self._seed = zlib.crc32(compact_json(self._header))
        self._lock = FileLock(f"{path}.lock")
        self._seen = _Seen()

    @property
    def damaged(self) -> tuple[int, ...]:
        """Numbers (1-based) of the lines that fail their checksum, without those that were merely cut off."""
        return tuple(self._seen.damaged)

    @property
    def damage(self) -> str:
        """A sentence about the damaged lines, '' without any."""
        lines = self._seen.damaged
        return f"{self.path}: {len(lines)} damaged lines left out, first {lines[0]}" if lines else ""

    @property
    def cut_off(self) -> int:
        """How many lines were left unfinished by a process that was ended while it wrote."""
        return self._seen.cut_off

    def keys(self) -> list[str]:
        """Keys of all entries, in the order in which they were first written. Raises as `get` does."""
        self.refresh()
        return list(self._seen.places)

    def get(self, key: str) -> dict[str, Any] | None:
        """The last entry with this key, with what other processes have appended by now, or None.

        Raises `RecordingError` when the file cannot be read or is of another format or version.
        """
        self.refresh()
        entry = self._read(key)
        if entry is None and key in self._seen.places:
            # The file is not the one that was indexed: somebody replaced or changed it.
            self._seen = _Seen()
            self.refresh()
            entry = self._read(key)
        return entry

    def has(self, key: str) -> bool:
        """Whether `get` would find an entry, without reading it. Raises as `get` does."""
        self.refresh()
        return key in self._seen.places

    def append(self, key: str, entry: Mapping[str, Json]) -> None:
        """Add one entry; ``key`` becomes its ``key`` field.

        Raises `RecordingError` when the file cannot be written (what was there before stays readable) or the
        entry is not JSON.
        """
        try:
            line = _line({"key": key, **entry}, self._seed)
        except (TypeError, ValueError) as error:
            raise RecordingError(f"an entry for {self.path} is not JSON: {error}\nentry: {key}") from error
        with self.locked():
            self._write(
                self._seen.missing_end + (b"" if self._seen.header else _line(self._header, 0)) + line
            )
            self.refresh()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No other process or thread appends meanwhile, and all that they had appended is known.

        May be nested. Raises `RecordingError` when the lock file cannot be made.
        """
        try:
            if not self.path.parent.is_dir():
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(poll_interval=_LOCK_POLL_SECONDS)
        except OSError as error:
            raise disk_error("lock", self.path, error) from error
        try:
            self.refresh()
            yield
        finally:
            self._lock.release()

    def refresh(self) -> None:
        """Read what was appended since the last look. Raises `RecordingError` as `get` does."""
        try:
            status = self.path.stat()
            identity = (status.st_dev, status.st_ino)
            if identity != self._seen.identity or status.st_size < self._seen.end:
                self._seen = _Seen(identity=identity)
            if status.st_size == self._seen.end:
                return
            with self.path.open("rb") as file:
                file.seek(self._seen.end)
                for line in file:
                    if not self._take(line):
                        self._seen.missing_end = _CUT_OFF + b"\n"
                        break
        except FileNotFoundError:
            self._seen = _Seen()
        except OSError as error:
            raise disk_error("read", self.path, error) from error

    def sync(self) -> None:
        """Wait until the disk has all entries. Raises `RecordingError` when it reports a failure."""
        try:
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
        except FileNotFoundError:
            return
        except OSError as error:
            raise disk_error("write", self.path, error) from error

    def _take(self, line: bytes) -> bool:
        """Note one line; False for an unfinished one, which stays unread: it may still be being written."""
        seen = self._seen
        body = line.removesuffix(b"\n")
        ended = len(body) < len(line)
        if (entry := _checked(body, self._seed)) is not None and isinstance(entry.get("key"), str):
            seen.places[entry["key"]] = _Place(seen.end, len(body))
        elif (header := _checked(body, 0)) is not None and "format" in header:
            self._check_header(header)
            seen.header = True
        elif not ended:
            return False
        elif body.endswith(_CUT_OFF):
            seen.cut_off += 1
        elif body:  # an empty one is the late end of a line that had lost only its newline
            seen.damaged.append(seen.newlines + 1)
        seen.missing_end = b"" if ended else b"\n"
        seen.newlines += ended
        seen.end += len(line)
        return True

    def _check_header(self, header: Mapping[str, Json]) -> None:
        if header == self._header:
            return
        aside = self.path.with_name(f"{self.path.name}.{header.get('version')}")
        raise RecordingError(
            f"{self.path} is of another format or version\n"
            f"found: {_named(header)}\nallowed: {_named(self._header)}\n"
            f"Move it aside, and its contents are made again:\n"
            f"  mv {shlex.quote(str(self.path))} {shlex.quote(str(aside))}"
        )

    def _read(self, key: str) -> dict[str, Any] | None:
        place = self._seen.places.get(key)
        if place is None:
            return None
        try:
            with self.path.open("rb") as file:
                file.seek(place.offset)
                entry = _checked(file.read(place.size), self._seed)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error("read", self.path, error) from error
        return entry if entry is not None and entry.get("key") == key else None

    def _write(self, data: bytes) -> None:
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                # Once, unless the disk takes only a part; then the next call succeeds or says why not.
                while data:
                    data = data[os.write(descriptor, data) :]
            finally:
                os.close(descriptor)
        except OSError as error:
            raise disk_error("write", self.path, error) from error


def disk_error(doing: str, path: Path, error: OSError) -> RecordingError:
    """A `RecordingError` that says what could not be done to ``path``, why, and what to do next."""
    folder = shlex.quote(str(path.parent))
    if error.errno in _DISK_FULL:
        remedy = f"Free some space, or use another folder; what is there stays valid. See:\n  df -h {folder}"
    elif error.errno in _FORBIDDEN:
        remedy = f"Make it writable for this user, or use another folder. See:\n  ls -ld {folder}"
    else:
        remedy = f"See what stands there:\n  ls -la {folder}"
    return RecordingError(f"cannot {doing} {path}: {error.strerror or error}\n{remedy}")


def compact_json(data: Mapping[str, Json]) -> bytes:
    """JSON in UTF-8 without white space; raises ValueError or TypeError on what is not JSON, NaN included."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # surrogatepass: half a surrogate pair in a prompt must come back as it is; json.loads reads it likewise.
    return text.encode("utf-8", "surrogatepass")


def _line(data: Mapping[str, Json], seed: int) -> bytes:
    text = compact_json(data)
    return b"%08x %s\n" % (zlib.crc32(text, seed), text)


def _checked(body: bytes, seed: int) -> dict[str, Any] | None:
    checksum, _, text = body.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text, seed):
        return None
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _named(header: Mapping[str, Json]) -> str:
    return f"format {header.get('format')!r}, version {header.get('version')!r}"

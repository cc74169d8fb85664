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
import re
import shlex
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.engines.contract import Json
from harness.errors import RecordingError

__all__ = ["Journal", "compact_json", "disk_error", "json_text", "other_version"]

_CUT_OFF = b"#cut-off"
_HALF = re.compile("[\ud800-\udfff]")
_SIZE_BITS = 32  # a hundred thousand places as numbers take a third of what they take as tuples
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_State = tuple[tuple[int, int], int]


@dataclass(slots=True)
class _Seen:
    """What is known of the file so far."""

    identity: tuple[int, int] | None = None
    end: int = 0  # of what was read and understood, in bytes
    newlines: int = 0
    header: bool = False
    missing_end: bytes = b""  # what the next append must write first, to end the last line
    places: dict[str, int] = field(default_factory=dict)  # of a line: offset and size in one, see _SIZE_BITS
    damaged: list[int] = field(default_factory=list)
    file: int = -1  # open for entries, each of which is read by itself

    def __del__(self) -> None:
        if self.file >= 0:
            os.close(self.file)


class _Lock:
    """A lock among processes, as filelock's, which opens its file each time and so takes long an entry."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = -1
        self._depth = 0

    def acquire(self) -> None:
        """Wait for it, and make its folder; may be nested. Raises OSError."""
        import fcntl  # on other systems `harness` says what is missing

        while self._depth == 0:
            if self._file < 0:
                os.makedirs(os.path.dirname(self._path), exist_ok=True)  # noqa: PTH103, PTH120
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            if os.fstat(self._file).st_nlink:
                break
            self._close()  # somebody removed it, and others lock another one
        self._depth += 1

    def release(self) -> None:
        """Let go of one level."""
        import fcntl

        self._depth -= 1
        if self._depth == 0:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        self._close()


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
        self._lock = _Lock(f"{path}.lock")
        self._seen = _Seen()

    @property
    def damage(self) -> str:
        """A sentence about the lines that fail their checksum, '' without any; one cut off is none."""
        lines = self._seen.damaged
        return f"{self.path}: {len(lines)} damaged lines left out, first {lines[0]}" if lines else ""

    @property
    def unfinished(self) -> str:
        """A sentence where the last line has no end, '' where it has; who copies the file loses that line."""
        if not self._seen.missing_end.startswith(_CUT_OFF):
            return ""
        return f"{self.path}: its last line is not finished, as of a run at work or one that was ended"

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

    @contextmanager
    def understood(self) -> Iterator[None]:
        """What an entry lacks or has of another kind is a `RecordingError`; a checksum is no signature."""
        try:
            yield
        except Exception as error:
            what = str(error) if isinstance(error, RecordingError) else f"{type(error).__name__}: {error}"
            aside = shlex.join(["mv", str(self.path), f"{self.path}.aside"])
            raise RecordingError(
                f"{self.path}: found an entry of another form ({what})\n"
                f"Move the file aside, and its contents are made again:\n  {aside}"
            ) from error

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
            seen = self._seen
            start = seen.missing_end + (b"" if seen.header else _line(self._header, 0))
            if self._write(start + line) != (seen.identity, seen.end + len(line)) or start:
                self.refresh()
                return
            # Nobody else wrote: what stands there is known without reading it.
            seen.places[key] = seen.end << _SIZE_BITS | len(line) - 1
            seen.end, seen.newlines = seen.end + len(line), seen.newlines + 1

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No other process or thread appends meanwhile, and all that they had appended is known.

        May be nested. Raises `RecordingError` when the lock file cannot be made.
        """
        try:
            self._lock.acquire()
        except OSError as error:
            raise disk_error("lock", self.path, error) from error
        try:
            self._refresh(self._state_opened)
            yield
        finally:
            self._lock.release()

    def compact(self, keep: Callable[[str], bool]) -> tuple[int, int]:
        """Write the file anew without the keys that ``keep`` refuses, and without lines that count no more.

        Returns how many keys went, and by how many bytes the file shrank. Another process finds the new file
        when it looks next. Raises `RecordingError` when the disk refuses; then the file is as it was.
        """
        with self.locked():
            places = self._seen.places
            stay = [place for key, place in places.items() if keep(key)]
            unfinished = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
            try:
                with self.path.open("rb") as old, unfinished.open("wb") as new:
                    new.write(_line(self._header, 0))
                    for place in stay:
                        new.write(_at(old.fileno(), place) + b"\n")
                    new.flush()
                    os.fsync(new.fileno())
                shrunk = self.path.stat().st_size - unfinished.stat().st_size
                unfinished.replace(self.path)
            except OSError as error:
                unfinished.unlink(missing_ok=True)
                raise disk_error("write", self.path, error) from error
            self.refresh()
        return len(places) - len(stay), shrunk

    def refresh(self) -> None:
        """Read what was appended since the last look. Raises `RecordingError` as `get` does."""
        self._refresh(self._state)

    def _refresh(self, state: Callable[[], _State]) -> None:
        try:
            identity, size = state()
            if identity != self._seen.identity or size < self._seen.end:
                self._seen = _Seen(identity=identity)
            if size == self._seen.end:
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

    def _state(self) -> _State:
        """Which file it is now, and its size in bytes; raises OSError."""
        return _state_of(os.stat(self.path))  # noqa: PTH116 - asked for each entry, and pathlib takes its time

    def _state_opened(self) -> _State:
        """Likewise, where a client of NFS may else tell of the file as it was seconds ago."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            return _state_of(os.fstat(descriptor))
        finally:
            os.close(descriptor)

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
            seen.places[entry["key"]] = seen.end << _SIZE_BITS | len(body)
        elif (header := _checked(body, 0)) is not None and "format" in header:
            self._check_header(header)
            seen.header = True
        elif not ended:
            return False
        elif body and not body.endswith(_CUT_OFF):
            # An empty one is the late end of a line that had lost only its newline.
            seen.damaged.append(seen.newlines + 1)
        seen.missing_end = b"" if ended else b"\n"
        seen.newlines += ended
        seen.end += len(line)
        return True

    def _check_header(self, header: Mapping[str, Json]) -> None:
        if header == self._header:
            return
        raise other_version(
            self.path, header.get("version"), found=_named(header), allowed=_named(self._header)
        )

    def _read(self, key: str) -> dict[str, Any] | None:
        seen = self._seen
        place = seen.places.get(key)
        if place is None:
            return None
        try:
            if seen.file < 0:
                seen.file = os.open(self.path, os.O_RDONLY)
            entry = _checked(_at(seen.file, place), self._seed)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error("read", self.path, error) from error
        return entry if entry is not None and entry.get("key") == key else None

    def _write(self, data: bytes) -> _State:
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                # Once, unless the disk takes only a part; then the next call succeeds or says why not.
                while data:
                    data = data[os.write(descriptor, data) :]
                return _state_of(os.fstat(descriptor))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise disk_error("write", self.path, error) from error


def disk_error(doing: str, path: Path, error: OSError) -> RecordingError:
    """A `RecordingError` that says what could not be done to ``path``, why, and what to do next."""
    folder = shlex.quote(str(next(one for one in path.absolute().parents if os.path.lexists(one))))
    if error.errno in _DISK_FULL:
        remedy = f"Free some space, or use another folder; what is there stays valid. See:\n  df -h {folder}"
    elif error.errno in _FORBIDDEN:
        remedy = f"Make it writable for this user, or use another folder. See:\n  ls -ld {folder}"
    else:
        remedy = f"See what stands there:\n  ls -la {folder}"
    return RecordingError(f"cannot {doing} {path}: {error.strerror or error}\n{remedy}")


def other_version(path: Path, version: Json, *, found: str, allowed: str) -> RecordingError:
    """A `RecordingError` for the journal ``path`` with what this harness cannot read, and what to do next."""
    aside = path.with_name(f"{path.name}.{version}")
    return RecordingError(
        f"{path} is of another format or version\nfound: {found}\nallowed: {allowed}\n"
        f"Move it aside, and its contents are made again:\n"
        f"  mv {shlex.quote(str(path))} {shlex.quote(str(aside))}"
    )


def compact_json(data: Mapping[str, Json]) -> bytes:
    """JSON in UTF-8 without white space; raises ValueError or TypeError on what is not JSON, NaN included."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # surrogatepass: half a surrogate pair in a prompt must come back as it is; json.loads reads it likewise.
    return text.encode("utf-8", "surrogatepass")


def json_text(data: Json) -> str:
    """JSON for people to read: characters as they are, but half a surrogate pair, which a model may write."""
    return _HALF.sub(lambda found: ascii(found[0])[1:-1], json.dumps(data, ensure_ascii=False))


def _line(data: Mapping[str, Json], seed: int) -> bytes:
    text = compact_json(data)
    return b"%08x %s\n" % (zlib.crc32(text, seed), text)


def _checked(body: bytes, seed: int) -> dict[str, Any] | None:
    checksum, _, text = body.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text, seed):
        return None
    try:
        data = json.loads(text.decode("utf-8", "surrogatepass"))  # of bytes it would try every encoding
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _state_of(status: os.stat_result) -> _State:
    return (status.st_dev, status.st_ino), status.st_size


def _at(file: int, place: int) -> bytes:
    """The line at a place, without its end."""
    return os.pread(file, place & (1 << _SIZE_BITS) - 1, place >> _SIZE_BITS)


def _named(header: Mapping[str, Json]) -> str:
    return f"format {header.get('format')!r}, version {header.get('version')!r}"

"""Recordings: what one engine answered for one case, and the store that keeps them.

The store's folder::

    recordings/KIND-HASH.jsonl   a journal per engine: fingerprints, recordings, errors
    metrics.jsonl                a journal of metrics between two recordings
    rows/KEY.PATH.npy            full rows of logits, [V] float32, written by workers (`harness.workers.rows`)
    .gitignore                   keeps all of it out of version control

A recording's line holds the answer as compressed JSON, so that one with a long prompt stays under 2 KB: token
ids and log-probabilities are most of it, and two paths of one engine repeat each other's digits.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from harness.engines.codec import answer_from_json, answer_to_json
from harness.engines.contract import Answer, Json, Row
from harness.errors import EngineError, ErrorKind
from harness.recordings.fingerprint import asked_today, digest, engine_id, engine_id_of
from harness.recordings.journal import Journal, compact_json, disk_error
from harness.workers.rows import read_row, row_file

__all__ = ["Recording", "RecordingStore"]

_VERSION = 2  # of the journals; a change makes all recordings again
_ENTRY_VERSION = 3  # of a recording's entry; 2, which did not say so, had `asked` in its first form, or none
_WAIT_BEFORE_TELLING = 1.0
_FINGERPRINT_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What one engine answered for one case.

    ``key`` identifies everything the answer may depend on; ``case`` is ``suite.case-id`` and ``engine`` is
    ``profile-engine``, for people. ``fingerprint`` is that of the engine as it was loaded: model, versions,
    dtype, device. ``asked`` is what `harness.recordings.fingerprint.asked_of` says of the case, None in
    recordings from before it was kept. What the model was really shown is in the answer's question.
    """

    key: str
    case: str
    engine: str
    answer: Answer
    fingerprint: Mapping[str, Json]
    asked: Mapping[str, Json] | None = None


class RecordingStore:
    """All recordings under the folder ``root``, which is made when something is first written.

    Several processes may use one folder at once; an instance belongs to one thread. Every method raises
    `RecordingError` when the disk refuses, or a journal is of another version.
    """

    def __init__(self, root: Path) -> None:
        """Touches nothing yet."""
        self.root = root
        self._journals: dict[str, Journal] = {}
        self._metrics = Journal(root / "metrics.jsonl", format_name="vlm-harness metrics", version=_VERSION)
        self._fingerprints: dict[str, Mapping[str, Json]] = {}

    @property
    def rows_folder(self) -> Path:
        """Where workers write full rows; it need not exist."""
        return self.root / "rows"

    def get(self, key: str, *, run_id: str | None = None) -> Recording | None:
        """The last recording under ``key``, or None; with ``run_id``, None too if another run made it.

        ``case`` and ``engine`` are the names at the time when it was made.
        """
        journal = self._journal(engine_id_of(key))
        entry = journal.get(key)
        if entry is None or (run_id is not None and entry["run"] != run_id):
            return None
        fingerprint = self._fingerprint(journal, entry["fingerprint"])
        if fingerprint is None:
            return None
        return Recording(
            key=key,
            case=entry["case"],
            engine=entry["engine"],
            answer=_unpacked(entry["answer"]),
            fingerprint=fingerprint,
            asked=None if entry.get("asked") is None else asked_today(entry["asked"]),
        )

    def put(self, recording: Recording, *, run_id: str = "") -> None:
        """Append ``recording``, made by the run ``run_id``. Rows of the answer are not stored here."""
        journal = self._journal(engine_id_of(recording.key))
        self._make_root()
        fingerprint = dict(recording.fingerprint)
        name = digest(fingerprint)[:_FINGERPRINT_DIGITS]
        if not journal.has(f"fingerprint:{name}"):
            journal.append(f"fingerprint:{name}", {"fingerprint": fingerprint})
        journal.append(
            recording.key,
            {
                "version": _ENTRY_VERSION,
                "case": recording.case,
                "engine": recording.engine,
                "run": run_id,
                "fingerprint": name,
                **({} if recording.asked is None else {"asked": dict(recording.asked)}),
                "answer": _packed(recording.answer),
            },
        )

    def put_error(self, key: str, run_id: str, error: EngineError) -> None:
        """Remember for the rest of the run ``run_id``, in all its processes, that ``key`` got no answer.

        An engine that is not there at all is noted once, and for all its keys.
        """
        journal, name = self._journal(engine_id_of(key)), _error_name(key, run_id, whole=bool(error.refused))
        if error.refused and journal.has(name):
            return
        self._make_root()
        journal.append(
            name,
            {
                "kind": error.kind.value,
                "message": error.message,
                "log": error.log,
                "log_tail": error.log_tail,
                **({"refused": error.refused} if error.refused else {}),
            },
        )

    def error_for(self, key: str, run_id: str) -> EngineError | None:
        """The error that the run ``run_id`` met for ``key``, if any. Another run tries again."""
        return self._error(key, run_id, whole=False)

    def refusal_for(self, key: str, run_id: str) -> EngineError | None:
        """Likewise, that of the engine behind ``key`` as a whole; what it answered before still stands."""
        return self._error(key, run_id, whole=True)

    def _error(self, key: str, run_id: str, *, whole: bool) -> EngineError | None:
        entry = self._journal(engine_id_of(key)).get(_error_name(key, run_id, whole=whole))
        if entry is None:
            return None
        return EngineError(
            ErrorKind(entry["kind"]),
            entry["message"],
            log=entry["log"],
            log_tail=entry["log_tail"],
            refused=entry.get("refused", ""),
        )

    @contextmanager
    def making(
        self, fingerprint: Mapping[str, Json], *, on_wait: Callable[[], None] | None = None
    ) -> Iterator[None]:
        """Nobody else makes recordings of this engine meanwhile; what others made before is visible.

        ``fingerprint`` is the engine's, as `harness.recordings.fingerprint.engine_fingerprint` gives it.
        ``on_wait`` is called once if another process holds the engine for more than a second. Reading needs
        no `making`. At the end the disk has everything.
        """
        journal = self._journal(engine_id(fingerprint))
        self._make_root()
        lock = FileLock(journal.path.with_suffix(".making.lock"))
        try:
            journal.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=_WAIT_BEFORE_TELLING)
            except Timeout:
                if on_wait is not None:
                    on_wait()
                lock.acquire()
        except OSError as error:
            raise disk_error("lock", journal.path, error) from error
        try:
            yield
            journal.sync()
        finally:
            lock.release()

    def load_row(self, key: str, path: str) -> Row | None:
        """The full row [V] that ``path`` saw for ``key``, or None.

        A damaged file is deleted and counts as none.
        """
        file = row_file(self.rows_folder, key, path)
        try:
            row = read_row(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error("read", file, error) from error
        if row is None:
            self.drop_rows(key, [path])
        return row

    def drop_rows(self, key: str, paths: Iterable[str]) -> None:
        """Delete the full rows that ``paths`` saw for ``key``; missing ones do not matter."""
        for path in paths:
            file = row_file(self.rows_folder, key, path)
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                raise disk_error("delete", file, error) from error

    def put_metrics(self, key_a: str, key_b: str, metrics: Mapping[str, float]) -> None:
        """Remember metrics of the full rows of two recordings, in this order, so that the rows may go."""
        self._make_root()
        # JSON has no infinity, and a divergence may be infinite; float() reads both spellings.
        texts: dict[str, Json] = {name: str(float(value)) for name, value in metrics.items()}
        self._metrics.append(f"{key_a} {key_b}", {"metrics": texts})

    def get_metrics(self, key_a: str, key_b: str) -> dict[str, float] | None:
        """What `put_metrics` was given last for the same two keys in the same order, or None."""
        entry = self._metrics.get(f"{key_a} {key_b}")
        return None if entry is None else {name: float(value) for name, value in entry["metrics"].items()}

    def damage(self) -> tuple[str, ...]:
        """A sentence per journal used so far that has damaged lines; what stood on them is made again."""
        journals = (*self._journals.values(), self._metrics)
        return tuple(journal.damage for journal in journals if journal.damage)

    def _journal(self, engine: str) -> Journal:
        if engine not in self._journals:
            path = self.root / "recordings" / f"{engine}.jsonl"
            self._journals[engine] = Journal(path, format_name="vlm-harness recordings", version=_VERSION)
        return self._journals[engine]

    def _fingerprint(self, journal: Journal, name: str) -> Mapping[str, Json] | None:
        # Few, and each shared by thousands of recordings, so these are kept in memory.
        if name not in self._fingerprints:
            entry = journal.get(f"fingerprint:{name}")
            if entry is None:
                return None
            self._fingerprints[name] = entry["fingerprint"]
        return self._fingerprints[name]

    def _make_root(self) -> None:
        ignore = self.root / ".gitignore"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not ignore.exists():
                ignore.write_text("# Made by the harness; safe to delete.\n*\n", encoding="utf-8")
        except OSError as error:
            raise disk_error("write", ignore, error) from error


def _error_name(key: str, run_id: str, *, whole: bool) -> str:
    return f"error:{run_id}:{engine_id_of(key) if whole else key}"


def _packed(answer: Answer) -> str:
    return base64.b64encode(zlib.compress(compact_json(answer_to_json(answer)), 9)).decode("ascii")


def _unpacked(text: str) -> Answer:
    return answer_from_json(json.loads(zlib.decompress(base64.b64decode(text))))

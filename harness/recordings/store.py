"""Recordings: what one engine answered for one case, and the store that keeps them.

The store's folder::

    recordings/KIND-HASH.jsonl   a journal per engine: fingerprints, samples, recordings, errors
    metrics.jsonl                a journal of metrics between two recordings
    rows/KEY.PATH.npy            full rows of logits, [V] float32, written by workers (`harness.workers.rows`)
    .gitignore                   keeps all of it out of version control

A recording's line holds compressed JSON, so that those of two engines stay under 2 KB: token ids and
log-probabilities are most of it. It names the sample of its suite that it was compressed by, and that names
the fingerprint; without these two lines it counts as not made (see `harness.recordings.packing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from harness.cases.kept import make_ignored
from harness.engines.codec import answer_to_json
from harness.engines.contract import Answer, Json, Row
from harness.errors import EngineError, ErrorKind, RecordingError
from harness.recordings.fingerprint import asked_today, digest, engine_id, engine_id_of
from harness.recordings.journal import Journal, compact_json, disk_error, other_version
from harness.recordings.leases import Lease
from harness.recordings.pace import Pace
from harness.recordings.packing import pack, unpack, unpack_early
from harness.workers.believing import believed
from harness.workers.handed_over import read_row
from harness.workers.rows import row_file

__all__ = ["Recording", "RecordingStore"]

_VERSION = 2  # of the journals; a change makes all recordings again
_ENTRY_VERSION = 4  # of a recording's entry; 3 had no sample, 2 did not say so, and `asked` in its first form
_FINGERPRINT_DIGITS = 16
_SAMPLE_DIGITS = 8  # a journal has a few
_FINGERPRINT, _SAMPLE, _ERROR = "fingerprint:", "sample:", "error:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What one engine answered for one case.

    ``key`` identifies everything the answer may depend on; ``case`` is ``suite.case-id`` and ``engine`` is
    ``profile-engine``, for people. ``fingerprint`` is that of the engine as it was loaded: model, versions,
    dtype, device. ``asked`` is what `harness.recordings.fingerprint.asked_of` says of the case, None in
    recordings from before it was kept. What the model was really shown is in the answer's question. ``pace``
    is how fast the engine went until then, None where that is not known.
    """

    key: str
    case: str
    engine: str
    answer: Answer
    fingerprint: Mapping[str, Json]
    asked: Mapping[str, Json] | None = None
    pace: Pace | None = field(default=None, compare=False)


class _Sample(NamedTuple):
    """What recordings of one suite and fingerprint are compressed by."""

    suite: str
    fingerprint: str
    text: bytes


class RecordingStore:
    """All recordings under the folder ``root``, which is made when something is first written.

    Several processes may use one folder at once; an instance belongs to one thread. Every method raises
    `RecordingError` when the disk refuses, or a journal is of another version.
    """

    def __init__(self, root: Path) -> None:
        """Touches nothing yet."""
        self.root = root
        self.rows_folder = root / "rows"  # where workers write full rows; it need not exist
        self._journals: dict[str, Journal] = {}
        self._metrics = Journal(root / "metrics.jsonl", format_name="vlm-harness metrics", version=_VERSION)
        self._fingerprints: dict[str, Mapping[str, Json]] = {}
        self._samples: dict[tuple[Path, str], _Sample] = {}  # by journal and name
        self._sampled: dict[tuple[Path, str, str], str | None] = {}  # name, by journal, suite and fingerprint
        self._made = False  # whether the folder was seen to be there
        self._last_put: tuple[Mapping[str, Json], str] = ({}, "")  # one with its name, shared by many

    @property
    def metrics_journal(self) -> Journal:
        """Where `put_metrics` writes, by both keys with a space between them."""
        return self._metrics

    def has(self, key: str, *, run_id: str | None = None) -> bool:
        """Whether `get` would find a recording, as far as can be told without unpacking it."""
        journal = self.journal_of(engine_id_of(key))
        if run_id is not None:
            return self.get(key, run_id=run_id) is not None
        if (entry := journal.get(key)) is None:
            return False
        with journal.understood():
            self._require_known(journal, entry)
            name = entry.get("fingerprint")
            if "like" in entry and (sample := self._sample(journal, entry["like"])) is not None:
                name = sample.fingerprint
            return name is not None and self._fingerprint(journal, name) is not None

    def get(self, key: str, *, run_id: str | None = None) -> Recording | None:
        """The last recording under ``key``, or None; with ``run_id``, None too if another run made it.

        ``case`` and ``engine`` are the names at the time when it was made.
        """
        journal = self.journal_of(engine_id_of(key))
        packed = journal.get(key)
        with journal.understood():
            entry = self._opened(journal, packed)
            if entry is None or (run_id is not None and entry["run"] != run_id):
                return None
            fingerprint = self._fingerprint(journal, entry["fingerprint"])
            if fingerprint is None:
                return None
            return Recording(
                key=key,
                case=str(entry["case"]),
                engine=str(entry["engine"]),
                answer=believed(entry["answer"]),
                fingerprint=fingerprint,
                asked=None if entry.get("asked") is None else asked_today(entry["asked"]),
                pace=None if entry.get("pace") is None else Pace(*entry["pace"]),
            )

    def _opened(self, journal: Journal, entry: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """All that a recording's entry says; None where there is none, or no sample to read it by."""
        if entry is None:
            return None
        self._require_known(journal, entry)
        if "like" not in entry:
            return {**entry, "answer": unpack_early(entry["answer"])}
        sample = self._sample(journal, entry["like"])
        if sample is None:
            return None
        return {"fingerprint": sample.fingerprint, **unpack(entry["packed"], sample.text)}

    def _require_known(self, journal: Journal, entry: Mapping[str, Any]) -> None:
        if (version := entry.get("version", 0)) > _ENTRY_VERSION:
            raise other_version(
                journal.path,
                version,
                found=f"an entry of version {version}",
                allowed=f"versions up to {_ENTRY_VERSION}",
            )

    def put(self, recording: Recording, *, run_id: str = "") -> None:
        """Append ``recording``, made by the run ``run_id``. Rows of the answer are not stored here."""
        journal = self.journal_of(engine_id_of(recording.key))
        self._make_root()
        if self._last_put[0] is not recording.fingerprint:
            name = digest(dict(recording.fingerprint))[:_FINGERPRINT_DIGITS]
            self._last_put = recording.fingerprint, name
        fingerprint, name = self._last_put
        if not journal.has(_FINGERPRINT + name):
            journal.append(_FINGERPRINT + name, {"packed": pack(dict(fingerprint))})
        made: dict[str, Json] = {
            "case": recording.case,
            "engine": recording.engine,
            "run": run_id,
            **({} if recording.asked is None else {"asked": dict(recording.asked)}),
            **({} if recording.pace is None else {"pace": list(recording.pace)}),
            "answer": answer_to_json(recording.answer),
        }
        like, sample = self._sample_like(journal, made, name)
        packed = pack(made, sample.text)
        journal.append(recording.key, {"version": _ENTRY_VERSION, "like": like, "packed": packed})

    def _sample_like(
        self, journal: Journal, made: Mapping[str, Json], fingerprint: str
    ) -> tuple[str, _Sample]:
        """Name and text of a recording of the same suite and fingerprint: the first that there was."""
        suite, _, _ = str(made["case"]).partition(".")
        place = (journal.path, suite, fingerprint)
        name = self._sampled.get(place)
        if name is None or not journal.has(_SAMPLE + name):  # another process may have cleaned
            name = self._sampled[place] = self._find_sample(journal, suite, fingerprint)
        if name is None:
            own: dict[str, Json] = {"suite": suite, "fingerprint": fingerprint, "packed": pack(made)}
            name = self._sampled[place] = digest(own)[:_SAMPLE_DIGITS]
            journal.append(_SAMPLE + name, own)
        found = self._sample(journal, name)
        if found is None:
            raise RecordingError(f"{journal.path}: found no sample {name} just after it was written")
        return name, found

    def _find_sample(self, journal: Journal, suite: str, fingerprint: str) -> str | None:
        every = journal.keys()
        for name in (key.removeprefix(_SAMPLE) for key in every if key.startswith(_SAMPLE)):
            found = self._sample(journal, name)
            if found is not None and (found.suite, found.fingerprint) == (suite, fingerprint):
                return name
        return None

    def _sample(self, journal: Journal, name: str) -> _Sample | None:
        if (place := (journal.path, name)) not in self._samples:
            entry = journal.get(_SAMPLE + name)
            if entry is None:
                return None
            text = compact_json(unpack(entry["packed"]))
            self._samples[place] = _Sample(entry["suite"], entry["fingerprint"], text)
        return self._samples[place]

    def put_error(self, key: str, run_id: str, error: EngineError) -> None:
        """Remember for the rest of the run ``run_id``, in all its processes, that ``key`` got no answer.

        An engine that is not there at all is noted once, and for all its keys.
        """
        journal = self.journal_of(engine_id_of(key))
        name = _error_name(key, run_id, whole=bool(error.refused))
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
        entry = self.journal_of(engine_id_of(key)).get(_error_name(key, run_id, whole=whole))
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
        self,
        fingerprint: Mapping[str, Json],
        *,
        part: str = "",
        on_wait: Callable[[], None] | None = None,
    ) -> Iterator[None]:
        """Nobody else makes recordings of this engine meanwhile; what others made before is visible.

        ``fingerprint`` is the engine's, as `harness.recordings.fingerprint.engine_fingerprint` gives it. With
        ``part``, such as ``3-of-8``, others may make other parts of the same division meanwhile.
        ``on_wait`` is called once if another process holds it for more than a second. Reading needs
        no `making`. At the end the disk has everything.
        """
        journal = self.journal_of(engine_id(fingerprint))
        self._make_root()
        lease = Lease(journal.path, part)
        try:
            journal.path.parent.mkdir(parents=True, exist_ok=True)
            lease.take(on_wait)
        except OSError as error:
            raise disk_error("lock", journal.path, error) from error
        try:
            yield
            journal.sync()
        finally:
            lease.release()

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

    def has_rows(self, key: str, paths: Iterable[str]) -> bool:
        """Whether one of the full rows that ``paths`` saw for ``key`` is there."""
        return any(row_file(self.rows_folder, key, path).exists() for path in paths)

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

    def has_metrics(self, key_a: str, key_b: str) -> bool:
        """Whether `get_metrics` finds some."""
        return self._metrics.has(f"{key_a} {key_b}")

    def get_metrics(self, key_a: str, key_b: str) -> dict[str, float] | None:
        """What `put_metrics` was given last for the same two keys in the same order, or None."""
        entry = self._metrics.get(f"{key_a} {key_b}")
        with self._metrics.understood():
            return None if entry is None else {name: float(value) for name, value in entry["metrics"].items()}

    def damage(self) -> tuple[str, ...]:
        """A sentence per journal used so far that has damaged lines; what stood on them is made again."""
        return tuple(filter(None, (journal.damage for journal in self.journals())))

    def engines(self) -> list[str]:
        """The names of the journals in the folder, see `journal_of`."""
        return [file.stem for file in sorted((self.root / "recordings").glob("*.jsonl"))]

    def journals(self) -> Iterator[Journal]:
        """Those used so far, and that of metrics."""
        yield from (*self._journals.values(), self._metrics)

    def journal_of(self, engine: str) -> Journal:
        """The journal of one engine, by its `harness.recordings.fingerprint.engine_id`."""
        if engine not in self._journals:
            path = self.root / "recordings" / f"{engine}.jsonl"
            self._journals[engine] = Journal(path, format_name="vlm-harness recordings", version=_VERSION)
        return self._journals[engine]

    def answers(self, engine: str) -> list[str]:
        """Keys of the recordings in the journal of one engine as they were made, whether readable or not."""
        keys = self.journal_of(engine).keys()
        return [key for key in keys if not key.startswith((_ERROR, _FINGERPRINT, _SAMPLE))]

    def shared(self, engine: str, keys: Iterable[str]) -> set[str]:
        """Keys of the entries beside recordings that those under ``keys`` cannot be read without."""
        journal = self.journal_of(engine)
        found: set[str] = set()
        for key in keys:
            entry = journal.get(key) or {}
            if (like := entry.get("like")) is not None:
                found.add(_SAMPLE + like)
                sample = self._sample(journal, like)
                entry = {} if sample is None else {"fingerprint": sample.fingerprint}
            found.add(f"{_FINGERPRINT}{entry.get('fingerprint')}")
        return found

    def _fingerprint(self, journal: Journal, name: str) -> Mapping[str, Json] | None:
        # Few, and each shared by thousands of recordings, so these are kept in memory.
        if name not in self._fingerprints:
            entry = journal.get(_FINGERPRINT + name)
            if entry is None:
                return None
            self._fingerprints[name] = unpack(entry["packed"]) if "packed" in entry else entry["fingerprint"]
        return self._fingerprints[name]

    def _make_root(self) -> None:
        if self._made:
            return
        try:
            make_ignored(self.root)
        except OSError as error:
            raise disk_error("write", self.root / ".gitignore", error) from error
        self._made = True


def _error_name(key: str, run_id: str, *, whole: bool) -> str:
    return f"{_ERROR}{run_id}:{engine_id_of(key) if whole else key}"

"""Entries with a sound checksum that say something else than they should are told with their file."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.engines.codec import answer_to_json
from harness.errors import RecordingError
from harness.noise.store import NoiseStore
from harness.recordings.store import RecordingStore
from harness.scoring.stored_runs import StoredRuns
from tests.recordings.recording_data import answer, journal_path, key_of, recording

GOOD: Mapping[str, Any] = answer_to_json(answer(words=6, image=4))


def packed(content: bytes) -> str:
    """As entries up to version 3 have an answer, which are read still."""
    return base64.b64encode(zlib.compress(content)).decode()


def forged(store: RecordingStore, **fields: Any) -> None:
    """A recording with other ``fields`` than it should have, in the form that may hold anything."""
    store.put(recording())
    journal = store.journal_of(key_of(1).rpartition("-")[0])
    (name,) = (key.partition(":")[2] for key in journal.keys() if key.startswith("fingerprint:"))  # noqa: SIM118
    entry = {"version": 3, "case": "s.a", "engine": "p-e", "run": "", "fingerprint": name, **fields}
    journal.append(key_of(1), {name: value for name, value in entry.items() if value is not ...})


CHANGES: list[dict[str, Any]] = [{"t": 5}, {"g": ["a"]}, {"p": [[7, 10**12]]}, {"v": {"a": 1}}, {"l": [{}]}]
FORGED: dict[str, dict[str, Any]] = {
    "no answer": {"answer": ...},
    "no run": {"case": ...},
    "a list": {"answer": [1]},
    "no base64": {"answer": "!"},
    "not packed": {"answer": base64.b64encode(b"{}").decode()},
    "cut off": {"answer": packed(b"{}")[:-8]},
    "nested": {"answer": packed(b"[" * 100_000)},
    "no fields": {"answer": packed(b"{}")},
    "another pace": {"pace": [1]},
    "asked": {"asked": 5},
    **{
        f"{next(iter(change))}: {str(change)[:20]}": {
            "answer": packed(json.dumps({**GOOD, **change}).encode())
        }
        for change in CHANGES
    },
}


@pytest.mark.parametrize("name", FORGED)
def test_a_recording_of_another_form(store: RecordingStore, name: str) -> None:
    forged(store, **FORGED[name])
    with pytest.raises(RecordingError) as caught:
        RecordingStore(store.root).get(key_of(1))
    said = str(caught.value)
    assert said.startswith(f"{journal_path(store)}: found an entry of another form (")
    assert f"  mv {journal_path(store)}" in said


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"{}",
        json.dumps({"case": "s.a", "engine": "e", "run": "", "answer": {"p": 5}}).encode(),
    ],
)
def test_one_of_the_present_form(store: RecordingStore, content: bytes) -> None:
    store.put(recording())
    journal = store.journal_of(key_of(1).rpartition("-")[0])
    like = (journal.get(key_of(1)) or {})["like"]
    squeezed = zlib.compressobj(9, zlib.DEFLATED, -15)
    text = base64.b85encode(squeezed.compress(content) + squeezed.flush()).decode()
    journal.append(key_of(1), {"version": 4, "like": like, "packed": text})
    with pytest.raises(RecordingError, match=r"\.jsonl: found an entry of another form"):
        RecordingStore(store.root).get(key_of(1))


def test_metrics_samples_and_runs_of_another_form(tmp_path: Path) -> None:
    store = RecordingStore(tmp_path)
    store.metrics_journal.append("a b", {"metrics": {"kl": "x"}})
    with pytest.raises(RecordingError, match=r"metrics\.jsonl: found an entry of another form"):
        store.get_metrics("a", "b")
    noise = NoiseStore(tmp_path, "p", "e")
    noise._journal.append("m:v:a", {"samples": [{"path": "x"}]})
    with pytest.raises(RecordingError, match=r"p-e\.jsonl: found an entry of another form"):
        noise.samples("m", "v", "a")
    runs = StoredRuns(tmp_path)
    runs._journal.append("1 p/e", {"keys": 5})
    with pytest.raises(RecordingError, match=r"runs\.jsonl: found an entry of another form"):
        runs.all()

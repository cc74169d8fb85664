"""Entries as compressed text, and the samples that they are compressed by."""

from __future__ import annotations

import base64
import dataclasses
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines.codec import answer_from_json, answer_to_json
from harness.errors import RecordingError
from harness.recordings import packing
from harness.recordings.fingerprint import engine_id_of
from harness.recordings.packing import pack, unpack, unpack_early
from harness.recordings.store import Recording, RecordingStore
from tests.recordings.recording_data import key_of, recording

ENGINE = engine_id_of(key_of(1))


@given(
    st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False) | st.text()),
    st.binary(max_size=300),
)
def test_what_is_packed_comes_back(data: dict[str, float | str], sample: bytes) -> None:
    text = pack(data, sample)
    assert unpack(text, sample) == data
    assert not {*'"\\\n'} & {*text}


@given(st.binary(max_size=40))
def test_base85_is_pythons(data: bytes) -> None:
    text = base64.b85encode(data).decode()
    assert packing._b85encode(data) == text
    assert packing._b85decode(text) == data


@pytest.mark.parametrize("text", ["~~~~~", '00"00', "é000"])
def test_no_base85(text: str) -> None:
    for read in (packing._b85decode, base64.b85decode):
        with pytest.raises(ValueError, match=r"(?i)base85|ascii"):
            read(text)


@pytest.mark.parametrize("text", ["", "~~~~~", "~", "'", "0000", pack({"a": "b" * 50})[:-5], "é"])
def test_other_text_is_refused(text: str) -> None:
    for read in (unpack, unpack_early):
        with pytest.raises(RecordingError, match="this is no packed entry"):
            read(text)


def test_no_more_is_opened_than_an_entry_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    text = pack({"a": "b" * 5000})
    early = base64.b64encode(zlib.compress(b'{"a":"' + b"b" * 5000 + b'"}')).decode()
    assert unpack(text) == unpack_early(early)
    monkeypatch.setattr(packing, "_MOST", 4000)
    for read, packed in ((unpack, text), (unpack_early, early)):
        with pytest.raises(RecordingError, match="of more than 4,000 bytes"):
            read(packed)


def of_suite(number: int, suite: str) -> Recording:
    made = recording(number)
    rounded = answer_from_json(answer_to_json(made.answer))
    return dataclasses.replace(made, case=f"{suite}.c{number}", answer=rounded)


def samples(store: RecordingStore) -> int:
    return sum(key.startswith("sample:") for key in store.journal_of(ENGINE).keys())  # noqa: SIM118 - no mapping


def test_each_suite_has_one_sample_whoever_writes(tmp_path: Path) -> None:
    for number, suite in enumerate(["a", "b", "a", "b"]):
        RecordingStore(tmp_path).put(of_suite(number, suite))
    store = RecordingStore(tmp_path)
    assert samples(store) == 2
    assert [store.get(key_of(n)) for n in range(4)] == [of_suite(n, "abab"[n]) for n in range(4)]


def test_a_sample_that_was_cleaned_away_meanwhile_is_written_again(tmp_path: Path) -> None:
    store = RecordingStore(tmp_path)
    store.put(of_suite(1, "a"))
    RecordingStore(tmp_path).journal_of(ENGINE).compact(lambda key: False)
    store.put(of_suite(2, "a"))
    assert RecordingStore(tmp_path).get(key_of(2)) == of_suite(2, "a")


def test_what_a_recording_needs_is_told(tmp_path: Path) -> None:
    store = RecordingStore(tmp_path)
    for number, suite in enumerate("ab"):
        store.put(of_suite(number, suite))
    needed = store.shared(ENGINE, [key_of(0)])
    store.journal_of(ENGINE).compact({key_of(0), *needed}.__contains__)
    again = RecordingStore(tmp_path)
    assert (again.get(key_of(0)), again.get(key_of(1)), samples(again)) == (of_suite(0, "a"), None, 1)

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines.contract import EngineSettings, Json, Request
from harness.errors import EngineError, ErrorKind, RecordingError
from harness.recordings import fingerprint
from harness.recordings.fingerprint import (
    canonical_json,
    describe_differences,
    engine_fingerprint,
    engine_id,
    engine_id_of,
    image_fingerprint,
    model_fingerprint,
    recording_key,
)

COUNTING = (
    "model.safetensors",
    "config.json",
    "tokenizer.model",
    "chat_template.jinja",
    "modeling.py",
    "x/y.odd",
)
NOT_COUNTING = ("README.md", "LICENSE", ".gitattributes", ".git/HEAD", "doc.png", "__pycache__/modeling.pyc")
INSTALLED: dict[str, Json] = {"python": "3.11.8", "packages": {"torch": "2.6.0"}}
REQUEST = Request(case="shapes.red", prompt="Which?", letters=("A", "B"), images=("/somewhere/a.png",))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    for name in (*COUNTING, *NOT_COUNTING):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were really read."""
    names: list[str] = []
    read = fingerprint._file_hash

    def noting(path: Path) -> str:
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(fingerprint, "_file_hash", noting)
    return names


def settings_for(model: Path) -> EngineSettings:
    return EngineSettings(
        kind="torch",
        model=str(model),
        dtype="float32",
        device="cpu",
        paths=("forward",),
        top_k=20,
        batch_size=8,
    )


def test_files_that_can_change_an_answer_are_hashed(model: Path, cache: Path) -> None:
    files = model_fingerprint(model, cache)["files"]
    assert isinstance(files, dict)
    assert set(files) == set(COUNTING)
    assert files["config.json"] == hashlib.sha256(b"content of config.json").hexdigest()


@pytest.mark.parametrize("name", COUNTING)
def test_a_change_in_any_of_them_changes_the_hash(model: Path, cache: Path, name: str) -> None:
    before = model_fingerprint(model, cache)
    (model / name).write_text(f"content of {name}".upper())
    after = model_fingerprint(model, cache)
    assert [d.path for d in describe_differences(before, after)] == [f"files.{name}", "hash"]


@pytest.mark.parametrize("name", NOT_COUNTING)
def test_a_change_in_a_document_does_not(model: Path, cache: Path, name: str) -> None:
    before = model_fingerprint(model, cache)
    (model / name).write_text("changed")
    assert model_fingerprint(model, cache) == before


def test_a_renamed_or_added_file_changes_the_hash(model: Path, cache: Path) -> None:
    hashes = {model_fingerprint(model, cache)["hash"]}
    (model / "config.json").rename(model / "other.json")
    hashes.add(model_fingerprint(model, cache)["hash"])
    (model / "vocab.json").write_text("")
    hashes.add(model_fingerprint(model, cache)["hash"])
    assert len(hashes) == 3


def test_unchanged_files_are_read_once(
    model: Path, cache: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "_FRESH_NS", 0)
    first = model_fingerprint(model, cache)
    assert len(hashed) == len(COUNTING)
    assert model_fingerprint(model, cache) == first
    assert len(hashed) == len(COUNTING)


def test_a_change_that_keeps_size_and_modification_time_is_seen(
    model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "_FRESH_NS", 0)
    weights = model / "model.safetensors"
    before = model_fingerprint(model, cache)
    status = weights.stat()
    while weights.stat().st_ctime_ns == status.st_ctime_ns:
        weights.write_text("CONTENT of model.safetensors")
        os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert weights.stat().st_mtime_ns == status.st_mtime_ns
    assert model_fingerprint(model, cache) != before


def test_a_file_changed_just_now_is_not_remembered(model: Path, cache: Path, hashed: list[str]) -> None:
    model_fingerprint(model, cache)
    model_fingerprint(model, cache)
    assert len(hashed) == 2 * len(COUNTING)


def test_a_damaged_memory_is_no_obstacle(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "_FRESH_NS", 0)
    first = model_fingerprint(model, cache)
    (cache / "file-hashes.jsonl").write_bytes(b"\xff\x00 not ours\n{")
    assert model_fingerprint(model, cache) == first


def test_links_are_followed(model: Path, cache: Path, tmp_path: Path) -> None:
    linked = tmp_path / "snapshot"
    linked.mkdir()
    for name in COUNTING:
        (linked / name).parent.mkdir(exist_ok=True)
        (linked / name).symlink_to(model / name)
    assert model_fingerprint(linked, cache) == model_fingerprint(model, cache)


def test_no_folder_and_no_model(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(EngineError, match=r"absent does not exist\nSee: ls -la") as caught:
        model_fingerprint(tmp_path / "absent", cache)
    assert caught.value.kind is ErrorKind.LOAD
    (tmp_path / "README.md").write_text("")
    with pytest.raises(EngineError, match="holds no model"):
        model_fingerprint(tmp_path, cache)


def test_image_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"pixels")
    assert image_fingerprint(tmp_path / "a.png") == hashlib.sha256(b"pixels").hexdigest()
    with pytest.raises(EngineError, match=r"cannot read the image .*b\.png: No such file"):
        image_fingerprint(tmp_path / "b.png")


def test_an_image_that_changes_is_read_again_whatever_its_size_and_date_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(b"pixels")
    monkeypatch.setattr(fingerprint, "_FRESH_NS", 0)
    before = image.stat()
    assert {image_fingerprint(image) for _ in range(2)} == {hashlib.sha256(b"pixels").hexdigest()}
    time.sleep(0.05)  # longer than the clock of a file system takes for a step
    image.write_bytes(b"slexip")
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert image_fingerprint(image) == hashlib.sha256(b"slexip").hexdigest()


def test_an_image_is_read_once_unless_it_is_so_new_that_a_change_would_not_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(b"pixels")
    digest = mock.Mock(wraps=hashlib.file_digest)
    monkeypatch.setattr(hashlib, "file_digest", digest)
    for fresh, times in ((10**18, 2), (0, 3)):
        monkeypatch.setattr(fingerprint, "_FRESH_NS", fresh)
        for _ in range(2):
            image_fingerprint(image)
        assert digest.call_count == times


def key_for(model: Path, cache: Path) -> str:
    return recording_key(
        engine_fingerprint(settings_for(model), INSTALLED, patch=None, cache=cache), REQUEST, "0f"
    )


def test_moving_the_model_keeps_the_key(model: Path, cache: Path, tmp_path: Path) -> None:
    before = key_for(model, cache)
    assert re.fullmatch(r"torch-[0-9a-f]{12}-[0-9a-f]{40}", before)
    assert key_for(model.rename(tmp_path / "elsewhere"), cache) == before


def test_the_case_and_the_place_of_its_image_are_not_in_the_key(model: Path, cache: Path) -> None:
    engine = engine_fingerprint(settings_for(model), INSTALLED, patch=None, cache=cache)
    other = dataclasses.replace(REQUEST, case="other.name", images=("/elsewhere/b.png",))
    assert recording_key(engine, other, ("0f",)) == recording_key(engine, REQUEST, ("0f",))


REQUEST_CHANGES: dict[str, object] = {
    "prompt": "which?",
    "letters": ("B", "A"),
    "system": "",
    "answer_prefix": "Answer: ",
    "max_new_tokens": 8,
    "kind": "text",
    "target": "1984",
}


@pytest.mark.parametrize("field", sorted({f.name for f in dataclasses.fields(Request)} - {"case", "images"}))
def test_every_other_field_of_the_request_is(model: Path, cache: Path, field: str) -> None:
    engine = engine_fingerprint(settings_for(model), INSTALLED, patch=None, cache=cache)
    other = dataclasses.replace(REQUEST, **{field: REQUEST_CHANGES[field]})  # type: ignore[arg-type]
    assert recording_key(engine, other, ("0f",)) != recording_key(engine, REQUEST, ("0f",))
    assert recording_key(engine, other, ("0f",)).startswith(engine_id(engine))


def test_the_image_is(model: Path, cache: Path) -> None:
    engine = engine_fingerprint(settings_for(model), INSTALLED, patch=None, cache=cache)
    assert (
        len({recording_key(engine, REQUEST, images) for images in (("0f",), ("0e",), (), ("0f", "0e"))}) == 4
    )


SETTING_CHANGES: dict[str, object] = {
    "kind": "lmdeploy",
    "dtype": "bfloat16",
    "device": "cuda",
    "paths": ("generate",),
    "top_k": 5,
    "batch_size": 1,
    "max_tiles": 6,
    "options": {"session_len": 4096},
}


@pytest.mark.parametrize("field", sorted({f.name for f in dataclasses.fields(EngineSettings)} - {"model"}))
def test_every_setting_is(model: Path, cache: Path, field: str) -> None:
    settings = settings_for(model)
    other = dataclasses.replace(settings, **{field: SETTING_CHANGES[field]})  # type: ignore[arg-type]
    engines = [engine_fingerprint(s, INSTALLED, patch=None, cache=cache) for s in (settings, other)]
    assert engine_id(engines[0]) != engine_id(engines[1])
    changed = {d.path.split(".")[1] for d in describe_differences(*engines) if d.path.startswith("settings")}
    assert changed == {field}


def change_package(model: Path, patch: Path, installed: dict[str, Json]) -> None:
    installed["packages"] = {"torch": "2.7.0"}


def change_weights(model: Path, patch: Path, installed: dict[str, Json]) -> None:
    (model / "model.safetensors").write_text("perturbed")


def change_patch(model: Path, patch: Path, installed: dict[str, Json]) -> None:
    patch.write_text("print('patched')")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (change_package, "installed.packages.torch"),
        (change_weights, "model.files.model.safetensors"),
        (change_patch, "patch.patch.py"),
    ],
)
def test_the_rest_of_the_engine_is(
    model: Path, cache: Path, tmp_path: Path, change: Callable[[Path, Path, dict[str, Json]], None], path: str
) -> None:
    patch = tmp_path / "patch.py"
    patch.write_text("")
    installed = dict(INSTALLED)
    before = engine_fingerprint(settings_for(model), installed, patch=patch, cache=cache)
    change(model, patch, installed)
    after = engine_fingerprint(settings_for(model), installed, patch=patch, cache=cache)
    assert engine_id(before) != engine_id(after)
    assert path in [d.path for d in describe_differences(before, after)]


def test_our_own_modules_are_by_name(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = engine_fingerprint(settings_for(model), INSTALLED, patch=None, cache=cache)
    read = fingerprint._file_hash
    monkeypatch.setattr(
        fingerprint, "_file_hash", lambda path: "changed" if path.name == "passes.py" else read(path)
    )
    after = engine_fingerprint(settings_for(model), INSTALLED, patch=None, cache=cache)
    assert [d.path for d in describe_differences(before, after)] == ["harness.engines.torch_native.passes"]
    assert before["version"] == 2


def test_a_missing_patch_is_named(model: Path, cache: Path) -> None:
    with pytest.raises(EngineError, match=r"cannot read the patch .*nowhere\.py: No such file"):
        engine_fingerprint(settings_for(model), INSTALLED, patch=Path("nowhere.py"), cache=cache)


def test_the_engine_of_a_key(model: Path, cache: Path) -> None:
    engine = engine_fingerprint(settings_for(model), INSTALLED, patch=None, cache=cache)
    assert engine_id_of(recording_key(engine, REQUEST, ())) == engine_id(engine)
    with pytest.raises(RecordingError, match="'abc' is no recording's key"):
        engine_id_of("abc")


NAMES = st.text(max_size=5)
SCALARS: st.SearchStrategy[Json] = st.none() | st.booleans() | st.integers() | NAMES | st.just("(absent)")
JSON_OBJECTS: st.SearchStrategy[dict[str, Json]] = st.dictionaries(
    NAMES, SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(NAMES, SCALARS, max_size=3), max_size=4
)


@given(JSON_OBJECTS, st.randoms())
def test_canonical_json_does_not_depend_on_order(data: dict[str, Json], random: Random) -> None:
    items = list(data.items())
    random.shuffle(items)
    assert canonical_json(dict(items)) == canonical_json(data)


def test_canonical_json_is_as_documented() -> None:
    assert canonical_json({"b": [1, 1.0, None], "a": "红"}) == b'{"a":"\\u7ea2","b":[1,1.0,null]}'
    with pytest.raises(RecordingError, match="must be JSON"):
        canonical_json(float("nan"))


@given(JSON_OBJECTS, JSON_OBJECTS)
def test_differences_are_none_exactly_for_equals(left: dict[str, Json], right: dict[str, Json]) -> None:
    assert describe_differences(left, left) == ()
    assert describe_differences(left, {**left, "more": "(absent)"}) or "more" in left
    assert bool(describe_differences(left, right)) == (canonical_json(left) != canonical_json(right))


def test_differences_are_dotted_and_readable() -> None:
    before: dict[str, Json] = {
        "installed": {"lmdeploy": "0.17.0", "gone": 1},
        "harness": "a" * 64,
        "k": 20,
    }
    after: dict[str, Json] = {"installed": {"lmdeploy": "0.18.0"}, "harness": "b" * 64, "k": 20.0}
    assert list(map(str, describe_differences(before, after))) == [
        "harness: aaaaaaaaaaaa became bbbbbbbbbbbb",
        "installed.gone: 1 became (absent)",
        "installed.lmdeploy: '0.17.0' became '0.18.0'",
        "k: 20 became 20.0",
    ]

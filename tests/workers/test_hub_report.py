"""Hub models: what counts as whole, what is fetched and what not, by huggingface_hub and a stand-in hub."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import EngineError, ErrorKind
from harness.workers import find_model
from harness.workers.hub_report import cache_folder, lacking, needed
from tests.workers.stand_in_hub import COMMIT, StandInHub, serving

NAME = "painters/tiny"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = json.dumps({"weight_map": dict(zip("ab", SHARDS, strict=True))}).encode()
FILES = {
    "config.json": b'{"vision_config": {}, "auto_map": {"AutoModel": "modeling_x.M"}}',
    "modeling_x.py": b"# code",
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    "model.safetensors.index.json": INDEX,
    SHARDS[0]: b"a" * 1_000_000,
    SHARDS[1]: b"b" * 3_000_000,
    "pytorch_model-00001-of-00001.bin": b"twin",
    "pytorch_model.bin.index.json": b'{"weight_map": {"a": "pytorch_model-00001-of-00001.bin"}}',
    "original/consolidated.00.pth": b"twin",
    "onnx/model.onnx": b"twin",
}
WANTED = set(list(FILES)[:7])


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with serving(StandInHub(NAME, FILES)) as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        yield found


@pytest.fixture
def cached(tmp_path: Path, hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts files into the cache, all that are needed if none are named, and forbids the network if asked."""

    def put(*names: str, offline: bool = False) -> Path:
        model = tmp_path / "hub" / "models--painters--tiny"
        snapshot = model / "snapshots" / COMMIT
        snapshot.mkdir(parents=True)
        (model / "blobs").mkdir()
        (model / "refs").mkdir()
        (model / "refs" / "main").write_text(COMMIT)
        for name in names or WANTED:
            (snapshot / name).write_bytes(FILES[name])
        if offline:
            monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        return snapshot

    return put


def find(**options: Any) -> dict[str, Any]:
    return find_model(sys.executable, NAME, **options)


def there(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.engines
def test_what_is_needed_is_fetched_and_nothing_twice(hub: StandInHub) -> None:
    found = find()
    assert found["revision"] == COMMIT
    assert there(Path(str(found["folder"]))) == WANTED
    assert sorted(hub.sent) == sorted(WANTED)
    hub.sent.clear()
    assert find() == find(revision=COMMIT) == found
    assert hub.sent == []


@pytest.mark.parametrize("names", [("config.json",), (*list(FILES)[:6],), ("config.json", "tokenizer.json")])
@pytest.mark.engines
def test_what_is_cached_in_part_is_completed(
    hub: StandInHub, cached: Callable[..., Path], names: tuple[str, ...]
) -> None:
    snapshot = cached(*names)
    assert find() == {"folder": str(snapshot), "revision": COMMIT}
    assert there(snapshot) == WANTED


@pytest.mark.engines
def test_what_only_the_hub_knows_of_is_fetched_where_it_answers(
    hub: StandInHub, cached: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = cached(*(WANTED - {"chat_template.jinja"}))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert find()["folder"] == str(snapshot)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    assert find()["folder"] == str(snapshot)
    assert hub.sent == ["chat_template.jinja"]


@pytest.mark.parametrize(
    ("names", "lacks"),
    [
        (("config.json",), "no modeling_x.py, which auto_map of config.json names, no weights, no tokenizer"),
        (tuple(WANTED - {"config.json"}), "no config.json"),
        (tuple(WANTED - {SHARDS[1]}), f"no {SHARDS[1]}, which the index of weights names"),
        (tuple(WANTED - {"model.safetensors.index.json"}), "no index of weights"),
    ],
)
@pytest.mark.engines
def test_offline_half_a_model_is_refused_with_what_is_missing(
    cached: Callable[..., Path], names: tuple[str, ...], lacks: str
) -> None:
    snapshot = cached(*names, offline=True)
    with pytest.raises(EngineError) as caught:
        find()
    assert caught.value.kind is ErrorKind.LOAD
    assert f"{snapshot} has {lacks}; HF_HUB_OFFLINE forbids" in caught.value.message
    assert f"hf download {NAME} (asked in" in caught.value.message


@pytest.mark.engines
def test_without_a_network_half_a_model_is_refused_too(
    cached: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached("config.json")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        EngineError, match=r"has no .*, no weights, .*Connect(?:ion)?Error.*hf download painters/tiny"
    ):
        find()


@pytest.mark.engines
def test_what_another_download_left_behind_does_no_harm(cached: Callable[..., Path]) -> None:
    snapshot = cached(offline=True)
    (snapshot.parent.parent / "blobs" / "abc.incomplete").touch()
    assert find() == {"folder": str(snapshot), "revision": COMMIT}


@pytest.mark.engines
def test_a_model_that_cannot_be_had_is_named_with_its_revision(hub: StandInHub) -> None:
    words = r"model 'painters/other' at revision 'v9' .* RepositoryNotFoundError: (?s:.*)--revision v9"
    with pytest.raises(EngineError, match=words):
        find_model(sys.executable, "painters/other", revision="v9")


@pytest.mark.engines
def test_what_comes_is_told_meanwhile_and_keeps_it_alive(hub: StandInHub) -> None:
    hub.slow = {SHARDS[1]: 2.5}
    told: list[str] = []
    find(show=told.append, seconds=60)
    assert told[-1] in {"1.0 of 4.0 MB", "4.0 of 4.0 MB"}


@pytest.mark.engines
def test_a_download_that_falls_silent_is_given_up(hub: StandInHub) -> None:
    hub.slow = {SHARDS[1]: 60}
    began = time.monotonic()
    with pytest.raises(EngineError, match=r"no report within 2 s of its last sign of life"):
        find(seconds=2)
    assert time.monotonic() - began < 40


def test_one_set_of_weights_is_needed() -> None:
    assert set(needed(FILES)) == WANTED
    pickled = [name for name in FILES if not name.endswith(".safetensors")]
    assert set(needed(pickled)) == {*pickled} - {"original/consolidated.00.pth", "onnx/model.onnx"}
    assert needed(["model.gguf", "config.json"]) == ["model.gguf", "config.json"]
    mistral = ["consolidated.safetensors", "params.json"]
    assert needed(mistral) == mistral
    assert needed([*mistral, "model.safetensors"]) == ["params.json", "model.safetensors"]
    own = ["model.safetensors", "modeling_x.py", "qwen.tiktoken", "tokenizer.model", "a/b.txt", "mel.bin"]
    assert needed([*own, "tf_model.h5", "examples/one.png"]) == own


def test_weights_in_pickles_are_weights_only_where_there_are_no_others(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "vocab.txt").touch()
    (tmp_path / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "pytorch_model-1.bin"}}')
    assert [lack.found for lack in lacking(tmp_path)] == [
        "no pytorch_model-1.bin, which the index of weights names"
    ]
    (tmp_path / "model.safetensors").touch()
    assert lacking(tmp_path) == []


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HF_HUB_CACHE": "/a"}, "/a"),
        ({"HF_HOME": "/b"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_hubs_client_looks(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str
) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)

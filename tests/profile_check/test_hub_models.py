"""A hub id is looked for on this machine, and never fetched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.errors import CaseFileError
from harness.machine.findings import Mark
from harness.workers.hub_report import find_snapshot
from tests.profile_check.conftest import EMBEDDED, Checked

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def put(home: Path, *, ref: str = "main") -> Path:
    repository = home / "hub" / "models--org--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / ref).write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    shutil.copytree(EMBEDDED, snapshot)
    return snapshot


def test_a_snapshot_by_branch_and_by_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    snapshot = put(tmp_path)
    assert find_snapshot("org/name", None) == find_snapshot("org/name", COMMIT) == snapshot
    assert find_snapshot("org/name", "other") is None
    assert find_snapshot("org/else", None) is None


def test_what_is_cached_is_looked_into(checked: Checked) -> None:
    checked.write(model="org/name", revision=COMMIT)
    snapshot = put(checked.folder / "hub-home")
    assert checked.of("model").mark is Mark.RIGHT
    (snapshot / "chat_template.jinja").unlink()
    assert checked.of("template").mark is Mark.WRONG, "no run fetches what a whole model has not"
    weights = snapshot / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    model = checked.of("model")
    assert model.mark is Mark.WRONG, "no run fetches a file that is there"
    assert model.command == f"hf download org/name --revision {COMMIT} --force-download"


def test_a_download_that_was_broken_off_goes_on(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    checked.write(model="org/name")
    snapshot = put(checked.folder / "hub-home")
    (snapshot.parent.parent / "blobs").mkdir()
    (snapshot.parent.parent / "blobs" / "abc.incomplete").touch()
    assert checked.of("model").mark is Mark.RIGHT, "what another download left says nothing of this one"
    for name in ("model.safetensors", "tokenizer.json"):
        (snapshot / name).unlink()
    findings = {finding.topic: finding for finding in checked.findings()}
    assert findings["model"].mark is findings["tokenizer"].mark is Mark.UNKNOWN
    assert "fetches the rest" in findings["model"].text
    assert checked.wrongs() == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert [finding.topic for finding in checked.wrongs()] == ["model", "tokenizer"]
    assert {finding.command for finding in checked.wrongs()} == {"hf download org/name"}


def test_what_is_not_cached_cannot_be_known(checked: Checked) -> None:
    checked.write(model="org/name", revision="v1")
    finding = checked.of("model")
    assert finding.mark is Mark.UNKNOWN
    assert "org/name at revision v1 is not in hub-home/hub" in finding.text
    assert finding.text.endswith("the first run downloads it: how much is not known here")
    assert finding.command == "hf download org/name --revision v1"
    assert checked.of("memory").mark is Mark.UNKNOWN
    assert checked.wrongs() == []


def test_what_is_not_cached_is_wrong_offline(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    checked.write(model="org/name", revision="v1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (finding,) = checked.wrongs()
    assert (
        finding.text == "org/name at revision v1 is not in hub-home/hub; HF_HUB_OFFLINE forbids to fetch it"
    )
    assert finding.command == "HF_HUB_OFFLINE=0 hf download org/name --revision v1"
    assert "profiles.yaml:" in str(finding.place)


def test_models_of_ready_profiles_have_published_shapes(checked: Checked) -> None:
    checked.write(model="OpenGVLab/InternVL2-8B", dtype="bfloat16")
    assert "about 16.2 GB of weights, from its published shapes" in checked.of("model").text
    assert "8,075,365,376 parameters × 2 bytes" in checked.of("memory").text


def test_remote_code_of_a_branch_is_refused_before_anything_else(checked: Checked) -> None:
    checked.write(model="org/name", revision="main", engine={"options": {"trust_remote_code": True}})
    with pytest.raises(CaseFileError, match="40 digits"):
        checked.findings()
    checked.write(model="org/name", revision=COMMIT, engine={"options": {"trust_remote_code": True}})
    assert checked.wrongs() == []


def test_the_variable_that_forbids_is_the_one_that_is_named(
    checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked.write(model="org/name")
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")
    (finding,) = checked.wrongs()
    assert finding.text.endswith("TRANSFORMERS_OFFLINE forbids to fetch it")
    assert finding.command == "TRANSFORMERS_OFFLINE=0 hf download org/name"

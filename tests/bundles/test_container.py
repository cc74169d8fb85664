"""The file of a bundle: the same for the same, and refused where anything about it is wrong."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.bundles import container
from harness.bundles.container import BundleError, read_bundle, write_bundle
from harness.bundles.opening import opened

Change = Callable[[dict[str, bytes]], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    (made / "cases").mkdir(parents=True)
    (made / "cases" / "a.png").write_bytes(b"picture")
    (made / "cases" / "b.png").write_bytes(b"picture")
    (made / "x.txt").write_bytes(b"text" * 1000)
    return made


@pytest.fixture
def file(folder: Path, tmp_path: Path) -> Path:
    write_bundle(tmp_path / "b.zip", {"harness": "1"}, folder)
    return tmp_path / "b.zip"


def changed(file: Path, change: Change) -> None:
    with zipfile.ZipFile(file) as source:
        members = {name: source.read(name) for name in source.namelist()}
    change(members)
    with zipfile.ZipFile(file, "w") as target:
        for name, content in members.items():
            target.writestr(name, content)


def manifest(edit: Callable[[dict[str, object]], object]) -> Change:
    def change(members: dict[str, bytes]) -> None:
        data = json.loads(members["manifest.json"])
        edit(data)
        members["manifest.json"] = json.dumps(data).encode()

    return change


def test_it_comes_back_as_it_was(file: Path, tmp_path: Path) -> None:
    found = read_bundle(file, tmp_path / "out")
    assert found["harness"] == "1"
    assert (tmp_path / "out" / "cases" / "b.png").read_bytes() == b"picture"
    assert (tmp_path / "out" / "x.txt").read_bytes() == b"text" * 1000


def test_a_content_is_kept_once(file: Path) -> None:
    assert len(zipfile.ZipFile(file).namelist()) == 3  # the manifest, the picture, the text


def test_equal_folders_make_equal_files(file: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "manifest.json").unlink()
    (folder / "x.txt").touch()
    write_bundle(tmp_path / "again.zip", {"harness": "1"}, folder)
    assert (tmp_path / "again.zip").read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (manifest(lambda data: data.update(format="other")), "'format': 'other'"),
        (manifest(lambda data: data.update(version=2)), "'version': 2"),
        (manifest(lambda data: data.pop("files")), "'files'"),
        (lambda members: members.pop("manifest.json"), "manifest.json"),
        (lambda members: members.update({"manifest.json": b"[" * 100_000}), "maximum recursion depth"),
        (lambda members: members.update({name: b"other" for name in members if "." not in name}), "damaged"),
        (lambda members: [members.pop(name) for name in [*members] if "." not in name], "no item named"),
    ],
    ids=["format", "version", "no files", "no manifest", "nested", "another content", "a content gone"],
)
def test_what_does_not_fit_is_refused(file: Path, change: Change, told: str, tmp_path: Path) -> None:
    changed(file, change)
    with pytest.raises(BundleError, match=r"b\.zip") as refused:
        read_bundle(file, tmp_path / "out")
    assert told in str(refused.value)
    assert "harness bundle" in str(refused.value)


@pytest.mark.parametrize(
    "name",
    ["../outside.txt", "cases/../../outside.txt", "/outside.txt", "..\\outside.txt", "C:/outside.txt", ""],
)
def test_nothing_is_written_outside(file: Path, name: str, tmp_path: Path) -> None:
    (digest,) = {n for n in zipfile.ZipFile(file).namelist() if "." not in n and len(n) == 64} - {
        json.loads(zipfile.ZipFile(file).read("manifest.json"))["files"]["x.txt"]
    }
    changed(file, manifest(lambda data: data.update(files={name: digest})))
    (tmp_path / "in" / "out").mkdir(parents=True)
    with pytest.raises(BundleError, match="leads outside"):
        read_bundle(file, tmp_path / "in" / "out")
    assert [path for path in (tmp_path / "in").rglob("*") if path.is_file()] == []


def test_no_more_is_unpacked_than_is_allowed(
    file: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "_LARGEST", 3999)
    monkeypatch.setattr(container, "_PIECE", 100)
    with pytest.raises(BundleError, match="more than 3,999 bytes"):
        read_bundle(file, tmp_path / "out")
    assert (tmp_path / "out" / "x.txt").stat().st_size < 4000
    with pytest.raises(BundleError, match="4,000 bytes; allowed: 3,999"):
        write_bundle(tmp_path / "again.zip", {}, folder)
    assert not (tmp_path / "again.zip").exists()


def test_all_together_is_held_against_a_limit_too(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "_MOST", 4010)
    with pytest.raises(BundleError, match="more than 3,996 bytes"):  # behind two pictures of 7
        read_bundle(file, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04 cut"])
def test_what_is_no_zip_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(content)
    with pytest.raises(BundleError, match="allowed: a bundle"):
        read_bundle(tmp_path / "b.zip", tmp_path / "out")


def test_one_that_was_cut_short_is_refused(file: Path, tmp_path: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(BundleError, match="allowed: a bundle"):
        read_bundle(file, tmp_path / "out")


@pytest.mark.parametrize("sides", [None, [], {"p/e": "run"}])
def test_sides_that_are_none_are_refused(folder: Path, tmp_path: Path, sides: Any) -> None:
    write_bundle(tmp_path / "b.zip", {} if sides is None else {"sides": sides}, folder)
    with (
        pytest.raises(BundleError, match=r"b\.zip: found no stored runs by side"),
        opened(tmp_path / "b.zip"),
    ):
        pass


def test_cases_that_are_none_are_told_with_the_bundle(folder: Path, tmp_path: Path) -> None:
    (folder / "cases" / "profiles.yaml").write_text("profiles: 5\n")
    write_bundle(tmp_path / "b.zip", {"sides": {}}, folder)
    with opened(tmp_path / "b.zip") as inside, pytest.raises(BundleError) as refused:
        inside.load()
    assert re.match(
        r".*b\.zip: found 2 problems in the case files:\n  cases: found no suites", str(refused.value)
    )


def test_one_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="No such file"):
        read_bundle(tmp_path / "gone.zip", tmp_path / "out")

"""Images are decoded once: what was seen of one is kept between runs for as long as it stays the same."""

from __future__ import annotations

import json
import os
from pathlib import Path

import PIL
import pytest
from PIL import Image

from harness.cases import images
from harness.cases.images import ImageProblem, look_at
from harness.cases.suites import load_suite
from harness.errors import CaseFileError

TURNED = "whose EXIF data turns it in viewers"


@pytest.fixture
def suite(folder: Path) -> Path:
    """A suite of two pictures, of which one is worth a remark."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (9, 7)).save(folder / "images" / "turned.png", exif=exif)
    cases = [
        f"  - {{id: {name}, image: images/{name}.png, prompt: Which?, letters: [A, B], expect: A}}"
        for name in ("red", "turned")
    ]
    (folder / "s.yaml").write_text("\n".join(["cases:", *cases]))
    return folder / "s.yaml"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were decoded, in order."""
    found: list[str] = []

    def counted(path: Path) -> tuple[ImageProblem, ...] | ImageProblem:
        found.append(path.stem)
        return look_at(path)

    monkeypatch.setattr(images, "look_at", counted)
    return found


def kept(suite: Path) -> Path:
    return suite.parent / ".pictures" / ".looked.json"


def test_the_next_run_decodes_nothing_and_tells_the_same(suite: Path, decoded: list[str]) -> None:
    first = load_suite(suite)
    assert decoded == ["red", "turned"]
    again = load_suite(suite)
    assert decoded == ["red", "turned"]
    assert again == first
    assert again.remarks == first.remarks
    assert [TURNED in remark.found for remark in again.remarks] == [True]
    assert (kept(suite).parent / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("change", ["cut", "another, its size and time the same", "written again"])
def test_a_changed_file_is_looked_at_again_and_no_other(suite: Path, decoded: list[str], change: str) -> None:
    load_suite(suite)
    red = suite.parent / "images" / "red.png"
    before, content = red.stat(), red.read_bytes()
    if change == "written again":
        os.utime(red, ns=(0, 0))
        assert len(load_suite(suite).cases) == 2
    else:
        red.write_bytes(content[:50] if change == "cut" else content[:-20] + bytes(20))
        os.utime(red, ns=(before.st_atime_ns, before.st_mtime_ns))  # as `cp -p` does
        for _ in range(2):  # what is wrong is told each time
            with pytest.raises(CaseFileError, match=r"red\.png', which is truncated or damaged"):
                load_suite(suite)
        decoded.pop()
    assert decoded == ["red", "turned", "red"]


@pytest.mark.parametrize(
    "damage",
    [
        "{",
        "[]",
        '{"looker": 1, "images": {}}',
        '"images": 1',
        '"images": {"x": 1}',
        '"images": {"x": ["1 2 3", 1]}',
        '"images": {"x": ["1 2 3", [[]]]}',
        "a folder",
        "[" * 100_000,
        b"\xff",
    ],
    ids=str,
)
def test_what_is_damaged_counts_as_none(suite: Path, decoded: list[str], damage: str | bytes) -> None:
    load_suite(suite)
    whole = kept(suite).read_bytes()
    if damage == "a folder":
        kept(suite).unlink()
        kept(suite).mkdir()
    elif isinstance(damage, bytes):
        kept(suite).write_bytes(whole.replace(b"images", damage))
    elif damage.startswith('"images"'):
        kept(suite).write_text(f'{{"looker": {json.dumps(images.looker())}, {damage}}}')
    else:
        kept(suite).write_text(damage)
    assert len(load_suite(suite).remarks) == 1
    assert decoded == ["red", "turned"] * 2
    assert damage == "a folder" or kept(suite).read_bytes() == whole


def test_what_another_pillow_or_another_harness_saw_counts_as_none(
    suite: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load_suite(suite)
    monkeypatch.setattr(PIL, "__version__", "0")
    load_suite(suite)
    changed = tmp_path / "images.py"
    changed.write_text(Path(images.__file__).read_text() + "#")
    monkeypatch.setattr(images, "__file__", str(changed))
    load_suite(suite)
    assert decoded == ["red", "turned"] * 3


def test_where_nothing_can_be_written_nothing_is_kept(
    suite: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(suite).parent.write_text("")  # a folder's bits bind no root
    (suite.parent / "cache").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(suite.parent / "cache"))
    for _ in range(2):
        assert len(load_suite(suite).cases) == 2
    assert decoded == ["red", "turned"] * 2


def test_what_is_seen_before_an_interrupt_is_kept(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path) -> tuple[ImageProblem, ...] | ImageProblem:
        if path.stem == "turned":
            raise KeyboardInterrupt
        return look_at(path)

    monkeypatch.setattr(images, "look_at", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_suite(suite)
    assert [Path(name).stem for name in json.loads(kept(suite).read_text())["images"]] == ["red"]


def test_what_was_seen_of_files_that_are_gone_is_dropped(suite: Path) -> None:
    load_suite(suite)
    turned = suite.parent / "images" / "turned.png"
    turned.rename(turned.with_stem("other"))
    suite.write_text(suite.read_text().replace("turned", "other"))
    load_suite(suite)
    assert [Path(name).stem for name in json.loads(kept(suite).read_text())["images"]] == ["red", "other"]

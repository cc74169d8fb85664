"""One way to open a picture, for every engine."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from harness.engines.images import as_models_see, open_image
from harness.errors import EngineError, ErrorKind


def test_half_a_picture_is_none_even_where_a_library_lets_it_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LMDeploy's import does; the other half would be grey."""
    path = tmp_path / "half.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)

    with pytest.raises(EngineError, match=r"half\.png cannot be opened: OSError: .*truncated") as caught:
        open_image(str(path))

    assert caught.value.kind is ErrorKind.FAILED


def test_what_is_no_picture_is_told_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "words.png").write_text("no picture")
    (tmp_path / "lfs.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    Image.new("I;16", (8, 8), 4_000).save(tmp_path / "grey.png")
    for name, words in (
        ("words.png", "UnidentifiedImageError"),
        ("nowhere.png", "FileNotFoundError"),
        ("lfs.png", "a Git LFS pointer .*git lfs pull"),
        ("grey.png", "ValueError: a grey picture of more than 8 bits"),
    ):
        with pytest.raises(EngineError, match=rf"{name} cannot be opened: {words}"):
            open_image(str(tmp_path / name))


def test_a_picture_comes_in_rgb_and_without_what_would_turn_it(tmp_path: Path) -> None:
    path = tmp_path / "turned.png"
    image = Image.new("RGBA", (8, 4), (1, 2, 3, 0))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif)

    found = open_image(str(path))

    assert (found.mode, found.size, found.info) == ("RGB", (8, 4), {})


def test_a_jpeg_for_a_small_view_is_decoded_smaller_and_not_turned(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (800, 400), "red").save(path, exif=exif)
    assert open_image(str(path), least=100).size == (200, 100)
    assert open_image(str(path)).size == (800, 400)


def test_prompts_of_one_picture_decode_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, decoded = tmp_path / "one.png", []
    Image.new("RGB", (4, 4), "red").save(path)

    def seen(image: Image.Image) -> Image.Image:
        decoded.append(image)
        return as_models_see(image)

    monkeypatch.setattr("harness.engines.images.as_models_see", seen)
    first = open_image(str(path))
    first.putpixel((0, 0), (0, 0, 0))
    assert open_image(str(path)).getpixel((0, 0)) == (255, 0, 0), "of one's own"
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(open_image, [str(path)] * 8))
    assert len(decoded) == 1

    Image.new("RGB", (4, 4), "blue").save(path)
    os.utime(path, ns=(1, 1))
    assert open_image(str(path)).getpixel((0, 0)) == (0, 0, 255), "another picture by the same name"

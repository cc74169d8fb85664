"""Images of cases: those that are read, and what is told of all others."""

from __future__ import annotations

import base64
import io
import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from harness.cases import images as case_images
from harness.cases.images import FORMATS, MAX_PIXELS, CheckedImage, ImageProblem, Looked

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234\n"


def check_image(name: str, *, folder: Path) -> CheckedImage | ImageProblem:
    return case_images.check_image(name, folder=folder, looked=Looked(folder))


class TestImages:
    def check(self, folder: Path, name: str = "images/x.png") -> ImageProblem:
        result = check_image(name, folder=folder)
        assert isinstance(result, ImageProblem)
        return result

    @pytest.mark.parametrize("kind", FORMATS)
    @pytest.mark.parametrize("mode", ["RGB", "L"])
    def test_formats_that_are_read(self, folder: Path, kind: str, mode: str) -> None:
        Image.new(mode, (9, 7)).save(folder / "images" / "x", format=kind)
        assert check_image("images/x", folder=folder) == CheckedImage((folder / "images" / "x").resolve())

    @pytest.mark.parametrize("kind", ["GIF", "TIFF", "PPM"])
    def test_format_that_is_not(self, folder: Path, kind: str) -> None:
        Image.new("RGB", (9, 7)).save(folder / "images" / "x.png", format=kind)
        problem = self.check(folder)
        assert kind in problem.found
        assert "convert" in problem.allowed

    @pytest.mark.parametrize(
        "content", [b"", b"no image", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x89PNG"]
    )
    def test_not_an_image(self, folder: Path, content: bytes) -> None:
        (folder / "images" / "x.png").write_bytes(content)
        problem = self.check(folder)
        assert "'images/x.png', which is not an image" in problem.found
        assert "PNG, JPEG, WEBP or BMP" in problem.allowed

    @pytest.mark.parametrize("kind", FORMATS)
    def test_truncated(self, folder: Path, kind: str) -> None:
        path = folder / "images" / "x.png"
        Image.effect_noise((64, 64), 50).convert("RGB").save(path, format=kind)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        problem = self.check(folder)
        assert "truncated or damaged" in problem.found

    def test_truncated_where_a_library_lets_such_images_pass(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        self.test_truncated(folder, "PNG")
        assert ImageFile.LOAD_TRUNCATED_IMAGES

    def test_damaged_bit(self, folder: Path) -> None:
        path = folder / "images" / "x.png"
        Image.effect_noise((64, 64), 50).save(path)
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
        assert "truncated or damaged" in self.check(folder).found

    def test_animation(self, folder: Path) -> None:
        frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
        frames[0].save(folder / "images" / "x.png", save_all=True, append_images=frames[1:])
        assert "3 frames" in self.check(folder).found

    @pytest.mark.parametrize(
        ("width", "height"), [(MAX_PIXELS + 1, 1), (9_000, 9_000), (11_000, 11_000), (60_000, 60_000)]
    )
    def test_pixel_limit_is_read_from_the_header(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, width: int, height: int
    ) -> None:
        (folder / "images" / "x.png").write_bytes(png_header(width, height))
        monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
        problem = self.check(folder)
        assert str(MAX_PIXELS) in problem.allowed
        assert f"{width} x {height}" in problem.found or str(width * height) in problem.found

    def test_text_that_unpacks_to_more_than_the_image(self, folder: Path) -> None:
        bomb = zlib.compress(bytes(100_000_000), 9)
        (folder / "images" / "x.png").write_bytes(png_header(8, 8) + png_chunk(b"zTXt", b"a\0\0" + bomb))
        assert "x.png" in self.check(folder).found

    def test_more_than_8_bits_would_be_white(self, folder: Path) -> None:
        Image.new("I;16", (8, 6), 4_000).save(folder / "images" / "x.png")
        problem = self.check(folder)
        assert "more than 8 bits" in problem.found
        assert "8 bits a channel" in problem.allowed

    def test_a_pointer_of_git_lfs_is_called_so(self, folder: Path) -> None:
        (folder / "images" / "x.png").write_bytes(LFS_POINTER)
        assert "'images/x.png', which is a Git LFS pointer" in self.check(folder).found
        assert "git lfs pull" in self.check(folder).found

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
    def test_base64_is_named_and_cut(self, folder: Path, kind: str) -> None:
        out = io.BytesIO()
        Image.effect_noise((99, 99), 50).convert("RGB").save(out, kind)
        problem = self.check(folder, base64.b64encode(out.getvalue()).decode())
        assert problem.found.endswith("...', base64")
        assert "decode" in problem.allowed
        assert len(str(problem)) < 300

    def test_any_other_long_name_is_cut(self, folder: Path) -> None:
        assert len(str(self.check(folder, "x" * 50_000))) < 700
        assert len(str(self.check(folder, "/" + "x/" * 50_000))) < 700

    def test_a_name_that_the_locale_cannot_spell(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def stat(_: object) -> None:
            "é".encode("ascii")

        monkeypatch.setattr(os.path, "realpath", stat)
        problem = self.check(folder, "images/é.png")
        assert "in this locale (ascii)" in problem.found
        assert "PYTHONUTF8=1" in problem.allowed

    def test_link_that_leads_outside(self, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        Image.new("RGB", (8, 8)).save(elsewhere / "x.png")
        (folder / "images" / "x.png").symlink_to(elsewhere / "x.png")
        assert "outside" in self.check(folder).found
        (folder / "out").symlink_to(elsewhere)
        assert "outside" in self.check(folder, "out/x.png").found

    def test_link_that_stays_inside(self, folder: Path) -> None:
        (folder / "images" / "x.png").symlink_to("red.png")
        real = (folder / "images" / "red.png").resolve()
        assert check_image("images/x.png", folder=folder) == CheckedImage(real)

    @pytest.mark.parametrize("name", ["images/loop.png", "x" * 300, "images/red.png/x.png", "a\0.png"])
    def test_what_the_system_refuses(self, folder: Path, name: str) -> None:
        (folder / "images" / "loop.png").symlink_to("loop.png")
        assert "exists" in self.check(folder, name).allowed

    def test_pipe(self, folder: Path) -> None:
        os.mkfifo(folder / "images" / "x.png")
        assert "not a file" in self.check(folder).found

    @given(st.data())
    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_no_damage_crashes_it(self, folder: Path, data: st.DataObject) -> None:
        path = folder / "images" / "x"
        Image.new("RGB", (12, 12), "blue").save(path, format=data.draw(st.sampled_from(FORMATS)))
        raw = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 5))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
        assert isinstance(check_image("images/x", folder=folder), CheckedImage | ImageProblem)


class TestRemarks:
    """What a viewer shows otherwise than models see it fails nothing."""

    def found(self, folder: Path) -> list[str]:
        result = check_image("images/x", folder=folder)
        assert isinstance(result, CheckedImage)
        return [remark.found for remark in result.remarks]

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
    @pytest.mark.parametrize("orientation", [0, 1, 6])
    def test_orientation(self, folder: Path, kind: str, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.new("RGB", (9, 7)).save(folder / "images" / "x", kind, exif=exif)
        told = ["'images/x', whose EXIF data turns it in viewers (orientation 6), and not for the models"]
        assert self.found(folder) == (told if orientation == 6 else [])

    def test_no_exif_data_at_all_is_no_damage(self, folder: Path) -> None:
        Image.new("RGB", (9, 7)).save(folder / "images" / "x", "JPEG", exif=b"Exif\0\0II*\0\xff\xff")
        assert self.found(folder) == []

    @pytest.mark.parametrize(
        ("hidden", "alpha", "told"),
        [
            ((255, 0, 0), 0, True),  # nobody sees the red
            ((0, 0, 0), 0, True),  # shown white, seen black
            ((255, 255, 255), 0, False),  # white on white
            ((254, 253, 255), 128, False),  # rounding
            ((200, 0, 0), 255, False),  # not transparent
        ],
    )
    def test_transparency(
        self, folder: Path, hidden: tuple[int, int, int], alpha: int, *, told: bool
    ) -> None:
        image = Image.new("RGBA", (40, 40), (*hidden, alpha))
        image.save(folder / "images" / "x", "PNG")
        assert len(self.found(folder)) == told
        image.quantize().save(folder / "images" / "x", "PNG")
        assert len(self.found(folder)) == told

    def test_a_pixel_or_two_are_not_told(self, folder: Path) -> None:
        image = Image.new("RGBA", (40, 40), "white")
        image.putpixel((3, 3), (0, 0, 0, 0))
        image.save(folder / "images" / "x", "PNG")
        assert self.found(folder) == []
        image.paste((0, 0, 0, 0), (0, 0, 20, 20))
        image.save(folder / "images" / "x", "PNG")
        assert self.found(folder) == [
            "'images/x', whose transparency hides other colours in 25% of it, which the models see"
        ]


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int) -> bytes:
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + png_chunk(b"IDAT", b"")
    )

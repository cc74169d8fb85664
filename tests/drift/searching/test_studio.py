"""What is drawn becomes requests, pictures and a suite that can be committed."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from harness.cases.suites import load_suite
from harness.drift.searching.studio import Drawn, Picture, paint, write_suite
from harness.errors import HarnessError

PICTURE = Picture(40, 28, 2, 7)
PLAIN = Drawn(None, "是 什么: 'x' #1?", ("red", "no"))
PICTURED = Drawn(PICTURE, "What is it?", ("a", "b", "c"), "Answer: ", "Be brief.", 8)


def pixels(file: Path) -> tuple[tuple[int, int], bytes]:
    with Image.open(file) as image:
        return image.size, image.convert("RGB").tobytes()


def test_a_suite_is_read_as_it_was_drawn(tmp_path: Path) -> None:
    suite, image = write_suite(tmp_path, [PLAIN, PICTURED], ["B", "C"], "Found")
    plain, pictured = load_suite(suite).cases
    assert (plain.prompt, plain.letters, plain.expect, plain.images) == (PLAIN.prompt, ("A", "B"), "B", ())
    assert pictured.prompt == "What is it?\nA. a\nB. b\nC. c\nAnswer in the form 'Answer: X'."
    assert (pictured.images, pictured.expect) == ((image.resolve(),), "C")
    assert (pictured.answer_prefix, pictured.system, pictured.max_new_tokens) == ("Answer: ", "Be brief.", 8)
    assert pixels(image)[0] == (40, 28)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    suite, *_ = write_suite(tmp_path, [PLAIN], ["A"], "Found")
    assert write_suite(tmp_path, [PLAIN], ["A"], "Found") == [suite]  # it is there, as it is
    suite.write_text("mine")
    with pytest.raises(HarnessError, match="found another suite; nothing is overwritten"):
        write_suite(tmp_path, [PLAIN], ["A"], "Found")
    assert suite.read_text() == "mine"


def test_what_a_folder_of_cases_does_not_take_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="expect"):
        write_suite(tmp_path, [PLAIN], ["C"], "Found")


def test_a_picture_is_the_same_each_time_and_in_each_format(tmp_path: Path) -> None:
    files = [paint(PICTURE, tmp_path / f"a.{kind}") for kind in ("png", "webp", "bmp")]
    assert len({pixels(file) for file in files}) == 1
    assert len({file.read_bytes() for file in files}) == 3
    other = paint(Picture(40, 28, 2, 8), tmp_path / "b.png")
    assert pixels(other) != pixels(files[0])

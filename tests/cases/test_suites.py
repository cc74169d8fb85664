"""Suites: what a case becomes, every rule with its exact place, and all problems at once."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from harness.cases import images as case_images
from harness.cases.budgets import Budgets
from harness.cases.folder import load
from harness.cases.images import FORMATS, MAX_PIXELS, ImageProblem, check_image
from harness.cases.suites import Case, load_suite, load_suites
from harness.checks.tolerances import NAMES
from harness.errors import CaseFileError, Problem
from harness.schemas.fields import Tolerances

GOOD = "  - {id: good, prompt: Which?, letters: [A, B], expect: A}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an image, so that places are shown by file name alone."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 6), "red").save(tmp_path / "images" / "red.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def place_in(name: str, text: str) -> tuple[str, str]:
    """Text with one § to the text without it, and the place of the mark."""
    before, _, after = text.partition("§")
    lines = before.split("\n")
    return before + after, f"{name}:{len(lines)}:{len(lines[-1]) + 1}"


def problems_of(path: Path) -> tuple[Problem, ...]:
    with pytest.raises(CaseFileError) as caught:
        load_suite(path) if path.is_file() else load_suites(path)
    return caught.value.problems


def test_a_full_case(folder: Path) -> None:
    (folder / "shapes.yaml").write_text(
        """\
description: Shapes and their colours
defaults:
  letters: [A, B, C]
  system: Be brief.
  answer_prefix: 'Answer: '
  max_new_tokens: 5
  tolerances: {kl: 1e-4, probability: 0.01}
  tags: [colour, en]
  marks: [slow]
cases:
  - id: red-circle
    image: images/red.png
    prompt: |
      What colour is it?
      A. red
    expect: A
  - id: no.2_x
    prompt: 二つ？
    letters: [N, Y]
    expect: N
    system: null
    answer_prefix: ''
    max_new_tokens: ~
    tolerances: {kl: 1, js: 0.5}
    tags: [zh, colour]
    marks: [nightly]
    known_failure: The model mistakes N for Y.
"""
    )
    suite = load_suite(Path("shapes.yaml"))
    assert (suite.name, suite.path, suite.description) == (
        "shapes",
        folder / "shapes.yaml",
        "Shapes and their colours",
    )
    first, second = suite.cases
    assert first == Case(
        id="red-circle",
        suite="shapes",
        prompt="What colour is it?\nA. red\n",
        letters=("A", "B", "C"),
        expect="A",
        location=first.location,
        image=(folder / "images" / "red.png").resolve(),
        system="Be brief.",
        answer_prefix="Answer: ",
        max_new_tokens=5,
        tolerances={"kl": 1e-4, "probability": 0.01},
        tags=("colour", "en"),
        marks=("slow",),
        known_failure=None,
    )
    assert second == Case(
        id="no.2_x",
        suite="shapes",
        prompt="二つ？",
        letters=("N", "Y"),
        expect="N",
        location=second.location,
        tolerances={"kl": 1, "probability": 0.01, "js": 0.5},
        tags=("colour", "en", "zh"),
        marks=("slow", "nightly"),
        known_failure="The model mistakes N for Y.",
    )
    assert [str(case.location) for case in suite.cases] == ["shapes.yaml:11:5", "shapes.yaml:17:5"]
    assert [case.name for case in suite.cases] == ["shapes.red-circle", "shapes.no.2_x"]
    assert len({first, second}) == 2


def test_a_case_may_leave_prompt_and_image_to_the_defaults(folder: Path) -> None:
    (folder / "a.yaml").write_text(
        "defaults: {prompt: Which?, image: images/red.png, letters: [A, B]}\n"
        "cases:\n  - {id: x, expect: A}\n  - {id: y, expect: B, image: null}\n"
    )
    x, y = load_suite(folder / "a.yaml").cases
    assert x.prompt == y.prompt == "Which?"
    assert x.image is not None
    assert y.image is None


def case(**fields: str) -> str:
    """A suite of one case, good but for these fields."""
    merged = {"id": "a", "prompt": "x", "letters": "[A, B]", "expect": "A", **fields}
    return "cases:\n  - {" + ", ".join(f"{name}: {value}" for name, value in merged.items() if value) + "}\n"


def defaults(fields: str) -> str:
    """A suite with these defaults and a case that is good."""
    return f"defaults: {{{fields}}}\ncases:\n{GOOD}"


# name: (text, field, found, allowed); § marks the place.
RULES = {
    "unknown key": (
        "cases:\n  - {id: a, §promt: Which?, prompt: x, letters: [A, B], expect: A}",
        "cases.0.promt",
        "the unknown key 'promt'",
        "prompt (the nearest), image, letters",
    ),
    "unknown key far from any": (
        "§zzz: 1\ncases:\n" + GOOD,
        "zzz",
        "the unknown key",
        "description, defaults, budgets, cases",
    ),
    "unknown tolerance": (
        defaults("tolerances: {§klx: 1}"),
        "defaults.tolerances.klx",
        "the unknown key 'klx'",
        "kl (the nearest)",
    ),
    "id in defaults": (defaults("§id: x"), "defaults.id", "the unknown key 'id'", "tags"),
    "missing id": (case(id="").replace("{", "§{"), "cases.0.id", "nothing", "Name of the case"),
    "missing expect": (case(expect="").replace("{", "§{"), "cases.0.expect", "nothing", "letters on offer"),
    "missing prompt": (
        "cases:\n  - §id: a\n    letters: [A, B]\n    expect: A",
        "cases.0.prompt",
        "nothing",
        "prompt here, or for all cases under `defaults:`",
    ),
    "missing letters": (case(letters="").replace("{", "§{"), "cases.0.letters", "nothing", "`defaults:`"),
    "missing cases": ("§description: x", "cases", "nothing", "The cases."),
    "no cases": ("cases: §[]", "cases", "a list of 0", "at least 1"),
    "empty file": ("§", "", "nothing", "a mapping"),
    "a list in place of a suite": ("§- id: a", "", "a list of 1", "a mapping"),
    "cases as a mapping": ("cases: §{a: {}}", "cases", "a mapping", "a list"),
    "case as text": ("cases:\n" + GOOD + "  - §x", "cases.1", "'x'", "a mapping"),
    "defaults as nothing": ("defaults:§\ncases: [{id: a, expect: A}]", "defaults", "nothing", "a mapping"),
    "number as text": (case(id="§1"), "cases.0.id", "the number 1", "quotes"),
    "list as text": (case(prompt="§[x]"), "cases.0.prompt", "a list of 1", "text"),
    "null as text": (case(prompt="§~"), "cases.0.prompt", "nothing", "text"),
    "empty prompt": (case(prompt="§''"), "cases.0.prompt", "''", "not empty"),
    "blank prompt": (case(prompt="§' '"), "cases.0.prompt", "' '", "not empty"),
    "blank system": (defaults("system: §''"), "defaults.system", "''", "not empty"),
    "id with a space": (case(id="§a b"), "cases.0.id", "'a b'", "letters, digits, _, . and -"),
    "id with a slash": (case(id="§a/b"), "cases.0.id", "'a/b'", "letters, digits, _, . and -"),
    "id in Chinese": (case(id="§红"), "cases.0.id", "'红'", "letters, digits, _, . and -"),
    "id like an option": (case(id="§-k"), "cases.0.id", "'-k'", "beginning with a letter"),
    "id too long": (case(id="§" + "a" * 101), "cases.0.id", "aaa...", "at most 100 characters"),
    "duplicate id": (case() + GOOD.replace("good", "§a"), "cases.1.id", "'a' a second time", "s.yaml:2:10"),
    "ids that differ in capitals": (
        case() + GOOD.replace("good", "§A"),
        "cases.1.id",
        "'A' a second",
        "capitals",
    ),
    "letters as text": (defaults("letters: §AB"), "defaults.letters", "'AB'", "a list"),
    "one letter": (case(letters="§[A]"), "cases.0.letters", "a list of 1", "at least 2"),
    "two letters in one": (defaults("letters: [A, §AB]"), "defaults.letters.1", "'AB'", "one capital letter"),
    "small letter": (defaults("letters: [A, §b]"), "defaults.letters.1", "'b'", "one capital letter"),
    "wide letter": (defaults("letters: [A, §Ｂ]"), "defaults.letters.1", "'Ｂ'", "A to Z"),
    "letter and line end": (defaults('letters: [A, §"B\\n"]'), "defaults.letters.1", "'B\\n'", "one capital"),
    "letter twice": (
        defaults("letters: [A, B, §A]"),
        "defaults.letters.2",
        "A a second time",
        "each letter once",
    ),
    "letter Yes": (
        defaults("letters: [§Yes, N]"),
        "defaults.letters.0",
        "'Yes'",
        "YAML 1.1 reads Yes as a boolean",
    ),
    "letter no": (defaults("letters: [Y, §no]"), "defaults.letters.1", "'no'", "such as N, or quote it"),
    "letter true": (
        defaults("letters: [§true, F]"),
        "defaults.letters.0",
        "true, a boolean",
        "such as T, or quote it",
    ),
    "expected Off": (case(expect="§Off"), "cases.0.expect", "'Off'", "YAML 1.1 reads Off as a boolean"),
    "expected letter not on offer": (
        case(expect="§C"),
        "cases.0.expect",
        "'C'",
        "one of the letters on offer: A, B",
    ),
    "expected letter not among the defaults": (
        "defaults: {letters: [A, B]}\n" + case(letters="", expect="§C"),
        "cases.0.expect",
        "'C'",
        "one of the letters on offer: A, B",
    ),
    "zero tokens": (defaults("max_new_tokens: §0"), "defaults.max_new_tokens", "the number 0", "1 or more"),
    "too many tokens": (defaults("max_new_tokens: §5000"), "defaults.max_new_tokens", "5000", "4096 or less"),
    "part of a token": (defaults("max_new_tokens: §1.5"), "defaults.max_new_tokens", "1.5", "a whole number"),
    "boolean as a number": (
        defaults("max_new_tokens: §true"),
        "defaults.max_new_tokens",
        "true",
        "a whole number",
    ),
    "zero tolerance": (defaults("tolerances: {kl: §0}"), "defaults.tolerances.kl", "0", "greater than 0"),
    "negative tolerance": (
        defaults("tolerances: {kl: §-1}"),
        "defaults.tolerances.kl",
        "-1",
        "greater than 0",
    ),
    "infinite tolerance": (defaults("tolerances: {kl: §.inf}"), "defaults.tolerances.kl", "'.inf'", "finite"),
    "tolerance as text": (defaults("tolerances: {kl: §'1'}"), "defaults.tolerances.kl", "'1'", "a number"),
    "null tolerance": (defaults("tolerances: {kl: §~}"), "defaults.tolerances.kl", "nothing", "a number"),
    "tag with a space": (defaults("tags: [§a b]"), "defaults.tags.0", "'a b'", "without spaces"),
    "mark with a hyphen": (
        defaults("marks: [x, §a-b]"),
        "defaults.marks.1",
        "'a-b'",
        "letters, digits and _",
    ),
    "mark of Python": (defaults("marks: [§not]"), "defaults.marks.0", "the mark 'not'", "pytest -m"),
    "mark of pytest": (defaults("marks: [§xfail]"), "defaults.marks.0", "the mark 'xfail'", "known_failure"),
    "mark of a case": (case(marks="[§skip]"), "cases.0.marks.0", "the mark 'skip'", "a mark of your own"),
    "known failure without a reason": (case(known_failure="§true"), "cases.0.known_failure", "true", "text"),
    "alias": (defaults("system: §*x"), "defaults.system", "the alias '*x'", "`defaults:`"),
    "missing image": (
        defaults("image: §images/x.png"),
        "defaults.image",
        "'images/x.png'",
        "a file that exists",
    ),
    "address": (defaults("image: §https://x.org/a.png"), "defaults.image", "remote", "download it"),
    "image in the text": (
        defaults("image: §'data:image/png;base64,AA=='"),
        "defaults.image",
        "remote",
        "a file",
    ),
    "folder as an image": (defaults("image: §images"), "defaults.image", "not a file", "PNG"),
    "image outside": (
        case(image="§../x.png"),
        "cases.0.image",
        "outside the suite's folder",
        "copy it there",
    ),
    "absolute image outside": (defaults("image: §/etc/x.png"), "defaults.image", "outside", "a file below ."),
}


@pytest.mark.parametrize(("text", "field", "found", "allowed"), RULES.values(), ids=RULES.keys())
def test_rule_at_its_place(folder: Path, text: str, field: str, found: str, allowed: str) -> None:
    plain, place = place_in("s.yaml", text)
    (folder / "s.yaml").write_text(plain)
    (problem,) = problems_of(folder / "s.yaml")
    assert (problem.place, problem.field) == (place, field)
    assert found in problem.found
    assert allowed in problem.allowed


def test_a_misspelt_default_is_not_followed_by_one_problem_for_each_case(folder: Path) -> None:
    cases = "".join(f"  - {{id: c{i}, expect: A}}\n" for i in range(50))
    (folder / "s.yaml").write_text("defaults: {promt: Which?, leters: [A, B]}\ncases:\n" + cases)
    assert [p.field for p in problems_of(folder / "s.yaml")] == ["defaults.promt", "defaults.leters"]


def test_problems_of_one_case_do_not_hide_each_other(folder: Path) -> None:
    (folder / "s.yaml").write_text(
        "cases:\n"
        "  - {id: a, prompt: '', letters: [A, B, A], expect: C, image: no, marks: [if], x: 1, tags: [1]}\n"
        "  - {id: a, prompt: 1, prompt: 2, letters: *x, expect: Z, system: .nan, tolerances: {kl: -1}}\n"
        "  - {prompt: x, letters: [A, b], expect: b}\n"
    )
    problems = problems_of(folder / "s.yaml")
    assert [p.place for p in problems] == sorted(
        (p.place for p in problems), key=lambda place: [int(n) for n in place.split(":")[1:]]
    )
    assert {p.field for p in problems} == {
        *(
            f"cases.0.{field}"
            for field in ("prompt", "letters.2", "expect", "image", "marks.0", "x", "tags.0")
        ),
        *(f"cases.1.{field}" for field in ("id", "prompt", "letters", "system", "tolerances.kl")),
        *(f"cases.2.{field}" for field in ("id", "letters.1", "expect")),
    }


def test_problems_of_all_files_come_at_once(folder: Path) -> None:
    (folder / "a.yaml").write_text("cases:\n" + GOOD.replace("expect: A", "expect: C"))
    (folder / "b.yaml").write_text("cases: [\n")
    (folder / "c.yml").write_text("cases:\n" + GOOD.replace("prompt", "promt"))
    (folder / "profiles.yaml").write_text("profiles: {}\n")
    with pytest.raises(CaseFileError) as caught:
        load(folder)
    assert {p.place.split(":")[0] for p in caught.value.problems} == {
        "a.yaml",
        "b.yaml",
        "c.yml",
        "profiles.yaml",
    }
    assert "problems in the case files:\n  a.yaml:2:" in str(caught.value)


class TestImages:
    def check(self, folder: Path, name: str = "images/x.png") -> ImageProblem:
        result = check_image(name, folder=folder)
        assert isinstance(result, ImageProblem)
        return result

    @pytest.mark.parametrize("kind", FORMATS)
    @pytest.mark.parametrize("mode", ["RGB", "L"])
    def test_formats_that_are_read(self, folder: Path, kind: str, mode: str) -> None:
        Image.new(mode, (9, 7)).save(folder / "images" / "x", format=kind)
        assert check_image("images/x", folder=folder) == (folder / "images" / "x").resolve()

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

    def test_link_that_leads_outside(self, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        Image.new("RGB", (8, 8)).save(elsewhere / "x.png")
        (folder / "images" / "x.png").symlink_to(elsewhere / "x.png")
        assert "outside" in self.check(folder).found
        (folder / "out").symlink_to(elsewhere)
        assert "outside" in self.check(folder, "out/x.png").found

    def test_link_that_stays_inside(self, folder: Path) -> None:
        (folder / "images" / "x.png").symlink_to("red.png")
        assert check_image("images/x.png", folder=folder) == (folder / "images" / "red.png").resolve()

    @pytest.mark.parametrize("name", ["images/loop.png", "x" * 300, "images/red.png/x.png"])
    def test_what_the_system_refuses(self, folder: Path, name: str) -> None:
        (folder / "images" / "loop.png").symlink_to("loop.png")
        assert "exists" in self.check(folder, name).allowed

    def test_pipe(self, folder: Path) -> None:
        os.mkfifo(folder / "images" / "x.png")
        assert "not a file" in self.check(folder).found

    def test_an_image_is_decoded_once_until_it_changes(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        decoded: list[Path] = []
        original = case_images._wrong_with_content

        def counting(path: Path) -> ImageProblem | None:
            decoded.append(path)
            return original(path)

        monkeypatch.setattr(case_images, "_wrong_with_content", counting)
        for _ in range(3):
            check_image("images/red.png", folder=folder)
        assert len(decoded) == 1
        (folder / "images" / "red.png").write_bytes(b"not an image any more")
        assert "not an image" in self.check(folder, "images/red.png").found
        assert len(decoded) == 2

    @given(st.data())
    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_no_damage_crashes_it(self, folder: Path, data: st.DataObject) -> None:
        path = folder / "images" / "x"
        Image.new("RGB", (12, 12), "blue").save(path, format=data.draw(st.sampled_from(FORMATS)))
        raw = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 5))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
        assert isinstance(check_image("images/x", folder=folder), Path | ImageProblem)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int) -> bytes:
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + png_chunk(b"IDAT", b"")
    )


class TestFolder:
    def test_suites_in_order_of_their_names(self, folder: Path) -> None:
        for name in ("b.yaml", "a.yml", "C.YAML", "c-2.yaml"):
            (folder / name).write_text("cases:\n" + GOOD)
        (folder / "images" / "not-a-suite.yaml").write_text("[")
        (folder / ".hidden.yaml").write_text("[")
        (folder / "profiles.yaml").write_text("[")
        (folder / "notes.txt").write_text("[")
        suites = load_suites(folder)
        assert [suite.name for suite in suites] == ["C", "a", "b", "c-2"]
        assert [case.name for suite in suites for case in suite.cases] == [
            "C.good",
            "a.good",
            "b.good",
            "c-2.good",
        ]

    @pytest.mark.parametrize("second", ["a.yml", "A.yaml"])
    def test_names_that_collide(self, folder: Path, second: str) -> None:
        for name in ("a.yaml", second):
            (folder / name).write_text("cases:\n" + GOOD)
        (problem,) = problems_of(folder)
        assert problem.place == max("a.yaml", second)
        assert min("a.yaml", second) in problem.allowed

    @pytest.mark.parametrize("name", ["a.b.yaml", "a b.yaml", "-a.yaml"])
    def test_name_that_does_not_fit_into_test_ids(self, folder: Path, name: str) -> None:
        (folder / name).write_text("cases:\n" + GOOD)
        (problem,) = problems_of(folder)
        assert problem.place == name
        assert "letters, digits, _ and -" in problem.allowed

    def test_profiles_with_another_ending(self, folder: Path) -> None:
        (folder / "a.yaml").write_text("cases:\n" + GOOD)
        (folder / "profiles.yml").write_text("profiles: {}")
        (problem,) = problems_of(folder)
        assert (problem.place, problem.allowed) == ("profiles.yml", "the name profiles.yaml")

    def test_folder_without_suites(self, folder: Path) -> None:
        (folder / "profiles.yaml").write_text("")
        (problem,) = problems_of(folder)
        assert problem.found == "no suites"
        assert "How to write a case" in problem.allowed

    def test_folder_that_does_not_exist(self, folder: Path) -> None:
        (problem,) = problems_of(Path("elsewhere"))
        assert problem.place == "elsewhere"
        assert "--cases DIR" in problem.allowed
        assert "harness check DIR" in problem.allowed


def test_every_tolerance_can_be_set() -> None:
    assert tuple(Tolerances.model_fields) == NAMES


# Each mistake is made in a case of its own, by replacing or adding fields of a good one.
MISTAKES: list[dict[str, Any]] = [
    {"id": "a b"}, {"id": 5}, {"id": "twice"}, {"prompt": ""}, {"prompt": None}, {"prompt": ["x"]},
    {"letters": ["A"]}, {"letters": ["A", "A", "B"]}, {"letters": ["A", "b"]}, {"letters": ["A", True]},
    {"letters": 3}, {"expect": "Z"}, {"expect": "yes"}, {"expect": None}, {"image": "nowhere.png"},
    {"image": "../x.png"}, {"image": "http://x/y.png"}, {"image": 7}, {"system": ""}, {"answer_prefix": 1},
    {"max_new_tokens": 0}, {"max_new_tokens": "3"}, {"tolerances": {"kl": -1.0}},
    {"tolerances": {"nope": 1.0}}, {"tolerances": []}, {"tags": ["a b"]}, {"tags": "a"}, {"marks": ["1a"]},
    {"marks": ["while"]}, {"marks": ["xfail"]}, {"known_failure": ""}, {"expected": "A"},
]  # fmt: skip


@given(st.lists(st.none() | st.sampled_from(MISTAKES), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_at_least_as_many_problems_as_mistakes(folder: Path, mistakes: list[dict[str, Any] | None]) -> None:
    good = {"prompt": "Which?", "letters": ["A", "B"], "expect": "A"}
    cases = [{"id": "twice", **good}]
    cases += [{"id": f"c{number}", **good, **(mistake or {})} for number, mistake in enumerate(mistakes)]
    (folder / "s.yaml").write_text(yaml.dump({"cases": cases}, Dumper=Dumper, sort_keys=False))
    wrong = {number for number, mistake in enumerate(mistakes, start=1) if mistake}
    if not wrong:
        assert len(load_suite(folder / "s.yaml").cases) == len(cases)
        return
    problems = problems_of(folder / "s.yaml")
    assert {int(problem.field.split(".")[1]) for problem in problems} == wrong
    assert len(problems) == len(wrong)


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30)
PROMPT = TEXT.map(lambda text: "Q" + text)
WORDS = st.lists(
    st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).map(lambda w: f"m{w}"), max_size=3, unique=True
)
SHARED = {
    "prompt": PROMPT,
    "image": st.none() | st.just("images/red.png"),
    "letters": st.lists(st.sampled_from("ABCDENY"), min_size=2, unique=True),
    "system": st.none() | PROMPT,
    "answer_prefix": TEXT | st.just(""),
    "max_new_tokens": st.none() | st.integers(1, 4096),
    "tolerances": st.dictionaries(st.sampled_from(NAMES), st.floats(1e-12, 1e6) | st.integers(1, 9)),
    "tags": WORDS,
    "marks": WORDS,
}
OWN = {"id": st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}", fullmatch=True)}


@given(
    st.fixed_dictionaries({}, optional=SHARED),
    st.lists(
        st.fixed_dictionaries(
            OWN | {name: SHARED[name] for name in ("prompt", "letters")},
            optional={
                **{n: s for n, s in SHARED.items() if n not in ("prompt", "letters")},
                "known_failure": PROMPT,
            },
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda case: str(case["id"]).casefold(),
    ),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_dumped_is_loaded_again(
    folder: Path, defaults: dict[str, Any], cases: list[dict[str, Any]]
) -> None:
    for case in cases:
        case["expect"] = case["letters"][-1]
    text = yaml.dump({"defaults": defaults, "cases": cases}, Dumper=Dumper, allow_unicode=True)
    (folder / "s.yaml").write_text(text, encoding="utf-8", newline="")
    for case, loaded in zip(cases, load_suite(folder / "s.yaml").cases, strict=True):
        merged = {
            "system": None,
            "image": None,
            "answer_prefix": "",
            "max_new_tokens": None,
            **defaults,
            **case,
        }
        image = (folder / "images" / "red.png").resolve() if merged["image"] else None
        assert (loaded.id, loaded.prompt, loaded.expect) == (case["id"], case["prompt"], case["expect"])
        assert loaded.letters == tuple(case["letters"])
        assert loaded.image == image
        assert (loaded.system, loaded.answer_prefix) == (merged["system"], merged["answer_prefix"])
        assert loaded.max_new_tokens == merged["max_new_tokens"]
        assert loaded.known_failure == case.get("known_failure")
        assert loaded.tolerances == {**defaults.get("tolerances", {}), **case.get("tolerances", {})}
        for name in ("tags", "marks"):
            both = [*defaults.get(name, []), *case.get(name, [])]
            assert list(getattr(loaded, name)) == list(dict.fromkeys(both))


class Dumper(yaml.SafeDumper):
    """Writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


# PyYAML leaves unquoted some text that YAML 1.2 reads as a number.
Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)

PIECES = st.sampled_from([
    "cases:\n", "  - ", "    ", "id: a\n", "prompt: x\n", "letters: [A, B]\n", "expect: A\n", "defaults:\n",
    "  letters: ", "image: ", "images/red.png\n", "image: images\n", "tolerances: {kl: ", "1e-3}\n",
    "tags:\n", "marks: [", "]\n", "~\n", "true", "profiles:\n", "engines: {torch: {}}\n", "model: x/y\n",
    "{", "}", "[", ",", "reference: torch\n", "*a ", "&a ", "!t ", "'", '"', "\\0", "#", "\n", "é", "-",
    "? ", ": ", "1", ".nan", "|\n",
])  # fmt: skip


@given(st.binary(max_size=300) | st.lists(PIECES, max_size=40).map(lambda pieces: "".join(pieces).encode()))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_raise_anything_but_case_file_error(folder: Path, raw: bytes) -> None:
    (folder / "s.yaml").write_bytes(raw)
    (folder / "profiles.yaml").write_bytes(raw)
    with pytest.raises(CaseFileError) as caught:
        # Nothing is both a suite and profiles, so there is always a problem.
        load(folder)
    assert caught.value.problems
    str(caught.value).encode()


def test_budgets_of_a_suite(folder: Path) -> None:
    suite = folder / "s.yaml"
    suite.write_text(f"cases:\n{GOOD}")
    assert load_suite(suite).budgets == Budgets()
    suite.write_text(
        "budgets: {margin: 0.05, noise: {spread: 1.5, cases: 2}, regression: {cases: 1, accuracy: 0.02}}\n"
        f"cases:\n{GOOD}"
    )
    assert load_suite(suite).budgets == Budgets(margin=0.05, spread=1.5, moved=2, lost=1, accuracy=0.02)
    suite.write_text(f"budgets: {{noise: {{cases: 3}}}}\ncases:\n{GOOD}")
    assert load_suite(suite).budgets == Budgets(moved=3)


@pytest.mark.parametrize(
    ("budgets", "field", "allowed"),
    [
        ("{margin: §0}", "budgets.margin", "a number greater than 0.0"),
        ("{noise: {spread: §-1.0}}", "budgets.noise.spread", "a number greater than 0.0"),
        ("{noise: {cases: §1.5}}", "budgets.noise.cases", "a whole number"),
        ("{regression: {cases: §-1}}", "budgets.regression.cases", "0 or more"),
        ("{regression: {accuracy: §2.0}}", "budgets.regression.accuracy", "1.0 or less"),
        ("{regression: {§acuracy: 0.1}}", "budgets.regression.acuracy", "accuracy (the nearest), cases"),
        ("{noise: §null}", "budgets.noise", "a mapping"),
    ],
)
def test_wrong_budgets_are_told_with_their_place(
    folder: Path, budgets: str, field: str, allowed: str
) -> None:
    text, place = place_in("s.yaml", f"budgets: {budgets}\ncases:\n{GOOD}")
    (folder / "s.yaml").write_text(text)
    (problem,) = problems_of(folder / "s.yaml")
    assert (problem.place, problem.field, problem.allowed) == (place, field, allowed)

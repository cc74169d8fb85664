"""Every rule of a suite, told with its exact place."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from harness.cases.suites import load_suite
from tests.cases.writing import GOOD, place_in, problems_of


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
        "prompt (the nearest), image, images, letters",
    ),
    "unknown key far from any": (
        "§zzz: 1\ncases:\n" + GOOD,
        "zzz",
        "the unknown key",
        "description, defaults, budgets, source, cases",
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
    "missing cases": ("§description: x", "cases", "nothing", "under `source` the table"),
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
    "letter no": (
        defaults("letters: [Y, §no]"),
        "defaults.letters.1",
        "'no'",
        "use a single letter such as N",
    ),
    "letter true": (
        defaults("letters: [§true, F]"),
        "defaults.letters.0",
        "true, a boolean",
        "use a single letter such as T",
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
    "one image and several": (
        case(image="images/red.png", images="§[images/red.png]"),
        "cases.0.images",
        "`image` beside it",
        "one of the two",
    ),
    "no images": (case(images="§[]"), "cases.0.images", "a list of 0", "at least 1"),
    "second image missing": (
        case(images="[images/red.png, §x.png]"),
        "cases.0.images.1",
        "'x.png'",
        "a file that exists",
    ),
    "place of an image there is not": (
        case(images="[images/red.png, images/red.png]", prompt="§'{image:1} or {image:3}?'"),
        "cases.0.prompt",
        "{image:1} {image:3}",
        "each of its images once ({image:1} {image:2}), or no place at all",
    ),
    "place of an image twice": (
        case(image="images/red.png", prompt="§'{image:1} or {image:1}?'"),
        "cases.0.prompt",
        "{image:1} {image:1}",
        "({image:1})",
    ),
    "place of an image in text": (case(prompt="§'{image:1}?'"), "cases.0.prompt", "{image:1}", "no image"),
    "place of an image in the system text": (
        case(image="images/red.png", system="§'{image:1}?'"),
        "cases.0.system",
        "{image:1}",
        "in the prompt only",
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


@pytest.mark.parametrize(
    ("text", "field", "found"),
    [
        *(
            (case(prompt=f"§'{word}\\nWhich?'"), "cases.0.prompt", f"{word}, by which a model")
            for word in ("<IMAGE_TOKEN>", "<image>", "<img>", "<IMG_CONTEXT>", "<|image_pad|>", "[IMG]")
        ),
        *(
            (
                case(prompt=f"§'a {word} b'"),
                "cases.0.prompt",
                f"{word}, which a tokenizer may read as a control",
            )
            for word in ("<|im_end|>", "<|im_start|>", "</s>", "[/INST]", "<end_of_turn>", "<|eot_id|>")
        ),
        *(
            (case(prompt=f"§'a {word} b'"), "cases.0.prompt", f"{word}, which is asked as it stands")
            for word in ("{image}", "{image: 1}", "{Image:1}", "{images:2}", "{image_1}", "<image 1>")
        ),
        (defaults("system: §'<|vision_start|> is up'"), "defaults.system", "<|vision_start|>"),
        (case(image="§turned.jpg"), "cases.0.image", "'turned.jpg', whose EXIF data turns it"),
        (defaults("image: §turned.jpg"), "defaults.image", "'turned.jpg', whose EXIF data turns it"),
    ],
)
def test_a_remark_at_its_place_fails_nothing(folder: Path, text: str, field: str, found: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (8, 6)).save(folder / "turned.jpg", exif=exif)
    plain, place = place_in("s.yaml", text)
    (folder / "s.yaml").write_text(plain)
    (remark,) = load_suite(folder / "s.yaml").remarks
    assert (remark.place, remark.field) == (place, field)
    assert remark.found.startswith(found)


@pytest.mark.parametrize(
    "prompt",
    ["a <b>word</b> [A] or <Image>", "the image <- here", "[IMAGE] img", "a <|> b", "x<s y>z", "|end|"],
)
def test_other_words_between_brackets_are_no_placeholders(folder: Path, prompt: str) -> None:
    (folder / "s.yaml").write_text(case(prompt=f"'{prompt}'"))
    assert load_suite(folder / "s.yaml").remarks == ()

"""Suites: what a case becomes, what belongs to one, and all problems at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cases.budgets import Budgets
from harness.cases.folder import load
from harness.cases.suites import Case, load_suite
from harness.cases.writing import suite_text
from harness.checks.tolerances import NAMES
from harness.engines.contract import Request
from harness.errors import CaseFileError
from harness.schemas.fields import Tolerances
from tests.cases.writing import GOOD, load_suites, place_in, problems_of


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
        images=((folder / "images" / "red.png").resolve(),),
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
    assert len(x.images) == 1
    assert y.images == ()


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

    @pytest.mark.parametrize("name", ["a.b.yaml", "a b.yaml", "-a.yaml", "a\n.yaml", "a\x1b[2J.yaml"])
    def test_name_that_does_not_fit_into_test_ids(self, folder: Path, name: str) -> None:
        (folder / name).write_text("cases:\n" + GOOD)
        (problem,) = problems_of(folder)
        assert problem.place == ascii(name)[1:-1]
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
        assert "docs/cases.md" in problem.allowed

    def test_folder_that_does_not_exist(self, folder: Path) -> None:
        (problem,) = problems_of(Path("elsewhere"))
        assert problem.place == "elsewhere"
        assert "--cases DIR" in problem.allowed
        assert "harness check DIR" in problem.allowed


def test_every_tolerance_can_be_set() -> None:
    assert tuple(Tolerances.model_fields) == NAMES


def test_budgets_of_a_suite(folder: Path) -> None:
    suite = folder / "s.yaml"
    suite.write_text(f"cases:\n{GOOD}")
    assert load_suite(suite).budgets == Budgets()
    suite.write_text(
        "budgets: {margin: 0.05, noise: {spread: 1.5, cases: 2}, regression: {cases: 1, accuracy: 0.02}}\n"
        f"cases:\n{GOOD}"
    )
    assert load_suite(suite).budgets == Budgets(margin=0.05, spread=1.5, moved=2, lost=1, accuracy=0.02)
    suite.write_text(f"budgets: {{margin: 2.5%, strict: true}}\ncases:\n{GOOD}")
    given = load_suite(suite).budgets
    assert given.margin == pytest.approx(0.1, abs=1e-3)  # of a probability of one half
    assert given.strict
    suite.write_text(f"budgets: {{noise: {{cases: 3}}}}\ncases:\n{GOOD}")
    assert load_suite(suite).budgets == Budgets(moved=3)


@pytest.mark.parametrize(
    ("budgets", "field", "allowed"),
    [
        (
            "{margin: §0}",
            "budgets.margin",
            "a number greater than 0, 1 at most, or such as 2.5% of a probability, under 50%",
        ),
        (
            "{margin: §50%}",
            "budgets.margin",
            "a number greater than 0, 1 at most, or such as 2.5% of a probability, under 50%",
        ),
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


def test_images_of_a_case_go_before_those_of_the_defaults(folder: Path) -> None:
    (folder / "a.yaml").write_text(
        "defaults: {prompt: Which?, letters: [A, B], images: [images/red.png, images/red.png]}\n"
        "cases:\n  - {id: two, expect: A}\n  - {id: one, expect: A, image: images/red.png}\n"
        "  - {id: none, expect: A, image: null}\n"
        "  - {id: placed, expect: A, prompt: 'Is {image:2} {image:1}?'}\n"
    )
    found = {case.id: len(case.images) for case in load_suite(folder / "a.yaml").cases}
    assert found == {"two": 2, "one": 1, "none": 0, "placed": 2}


A_TEXT = "defaults: {letters: [A, B], prompt: x}\ncases:\n  - id: one\n"


def test_a_text_wins_over_letters_of_the_defaults(folder: Path) -> None:
    (folder / "s.yaml").write_text(A_TEXT + '    expect_text: "1984"\n  - id: two\n    expect: A\n')
    text, letters = load_suite(folder / "s.yaml").cases
    assert (text.kind, text.expect, text.letters) == (Request.TEXT, "1984", ("1984", Request.ELSE))
    assert (letters.kind, letters.expect, letters.letters) == (Request.LETTER, "A", ("A", "B"))


def test_a_text_is_written_as_one(folder: Path) -> None:
    (folder / "s.yaml").write_text("cases:\n  - {id: a, prompt: P, expect_text: '1984'}\n" + GOOD)
    suite = load_suite(folder / "s.yaml")
    (folder / "t.yaml").write_text(suite_text(suite, {}))
    assert [case.expect for case in load_suite(folder / "t.yaml").cases] == ["1984", "A"]
    assert [case.kind for case in load_suite(folder / "t.yaml").cases] == [case.kind for case in suite.cases]


def test_a_text_needs_no_letters(folder: Path) -> None:
    (folder / "s.yaml").write_text("cases:\n  - {id: one, prompt: x, expect_text: a box}\n")
    assert load_suite(folder / "s.yaml").cases[0].expect == "a box"


@pytest.mark.parametrize(
    ("fields", "place", "words"),
    [
        ('    expect: A\n    expect_text: "1"\n', "4:5", "expect: found expect beside expect_text"),
        (
            "",
            "3:5",
            "expect: found nothing; allowed: The right answer, one of the letters on offer. Or expect_text",
        ),
        ('    expect_text: ""\n', "4:18", "expect_text: found ''; allowed: text that is not empty"),
        ('    expect_text: " "\n', "4:18", "expect_text: found ' '; allowed: text that is not empty"),
        (
            "    expect_text: 1984\n",
            "4:18",
            "expect_text: found the number 1984; allowed: text; put it in quotes",
        ),
        ('    letters: [A, B]\n    expect_text: "1"\n', "4:5", "letters: found letters beside expect_text"),
        (
            "    expect_text: anything else\n",
            "4:18",
            "expect_text: found 'anything else'; allowed: another text",
        ),
    ],
)
def test_one_answer_and_no_other(folder: Path, fields: str, place: str, words: str) -> None:
    (folder / "s.yaml").write_text(A_TEXT + fields)
    (problem,) = problems_of(folder / "s.yaml")
    assert f"s.yaml:{place}: cases.0.{words}" in str(problem)

"""What was lost, gained and moved, told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.checks.agreement import compare
from harness.engines.contract import Answer, Entry
from harness.reports.breakdown import Breakdown, accuracies, breakdown, lines, tag_rows
from harness.verdicts.case_judging import OTHER
from harness.verdicts.verdict import CaseVerdict, Change, Verdict
from tests.reports.made_verdicts import made_case, made_comparison
from tests.reports.report_data import LETTERS, answer_of, recording

Answers = tuple[str | None, str | None]
RIGHT, LOST, GAINED, LEFT, NEVER = ("A", "A"), ("A", "B"), ("B", "A"), ("A", OTHER), ("A", None)


def cases_of(*answers: Answers, tags: Sequence[str] = (), rest: Sequence[float] = ()) -> list[CaseVerdict]:
    """Cases whose right answer is A; ``rest`` is on the candidate's side, 0.1 on the baseline's."""
    return [
        made_case(
            Verdict.NOISE,
            number=n,
            answers=pair,
            tags=(tags[n],) if tags else (),
            rest=(0.1, rest[n]) if rest else None,
        )
        for n, pair in enumerate(answers)
    ]


def broken(case: CaseVerdict) -> CaseVerdict:
    """Of a case that one side never reached, both sides are known to be right or wrong."""
    return replace(case, right=(case.right[0], bool(case.right[1])))


def found(cases: Sequence[CaseVerdict], changes: Sequence[Change] = ()) -> Breakdown:
    return breakdown(made_comparison(cases), changes, texts={9: "Ġthe"})


def change_of(before: Answer, after: Answer, *, case: str = "s.c") -> Change:
    agreement = compare(recording(case, "p-a", before), recording(case, "p-b", after), LETTERS)
    return Change(
        case=case,
        suite="s",
        place="cases/s.yaml:3:5",
        letters=LETTERS,
        expect="A",
        cluster=case,
        agreement=agreement,
        asked="asked",
    )


def with_top(answer: Answer, *top: tuple[int, float]) -> Answer:
    """The answer with these probabilities as its most probable tokens."""
    entries = tuple(Entry(token, math.log(share)) for token, share in top)
    return replace(answer, readings=(replace(answer.readings[0], top=entries),))


def test_lost_and_gained_are_told_by_name_tag_letter_and_answer() -> None:
    cases = cases_of(RIGHT, LOST, LOST, GAINED, LEFT, NEVER, tags=("x", "x", "x", "x", "y", "y"))
    cases = [*cases[:5], broken(cases[5]), replace(made_case(answers=("C", "B"), number=9), expect="C")]
    cases[-1] = replace(cases[-1], right=(True, False), tags=("x",))
    told = found(cases)
    assert told.accuracy is not None
    names = {n: f"shapes.case-{n}" for n in range(10)}
    assert told.accuracy.lost == tuple(names[n] for n in (1, 2, 4, 5, 9))
    assert told.accuracy.gained == (names[3],)
    assert dict(told.accuracy.letters) == {
        ("A", "B"): 2,
        ("B", "A"): 1,
        ("A", OTHER): 1,
        ("A", "nothing"): 1,
        ("C", "B"): 1,
    }
    assert {tag: (one.cases, one.lost, one.gained) for tag, one in told.accuracy.tags.items()} == {
        "x": (5, 3, 1),
        "y": (2, 2, 0),
    }
    assert {letter: (one.lost, one.gained) for letter, one in told.accuracy.expected.items()} == {
        "A": (4, 1),
        "C": (1, 0),
    }
    text = "\n".join(lines(told))
    assert "lost (5): shapes.case-1, shapes.case-2, shapes.case-4" in text
    assert "gained (1): shapes.case-3" in text
    assert f"answers: A → B 2, B → A 1, A → {OTHER} 1, A → nothing 1, C → B 1" in text
    assert "by expected letter: A 4 lost and 1 gained of 6; C 1 lost and 0 gained of 1" in text
    assert [row[0] for row in tag_rows(told)] == ["x", "y"]


def test_where_nothing_changed_nothing_is_told() -> None:
    told = found(cases_of(RIGHT, RIGHT, tags=("x", "y"), rest=(0.1, 0.1)))
    assert lines(told) == []
    assert tag_rows(told) == []
    assert told.accuracy is not None
    assert set(told.accuracy.tags) == {"x", "y"}


def test_of_answers_that_are_not_known_nothing_is_told() -> None:
    told = found([replace(case, right=(None, None)) for case in cases_of((None, None))])
    assert (told.accuracy, told.accuracies, lines(told)) == (None, None, [])


def test_an_interval_of_accuracy_is_wilsons() -> None:
    """Newcombe, 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I."""
    cases = cases_of(*[RIGHT] * 81, *[("B", "B")] * 182)
    both = accuracies(cases)
    assert both is not None
    assert [(round(one.low, 4), round(one.high, 4)) for one in both] == [(0.2553, 0.3662)] * 2


def test_cases_of_one_image_are_not_counted_as_many() -> None:
    answers = [RIGHT] * 10 + [("B", "B")] * 10
    apart = accuracies(cases_of(*answers))
    five = [replace(case, cluster=f"image-{n // 5}") for n, case in enumerate(cases_of(*answers * 5))]
    five = [replace(case, right=(n < 50, n < 50)) for n, case in enumerate(five)]
    together = accuracies(five)
    assert apart is not None
    assert together is not None
    assert together[0].value == apart[0].value
    # 20 images of five cases that are right or wrong as one are 20 cases, but for the one lost to the mean.
    assert together[0].low == pytest.approx(apart[0].low, abs=0.01)


def test_mass_that_leaves_the_letters_is_told_with_the_cases_that_lost_most() -> None:
    told = found(cases_of(RIGHT, RIGHT, RIGHT, rest=(0.1, 0.5, 0.9)))
    assert told.mass is not None
    assert (told.mass.baseline, told.mass.candidate) == pytest.approx((0.9, 0.5))
    assert [one.case for one in told.mass.lost] == ["shapes.case-2", "shapes.case-1"]
    assert lines(told) == [
        "probability on the letters: 0.9 → 0.5 on average; lost most: shapes.case-2 0.9 → 0.1, "
        "shapes.case-1 0.9 → 0.5"
    ]


def test_tokens_that_took_what_left_are_named() -> None:
    plain = answer_of((3.0, 1.0, 0.0, -2.0), "A")
    before = with_top(plain, (0, 0.9), (9, 0.05), (8, 0.01))
    after = with_top(plain, (9, 0.45), (0, 0.4), (7, 0.1), (8, 0.005))
    told = found([], [change_of(before, after), change_of(before, before, case="s.d")])
    assert [(one.id, one.cases, one.case) for one in told.taken] == [(9, 1, "s.c"), (7, 1, "s.c")]
    # The second was in no list of the baseline's: at most as probable as the last there.
    assert [one.gained for one in told.taken] == pytest.approx([0.2, 0.045])
    (line,) = lines(told)
    assert line.startswith(
        "taken by: 'Ġthe' (9) +0.2 on average, in 1 case, most in s.c (log p -0.799), token 7 "
    )


@pytest.mark.parametrize("ids", [(), (4, 5, 6, 7)], ids=["by text", "another tokenizer"])
def test_tokens_are_not_compared_where_their_ids_are_not(ids: tuple[int, ...]) -> None:
    plain = answer_of((3.0, 1.0, 0.0, -2.0), "A")
    after = replace(with_top(plain, (9, 0.9)), letter_ids=ids)
    assert found([], [change_of(plain, after)]).taken == ()

"""The report as data: what it says of a comparison, and that it is always right by its schema."""

from __future__ import annotations

import datetime
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pydantic import ValidationError

from harness.checks.agreement import compare
from harness.checks.full_vocabulary import FullVocabulary
from harness.engines.contract import Json
from harness.recordings.fingerprint import Difference
from harness.reports.page.document import Report, make_report
from harness.reports.report_input import HistoryPoint, ReportInput, ReportSide
from harness.schemas import json_schema
from harness.schemas.report import CaseEntry, ReportFile
from harness.verdicts.judging import judge
from harness.verdicts.noise_model import Noise
from harness.verdicts.verdict import Change
from tests.reports.report_data import LETTERS, answer_of, make_input, recording

SCHEMA = Draft202012Validator(json.loads(json_schema.schema_text("report.schema.json")))
NOISE = Noise(None, None, dtypes=("bfloat16", "bfloat16"), table=0.26)
SIDE = ReportSide(label="a", device="a test", dtype="float32", made="", model="m", fingerprint={})


def problems(text: str) -> list[str]:
    """What the schema finds wrong, read as strictly as JSON is."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return [error.message for error in SCHEMA.iter_errors(json.loads(text, parse_constant=refuse))]


def input_of(*changes: Change, noise: Noise = NOISE, **more: Any) -> ReportInput:
    verdict = judge(changes, baseline="a", candidate="b", budgets={}, margin=0.1, noise=noise)
    return ReportInput(
        name="b against a",
        baseline=SIDE,
        candidate=replace(SIDE, label="b"),
        verdict=verdict,
        changes=changes,
        **{"cases": (), "changed": (), **more},
    )


def change_of(
    before: Any,
    after: Any,
    *,
    case: str = "s.c",
    errors: tuple[str, ...] = (),
    full: FullVocabulary | None = None,
) -> Change:
    agreement = None
    if before is not None and after is not None:
        sides = [recording(case, f"p-{x}", one) for x, one in (("a", before), ("b", after))]
        agreement = compare(sides[0], sides[1], LETTERS, full=full)
    return Change(
        case=case,
        suite="s",
        place="cases/s.yaml:3:5",
        letters=LETTERS,
        expect="A",
        cluster=case,
        agreement=agreement,
        asked="asked",
        errors=errors,
    )


def only_case(report: Report) -> CaseEntry:
    (comparison,) = report.document.comparisons
    (case,) = comparison.cases
    return case


@pytest.fixture(scope="module")
def report(pictures: Path) -> Report:
    return make_report(
        [make_input(60, pictures)], made=datetime.datetime(2026, 11, 25, 9, tzinfo=datetime.UTC)
    )


def test_it_is_right_by_the_committed_schema_and_can_be_read_back(report: Report) -> None:
    text = report.to_json()
    assert problems(text) == []
    assert ReportFile.model_validate_json(text) == report.document
    assert report.document.made == "2026-11-25T09:00:00+00:00"


def test_another_version_is_refused_with_what_to_do(report: Report) -> None:
    data = json.loads(report.to_json()) | {"version": 1}
    with pytest.raises(ValidationError) as caught:
        ReportFile.model_validate_json(json.dumps(data))
    (error,) = caught.value.errors()
    assert error["loc"] == ("version",)
    assert "found version 1 of the report; allowed: version 3. " in error["msg"]
    assert "  harness gate --baseline A --candidate B --json FILE" in error["msg"]
    assert problems(json.dumps(data)) == ["3 was expected"]


def test_what_was_found_is_told_of_all_cases_suites_and_places(report: Report, pictures: Path) -> None:
    told, given = report.document.comparisons[0], make_input(60, pictures)
    assert told.whole is not None
    assert (told.whole.suite, told.whole.cases) == ("all cases", 60)
    assert (told.words, told.whole.passes) == ("REGRESSION", False)
    assert [(one.kind, one.name, one.evidence.name) for one in told.where] == [
        (one.kind, one.name, one.evidence.name) for one in given.verdict.where
    ]
    assert told.where != []
    assert told.whole.accuracies is not None
    for suite in (told.whole, *told.suites):
        assert suite.accuracies is not None
        assert suite.accuracy is not None
        assert [one.value for one in suite.accuracies] == pytest.approx(suite.accuracy)


def test_what_was_lost_gained_and_moved_is_told(report: Report) -> None:
    told = report.document.comparisons[0]
    assert told.accuracy is not None
    wrong = [case.case for case in told.cases if case.baseline and case.candidate and case.baseline.right]
    wrong = [name for name in wrong if name in told.accuracy.lost]
    assert wrong == told.accuracy.lost != []
    assert (told.accuracy.change.lost, sum(one.lost for one in told.accuracy.expected.values())) == (
        len(wrong),
        len(wrong),
    )
    assert set(told.accuracy.tags) == {"easy", "rare"}
    assert told.accuracy.letters
    assert told.mass is not None
    shares = [case.mass for case in told.cases if case.mass is not None]
    assert told.mass.candidate == pytest.approx(sum(share[1] for share in shares) / len(shares))
    others = {one.id: one.text for c in told.cases if c.candidate for one in c.candidate.others}
    assert others == {9: "Ġthe"}


def test_a_drift_within_the_margin_is_told_as_one(pictures: Path) -> None:
    given = make_input(60, pictures, regress=False, spread=0.06)
    told = make_report([given]).document.comparisons[0]
    assert (told.verdict, told.words, told.status) == ("DRIFT", "DRIFT within the margin", "PASSED")
    assert told.whole is not None
    assert (told.whole.passes, told.whole.within_margin, told.whole.within_budget) == (True, True, False)


def test_another_token_on_top_is_a_flip_to_something_else() -> None:
    before = answer_of((3.0, 1.0, 0.0, -2.0), "A")
    row = replace(before.readings[0], argmax=(9,), log_z=5.0)
    after = replace(before, text="the", readings=(row,))
    case = only_case(make_report([input_of(change_of(before, after))]))
    assert case.flip is not None
    assert (case.flip.before, case.flip.after) == ("A", "something else")


@pytest.mark.parametrize(
    ("field", "value"), [("verdict", "FINE"), ("letters", [1]), ("expect", None), ("surplus", 1)]
)
def test_a_wrong_document_is_refused(report: Report, field: str, value: Json) -> None:
    data = json.loads(report.to_json())
    data["comparisons"][0]["cases"][0][field] = value
    assert problems(json.dumps(data)) != []


def test_both_sides_and_every_number_are_those_that_were_judged(report: Report, pictures: Path) -> None:
    given = make_input(60, pictures)
    told = report.document.comparisons[0]
    assert [case.case for case in told.cases] == [case.case for case in given.verdict.cases]
    for case, verdict, change in zip(told.cases, given.verdict.cases, given.changes, strict=True):
        assert case.verdict == verdict.verdict.value
        if change.agreement is None:
            assert case.errors == list(change.errors) != []
            assert case.baseline is case.candidate is None
            continue
        assert case.baseline is not None
        assert case.baseline.least == pytest.approx(change.agreement.a.probabilities)
        assert case.largest == verdict.largest
        assert case.cluster == verdict.cluster == change.cluster
        assert case.metrics[0].name == ("log-odds" if verdict.largest is not None else "KL")
    assert any(case.candidate and case.candidate.partial for case in told.cases)
    assert any(case.candidate and not case.candidate.reached for case in told.cases)


def test_metrics_have_the_limits_they_are_held_to(report: Report) -> None:
    case = next(c for c in report.document.comparisons[0].cases if c.verdict == "NOISE")
    limits = {metric.name: metric.limit for metric in case.metrics}
    assert limits == {
        "log-odds": case.limit,
        "|Δp|": 0.03,
        "total variation": 0.06,
        "KL": 0.01,
        "JS": 0.0025,
    }


def test_what_changed_begins_with_versions(report: Report) -> None:
    changed = report.document.comparisons[0].changed
    assert [(one.kind, one.path.rpartition(".")[2]) for one in changed[:3]] == [
        ("version", "lmdeploy"),
        ("version", "torch"),
        ("version", "transformers"),
    ]
    kinds = [one.kind for one in changed]
    assert kinds[-3:] == ["machine", "machine", "other"]
    assert len(changed) == 14


def test_a_letter_outside_the_top_is_an_interval() -> None:
    full = answer_of((3.0, 1.0, 0.0, -2.0), "A")
    case = only_case(
        make_report([input_of(change_of(full, answer_of((3.0, 1.0, 0.0, -2.0), "A", outside=2)))])
    )
    assert case.candidate is not None
    assert case.candidate.partial
    assert case.candidate.least[:2] == pytest.approx(case.candidate.most[:2])
    assert case.candidate.least[2:] == [0.0, 0.0]
    assert case.candidate.most[2] > 0  # type: ignore[operator]
    assert case.candidate.log_odds[2:] == [None, None]
    assert case.candidate.coverage.within is False
    assert any(metric.bounded for metric in case.metrics)


def test_coverage_names_the_lowest_letter_and_its_rank() -> None:
    answer = answer_of((3.0, 1.0, 0.0, -2.0), "A", ranks=(0, 1, 5, 17), reported=4)
    case = only_case(make_report([input_of(change_of(answer, replace(answer, reported_top=())))]))
    assert case.baseline is not None
    assert case.candidate is not None
    told = case.baseline.coverage
    assert (told.reported, told.within, told.lowest, told.rank) == (4, False, "D", 18)
    assert (case.candidate.coverage.reported, case.candidate.coverage.within) == (None, None)


def test_numbers_that_json_lacks_are_text_or_null() -> None:
    full = FullVocabulary(kl=math.inf, js=math.nan, widths=(9, 9), surplus=0.0, masked=1, masked_mass=0.1)
    answer = answer_of((3.0, 1.0, 0.0, -2.0), "A")
    report = make_report([input_of(change_of(answer, answer, full=full))])
    values = {metric.name: metric.value for metric in only_case(report).metrics}
    assert (values["KL"], values["JS"]) == ("inf", "nan")
    assert problems(report.to_json()) == []


def test_half_a_surrogate_pair_can_be_written() -> None:
    answer = answer_of((3.0, 1.0, 0.0, -2.0), "A \ud83d")
    report = make_report([input_of(change_of(answer, answer), notes=("\udc80",))])
    assert problems(report.to_json()) == []
    told = only_case(report).candidate
    assert told is not None
    assert told.text == "A ?"


def test_a_picture_that_cannot_be_read_is_told(pictures: Path, tmp_path: Path) -> None:
    given = make_input(6, pictures)
    gone = tmp_path / "gone.png"
    report = make_report([replace(given, cases=[replace(given.cases[0], images=(gone,)), *given.cases[1:]])])
    (key,) = report.document.comparisons[0].cases[0].images
    assert "No such file" in report.document.images[key].problem
    assert problems(report.to_json()) == []


def test_cases_of_equal_content_share_a_picture(pictures: Path, tmp_path: Path) -> None:
    given = make_input(6, pictures)
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(given.cases[0].images[0].read_bytes())
    report = make_report(
        [
            replace(
                given, cases=[given.cases[0], replace(given.cases[1], images=(copy, *given.cases[0].images))]
            )
        ]
    )
    first, second, *others = report.document.comparisons[0].cases
    assert second.images == first.images * 2
    assert len(report.document.images) == 1
    assert all(case.images == [] and case.prompt is None for case in others)  # of which nothing is known


def test_a_report_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one comparison"):
        make_report([])


FLOATS = st.floats(min_value=-30, max_value=30) | st.sampled_from([math.nan, -math.inf, 0.0])
ANSWERS = st.one_of(
    st.none(),
    st.builds(
        answer_of,
        st.just(()) | st.tuples(*[st.floats(-30, 30)] * 4),
        st.text(st.characters(exclude_categories=()), max_size=8),
        outside=st.integers(0, 3),
        reported=st.integers(0, 6),
    ),
)
ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
TEXTS = st.text(st.characters(exclude_categories=()), max_size=12)


@given(
    sides=st.lists(st.tuples(ANSWERS, ANSWERS), min_size=1, max_size=3),
    sigma=st.sampled_from([1e-9, 0.05, 4.0]),
    fingerprint=st.dictionaries(TEXTS, ANY_JSON, max_size=2),
    changed=st.lists(st.builds(Difference, TEXTS, ANY_JSON, ANY_JSON), max_size=3),
    text=TEXTS,
    history=st.lists(
        st.builds(
            HistoryPoint,
            when=TEXTS,
            fingerprint=TEXTS,
            version=TEXTS,
            probability=st.none() | FLOATS,
            log_odds=st.none() | FLOATS,
            right=st.none() | st.booleans(),
        ),
        max_size=2,
    ),
    kl=st.floats(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_document_is_right_by_the_schema(
    sides: Any, sigma: float, fingerprint: Any, changed: Any, text: str, history: Any, kl: float
) -> None:
    noise = Noise(None, None, dtypes=("bfloat16", "bfloat16"), table=sigma)
    full = FullVocabulary(kl=kl, js=kl, widths=(9, 9), surplus=0.0, masked=0, masked_mass=0.0)
    changes = [
        replace(change_of(a, b, case=f"s.c{i}", errors=(text,), full=full), tags=(text,))
        for i, (a, b) in enumerate(sides)
    ]
    given = input_of(
        *changes,
        noise=noise,
        changed=changed,
        notes=(text,),
        commands={"s.c0": text},
        histories={"s.c0": history},
    )
    given = replace(given, baseline=replace(SIDE, fingerprint=fingerprint, device=text))
    assert problems(make_report([given]).to_json()) == []

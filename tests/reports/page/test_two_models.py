"""The report as data, of two models: what was lost and gained, right by the schema."""

from __future__ import annotations

import json
from dataclasses import replace

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from harness.reports.page.document import make_report
from harness.reports.report_input import ReportInput, ReportSide
from harness.schemas import json_schema
from harness.verdicts.upgrade_judging import judge_upgrade
from tests.verdicts.changes import change, noise_of, recording

SCHEMA = Draft202012Validator(json.loads(json_schema.schema_text("report.schema.json")))
SIDE = ReportSide(label="a", device="a test", dtype="float32", made="", model="m", fingerprint={})


def test_two_models_are_told_by_what_was_lost_and_gained() -> None:
    right, wrong = recording([3.0, 0.0, 0.0, 0.0]), recording([0.0, 3.0, 0.0, 0.0])
    changes = [
        replace(change(right, after, noise_of(None), case=f"s.c{number}"), tags=("dark",))
        for number, after in enumerate((wrong, right))
    ]
    report = make_report(
        [
            ReportInput(
                name="b against a",
                baseline=SIDE,
                candidate=replace(SIDE, label="b", model="n"),
                verdict=judge_upgrade(changes, baseline="a", candidate="b", models=("m", "n"), budgets={}),
                changes=changes,
                cases=(),
                changed=(),
            )
        ]
    )
    assert [error.message for error in SCHEMA.iter_errors(json.loads(report.to_json()))] == []
    found = report.document.comparisons[0].accuracy
    assert found is not None
    assert (found.change.lost, found.change.gained, found.tags["dark"].cases) == (1, 0, 2)
    assert (found.lost, found.letters) == (["s.c0"], [("A", "B", 1)])

"""An engine whose answers do not fit what it was asked: ERRORS of their cases, and the run goes on."""

from __future__ import annotations

import json

import pytest

from tests.suite.conftest import HERE, Project

STAND_IN = HERE / "stand_in_engine.py"
BUT_TORCH = "self.settings.kind != 'torch' and 'odd' in orders"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("letter_ids=letters.ids,", f"letter_ids=letters.ids[{BUT_TORCH} :],", "letter_ids: found 2 entries"),
        (
            "readings=tuple(readings),",
            f"readings=tuple(readings)[{BUT_TORCH} :],",
            "readings: found ['captured']; allowed: ['two-stage', 'captured']",
        ),
        (
            "rows=dict.fromkeys(self.paths, row)",
            f"rows=dict.fromkeys(self.paths[{BUT_TORCH} :], row)",
            "row of two-stage: found No such file or directory",
        ),
        (
            "rows=dict.fromkeys(self.paths, row)",
            f"rows=dict.fromkeys(self.paths, row[{BUT_TORCH} :])",
            "row of two-stage: found the letters' logits",
        ),
        ("text=chr(", f"text='' if {BUT_TORCH} else chr(", "text: found ''; allowed: one with 'A'"),
    ],
    ids=["letters", "path", "row", "other-row", "text"],
)
def test_an_answer_that_does_not_fit_is_the_error_of_its_case(
    project: Project, old: str, new: str, words: str
) -> None:
    source = STAND_IN.read_text(encoding="utf-8")
    assert old in source
    patch = project.folder / "faulty.py"
    patch.write_text(source.replace(old, new), encoding="utf-8")
    both = {"patch": str(patch), "top_k": 5}
    paths = {"paths": ["two-stage", "captured"]}
    project.write_profiles(engines={"torch": both, "lmdeploy": {**both, **paths}})
    project.write_suite(one="say A", odd="say A, odd", two="say A too")
    result = project.run("-k", "not snapshot", "--report=r.html", "--report-json=r.json")
    result.assert_outcomes(passed=13, errors=5)  # of the odd case the reference's letter, and of others all
    assert words in result.stdout.str()
    (comparison,) = json.loads((project.folder / "r.json").read_text(encoding="utf-8"))["comparisons"]
    assert {case["case"]: case["verdict"] for case in comparison["cases"]}["s.odd"] == "ERROR"
    assert (project.folder / "r.html").exists()

"""JUnit XML."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.reports.ci.junit import PROPERTIES, flat_properties, junit_of_verdicts
from harness.reports.summary import CheckSummary, Figures, Status
from harness.verdicts.verdict import Verdict
from tests.reports.made_verdicts import made_case, made_comparison, made_suite

GATE = {"vlm.verdict", "vlm.sentence", "vlm.finding"}
SUMMARY = CheckSummary(
    suite="s",
    case="s.c",
    place="cases/s.yaml:3:5",
    profile="p",
    engine="lmdeploy",
    check="agree",
    expected="A",
    status=Status.PASSED,
    figures=Figures(top="A", probability=0.987654321, worst=1.25e-7, worst_letter="B", kl=math.inf),
    device="cpu, float32",
)


def test_all_that_is_known_is_a_property_of_its_own() -> None:
    found = flat_properties(SUMMARY)
    assert [name for name, _ in found] == [name for name in PROPERTIES if name not in GATE]
    assert dict(found) | {"vlm.probability": "0.987654", "vlm.kl": "inf"} == dict(found)


def test_what_is_not_known_is_left_out() -> None:
    found = dict(flat_properties(replace(SUMMARY, figures=Figures(), device="")))
    gone = {"vlm.top", "vlm.probability", "vlm.worst_change", "vlm.kl", "vlm.device"}
    assert set(PROPERTIES) - set(found) == gone | GATE


def test_the_page_on_ci_lists_them_all() -> None:
    page = (Path(__file__).parents[3] / "docs" / "ci.md").read_text(encoding="utf-8")
    assert sorted(set(re.findall(r"`(vlm\.\w+)`", page))) == sorted(PROPERTIES)


class TestVerdicts:
    def parsed(self, *cases: Verdict, suite: Verdict, within: bool, margin: bool = False) -> ET.Element:
        made = [made_case(verdict, number=n) for n, verdict in enumerate(cases)]
        suites = [made_suite(made, suite, within_budget=within, within_margin=margin)]
        root = ET.fromstring(junit_of_verdicts([made_comparison(made, suite, suites=suites)]))
        whole, element = root.findall("testsuite")
        assert whole.get("name") == "versions/lmdeploy_0_18: all cases"
        self.whole = whole
        return element

    def test_a_regression_is_a_failure_of_its_suite_and_its_case(self) -> None:
        suite = self.parsed(Verdict.REGRESSION, Verdict.SAME, suite=Verdict.REGRESSION, within=False)
        counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
        assert counts == {"tests": "3", "failures": "2", "errors": "0", "skipped": "0"}
        failures = [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
        assert failures == ["the suite as a whole", "shapes.case-0"]
        properties = {p.get("name"): p.get("value") for p in suite.findall("testcase")[1].iter("property")}
        assert properties["vlm.verdict"] == "REGRESSION"
        assert properties["vlm.place"] == "cases/shapes.yaml:0:5"

    @pytest.mark.parametrize("margin", [False, True])
    def test_within_budget_or_margin_nothing_fails(self, margin: bool) -> None:
        suite = self.parsed(Verdict.DRIFT, suite=Verdict.DRIFT, within=not margin, margin=margin)
        assert (suite.get("failures"), suite.get("errors")) == ("0", "0")
        assert (self.whole.get("failures"), self.whole.get("errors")) == ("0", "0")
        told = self.whole.findtext("testcase/system-out") or ""
        why = "it is shown to be within the margin" if margin else "budgets allow it"
        assert f"does it matter: no, {why} (exit status 0)" in told

    def test_the_comparison_as_a_whole_fails_with_the_gate(self) -> None:
        self.parsed(Verdict.REGRESSION, suite=Verdict.REGRESSION, within=False)
        failure = self.whole.find("testcase/failure")
        assert failure is not None
        assert failure.get("message") == "REGRESSION: the candidate loses right answers beyond noise"
        assert "does it matter: yes, right answers were lost (exit status 1)" in (failure.text or "")
        assert "lost (1): shapes.case-0" in (failure.text or "")

    def test_an_inconclusive_suite_is_a_failure_and_no_skip(self) -> None:
        suite = self.parsed(Verdict.INCONCLUSIVE, suite=Verdict.INCONCLUSIVE, within=True)
        assert (suite.get("failures"), suite.get("skipped")) == ("1", "0")
        assert suite.find(".//skipped") is None

    def test_an_error_is_an_error(self) -> None:
        suite = self.parsed(Verdict.ERROR, suite=Verdict.ERROR, within=True)
        assert (suite.get("failures"), suite.get("errors")) == ("0", "2")

    def test_characters_that_xml_lacks_are_replaced(self) -> None:
        case = made_case(Verdict.ERROR, reason="\x1b[31mout\x00 of memory \ud800 <&>")
        text = junit_of_verdicts([made_comparison([case], Verdict.ERROR)])
        (error,) = [
            e
            for e in ET.fromstring(text).iter("error")
            if e.get("type") == "ERROR" and "out" in (e.text or "")
        ]
        assert error.text == "cases/shapes.yaml:1:5: ?[31mout? of memory ? <&>"

"""JUnit XML: a test's flat properties, and a gate's verdicts as test cases.

pytest writes each user property of a test as the text of its value, so what travels as one mapping (of
`harness.reports.outcomes`, or of a test of the gate) is replaced by the properties of `PROPERTIES`, in
pytest's main process.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

import pytest

from harness.reports.breakdown import breakdown, lines
from harness.reports.outcomes import BULK, PROPERTY, SNAPSHOT
from harness.reports.summary import CheckSummary
from harness.reports.verdict_figures import context, headline, suite_words, verdict_words
from harness.verdicts.judging import ALL
from harness.verdicts.verdict import CaseVerdict, ComparisonVerdict, ExitStatus, SuiteVerdict, Verdict

__all__ = ["PROPERTIES", "flat_properties", "flatten", "junit_of_verdicts"]

PROPERTIES: Mapping[str, str] = {
    "vlm.case": "the case's name, suite.id",
    "vlm.suite": "its suite",
    "vlm.profile": "the profile",
    "vlm.engine": "the engine that the test is about",
    "vlm.place": "file:line:column of the case",
    "vlm.expected": "the expected letter",
    "vlm.top": "the engine's top letter",
    "vlm.probability": "the top letter's probability over the whole vocabulary",
    "vlm.worst_change": "the largest change of a letter's probability against the reference",
    "vlm.kl": "KL divergence from the reference over the whole vocabulary, in nats",
    "vlm.device": "where and with what the engine ran",
    "vlm.verdict": "a gate's verdict on the suite or the case, or that on an update of a snapshot",
    "vlm.sentence": "the same in a sentence",
    "vlm.finding": "what was found of a gate's two sides before their numbers, such as another question",
}
"""Properties by name, with what they mean; a property is left out where a test does not tell it."""

# XML 1.0 has no such characters, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def flat_properties(summary: CheckSummary) -> list[tuple[str, str]]:
    """Names and texts of the properties of one test, in the order of `PROPERTIES`."""
    values = {
        "vlm.case": summary.case,
        "vlm.suite": summary.suite,
        "vlm.profile": summary.profile,
        "vlm.engine": summary.engine,
        "vlm.place": summary.place,
        "vlm.expected": summary.expected,
        "vlm.top": summary.figures.top,
        "vlm.probability": _figure(summary.figures.probability),
        "vlm.worst_change": _figure(summary.figures.worst),
        "vlm.kl": _figure(summary.figures.kl),
        "vlm.device": summary.device,
    }
    return [(name, value) for name, value in values.items() if value]


def flatten(report: pytest.TestReport, *, gate: str) -> None:
    """Replace the facts in a report by flat properties, once they have been taken.

    ``gate`` is the name of the property that tests of the gate have.
    """
    flat: list[tuple[str, object]] = []
    for name, value in report.user_properties:
        if name == PROPERTY and isinstance(value, Mapping):
            flat += flat_properties(CheckSummary.from_json(value["summary"]))
        elif name == BULK and isinstance(value, Mapping):
            flat += [("vlm.suite", suite) for suite in dict.fromkeys(t["suite"] for t in value["tallies"])]
        elif name == SNAPSHOT and isinstance(value, Mapping):
            flat += [("vlm.verdict", str(value["verdict"]))] if value.get("verdict") else []
        elif name == gate and isinstance(value, Mapping):
            told = ("verdict", "sentence", "finding")
            flat += [(f"vlm.{key}", str(value[key])) for key in told if key in value]
        else:
            flat.append((name, value))
    report.user_properties[:] = flat


def junit_of_verdicts(verdicts: Sequence[ComparisonVerdict]) -> str:
    """JUnit XML of comparisons: a test suite for all cases together, and one for each suite.

    The latter has a test case for itself and for each case. The verdict on all cases fails with the gate.
    ERROR is an error. A suite that is INCONCLUSIVE, or DRIFT or REGRESSION and let pass by neither margin nor
    budgets, is a failure, and so are its cases that are DRIFT or REGRESSION: nothing is told as skipped.
    Sides that could not be compared are an error of a test suite of their own.
    """
    root = ET.Element("testsuites", name="vlm-consistency-harness")
    for comparison in verdicts:
        _whole(root, comparison)
        for suite in comparison.suites:
            element = ET.SubElement(root, "testsuite", name=f"{comparison.candidate}: {suite.suite}")
            _suite_case(element, comparison, suite)
            for case in comparison.cases:
                if case.suite == suite.suite:
                    _case(element, comparison, suite, case)
    for element in root:
        for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
            element.set(name, str(sum(1 for _ in element.iter(tag))))
        element.set("skipped", "0")
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _whole(root: ET.Element, comparison: ComparisonVerdict) -> None:
    name = comparison.candidate if comparison.whole is None else f"{comparison.candidate}: {ALL}"
    element = ET.SubElement(root, "testsuite", name=name)
    properties = {"vlm.engine": comparison.candidate, "vlm.verdict": comparison.verdict}
    one = _testcase(element, comparison.candidate, "the comparison as a whole", properties)
    found = [one.text for one in comparison.findings]
    text = "\n".join((*found, headline(comparison), *context(comparison), *lines(breakdown(comparison))))
    if comparison.status is not ExitStatus.PASSED:
        tag = "error" if comparison.status is ExitStatus.ERROR else "failure"
        _outcome(one, tag, verdict_words(comparison), text)
    else:
        ET.SubElement(one, "system-out").text = _xml(text)


def _suite_case(parent: ET.Element, comparison: ComparisonVerdict, suite: SuiteVerdict) -> None:
    properties = {"vlm.suite": suite.suite, "vlm.engine": comparison.candidate, "vlm.verdict": suite.verdict}
    found = [one.text for one in comparison.findings]
    properties |= {"vlm.finding": "\n".join(found)} if found else {}
    element = _testcase(parent, suite.suite, "the suite as a whole", properties)
    sentence, reasons = suite_words(suite)
    text = "\n".join((*found, headline(comparison), sentence, *reasons))
    if suite.verdict is Verdict.ERROR:
        _outcome(element, "error", verdict_words(suite), text)
    elif suite.verdict is Verdict.INCONCLUSIVE or not suite.passes:
        _outcome(element, "failure", verdict_words(suite), text)


def _case(parent: ET.Element, comparison: ComparisonVerdict, suite: SuiteVerdict, case: CaseVerdict) -> None:
    properties = {
        "vlm.case": case.case,
        "vlm.suite": case.suite,
        "vlm.engine": comparison.candidate,
        "vlm.place": case.place,
        "vlm.expected": case.expect,
        "vlm.verdict": case.verdict,
    }
    element = _testcase(parent, case.suite, case.case, properties)
    if case.verdict is Verdict.ERROR:
        _outcome(element, "error", case.verdict, f"{case.place}: {case.reason}")
    elif case.verdict in (Verdict.DRIFT, Verdict.REGRESSION) and not suite.passes:
        _outcome(element, "failure", case.verdict, f"{case.place}: {case.reason}")


def _testcase(parent: ET.Element, classname: str, name: str, properties: Mapping[str, str]) -> ET.Element:
    element = ET.SubElement(parent, "testcase", classname=_xml(classname), name=_xml(name))
    listed = ET.SubElement(element, "properties")
    for key, value in properties.items():
        ET.SubElement(listed, "property", name=key, value=_xml(str(value)))
    return element


def _outcome(element: ET.Element, tag: str, kind: str, text: str) -> None:
    plain = _xml(text)
    ET.SubElement(element, tag, type=kind, message=plain.partition("\n")[0]).text = plain


def _xml(text: str) -> str:
    return _NOT_XML.sub("?", text)


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if math.isfinite(value) else str(value)

"""What is written of a suite is that suite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cases.suites import Suite, load_suite
from harness.cases.writing import image_names, suite_text
from tests.cases.writing import Dumper

# Of what YAML may hold at all: no control characters but tabs and ends of lines.
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], include_characters="\n\t\u2028\ufeff"),
    max_size=20,
)
BITS = st.lists(st.sampled_from([" ", "\n", "a", "#", ": ", "- ", "'", '"', "|", "{x}", "above. \n"])).map(
    "".join
)
PROMPT = (TEXT | BITS).filter(str.strip)
WORD = st.from_regex(r"[a-z0-9_#&*!%@:,\[\]{}'\"-]{1,8}", fullmatch=True)
CASE = {
    "prompt": PROMPT,
    "letters": st.sampled_from([["A", "B"], ["N", "Y"], ["A", "B", "C"]]),
    "system": PROMPT,
    "answer_prefix": TEXT,
    "max_new_tokens": st.integers(1, 4096),
    "tolerances": st.dictionaries(st.sampled_from(["kl", "js"]), st.floats(1e-12, 1e6)),
    "tags": st.lists(WORD, unique=True, max_size=2),
    "marks": st.lists(st.just("wide"), max_size=1),
    "known_failure": PROMPT,
    "image": st.just("images/red.png"),
}
NEEDED = {name: CASE.pop(name) for name in ("prompt", "letters")}
CASES = st.lists(st.fixed_dictionaries(NEEDED, optional=CASE), min_size=1, max_size=3)
IDS = ["1e5", "true", "no-1", "007", "a.b", "null", "0x1f", "1_000"]


def bare(suite: Suite) -> Any:
    cases = [replace(case, location=suite.cases[0].location, suite="s") for case in suite.cases]
    return cases, suite.description, suite.budgets


@given(CASES, PROMPT, st.permutations(IDS))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_suite_that_is_written_is_the_same(
    folder: Path, cases: list[dict[str, Any]], description: str, ids: list[str]
) -> None:
    entries = [{"id": name, "expect": c["letters"][0], **c} for c, name in zip(cases, ids, strict=False)]
    budgets = {"noise": {"spread": 2}}
    data = {"description": description, "budgets": budgets, "cases": entries}
    (folder / "s.yaml").write_text(yaml.dump(data, Dumper=Dumper, sort_keys=False), encoding="utf-8")
    suite = load_suite(folder / "s.yaml")
    names = {path: str(path.relative_to(folder)) for path in image_names(suite)}
    (folder / "t.yaml").write_text(suite_text(suite, names), encoding="utf-8", newline="\n")
    assert bare(load_suite(folder / "t.yaml")) == bare(suite)

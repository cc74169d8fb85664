"""Suites drawn at random: nothing is lost, no mistake is hidden, nothing crashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cases.folder import load
from harness.cases.suites import load_suite
from harness.checks.tolerances import NAMES
from harness.errors import CaseFileError
from tests.cases.writing import Dumper, problems_of

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
        images = ((folder / "images" / "red.png").resolve(),) if merged["image"] else ()
        assert (loaded.id, loaded.prompt, loaded.expect) == (case["id"], case["prompt"], case["expect"])
        assert loaded.letters == tuple(case["letters"])
        assert loaded.images == images
        assert (loaded.system, loaded.answer_prefix) == (merged["system"], merged["answer_prefix"])
        assert loaded.max_new_tokens == merged["max_new_tokens"]
        assert loaded.known_failure == case.get("known_failure")
        assert loaded.tolerances == {**defaults.get("tolerances", {}), **case.get("tolerances", {})}
        for name in ("tags", "marks"):
            both = [*defaults.get(name, []), *case.get(name, [])]
            assert list(getattr(loaded, name)) == list(dict.fromkeys(both))


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

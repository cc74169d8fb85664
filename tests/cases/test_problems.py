"""What is shown of names and words that anybody may have written."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cases.folder import load
from harness.cases.problems import Location, ProblemList, readable, shown, visible
from harness.errors import CaseFileError


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("café 红 🙂", "café 红 🙂"),
        ("a\x1b[2J\x07", r"a\x1b[2J\x07"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202eb\u2066\u2028", r"a\u202eb\u2066\u2028"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_a_terminal_would_act_on_is_spelled(text: str, seen: str) -> None:
    assert visible(text) == seen
    assert shown(Path(text)) == str(Path(seen))
    assert str(Location(Path("t.csv"), 3, 0, text)) == f"t.csv: row 3 (index {seen})"
    problems = ProblemList()
    problems.add(Path("s.yaml"), field=text, found=text, allowed=text)
    (problem,) = problems.in_file_order()
    assert str(problem) == f"s.yaml: {seen}: found {seen}; allowed: {seen}"


def test_lines_stay_lines_and_are_no_commands() -> None:
    said = "one\r\n::error::two\n  ::stop-commands::x\na::b ##[group]\n\tthree\x1b[0m"
    assert readable(said).split("\n") == [
        "one",
        r":\:error::two",
        r"  :\:stop-commands::x",
        r"a::b ##\[group]",
        r"        three\x1b[0m",
    ]


@pytest.mark.parametrize("name", ["x" * 300, "y/" * 40 + "z" * 5000], ids=["name", "path"])
@pytest.mark.parametrize(
    "fields",
    [
        "model: {name}",
        "model: m, engines: {{torch: {{patch: {name}.py}}}}",
        "model: m, engines: {{torch: {{python: ./{name}}}}}",
        "model: m, engines: {{torch: {{requirements: ['./{name}']}}}}",
        "model: m, engines: {{lmdeploy: {{options: {{chat_template_config: ./{name}.json}}}}}}",
        "source",
        "image",
    ],
)
def test_a_name_too_long_for_any_file_is_told(folder: Path, fields: str, name: str) -> None:
    own = fields.format(name=name)
    more = "" if "engines" in own else ", engines: {torch: {}}"
    own = f"model: m{more}" if own in ("source", "image") else own + more
    engine = "lmdeploy" if "lmdeploy" in own else "torch"
    profile = f"profiles:\n  p: {{dtype: float32, reference: {engine}, {own}}}\n"
    (folder / "profiles.yaml").write_text(profile)
    if fields == "source":
        (folder / "s.yaml").write_text(f"source: {{file: {name}.csv}}\n")
    else:
        image = f"image: {name}, " if fields == "image" else ""
        case = "{id: a, prompt: P, letters: [A, B], expect: A}"
        (folder / "s.yaml").write_text(f"cases:\n  - {case.replace('prompt', image + 'prompt')}\n")
    with pytest.raises(CaseFileError) as caught:
        load(folder)
    (problem,) = caught.value.problems
    assert problem.place.startswith("s.yaml:" if fields in ("source", "image") else "profiles.yaml:2:")
    assert len(problem.found) <= 2000

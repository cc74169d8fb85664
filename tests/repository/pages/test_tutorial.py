"""docs/tutorial.md: what it says to write is written, what it says to type is typed, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE)
NUMBER = r"[-+]?\d[-+.\de]*"


class Step(NamedTuple):
    kind: str
    text: str
    file: str  # of a block that is to be written: where to, and whether behind what is there
    added: bool


def steps() -> list[Step]:
    found = []
    for match in BLOCK.finditer(PAGE):
        paragraph = PAGE[: match.start()].rstrip().rpartition("\n\n")[2]
        asked = re.search(r"(Write this\s+to|Add this to the end of) `([\w./]+)`", paragraph)
        place = (asked[2], asked[1].startswith("Add")) if asked else ("", False)
        found.append(Step(match["kind"], match["text"], *place))
    return found


def as_printed(line: str) -> re.Pattern[str]:
    """A line of the page: its numbers are those of one machine, and a table is as wide as they are."""
    words = [re.sub(NUMBER, "NUMBER", word) for word in line.split()]
    return re.compile(r"\s+".join(re.escape(word).replace("NUMBER", NUMBER) for word in words))


def test_every_block_is_of_a_kind_that_is_tried() -> None:
    kinds = {"bash", "text", "yaml", "yml", "python"}
    assert {step.kind for step in steps()} == kinds
    assert all(bool(step.file) == (step.kind in ("yaml", "yml", "python")) for step in steps())
    assert sum(step.kind == "bash" for step in steps()) == 7
    assert as_printed("a 0.5 [1e-05, 2]").search("x a   0.25 [3e-07,  11]")
    assert not as_printed("SAME 1").search("NOISE 1")


@pytest.mark.slow
@pytest.mark.engines
def test_it_goes_as_the_page_says(tmp_path: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "CLONE": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    printed = ""
    for step in steps():
        if step.kind == "text":
            for line in step.text.splitlines():
                assert as_printed(line).search(printed), f"{line}\n\nin\n\n{printed}"
            continue
        if step.kind != "bash":
            file = tmp_path / step.file
            file.write_text((file.read_text() if step.added else "") + step.text)
            continue
        done = subprocess.run(
            ["bash", "-c", step.text],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        printed = done.stdout + done.stderr
        expected = re.search(r"# exit status (\d)", step.text)
        assert done.returncode == int(expected[1] if expected else 0), f"{step.text}\n{printed}"
    assert (tmp_path / "report.html").is_file()

"""The YAML that documentation shows is YAML that the harness takes."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest

from harness.cases.problems import ProblemList
from harness.cases.validation import validate
from harness.cases.yaml_source import read_document
from harness.schemas.fields import FileModel
from harness.schemas.profiles import ProfilesFile
from harness.schemas.suite import SuiteFile
from tests.repository.workflow_lint import findings_in_gitlab, findings_in_workflow

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"^ *```yaml\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
# What a block that begins with neither is, beneath which keys it stands in a file, with its indentation.
PART_OF_A_PROFILE = "profiles:\n  mine:\n    model: /models/mine\n    reference: torch\n"
EXAMPLES = [
    pytest.param(dedent(block), id=f"{page.relative_to(ROOT)}-{number}".replace("/", "."))
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for number, block in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")), 1)
]


def problems_of(block: str, folder: Path) -> list[str]:
    """What is wrong with an example's fields; models and images need not exist."""
    if re.search(r"^jobs:", block, re.MULTILINE):
        file = folder / ".github" / "workflows" / "example.yml"  # where zizmor takes it for a workflow
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.replace("@COMMIT", f"@{'0' * 40}"), encoding="utf-8")
        return findings_in_workflow(file).splitlines()
    if re.search(r"^  script:", block, re.MULTILINE):
        file = folder / ".gitlab-ci.yml"
        file.write_text(block, encoding="utf-8")
        return findings_in_gitlab(file).splitlines()
    text = block
    model: type[FileModel] = ProfilesFile
    if re.search(r"^(cases|source):", block, re.MULTILINE):
        model = SuiteFile
    elif not re.search(r"^profiles:", block, re.MULTILINE):
        text = PART_OF_A_PROFILE + re.sub(r"^(?=.)", "    ", block, flags=re.MULTILINE)
    file = folder / "example.yaml"
    file.write_text(text, encoding="utf-8")
    problems = ProblemList()
    document = read_document(file, problems)
    if document.complete:
        validate(model, document)
    return [str(problem) for problem in problems.in_file_order()]


@pytest.mark.parametrize("block", EXAMPLES)
def test_examples_are_valid(block: str, tmp_path: Path) -> None:
    assert problems_of(block, tmp_path) == []


def test_there_are_examples_of_each_kind() -> None:
    blocks = "".join(str(example.values[0]) for example in EXAMPLES)
    assert "cases:" in blocks
    assert "profiles:" in blocks
    assert "engines:" in blocks
    assert "source:" in blocks
    assert "\njobs:" in blocks
    assert "\n  script:" in blocks


@pytest.mark.parametrize(
    "block",
    [
        "engines:\n  torch: {pyhton: python3}\n",
        "source: {flie: a.tsv}\n",
        "cases:\n  - id: a\n    prompt: Answer in the form 'Answer: X'.\n    expect: A\n    letters: [A]\n",
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps: [run: 'echo ${{ github.head_ref }}']\n",
        "gate:\n  script: [pytest]\n  artifacts: {when: sometimes}\n",
    ],
    ids=["unknown key", "of a table", "not YAML", "workflow", "pipeline"],
)
def test_a_wrong_example_would_be_noticed(block: str, tmp_path: Path) -> None:
    assert problems_of(block, tmp_path) != []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 8000

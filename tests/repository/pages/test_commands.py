"""What pages say to type exists, and every page can be reached from the README."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import indent

import pytest

from docs.make_reference import commands, options_of_pytest

ROOT = Path(__file__).parents[3]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
CODE = re.compile(r"`([^`\n]+)`|^ {4,}(.+)$", re.MULTILINE)
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
KNOWN = {name: set(parser._option_string_actions) | {"--help"} for name, parser in commands().items()}
GROUPS = {name.rpartition(" ")[0] for name in KNOWN} | {"harness --version", "harness COMMAND"}
# Of pytest itself and its other plug-ins.
OTHERS = {"--snapshot-update", "--junit-xml", "--pyargs", "--max-warnings", "--durations", "--collect-only"}


def wrong_with(text: str) -> list[str]:
    """Commands in a page that there are not, and options that they do not take."""
    found = []
    for match in CODE.finditer(FENCED.sub(lambda block: indent(block[1], "    "), text)):
        code = next(filter(None, match.groups())).partition(" #")[0].strip()
        code = re.sub(r"^tox exec(?: -e [\w-]+)? -- ", "", code)
        for line in re.findall(r"(?:^|[ (;])(harness [a-z-]+(?: .*)?)$", code):
            words = line.split()
            name = next((" ".join(words[:n]) for n in (3, 2) if " ".join(words[:n]) in KNOWN), "")
            if not name and " ".join(words[:2]) not in GROUPS:
                found.append(line)
            options = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
            found += [f"{name} {option}" for option in sorted(options - KNOWN[name])] if name else []
        if re.match(r"pytest\b", code):
            words = code.split("&&")[0].split()
            options = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
            ours = set(options_of_pytest()._option_string_actions)
            found += [f"pytest {option}" for option in sorted(options - ours - OTHERS)]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_to_be_typed_exists(page: Path) -> None:
    assert wrong_with(page.read_text(encoding="utf-8")) == []


def test_what_does_not_exist_would_be_noticed() -> None:
    page = "`harness gat A..B`\n\n    harness gate --reprot=x   # --nothing\n\n`pytest --fersh`\n"
    fenced = "```bash\nharness plan S --gaol a=1\n```\nThe\nharness itself --is fine\n"
    fenced += "```bash\ntox exec -e harness -- mypy --strict\ntox exec -e harness -- harness schemer\n```\n"
    assert wrong_with(page + fenced) == [
        "harness gat A..B", "harness gate --reprot", "pytest --fersh", "harness plan --gaol",
        "harness schemer",
    ]  # fmt: skip


def test_every_page_is_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        targets = re.findall(r"\]\(([^)#\s:]+)", page.read_text(encoding="utf-8"))
        waiting += [(page.parent / target).resolve() for target in targets]
    assert [page.name for page in DOCS if page not in seen] == []

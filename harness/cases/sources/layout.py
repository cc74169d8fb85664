"""A row as VLMEvalKit lays it out: the prompt that it makes of it, the letters on offer and the answer."""

from __future__ import annotations

import ast
import re
import string
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from harness.cases.problems import describe
from harness.cases.sources.choosing import text_of
from harness.cases.sources.tables import Cells
from harness.engines.contract import IMAGE_MARK
from harness.schemas.fields import CASE_ID, MEANINGS

__all__ = [
    "NAMES",
    "PICTURES",
    "TEMPLATE",
    "Add",
    "columns_in",
    "columns_named",
    "entry_of",
    "index_of",
    "list_in",
    "pictures_in",
    "placed",
    "renamed",
]

Add = Callable[[str, str, str], None]
"""Notes a problem: the column, what was found there, and what is allowed."""

# As ImageMCQDataset.build_prompt has it, the blank before the last line's end included.
TEMPLATE: Final = (
    "Hint: {hint}\nQuestion: {question}\nOptions:\n{options}\n"
    "Please select the correct answer from the options above. \n"
)
_WITHOUT_OPTIONS: Final = "Hint: {hint}\nQuestion: {question}\n"
_NUMBERED: Final = tuple(f"image_{number}" for number in range(1, 10))
PICTURES: Final = ("image", "image_path", *_NUMBERED)
NAMES: Final = ("index", "question", "hint", "answer", "options", *PICTURES, *string.ascii_uppercase)
_GROUPS: Final = (("image",), ("image_path",), _NUMBERED)
_COLUMN: Final = re.compile(r"\{([\w -]+)\}")
_PLACE: Final = re.compile(r"<image (\d+)>")
_LONGEST_ID, _LONGEST_TAG = 100, 60
_LONGEST_SPELLED: Final = 100_000  # characters; Python takes some 80 bytes for each to read a list
_TEXT: Final = re.compile(r"""'[^'\\]*'|"[^"\\]*\"""")
_TEXTS: Final = re.compile(rf"\[\s*(?:{_TEXT.pattern})(?:\s*,\s*(?:{_TEXT.pattern}))*+\s*,?\s*\]")


def renamed(cells: Cells, columns: Mapping[str, str]) -> Cells:
    """The row, in which the table's own columns have the names that this module knows, too."""
    return {**cells, **{ours: cells.get(theirs) for ours, theirs in columns.items()}}


def columns_in(source: Mapping[str, Any]) -> dict[tuple[str, ...], str]:
    """The columns that a suite speaks of, each with its place below ``source``."""
    found: dict[tuple[str, ...], str] = {
        ("columns", ours): theirs for ours, theirs in source.get("columns", {}).items()
    }
    found |= {("where", name): name for name in source.get("where", {})}
    found |= {("tags", str(number)): name for number, name in enumerate(source.get("tags", ()))}
    if "per" in source:
        found["per",] = source["per"]
    for name in columns_named(source.get("prompt", "")):
        if name not in ("hint", "options"):  # which a table may lack
            found["prompt",] = name
    return found


def columns_named(prompt: str) -> list[str]:
    """The columns that a suite's prompt for its rows names."""
    return _COLUMN.findall(prompt)


def index_of(cells: Cells, number: int) -> str:
    """What a row is called: its index, else by its number."""
    index = text_of(cells.get("index")).strip()
    if isinstance(cells.get("index"), float):  # whole numbers beside a missing one
        index = index.removesuffix(".0")
    return index or f"row-{number}"


def list_in(cell: Any) -> list[Any]:  # noqa: ANN401 - whatever a table holds
    """A list as JSON and Parquet have it or a text spells it; of anything else a list of one, or of none."""
    if isinstance(cell, list):
        return cell
    if isinstance(cell, str) and cell.startswith("[") and cell.endswith("]"):
        if len(cell) > _LONGEST_SPELLED:
            return [text[0][1:-1] for text in _TEXT.finditer(cell)] if _TEXTS.fullmatch(cell) else [cell]
        try:
            with warnings.catch_warnings(action="ignore"):  # of the backslash in a formula
                return list(ast.literal_eval(cell))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return [cell]
    return [cell] if isinstance(cell, bytes | dict) or text_of(cell) else []


def pictures_in(cells: Cells) -> list[Any]:
    """The cells of a row that have its pictures; those in ``image`` are what ``image_path`` only names."""
    found = ([cells[name] for name in own if list_in(cells.get(name))] for own in _GROUPS)
    return next(filter(None, found), [])


def entry_of(
    cells: Cells, number: int, source: Mapping[str, Any], letters: Sequence[str], add: Add
) -> dict[str, Any]:
    """A row as an entry of a suite's ``cases``, without pictures; ``letters`` are those of the defaults."""
    index = index_of(cells, number)
    if not re.fullmatch(CASE_ID, index) or len(index) > _LONGEST_ID:
        add("index", describe(index), f"{MEANINGS[CASE_ID]}, at most {_LONGEST_ID}")
    if not text_of(cells.get("question")):
        add("question", "nothing", "a question")
    options = _options(cells)
    on_offer = tuple(options) or tuple(letters)
    if len(on_offer) < 2:
        found = f"{len(options)} of them" if options else "none"
        add("options", found, "two or more in columns A, B, C ..., or `letters` under `defaults:`")
    answer = text_of(cells.get("answer")).strip()
    if not answer:
        allowed = "a letter (`where: {answer: true}` leaves out rows without one, as test splits have them)"
        add("answer", "nothing", allowed)
    elif answer not in on_offer and len(on_offer) > 1:
        add("answer", describe(answer), f"the letter of one of its options: {', '.join(on_offer)}")
    columns = source.get("tags", [name for name in ("category", "l2-category") if name in cells])
    tags = [
        re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", "-", text_of(cells.get(name)).strip())[:_LONGEST_TAG]
        for name in columns
    ]
    return {
        "id": index,
        "prompt": _prompt(source.get("prompt", TEMPLATE if options else _WITHOUT_OPTIONS), cells, options),
        "expect": answer,
        "tags": list(dict.fromkeys(filter(None, tags))),
        **({"letters": list(options)} if options else {}),
    }


def _options(cells: Cells) -> dict[str, str]:
    """The texts on offer by letter: columns A to Z that hold something, or a list under ``options``."""
    found = {letter: text_of(cells.get(letter)) for letter in string.ascii_uppercase}
    if not any(found.values()):
        found = dict(zip(string.ascii_uppercase, map(text_of, list_in(cells.get("options"))), strict=False))
    return {letter: text for letter, text in found.items() if text}


def _prompt(template: str, cells: Cells, options: Mapping[str, str]) -> str:
    listed = "\n".join(f"{letter}. {text}" for letter, text in options.items())
    values = {**{name: text_of(cell) for name, cell in cells.items()}, "options": listed}
    lines = []
    for line in template.splitlines(keepends=True):
        asked = [values.get(name, "") for name in _COLUMN.findall(line)]
        if not asked or any(asked):
            lines.append(_COLUMN.sub(lambda match: values.get(match[1], ""), line))
    return "".join(lines)


def placed(prompt: str, pictures: Sequence[Any], add: Add) -> tuple[str, list[Any]]:
    """VLMEvalKit's ``<image 1>`` as ``{image:1}``, and the pictures in the order in which they are named.

    As there, one that is named twice is shown twice, and where some are named the others are not shown.
    """
    named = [int(number) for number in _PLACE.findall(prompt)]
    if far := [number for number in named if not 0 < number <= len(pictures)]:
        add("question", f"<image {far[0]}>", f"one of its {len(pictures)} pictures, counted from 1")
        return prompt, []
    if named:
        order = iter(range(1, len(named) + 1))
        prompt = _PLACE.sub(lambda _: f"{{image:{next(order)}}}", prompt)
        pictures = [pictures[number - 1] for number in named]
    marks = IMAGE_MARK.findall(prompt)
    if marks and sorted(map(int, marks)) != [*range(1, len(pictures) + 1)]:
        add("prompt", f"{{image:{marks[0]}}}", f"each of its {len(pictures)} pictures once, or none")
    return prompt, list(pictures)

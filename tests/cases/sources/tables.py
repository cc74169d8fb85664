"""Tables in each format that a suite may name, and suites of them."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from PIL import Image

from harness.cases.suites import Suite, load_suite

FORMATS = ("tsv", "csv", "jsonl", "parquet")
ROW = {"index": "0", "question": "Which?", "A": "red", "B": "blue", "answer": "A"}


def picture(colour: str | tuple[int, int, int] = "red", kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(out, format=kind)
    return out.getvalue()


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def write_table(file: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as the file's suffix says; what is missing is an empty cell in text, null in Parquet."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(dict(row)) + "\n" for row in rows))
    elif file.suffix == ".parquet":
        cells = {name: [row.get(name) for row in rows] for name in columns}
        pyarrow.parquet.write_table(pyarrow.table(cells), file, row_group_size=8)
    else:
        with file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns, delimiter="\t" if file.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return file


def rows_like(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows with an index of their own, and all else as `ROW` has it."""
    return [{**ROW, "index": str(number), **row} for number, row in enumerate(rows)]


def suite_of(table: Path, **source: Any) -> Suite:
    """A suite of a table, in its folder; raises as `load_suite` does."""
    defaults = source.pop("defaults", {})
    suite = table.with_name(f"{table.stem}.yaml")
    text = {"defaults": defaults, "source": {"file": table.name, **source}}
    suite.write_text(json.dumps(text))
    return load_suite(suite)

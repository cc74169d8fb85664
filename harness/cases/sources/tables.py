"""A table's rows, one at a time: their pictures fill gigabytes.

Text is read by the standard library, which holds one row, and Parquet by pyarrow, which holds a page. What
reads all four, such as DuckDB, holds a block of thousands of rows, pictures and all.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

__all__ = ["SUFFIXES", "Cells", "Unreadable", "rows_of"]

Cells = dict[str, Any]
"""A row by column: text, or of JSON and Parquet what stands there."""

_DELIMITERS: Final = {".tsv": "\t", ".csv": ","}
_JSON: Final = (".jsonl", ".ndjson")
SUFFIXES: Final = (*_DELIMITERS, *_JSON, ".parquet")
_AT_ONCE: Final = 4  # rows of Parquet
_BUFFER: Final = 2**20
_MOST_ROWS: Final = 1_000_000
_LONGEST: Final = min(sys.maxsize, 2**31 - 1)  # characters of a cell: base64 of many pictures


class Unreadable(Exception):  # noqa: N818 - it says what a table is
    """A table, or from the row ``number`` on (from 1; 0 for all of it), cannot be read."""

    def __init__(self, found: str, allowed: str, number: int = 0) -> None:
        """What was found, and what is allowed."""
        super().__init__(found)
        self.found, self.allowed, self.number = found, allowed, number


def rows_of(file: Path) -> Iterator[Cells]:
    """All rows in order; raises `Unreadable` where the next one cannot be read."""
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise Unreadable(f"a file {file.name!r}", f"a table as {', '.join(SUFFIXES)}")
    try:
        for number, cells in enumerate(_parquet(file) if suffix == ".parquet" else _text(file, suffix), 1):
            if number > _MOST_ROWS:  # a Parquet file of a few bytes may have any number
                raise Unreadable(f"more than {_MOST_ROWS:,} rows", "no more; split the table")
            yield cells
    except UnicodeDecodeError as error:
        found = f"bytes that are not UTF-8 ({error.reason}) in line {_undecodable(file)}"
        raise Unreadable(found, "text in UTF-8; save it with that encoding") from error
    except OSError as error:
        raise Unreadable(error.strerror or str(error), "a file that can be read") from error


def _undecodable(file: Path) -> int:
    """The first line, from 1, that is no UTF-8; the error itself counts from the start of a buffer."""
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 0


def _text(file: Path, suffix: str) -> Iterator[Cells]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        if suffix in _JSON:
            yield from _objects(stream)
            return
        csv.field_size_limit(_LONGEST)
        lines = csv.reader(stream, delimiter=_DELIMITERS[suffix])
        columns = next(lines, [])
        if twice := [name for name, count in Counter(columns).items() if count > 1]:
            raise Unreadable(f"the column {twice[0]!r} twice", "each column once")
        for number, cells in enumerate(filter(None, lines), start=1):
            if len(cells) != len(columns):
                allowed = f"{len(columns)}, as the first line has; look for a quote that is not closed"
                raise Unreadable(f"{len(cells)} cells", allowed, number)
            yield dict(zip(columns, cells, strict=True))


def _objects(lines: Iterator[str]) -> Iterator[Cells]:
    for number, line in enumerate((line for line in lines if line.strip()), start=1):
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"text that is no JSON ({error})", "a JSON object a line", number) from error
        if not isinstance(cells, dict):
            raise Unreadable("JSON that is no object", "a JSON object a line", number)
        yield cells


def _parquet(file: Path) -> Iterator[Cells]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        needed = 'pip install "vlm-consistency-harness[parquet]", or the table as TSV, CSV or JSONL'
        raise Unreadable("Parquet, and no pyarrow to read it", needed) from error
    try:
        with ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER) as table:
            for batch in table.iter_batches(batch_size=_AT_ONCE, use_threads=False):
                yield from batch.to_pylist()
    except (ArrowException, MemoryError, OverflowError, ValueError) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise Unreadable(f"no whole Parquet file ({why})", "a Parquet file") from error

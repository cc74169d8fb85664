"""What a suite may say of a table that its cases come from."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from harness.schemas.fields import FileModel, NonBlank, optional

__all__ = ["SourceEntry"]

_Count = Annotated[int, Field(ge=1)]


class SourceEntry(FileModel):
    """A table with a question in each row, laid out as VLMEvalKit's are."""

    file: NonBlank = Field(
        description="A .tsv, .csv, .jsonl or .parquet file, relative to this file, absolute or below ~."
    )
    where: dict[NonBlank, Any] = optional(
        "Columns, each with the value or list of values to keep; true keeps what is there, false what lacks."
    )
    first: _Count = optional("Of the rows that are kept, no more than this many.")
    sample: _Count = optional("Of those, a sample of so many; alike on every machine.")
    per: NonBlank = optional("A column, such as category: as many as `sample` says of each of its values.")
    seed: int = optional("Another number samples other rows; 0 if left out.")
    prompt: NonBlank = optional(
        "The prompt, with {question}, {hint}, {options} or any column; a line whose columns are all empty is "
        "left out. VLMEvalKit's if left out."
    )
    columns: dict[NonBlank, NonBlank] = optional(
        "The table's own names for index, question, hint, answer, options, A to Z, image or image_path."
    )
    images: NonBlank = optional(
        "The folder of the pictures that the table names, relative to this file; the table's own if left out."
    )
    tags: list[NonBlank] = optional("Columns whose values become tags; category and l2-category if left out.")

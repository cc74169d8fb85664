"""What `budgets:` of a suite or a profile may hold."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from harness.schemas.fields import FileModel, optional

__all__ = ["BudgetsEntry"]

_PERCENT = r"^[1-4]?[0-9](\.[0-9]+)?%$"


def _margin(value: object) -> float:
    """A number above 0, or a share of probability under a half, which stands here for one."""
    if isinstance(value, str) and re.search(_PERCENT, value) and float(value[:-1]) > 0:
        return 1.0
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
        return float(value)
    raise PydanticCustomError(
        "margin", "a number greater than 0, 1 at most, or such as 2.5% of a probability, under 50%"
    )


_Margin = Annotated[
    float,
    BeforeValidator(_margin),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                {"type": "string", "pattern": _PERCENT},
            ]
        }
    ),
]
_Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0)]
_Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class NoiseBudget(FileModel):
    """What a gate lets pass of changes beyond noise that lose no right answer."""

    spread: _Above = optional("How many times the noise the candidate's spread may be; 1.0 if left out.")
    cases: _Count = optional("How many cases may be beyond their own noise; 0 if left out.")


class RegressionBudget(FileModel):
    """What a gate lets pass of lost right answers."""

    cases: _Count = optional("How many right answers may be lost beyond noise; 0 if left out.")
    accuracy: _Share = optional(
        "Loss of accuracy, as a share of the cases, that must be excluded with 95% confidence, such as 0.02; "
        "left out to ask for nothing, and of another model for 0.02."
    )


class BudgetsEntry(FileModel):
    """What a gate (`harness gate`, pytest --gate) lets pass, of a suite or of a whole comparison."""

    margin: _Margin = optional(
        "Change of a letter's log-odds that does not matter, such as 0.1, or by how much that moves a "
        "probability of one half, such as 2.5%."
    )
    strict: bool = optional("true to fail for every move beyond noise; false if left out.")
    noise: NoiseBudget = optional("For changes beyond noise that lose no right answer.")
    regression: RegressionBudget = optional("For lost right answers.")

"""Divergences over the full vocabulary, in a form that outlives the rows they were taken from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.distributions import js_divergence, kl_divergence, log_softmax
from harness.engines.contract import Row
from harness.errors import RecordingError

__all__ = ["FullVocabulary", "compare_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FullVocabulary:
    """Two rows side by side, the first of which is the reference.

    ``kl`` is the divergence of the second from the first, ``js`` the symmetric one, both in nats. ``widths``
    are the rows' columns: engines pad the vocabulary differently, and the divergences are over the common
    columns, each side normalised there; ``surplus`` is the probability on the columns that only the wider row
    has. ``masked`` counts common columns that are ``-inf`` on one side only, and ``masked_mass`` is the other
    side's probability there (where it is the second that is masked, ``kl`` is infinite).
    """

    kl: float
    js: float
    widths: tuple[int, int]
    surplus: float
    masked: int
    masked_mass: float

    def remarks(self, first: str, second: str) -> list[str]:
        """What a reader should know beside the numbers; ``first`` and ``second`` name the engines."""
        remarks = []
        if self.widths[0] != self.widths[1]:
            remarks.append(
                f"rows of {self.widths[0]} ({first}) and {self.widths[1]} ({second}) columns; compared over "
                f"the first {min(self.widths)}, probability beyond them {self.surplus:.3g}"
            )
        if self.masked:
            remarks.append(
                f"{self.masked} columns are -inf on one side only, where the other has probability "
                f"{self.masked_mass:.3g}"
            )
        return remarks

    def to_json(self) -> dict[str, float]:
        """As named numbers, NaN and infinity among them."""
        return {
            "kl": self.kl,
            "js": self.js,
            "width_a": self.widths[0],
            "width_b": self.widths[1],
            "surplus": self.surplus,
            "masked": self.masked,
            "masked_mass": self.masked_mass,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, float]) -> FullVocabulary:
        """The inverse of `to_json`. Raises RecordingError for anything else."""
        try:
            return cls(
                kl=float(data["kl"]),
                js=float(data["js"]),
                widths=(int(data["width_a"]), int(data["width_b"])),
                surplus=float(data["surplus"]),
                masked=int(data["masked"]),
                masked_mass=float(data["masked_mass"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecordingError(
                f"kept full-vocabulary metrics are damaged: found {data!r}; run again with --fresh"
            ) from error


def compare_rows(row_a: Row, row_b: Row) -> FullVocabulary:
    """Compare two rows of raw logits [V_a] and [V_b], the first being the reference.

    NaN or ``+inf`` in a row makes every number NaN, which no limit lets pass.
    """
    rows = [np.asarray(row, dtype=np.float64) for row in (row_a, row_b)]
    widths = (rows[0].size, rows[1].size)
    if not all(row.max() < math.inf for row in rows):  # of a row with NaN that is the largest
        return FullVocabulary(
            kl=math.nan, js=math.nan, widths=widths, surplus=math.nan, masked=0, masked_mass=math.nan
        )
    common = min(widths)
    wider = max(rows, key=len)
    surplus = float(np.exp(log_softmax(wider)[common:]).sum()) if len(wider) > common else 0.0
    log_a, log_b = (log_softmax(row[:common]) for row in rows)
    masked_a, masked_b = np.isneginf(log_a), np.isneginf(log_b)
    only_a, only_b = masked_b & ~masked_a, masked_a & ~masked_b
    return FullVocabulary(
        kl=float(kl_divergence(log_a, log_b)),
        js=float(js_divergence(log_a, log_b)),
        widths=widths,
        surplus=surplus,
        masked=int(only_a.sum() + only_b.sum()),
        masked_mass=max(float(np.exp(log_a[only_a]).sum()), float(np.exp(log_b[only_b]).sum())),
    )

"""``python -m benchmarks.calibration.upgrades``: how often paired accuracy is wrong of two models.

One case to an image: exact, over every number of lost and gained answers. Several: simulated.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmarks.workload import ROOT
from benchmarks.written_parts import positive, with_part
from harness.verdicts.paired_accuracy import MARGIN, AccuracyChange, accuracy_change
from harness.verdicts.rules import ALPHA

__all__ = ["DISCORDANCES", "Errors", "clustered", "exact", "main", "table", "told"]

SIZES = (40, 200, 1000)
IMAGES, TO_AN_IMAGE = (10, 40, 200), 5
DISCORDANCES = (0.03, 0.1, 0.2)
TOGETHER = (0.0, 0.5, 1.0)
"""Chances that a case's answer changes as that of its whole image does, and not for itself."""

_PAGE = ROOT / "docs" / "calibration.md"
_SEED = 20261128
_NEGLIGIBLE = 1e-9
_BEGIN = "<!-- upgrades, written by `python -m benchmarks.calibration.upgrades --write` -->"
_END = "<!-- end of upgrades -->"


class Errors(NamedTuple):
    """Shares of samples.

    Where the loss is just the margin: ``passed``, no worse is shown, and ``covered``, the 95% interval holds
    it. Where both models are as good: ``called``, REGRESSION is said, and ``power``, no worse is shown.
    """

    cases: str
    discordance: float
    passed: float
    covered: float
    called: float
    power: float


class _Found(NamedTuple):
    passed: bool
    covered: bool
    called: bool


def exact(cases: int, discordance: float) -> Errors:
    """One case to an image."""
    sums = {}
    for loss in (MARGIN, 0.0):
        shares = ((discordance + loss) / 2, (discordance - loss) / 2)
        found = [(chance, _of_counts(lost, gained, cases)) for chance, lost, gained in _counts(cases, shares)]
        sums[loss] = np.array([chance * np.array(each) for chance, each in found]).sum(axis=0)
    passed, covered, _ = sums[MARGIN]
    power, _, called = sums[0.0]
    return Errors(f"{cases}", discordance, passed, covered, called, power)


def clustered(
    images: int, discordance: float, together: float, samples: int, rng: np.random.Generator
) -> Errors:
    """`TO_AN_IMAGE` cases to an image."""
    means = {}
    for loss in (MARGIN, 0.0):
        chances = [(discordance + loss) / 2, (discordance - loss) / 2, 1 - discordance]
        names = [case // TO_AN_IMAGE for case in range(images * TO_AN_IMAGE)]
        found = []
        for _ in range(samples):
            whole = rng.choice(3, (images, 1), p=chances)
            own = rng.choice(3, (images, TO_AN_IMAGE), p=chances)
            what = np.where(rng.random(own.shape) < together, whole, own).ravel()
            found.append(_of(accuracy_change(what != 1, what != 0, names)))
        means[loss] = np.mean(found, axis=0)
    passed, covered, _ = means[MARGIN]
    power, _, called = means[0.0]
    name = f"{images} images of {TO_AN_IMAGE}, together {together:g}"
    return Errors(name, discordance, passed, covered, called, power)


def _counts(cases: int, shares: tuple[float, float]) -> Iterator[tuple[float, int, int]]:
    """Chances of each number of lost and gained that is not negligible."""
    for lost in range(cases + 1):
        chance = float(stats.binom.pmf(lost, cases, shares[0]))
        if chance < _NEGLIGIBLE:
            continue
        rest = np.arange(cases - lost + 1)
        others = chance * stats.binom.pmf(rest, cases - lost, shares[1] / (1 - shares[0]))
        for gained in np.nonzero(others > _NEGLIGIBLE)[0]:
            yield float(others[gained]), lost, int(gained)


@lru_cache(maxsize=100_000)
def _of_counts(lost: int, gained: int, cases: int) -> _Found:
    before = np.ones(cases)
    after = np.ones(cases)
    after[:lost] = 0
    before[lost : lost + gained] = 0
    return _of(accuracy_change(before, after, range(cases)))


def _of(change: AccuracyChange) -> _Found:
    passed = change.noninferior(MARGIN)
    worse = change.p_lost <= ALPHA or change.worse(MARGIN, alpha=ALPHA)
    return _Found(passed, change.low <= -MARGIN <= change.high, worse and not passed)


def table(rows: Sequence[Errors]) -> list[str]:
    """Lines of Markdown."""
    lines = [
        "| cases | one model only is right in | 2 points lost: passes (≤ 5%) | interval holds it (95%) | "
        "nothing lost: REGRESSION (≤ 1%) | passes |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        shares = (row.passed, row.covered, row.called, row.power)
        lines.append(
            f"| {row.cases} | {row.discordance:.0%} | " + " | ".join(f"{x:.1%}" for x in shares) + " |"
        )
    return lines


def told(rows: Sequence[Errors]) -> str:
    """The worst rows, by name."""
    parts = []
    for what, name in (("passes with 2 points lost", "passed"), ("REGRESSION with nothing lost", "called")):
        worst = max(rows, key=lambda row: getattr(row, name))
        parts.append(f"{what}: {getattr(worst, name):.1%} ({worst.cases}, {worst.discordance:.0%})")
    narrow = min(rows, key=lambda row: row.covered)
    parts.append(f"least coverage: {narrow.covered:.1%} ({narrow.cases}, {narrow.discordance:.0%})")
    return f"Worst of {len(rows)} rows: {'; '.join(parts)}."


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or write it into the page."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration.upgrades")
    parser.add_argument("--samples", type=positive, default=2000, metavar="N", help="of each row with images")
    parser.add_argument("--write", action="store_true", help="write the table into docs/calibration.md")
    options = parser.parse_args(given)
    rng = np.random.default_rng(_SEED)
    rows = [exact(cases, share) for cases in SIZES for share in DISCORDANCES]
    rows += [
        clustered(images, share, together, options.samples, rng)
        for images in IMAGES
        for share in DISCORDANCES
        for together in TOGETHER
    ]
    lines = [*table(rows), "", told(rows)]
    print("\n".join(lines))
    if options.write:
        command = shlex.join(["python", "-m", "benchmarks.calibration.upgrades", *given])
        head = (
            f"{datetime.now(UTC):%Y-%m-%d}, `{command}`, seed {_SEED}, {options.samples} samples with images."
        )
        page, part = _PAGE.read_text(encoding="utf-8"), "\n".join([head, "", *lines])
        text = with_part(page, part, begin=_BEGIN, end=_END, file="docs/calibration.md")
        _PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

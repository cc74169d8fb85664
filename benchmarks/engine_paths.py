"""The ways to full logits: stage two in one pass, captured rows, both stages; and torch's two paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.ratios import growth_exponent, paired
from benchmarks.results import Row
from benchmarks.workload import Workload
from harness.engines.lmdeploy_pipeline.options import AT_ONCE, STEPWISE

__all__ = ["measure_interpreted", "measure_lmdeploy", "measure_torch", "measure_tracing"]

_REPEATS = 9
_TOKENS = (4, 8, 16, 32)

# Stepwise needs a request for each token, which alone gives an exponent near 1; the tokens that it passes
# through the model grow with the square. One pass adds T tokens to a prompt that is there anyway.
_MOST_GROWTH = 0.5
_MOST_FOR_CAPTURING = 1.05
_MOST_FOR_BOTH_STAGES = 1.8
_MOST_FOR_TORCH = 1.1
_MOST_FOR_TRACING = 1.5


def measure_lmdeploy(workload: Workload, names: frozenset[str]) -> list[Row]:
    """Rows of ``two-stage``, ``captured``, ``both-stages`` and ``seed``, as far as they are ``names``."""
    parts = {"two-stage": "stage two", "captured": "paths", "both-stages": "paths", "seed": "paths"}
    seconds: Any = workload.with_repeats(_REPEATS).script(
        "time_lmdeploy",
        workload.engine("lmdeploy"),
        measure=sorted({parts[name] for name in names}),
        tokens=_TOKENS,
    )
    rows = stage_two_rows(seconds["stage two"], _TOKENS) if "stage two" in seconds else []
    rows += path_rows(seconds["paths"]) if "paths" in seconds else []
    return [row for row in rows if row.measurement in names]


def stage_two_rows(seconds: Mapping[str, Sequence[float]], tokens: Sequence[int]) -> list[Row]:
    """Rows from seconds by ``WAY TOKENS``."""
    rows = [
        Row(
            measurement="two-stage",
            what=f"one pass / stepwise, {count} tokens",
            values=paired(seconds[f"{AT_ONCE} {count}"], seconds[f"{STEPWISE} {count}"]),
            target=1.0,
        )
        for count in tokens
    ]
    for way, target in ((AT_ONCE, _MOST_GROWTH), (STEPWISE, None)):
        rounds = zip(*(seconds[f"{way} {count}"] for count in tokens), strict=True)
        rows.append(
            Row(
                measurement="two-stage",
                what=f"growth with the number of tokens, {way}: exponent",
                values=tuple(growth_exponent(tokens, each) for each in rounds),
                unit="",
                target=target,
            )
        )
    return rows


def path_rows(seconds: Mapping[str, Sequence[float]]) -> list[Row]:
    """Rows from seconds of all cases, by path."""

    def row(measurement: str, what: str, above: str, below: str, target: float | None = None) -> Row:
        values = paired(seconds[above], seconds[below])
        return Row(measurement=measurement, what=what, values=values, target=target)

    return [
        row("captured", "captured path / bare generation", "captured", "bare", _MOST_FOR_CAPTURING),
        row("captured", "paths and top k as in the profile / bare generation", "as-given", "bare"),
        row("both-stages", "captured path / two stages", "captured", "two-stage", 1.0),
        row("both-stages", "two stages / bare generation", "two-stage", "bare", _MOST_FOR_BOTH_STAGES),
        row("seed", "captured path / seed method", "captured", "seed"),
        row("seed", "paths and top k as in the profile / seed method", "as-given", "seed"),
    ]


def measure_torch(workload: Workload, names: frozenset[str]) -> list[Row]:
    """The rows of ``torch``."""
    del names  # there is only one
    return torch_rows(workload.with_repeats(_REPEATS).script("time_torch", workload.engine("torch")))


def torch_rows(seconds: Mapping[str, Sequence[float]]) -> list[Row]:
    """Rows from seconds by path; ``one pass`` and ``bare`` are on the cases that take one pass."""

    def row(what: str, above: str, below: str, target: float | None = None) -> Row:
        values = paired(seconds[above], seconds[below])
        return Row(measurement="torch", what=what, values=values, target=target)

    return [
        row("path forward / bare batched forward", "one pass", "bare", _MOST_FOR_TORCH),
        row("path forward / path generate", "forward", "generate", 1.0),
        row("path forward / seed method", "forward", "seed"),
    ]


def measure_tracing(workload: Workload, names: frozenset[str]) -> list[Row]:
    """The rows of ``tracing``: each engine, on the profile's model and on a larger one of random weights."""
    del names  # there is only one
    rows = []
    for engine in ("torch", "lmdeploy"):
        for larger in (False, True):
            found: Any = workload.with_repeats(_REPEATS).script(
                "time_tracing", workload.engine(engine), larger=larger
            )
            millions = found["parameters"] / 1e6
            rows.append(
                Row(
                    measurement="tracing",
                    what=f"{engine}: one case traced / scored alone, {millions:.3g} million parameters",
                    values=paired(found["seconds"]["traced"], found["seconds"]["scored"]),
                    target=_MOST_FOR_TRACING,
                )
            )
    return rows


def measure_interpreted(workload: Workload, names: frozenset[str]) -> list[Row]:
    """The rows of ``interpreted``: CPU time by token and by case, and beside the plug-in's."""
    del names  # there is only one
    few = replace(workload, cases=tuple(case for case in workload.cases if "kernels" in case.tags))
    few = few.with_repeats(3)
    engine = few.engine("lmdeploy")
    rows = []
    (*plain,) = few.script("time_interpreted", engine, options={})
    for said, options in (("8 processors", {"processors": 8}), ("an A100's 108", {})):
        found = few.script("time_interpreted", engine, options={"kernels": "interpreted", **options})
        for name in ("prompt token", "decoded token", "case"):
            values = tuple(each[name] for each in found)
            rows.append(
                Row(measurement="interpreted", what=f"CPU time of a {name}, {said}", values=values, unit="s")
            )
        cases = ([each["case"] for each in both] for both in (found, plain))
        what = f"a case interpreted / in the plug-in, {said}"
        rows.append(Row(measurement="interpreted", what=what, values=paired(*cases)))
    return rows

"""Does one engine tell the same story on every path: while generating, in a second pass, in captured rows?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.checks.answers import by_text, id_text, logit_size
from harness.checks.result import Finding, Metric, Result
from harness.checks.temperature import Scaling, find_scaling
from harness.checks.tolerances import Tolerances
from harness.engines.contract import Answer, Reading
from harness.recordings.store import Recording

__all__ = ["Stages", "check_stages"]

REPORTED = "stage 1"
"""How messages name what the engine reported while it generated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages(Result):
    """``scaling`` is set where one account of the answer's row is another one times a factor."""

    check: ClassVar[str] = "stages consistent"

    scaling: Scaling | None = None


def check_stages(recording: Recording, letters: Sequence[str], tolerances: Tolerances) -> Stages:
    """Compare every account that one engine gives of its answer.

    Each generated token must be the most probable of its row in every reading; its log-probability must be
    the same in every reading and in what the engine reported while generating; readings must agree on the
    answer's row. All limits are the ``logprob`` tolerance at the size of that row's logits. A token that is
    not a row's most probable is let through at the answer's row only, where both log-probabilities are known
    and tie within the limit.
    A single account contradicts nothing, so it is a finding. Partial readings are compared by
    log-probabilities, and a letter that one did not see is held to its ceiling there. Where ids are not told,
    which token is the most probable is not known either, and that comparison is left out.
    """
    answer = recording.answer
    limit = tolerances.logprob_at(logit_size(answer))
    findings, notes = _shape_findings(answer), []
    metrics: list[Metric] = []
    scaling: Scaling | None = None
    if not findings:
        for reading in () if by_text(answer) else answer.readings:
            wrong, tied = _greedy(answer, letters, reading, limit)
            findings += wrong
            notes += tied
        metrics, steps = _compare_steps(answer, limit)
        rows, row_findings, scaling = _compare_rows(answer, letters, limit)
        if steps and scaling is None:
            scaling, text = _reported_scaling(answer, limit)
            if text:
                steps[-1] = steps[-1]._replace(text=f"{steps[-1].text}; {text}")
        findings += steps + row_findings
        metrics += rows
        for reading in answer.readings:
            if _silent(answer, reading):
                notes.append(f"path '{reading.path}' tells of the letters only, none of which was written")
        if not answer.reported_logprobs:
            notes.append("the engine reports no log-probabilities while generating")
    return Stages(
        case=recording.case,
        subject=recording.engine,
        letters=tuple(letters),
        findings=tuple(findings),
        metrics=tuple(metrics),
        notes=tuple(notes),
        scaling=scaling,
    )


def _shape_findings(answer: Answer) -> list[Finding]:
    """Accounts that are missing or do not cover the generated tokens one by one."""
    told = not by_text(answer)
    count = len(answer.generated_ids) if told else max((len(r.logprobs) for r in answer.readings), default=0)
    accounts = len(answer.readings) + bool(answer.reported_logprobs)
    if not answer.readings or accounts < 2 or count == 0:
        text = (
            f"found {accounts} account(s) of {count} generated tokens; comparing takes two: give the engine "
            "two paths in profiles.yaml, or a top_k above 0"
        )
        return [Finding("accounts", accounts, None, text)]
    lengths = {f"{r.path}: argmax": len(r.argmax) for r in answer.readings if told}
    lengths |= {f"{r.path}: logprobs": len(r.logprobs) for r in answer.readings if not _silent(answer, r)}
    if answer.reported_logprobs:
        lengths[f"{REPORTED}: logprobs"] = len(answer.reported_logprobs)
    return [
        Finding("accounts", found, count, f"{name} has {found} entries for {count} generated tokens")
        for name, found in lengths.items()
        if found != count
    ]


def _silent(answer: Answer, reading: Reading) -> bool:
    """Whether a path that knows the answer's row has no account of what was generated.

    A server is asked to score the letters, one of which need not be what it wrote.
    """
    return by_text(answer) and not reading.logprobs and bool(reading.letter_logits)


def _greedy(
    answer: Answer, letters: Sequence[str], reading: Reading, limit: float
) -> tuple[list[Finding], list[str]]:
    """Every generated token must be its row's argmax."""
    wrong, tied = [], []
    for step, (best, generated) in enumerate(zip(reading.argmax, answer.generated_ids, strict=True)):
        if best == generated:
            continue
        top = {entry.id: entry.logprob for entry in reading.top}
        if step == answer.answer_step and best in top and generated in top:
            gap = top[best] - top[generated]
            if gap <= limit:
                tied.append(
                    f"path '{reading.path}' ties at step {step}: {id_text(generated, answer, letters)} was "
                    f"generated, {id_text(best, answer, letters)} is {gap:.3g} above it; allowed: {limit:.3g}"
                )
                continue
        wrong.append(step)
    if not wrong:
        return [], tied
    step = wrong[0]
    text = (
        f"{len(wrong)} of {len(answer.generated_ids)} generated tokens are not the most probable of path "
        f"'{reading.path}', first at step {step}: {id_text(answer.generated_ids[step], answer, letters)} was "
        f"generated, {id_text(reading.argmax[step], answer, letters)} is the most probable"
    )
    return [Finding(f"greedy token, '{reading.path}'", len(wrong), 0, text)], tied


def _compare_steps(answer: Answer, limit: float) -> tuple[list[Metric], list[Finding]]:
    """The generated tokens' log-probabilities: stage 1 against each reading, readings against the first."""
    told = [(f"'{r.path}'", r.logprobs) for r in answer.readings if not _silent(answer, r)]
    pairs = [(*told[0], *other) for other in told[1:]]
    if answer.reported_logprobs:
        pairs += [(REPORTED, answer.reported_logprobs, *other) for other in told]
    metrics, findings = [], []
    for left, mine, right, other in pairs:
        gaps = [abs(a - b) for a, b in zip(mine, other, strict=True)]
        worst = _worst(gaps)
        name = f"logprob, {left} and {right}"
        metrics.append(Metric(name, gaps[worst], limit, f"step {worst}"))
        over = sum(not gap <= limit for gap in gaps)
        if over:
            text = (
                f"{over} of {len(gaps)} steps differ, the most by {gaps[worst]:.3g} at step {worst} "
                f"({mine[worst]:.6g} and {other[worst]:.6g}); allowed: {limit:.3g}"
            )
            findings.append(Finding(name, gaps[worst], limit, text))
    return metrics, findings


def _compare_rows(
    answer: Answer, letters: Sequence[str], limit: float
) -> tuple[list[Metric], list[Finding], Scaling | None]:
    """The answer's row in the readings: raw letter logits, log Z, and the kept top."""
    if answer.answer_step is None:
        return [], [], None
    first, *others = answer.readings
    metrics: list[Metric] = []
    findings: list[Finding] = []
    scaling: Scaling | None = None
    for other in others:
        name = f"answer's row, '{first.path}' and '{other.path}'"
        if first.log_z is None or other.log_z is None:
            findings.append(Finding(name, None, None, f"missing at step {answer.answer_step}"))
            continue
        if first.target:
            gaps = _token_gaps(first, other)
        elif first.partial or other.partial:
            gaps = _partial_gaps(letters, first, other)
        else:
            gaps = {"log Z": abs(first.log_z - other.log_z)}
            pairs = zip(letters, first.letter_logits, other.letter_logits, strict=True)
            gaps |= {f"logit of {letter}": abs(a - b) for letter, a, b in pairs}
        gaps |= {} if by_text(answer) else _top_gaps(first, other)
        gaps = gaps or {"the top": 0.0}
        where = list(gaps)[_worst(list(gaps.values()))]
        metrics.append(Metric(name, gaps[where], limit, where))
        over = sum(not gap <= limit for gap in gaps.values())
        if over:
            text = (
                f"{over} of {len(gaps)} values at step {answer.answer_step} differ, the most by "
                f"{gaps[where]:.3g} ({where}); allowed: {limit:.3g}"
            )
            found = find_scaling(_logits(answer, first), _logits(answer, other), tolerance=limit)
            if found is not None:
                scaling = found
                text += f"; {found.describe(f'path {other.path!r}', f'path {first.path!r}')}"
            findings.append(Finding(name, gaps[where], limit, text))
    return metrics, findings, scaling


def _token_gaps(first: Reading, other: Reading) -> dict[str, float]:
    """Differences of a text's tokens, of those that both have seen."""
    pairs = enumerate(zip(first.target, other.target, strict=False), start=1)
    return {
        f"logprob of token {place} of the text": abs(a.logprob - b.logprob)
        for place, (a, b) in pairs
        if -math.inf not in (a.logprob, b.logprob)
    }


def _partial_gaps(letters: Sequence[str], first: Reading, other: Reading) -> dict[str, float]:
    """Differences of the letters' log-probabilities, where one reading has ceilings for some of them."""
    bounds = []
    for reading in (first, other):
        own = [logit - (reading.log_z or 0.0) for logit in reading.letter_logits]
        highs = reading.letter_ceilings if reading.partial else own
        bounds.append(
            [(low, high if low == -math.inf else low) for low, high in zip(own, highs, strict=True)]
        )
    gaps = {}
    for letter, a, b in zip(letters, *bounds, strict=True):
        beyond = (a[0] - b[1], b[0] - a[1])
        # In this order, because max keeps its first argument against NaN and never its second.
        gaps[f"logprob of {letter}"] = max(*beyond, 0.0) if beyond[0] == beyond[0] else beyond[0]
    return gaps


def _top_gaps(first: Reading, other: Reading) -> dict[str, float]:
    """Differences of the kept entries; one that the other lacks counts with its distance above that edge."""
    left, right = dict(first.top), dict(other.top)
    gaps = {f"logprob of id {i}": abs(left[i] - right[i]) for i in left if i in right}
    for mine, theirs in ((left, right), (right, left)):
        edge = min(theirs.values(), default=math.nan)
        above = {i: mine[i] - edge for i in mine if i not in theirs}
        # In this order, because max keeps its first argument against NaN and never its second.
        gaps |= {f"logprob of id {i}": max(gap, 0.0) for i, gap in above.items()}
    return gaps


def _logits(answer: Answer, reading: Reading) -> dict[int, float]:
    """All raw logits that a reading of the answer's row tells, by id."""
    log_z = reading.log_z or 0.0
    top = {entry.id: entry.logprob + log_z for entry in reading.top}
    return top | dict(zip(answer.letter_ids, reading.letter_logits, strict=False))


def _reported_scaling(answer: Answer, limit: float) -> tuple[Scaling | None, str]:
    """The same trap seen from stage 1's list, for an engine with a single path."""
    for reading in answer.readings:
        reported = {entry.id: entry.logprob for entry in answer.reported_top}
        found = find_scaling(reported, dict(reading.top), tolerance=limit)
        if found is not None:
            return found, found.describe(f"path {reading.path!r}", REPORTED)
    return None, ""


def _worst(gaps: Sequence[float]) -> int:
    return max(range(len(gaps)), key=lambda i: (math.isnan(gaps[i]), gaps[i]))

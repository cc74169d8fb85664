"""What the cases of a comparison come to, told apart: right answers, other answers, mass, other tokens.

Pure functions of what was judged; the terminal, GitHub and the document show the same.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

from harness.checks.agreement import Agreement
from harness.reports.bars import distinct
from harness.verdicts.lost_and_gained import lost_and_gained
from harness.verdicts.paired_accuracy import LostAndGained, points
from harness.verdicts.rules import CONFIDENCE, REST_MARGIN
from harness.verdicts.verdict import CaseVerdict, Change, ComparisonVerdict, Estimate

__all__ = [
    "TAG_HEADINGS",
    "Breakdown",
    "Mass",
    "Taken",
    "accuracies",
    "breakdown",
    "lines",
    "share_of",
    "tag_rows",
]

TAG_HEADINGS = ("tag", "cases", "accuracy", "points [95%]", "lost", "gained")
"""What a row of `tag_rows` has."""

_LEAST = 0.001  # a mean probability that is worth a line
_MOST, _MOST_TAGS = 10, 20


class MassOfCase(NamedTuple):
    """The probability on a case's letters together, on each side; of a partial reading at least."""

    case: str
    baseline: float
    candidate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mass:
    """The mean probability on the letters together, and the cases that lost any, the most first."""

    baseline: float
    candidate: float
    lost: tuple[MassOfCase, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A token that is no letter and gained probability in the answers' rows.

    ``gained`` is how much at least, less what it lost, a mean over all cases whose tokens are told on both
    sides: the lowest of a list bounds what it leaves out. It gained in so many ``cases``, most in ``case``,
    where its log-probability is ``logprob``.
    """

    id: int
    gained: float
    cases: int
    case: str
    logprob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """What the cases come to. ``accuracy`` and ``mass`` are None where nothing is known of them.

    ``accuracies`` are those of both sides with their 95% intervals. ``taken`` begins with the token that
    gained most, ``texts`` are those of tokens as far as they are known.
    """

    accuracy: LostAndGained | None
    accuracies: tuple[Estimate, Estimate] | None
    mass: Mass | None
    taken: tuple[Taken, ...]
    texts: Mapping[int, str]


def breakdown(
    verdict: ComparisonVerdict, changes: Sequence[Change] = (), *, texts: Mapping[int, str] | None = None
) -> Breakdown:
    """That of all cases; tokens are told from ``changes``, what the judge was given."""
    return Breakdown(
        accuracy=lost_and_gained(verdict.cases),
        accuracies=accuracies(verdict.cases),
        mass=_mass(verdict.cases),
        taken=_taken([(change.case, change.agreement) for change in changes]),
        texts={} if texts is None else texts,
    )


def accuracies(cases: Iterable[CaseVerdict]) -> tuple[Estimate, Estimate] | None:
    """Both sides' shares of right answers, with 95% intervals (Wilson, 1927); None without any.

    The number of cases is divided by the design effect of clusters: their variance over that of as many
    independent cases, or, where all are right or wrong, the most that it can be (Kish, 1965, section 8.2).
    """
    known = [case for case in cases if None not in case.right]
    if not known:
        return None
    clusters = [case.cluster or case.case for case in known]
    before, after = (share_of(clusters, [bool(case.right[side]) for case in known]) for side in (0, 1))
    return before, after


def lines(found: Breakdown) -> list[str]:
    """What was lost, gained or moved, in words; nothing where nothing was."""
    told = []
    accuracy = found.accuracy
    if accuracy is not None and accuracy.letters and found.accuracies is not None:
        ends = [f"[{one.low:.1%}, {one.high:.1%}]" for one in found.accuracies]
        told.append(f"accuracy: {accuracy.change.words}; {ends[0]} and {ends[1]} by themselves")
        for title, names in (("lost", accuracy.lost), ("gained", accuracy.gained)):
            told += [f"{title} ({len(names)}): {_few(names)}"] if names else []
        told.append(f"answers: {_few([f'{a} → {b} {count}' for (a, b), count in accuracy.letters.items()])}")
        expected = [
            f"{letter} {one.lost} lost and {one.gained} gained of {one.cases}"
            for letter, one in accuracy.expected.items()
            if one.lost or one.gained
        ]
        told += (
            [f"by expected letter: {'; '.join(expected)}"] if len(accuracy.expected) > 1 and expected else []
        )
    mass = found.mass
    if mass is not None:
        worst = [one for one in mass.lost if one.baseline - one.candidate > REST_MARGIN]
        if worst or abs(mass.candidate - mass.baseline) >= _LEAST:
            text = f"probability on the letters: {_arrow(mass.baseline, mass.candidate)} on average"
            cases = [f"{one.case} {_arrow(one.baseline, one.candidate)}" for one in worst]
            told.append(text + (f"; lost most: {_few(cases, most=3)}" if cases else ""))
    if taken := [one for one in found.taken if one.gained >= _LEAST]:
        told.append(f"taken by: {_few([_token(one, found.texts) for one in taken], most=5)}")
    return told


def tag_rows(found: Breakdown) -> Sequence[tuple[str, ...]]:
    """A row under `TAG_HEADINGS` for each tag, at most 20, most changes first; none where nothing changed."""
    if found.accuracy is None or not found.accuracy.letters:
        return []
    return [
        (
            tag,
            str(one.cases),
            f"{one.baseline:.1%} → {one.candidate:.1%}",
            f"{points(one.change, sign=True)} [{points(one.low, sign=True)}, {points(one.high, sign=True)}]",
            str(one.lost),
            str(one.gained),
        )
        for tag, one in sorted(found.accuracy.tags.items(), key=lambda item: -item[1].lost - item[1].gained)
    ][:_MOST_TAGS]


def share_of(clusters: Sequence[str], right: Sequence[bool]) -> Estimate:
    """The share of cases, at least one, that are right; with its interval, as `accuracies` has it."""
    count, share = len(right), sum(right) / len(right)
    sizes, sums = Counter(clusters), dict.fromkeys(clusters, 0.0)
    for cluster, is_right in zip(clusters, right, strict=True):
        sums[cluster] += is_right - share
    design, groups = 1.0, len(sizes)
    if groups < count:
        design = math.fsum(size**2 for size in sizes.values()) / count
        if 0 < share < 1 and groups > 1:
            between = math.fsum(each**2 for each in sums.values()) * groups / (groups - 1)
            design = max(1.0, between / (count * share * (1 - share)))
    z, effective = NormalDist().inv_cdf((1 + CONFIDENCE) / 2), count / design
    middle = (share + z**2 / (2 * effective)) / (1 + z**2 / effective)
    half = z / (1 + z**2 / effective)
    half *= math.sqrt(share * (1 - share) / effective + z**2 / (4 * effective**2))
    return Estimate(value=share, low=max(0.0, middle - half), high=min(1.0, middle + half))


def _mass(cases: Sequence[CaseVerdict]) -> Mass | None:
    known = [
        MassOfCase(case.case, 1 - case.rest[0], 1 - case.rest[1]) for case in cases if case.rest is not None
    ]
    if not known:
        return None
    lost = [one for one in known if one.candidate < one.baseline]
    return Mass(
        baseline=math.fsum(one.baseline for one in known) / len(known),
        candidate=math.fsum(one.candidate for one in known) / len(known),
        lost=tuple(sorted(lost, key=lambda one: (one.candidate - one.baseline, one.case))),
    )


def _taken(agreements: Sequence[tuple[str, Agreement | None]]) -> tuple[Taken, ...]:
    gains: dict[int, list[tuple[float, str, float]]] = defaultdict(list)
    told = 0
    for case, agreement in agreements:
        if agreement is None:
            continue
        before, after = agreement.a.reading.top, agreement.b.reading.top
        ids = agreement.b.answer.letter_ids
        if not (ids and before and after) or ids != agreement.a.answer.letter_ids:
            continue  # what is told by text has no ids, and another tokenizer's are of other tokens
        told += 1
        old, new = ({entry.id: entry.logprob for entry in side} for side in (before, after))
        most = math.exp(min(old.values()))
        for token in {*old, *new}.difference(ids):
            logprob = new.get(token, -math.inf)
            had = math.exp(old[token]) if token in old else most
            gains[token].append((math.exp(logprob) - had, case, logprob))
    found = [
        Taken(
            id=token,
            gained=math.fsum(gain for gain, _, _ in own) / told,
            cases=sum(gain > 0 for gain, _, _ in own),
            case=max(own)[1],
            logprob=max(own)[2],
        )
        for token, own in gains.items()
        if math.fsum(gain for gain, _, _ in own) > 0
    ]
    return tuple(sorted(found, key=lambda one: (-one.gained, one.id)))


def _token(taken: Taken, texts: Mapping[int, str]) -> str:
    name = f"{texts[taken.id]!r} ({taken.id})" if taken.id in texts else f"token {taken.id}"
    cases = f"{taken.cases} case{'s' * (taken.cases > 1)}"
    most = f"most in {taken.case} (log p {taken.logprob:.3g})"
    return f"{name} +{taken.gained:.3g} on average, in {cases}, {most}"


def _arrow(before: float, after: float) -> str:
    return " → ".join(distinct((before, after)))


def _few(texts: Sequence[str], *, most: int = _MOST) -> str:
    more = f" and {len(texts) - most} more" * (len(texts) > most)
    return ", ".join(texts[:most]) + more

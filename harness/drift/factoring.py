"""Asking two engines with other settings, and what is said of which of them make a difference."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product, starmap

from harness.checks.tolerances import known_dtypes, resolve
from harness.drift.factor_settings import Factor, factors_of
from harness.drift.factors import AS_IT_IS, Names, Seen, candidates, search, smallest
from harness.drift.run import Pair
from harness.engines.contract import Answer, Json
from harness.errors import EngineError, ErrorKind
from harness.scoring.scoring import Scoring
from harness.scoring.subjects import Subject

__all__ = ["Factored", "factor", "gap_of"]


@dataclass(frozen=True, slots=True)
class Factored:
    """All ``factors``, what was ``seen`` of each set tried, and how many sets the budget did not pay for."""

    factors: Sequence[Factor]
    seen: Mapping[Names, Seen]
    untried: int

    @property
    def found(self) -> list[Names]:
        """The smallest sets that remove or make the difference, the clearest first."""
        return smallest(self.seen)

    @property
    def sentence(self) -> str:
        """What came of it."""
        verb = "removes" if self.seen[AS_IT_IS].beyond else "makes"
        sets = [
            " with ".join(f"{each.name} ({each.was} → {each.becomes})" for each in self._of(names))
            for names in self.found
        ]
        if sets:
            also = f"; as small and {verb} it too: {', '.join(sets[1:])}" if sets[1:] else ""
            return f"the smallest set that {verb} the difference: {sets[0]}{also}"
        return f"none of these {verb} it" + f"; --budget kept {self.untried} more from being tried" * bool(
            self.untried
        )

    def lines(self) -> Iterator[str]:
        """The table and the sentence."""
        yield f"{'factor':26} {'from → to':34} {'difference':>10} {'limit':>8}  seconds"
        for names, one in self.seen.items():
            of = self._of(names)
            change = ", ".join(f"{each.was} → {each.becomes}" for each in of)
            row = f"{' + '.join(each.name for each in of) or 'as it is':26} {change:34} "
            took = f"{one.seconds:.1f}" if one.seconds else "recorded"
            yield row + (
                one.error or f"{one.gap:10.2g} {one.limit:8.2g}  {took}{' ◀' * (names in self.found)}"
            )
        yield from (f"{each.name:26} not of this engine: {each.why}" for each in self.factors if each.why)
        yield self.sentence

    def to_json(self) -> Json:
        """The same for machines; a difference that is not known, or infinite, is null."""
        return {
            "version": 1,
            "sentence": self.sentence,
            "found": [[each.name for each in self._of(names)] for names in self.found],
            "untried": self.untried,
            "factors": {each.name: each.why or [each.was, each.becomes] for each in self.factors},
            "seen": [
                {
                    **one._asdict(),
                    "gap": one.gap if math.isfinite(one.gap) else None,
                    "factors": [each.name for each in self._of(names)],
                }
                for names, one in self.seen.items()
            ],
        }

    def _of(self, names: Names) -> list[Factor]:
        return [each for each in self.factors if each.name in names]


def factor(
    named: Sequence[Pair],
    beside: Sequence[Pair],
    scoring: Scoring,
    *,
    budget: int,
    say: Callable[[str], None],
) -> Factored:
    """Find which settings make A and B differ on the cases ``named``, asked with those ``beside`` them.

    ``budget`` is the most engines that are loaded; A as it is, which mostly is recorded, is not counted.
    Raises EngineError where A or B as they are cannot answer.
    """
    asking = _Asking([*named, *beside], len(named), scoring)
    base = asking.as_it_is()
    dtypes = (scoring.dtype(named[0].a), scoring.dtype(named[0].b))
    every = factors_of(named[0], dtypes, images=any(each.a.case.images for each in named))
    asking.factors = [each for each in every if not each.why]
    names = [each.name for each in asking.factors]
    say(
        f"B as it is, asked again: {base.gap:.2g} from A (limit {base.limit:.2g}), in {base.seconds:.1f} s: "
        f"{budget - 1} loads more, the most there will be, take about {(budget - 1) * base.seconds:.0f} s"
    )
    seen = {AS_IT_IS: base}
    search(names, seen, asking.seen, asking.cost, budget - 1)
    return Factored(every, seen, sum(1 for _ in candidates(names, seen)))


class _Asking:
    """Has sets of factors answered: always the same cases, so that all are asked in the same company."""

    def __init__(self, pairs: Sequence[Pair], named: int, scoring: Scoring) -> None:
        self._pairs = pairs
        self._named = named
        self._scoring = scoring
        self.factors: Sequence[Factor] = ()

    def as_it_is(self) -> Seen:
        """B asked anew, in this company: what is recorded may be of another, and tells no time."""
        self._scoring.make(pair.a for pair in self._pairs)
        anew, began = self._scoring.anew(), time.monotonic()
        anew.make(pair.b for pair in self._pairs)
        seconds = time.monotonic() - began
        for pair in self._pairs[: self._named]:
            anew.recording(pair.b)  # raises where there is none
        self._scoring.make(())  # it knows from now on what was just made
        self._pairs = [
            pair for pair in self._pairs if not self._missing(pair.a) and not self._missing(pair.b)
        ]
        return self._measured(AS_IT_IS, seconds)

    def cost(self, names: Names) -> int:
        """How many engines have to be loaded for a set."""
        return sum(any(map(self._missing, side)) for side in self._sides(names))

    def seen(self, names: Names) -> Seen:
        """What comes of a set."""
        missing = [side for side in self._sides(names) if any(map(self._missing, side))]
        began = time.monotonic()
        self._scoring.make(subject for side in missing for subject in side)
        seconds = time.monotonic() - began if missing else 0.0
        try:
            return self._measured(names, seconds)
        except EngineError as error:
            kind = "not of this engine" if error.kind is ErrorKind.UNSUPPORTED else "ERROR"
            return Seen(error=f"{kind}: {error.refused or error.first_line}", seconds=seconds)

    def _measured(self, names: Names, seconds: float) -> Seen:
        pairs = list(zip(*self._sides(names), strict=True))[: self._named]
        return Seen(*max(starmap(self._gap, pairs), key=lambda each: each[0] - each[1]), seconds)

    def _gap(self, a: Subject, b: Subject) -> tuple[float, float]:
        answers = [self._scoring.recording(one).answer for one in (a, b)]
        overrides = [b.profile.tolerances, b.case.tolerances]
        limits = [
            resolve(*known_dtypes(self._scoring.dtype(one)), overrides=overrides).logprob_at(_size(answer))
            for one, answer in zip((a, b), answers, strict=True)
        ]
        # The finer of two dtypes: another dtype is a difference like any other.
        return gap_of(*answers), min(limits)

    def _missing(self, subject: Subject) -> bool:
        return self._scoring.store.get(self._scoring.key(subject)) is None

    def _sides(self, names: Names) -> tuple[list[Subject], list[Subject]]:
        """What both are asked; one that is changed has a name that no engine of a profile can have."""
        made: tuple[list[Subject], list[Subject]] = ([], [])
        factors = [each for each in self.factors if each.name in names]
        for pair, side in product(self._pairs, (0, 1)):
            subject, tag = (pair.a, pair.b)[side], ""
            for each in factors:
                if (change := each.changes[side]) is not None:
                    subject, tag = change(subject), f"{tag}@{each.name.replace(' ', '-')}"
            spec = replace(subject.engine, name=f"{subject.engine.name}{tag}")
            made[side].append(replace(subject, engine=spec))
        return made


def gap_of(a: Answer, b: Answer) -> float:
    """The largest difference of a letter's log-probability; infinite where a side never came to the letters.

    A letter that a server does not show is taken at the most that it can have.
    """
    ours, theirs = (_log_probabilities(answer) for answer in (a, b))
    pairs = zip(ours, theirs, strict=True) if ours and theirs else ()
    return max((abs(one - other) for one, other in pairs), default=math.inf)


def _log_probabilities(answer: Answer) -> list[float]:
    reading = answer.readings[0] if answer.readings else None
    if reading is None or reading.log_z is None:
        return []
    return list(reading.letter_ceilings) or [logit - reading.log_z for logit in reading.letter_logits]


def _size(answer: Answer) -> float:
    logits = answer.readings[0].letter_logits if answer.readings else ()
    return max((abs(each) for each in logits if math.isfinite(each)), default=0.0)

"""A suite as the judge sees it, made of bare log-odds: what replays and simulations have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from harness.checks.agreement import Agreement
from harness.checks.log_odds import LogOdds
from harness.checks.side import Side
from harness.engines.contract import Answer, Reading
from harness.verdicts.case_judging import Look, look
from harness.verdicts.judging import judge
from harness.verdicts.noise_floor import CaseNoise, NoiseFloor, PairNoise
from harness.verdicts.noise_model import Noise, NoiseShape, Place
from harness.verdicts.rules import ALPHA
from harness.verdicts.suite_numbers import SuiteNumbers, suite_numbers, suite_tests
from harness.verdicts.verdict import Change, Evidence, SuiteVerdict

__all__ = ["MARGIN", "SUITE", "Ground", "Sample", "SampledCase", "floor"]

SUITE = "replay"
MARGIN = 1e-9  # so small that nothing is SAME: what is counted is found or not found
_ASKED = "asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledCase:
    """A case of a sample; ``name`` is its own, so that one drawn twice counts as two."""

    name: str
    letters: tuple[str, ...]
    expect: str
    cluster: str


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What is the same for every candidate of a sample; each part is worked out once."""

    cases: tuple[SampledCase, ...]
    noise: Noise

    @cached_property
    def pair_noise(self) -> tuple[PairNoise, ...]:
        """The noise of each case."""
        return tuple(self.noise.of(case.name, _ASKED) for case in self.cases)

    @cached_property
    def shape(self) -> NoiseShape:
        """How the noise is spread, as `judge` takes it."""
        return self.noise.shape(
            {case.name: Place(case.cluster, case.letters.index(case.expect)) for case in self.cases}
        )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A baseline and a candidate on the same cases: centred log-odds [N][L] before and after.

    ``typical`` is the spread, in units of noise, of all that the sample was drawn from.
    """

    ground: Ground
    before: tuple[LogOdds, ...]
    after: tuple[LogOdds, ...]
    typical: float = 1.0

    @property
    def cases(self) -> tuple[SampledCase, ...]:
        """Of both sides."""
        return self.ground.cases

    def becomes(self, after: Sequence[Sequence[float]]) -> Sample:
        """The same with another candidate."""
        return replace(self, after=tuple(tuple(row) for row in after))

    def changes(self) -> list[Change]:
        """What the judge is given."""
        rows = zip(self.cases, self.ground.pair_noise, self.before, self.after, strict=True)
        return [_change(case, noise, old, new) for case, noise, old, new in rows]

    def judged(self, *, alpha: float = ALPHA) -> SuiteVerdict:
        """The judge's verdict on the sample as a suite of its own."""
        verdict = judge(
            self.changes(),
            baseline="a",
            candidate="b",
            budgets={},
            margin=MARGIN,
            noise=self.ground.noise,
            alpha=alpha,
        )
        return verdict.suites[0]

    @cached_property
    def looks(self) -> list[Look]:
        """What the judge takes of each case."""
        return [look(change) for change in self.changes()]

    @cached_property
    def numbers(self) -> SuiteNumbers:
        """What the cases come to."""
        return suite_numbers(self.looks)

    def tested(self, *, alpha: float = ALPHA) -> tuple[Evidence, ...]:
        """The judge's tests alone, which is faster; it alarms where one finds something."""
        return suite_tests(self.looks, self.numbers, self.ground.shape, spread=1.0, alpha=alpha)


def floor(
    names: Sequence[str],
    reference: Sequence[LogOdds],
    runs: Sequence[Sequence[LogOdds]],
    *,
    engine: str,
    dtype: str = "bfloat16",
) -> NoiseFloor:
    """A floor of the cases ``names`` [N] with their log-odds [N][L] in the reference and in each run."""
    return NoiseFloor(
        profile="calibration",
        engine=engine,
        dtype=dtype,
        device="CPU",
        made="",
        fingerprint={},
        cases={
            name: CaseNoise(
                asked=_ASKED,
                reference=reference[place],
                runs={f"run-{number}": run[place] for number, run in enumerate(runs)},
            )
            for place, name in enumerate(names)
        },
        full={},
    )


def _change(case: SampledCase, noise: PairNoise, old: LogOdds, new: LogOdds) -> Change:
    agreement = Agreement(
        case=case.name,
        letters=case.letters,
        a=_side("a", old),
        b=_side("b", new),
        total_variation=None,
        worst=None,
        worst_letter=None,
        least=None,
        least_total_variation=None,
        full=None,
        generated=None,
        question=(),
    )
    return Change(
        case=case.name,
        suite=SUITE,
        place=case.name,
        letters=case.letters,
        expect=case.expect,
        cluster=case.cluster,
        agreement=agreement,
        noise=noise,
    )


def _side(engine: str, logits: LogOdds) -> Side:
    """A side that saw the letters and nothing else."""
    highest = max(logits)
    log_z = highest + math.log(math.fsum(math.exp(logit - highest) for logit in logits))
    reading = Reading(path="forward", argmax=(0,), logprobs=(0.0,), letter_logits=logits, log_z=log_z)
    return Side(
        engine=engine,
        probabilities=tuple(math.exp(logit - log_z) for logit in logits),
        intervals=(),
        spellings=(),
        top=logits.index(highest),
        gap=None,
        answer=Answer(
            prompt_ids=(), generated_ids=(), text="", letter_ids=(), answer_step=0, readings=(reading,)
        ),
    )

"""What the judge says of a case, of a suite and of a whole comparison, and the numbers that it rests on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from harness.cases.suites import Case
from harness.checks.agreement import Agreement
from harness.verdicts.noise_floor import PairNoise

__all__ = [
    "CaseVerdict",
    "Change",
    "ComparisonVerdict",
    "Estimate",
    "Evidence",
    "ExitStatus",
    "Flip",
    "SuiteVerdict",
    "Verdict",
]


class Verdict(StrEnum):
    """What became of a case or a suite.

    ``SAME``: shown to be equal within the margin. ``NOISE``: no further apart than where nothing that matters
    changed. ``DRIFT``: further apart, and no right answer lost. ``REGRESSION``: right answers lost beyond
    noise. ``INCONCLUSIVE``: too little is known to say so. ``ERROR``: a side could not answer.
    """

    SAME = "SAME"
    NOISE = "NOISE"
    DRIFT = "DRIFT"
    REGRESSION = "REGRESSION"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"


class ExitStatus(IntEnum):
    """How a gate ends: the exit status of `harness gate` and of ``pytest --gate``."""

    PASSED = 0  # the same, or noise, or drift and regression within their budgets
    FAILED = 1  # regression or drift beyond budget
    ERROR = 2  # an engine could not answer
    INCONCLUSIVE = 3

    @classmethod
    def worst(cls, found: Collection[ExitStatus]) -> ExitStatus:
        """What counts of several: what is beyond budget, then errors, then what is inconclusive."""
        order = (cls.FAILED, cls.ERROR, cls.INCONCLUSIVE)
        return next((status for status in order if status in found), cls.PASSED)


class Flip(StrEnum):
    """Another top letter in the candidate, by what it did to correctness; the value is for people."""

    LOST = "right to wrong"
    GAINED = "wrong to right"
    NEUTRAL = "wrong to wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What the judge is given of one case: both sides, and how far apart noise alone would bring them.

    ``case`` is ``suite.id``, ``place`` the case's ``file:line:column``. Cases that share ``cluster``, the
    hash of their image (the case's own name without one), are not independent of one another. ``agreement``
    is None where a side could not answer; ``errors`` then say why.
    """

    case: str
    suite: str
    place: str
    letters: tuple[str, ...]
    expect: str
    cluster: str
    agreement: Agreement | None
    noise: PairNoise
    errors: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        case: Case,
        *,
        images: Sequence[str],
        agreement: Agreement | None,
        noise: PairNoise,
        errors: Sequence[str] = (),
    ) -> Change:
        """That of ``case``, whose ``images`` are known by hashes."""
        return cls(
            case=case.name,
            suite=case.suite,
            place=str(case.location),
            letters=case.letters,
            expect=case.expect,
            cluster=" ".join(images) or case.name,
            agreement=agreement,
            noise=noise,
            errors=tuple(errors),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseVerdict:
    """The verdict on one case.

    ``reason`` has the rule in words and the numbers. ``baseline`` and ``candidate`` [L] are centred
    log-odds of the letters, NaN where a side did not see one, empty where it never reached the letter or
    could not answer; ``difference`` [L] is candidate less baseline, centred over the letters both sides saw,
    ``largest`` its largest amount. ``sigma`` is the standard deviation of one letter's difference under
    noise, ``limit`` the most that ``largest`` may be. ``right`` says for each side whether its top letter is
    the expected one, None where there is none. ``gap`` is how far, in log-odds, the baseline's top letter is
    above the next one, and ``flip_probability`` how probable another top letter is under noise.
    """

    case: str
    suite: str
    place: str
    verdict: Verdict
    reason: str
    letters: tuple[str, ...]
    expect: str
    baseline: tuple[float, ...]
    candidate: tuple[float, ...]
    difference: tuple[float, ...]
    largest: float | None
    sigma: float
    limit: float
    right: tuple[bool | None, bool | None]
    gap: float | None
    flip: Flip | None
    flip_probability: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One statistical test on a suite.

    ``name`` is one of `harness.verdicts.rules.TESTS`. ``p`` is its own p-value and ``adjusted`` Holm's over
    all tests of the suite; ``found`` is whether ``adjusted`` is at most ``alpha``. ``text`` has the numbers
    in words.
    """

    name: str
    statistic: float
    p: float
    adjusted: float
    alpha: float
    found: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with the ends of its 90% confidence interval: each end holds with 95% confidence."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteVerdict:
    """The verdict on one suite.

    ``sentence`` says it in one, ``reasons`` give the rules in words with their numbers. ``within_budget`` is
    whether a DRIFT or REGRESSION stays within the suite's budgets (True for other verdicts). ``clusters`` is
    the number of independent groups of cases. ``spread`` is the candidate's spread in units of noise,
    ``shift`` the mean change of the expected letter's log-odds, ``log_odds`` the root mean square of all
    changes; None where no case can be judged. ``accuracy`` is the share of right answers on each side,
    ``flips`` the number seen and ``expected_flips`` the number that noise alone would give.
    ``missing_cases`` is how many more would be needed to end an INCONCLUSIVE that is due to their number.
    """

    suite: str
    verdict: Verdict
    sentence: str
    reasons: tuple[str, ...]
    within_budget: bool
    evidence: tuple[Evidence, ...]
    cases: int
    clusters: int
    counts: Mapping[Verdict, int]
    spread: Estimate | None
    shift: Estimate | None
    log_odds: Estimate | None
    margin: float
    accuracy: tuple[float, float] | None
    flips: int
    expected_flips: float
    missing_cases: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonVerdict:
    """The verdict on a candidate as a whole, from those of its suites.

    ``noise`` says in words where the noise comes from: a measured floor, or the table of a dtype.
    """

    baseline: str
    candidate: str
    verdict: Verdict
    sentence: str
    status: ExitStatus
    suites: tuple[SuiteVerdict, ...]
    cases: tuple[CaseVerdict, ...]
    noise: str

"""What the judge says of a case, of a suite and of a whole comparison, and the numbers that it rests on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from harness.cases.suites import Case
from harness.checks.agreement import Agreement

if TYPE_CHECKING:  # findings change verdicts
    from harness.verdicts.findings import Finding

__all__ = [
    "CaseVerdict",
    "Change",
    "ComparisonVerdict",
    "Estimate",
    "Evidence",
    "ExitStatus",
    "Flip",
    "Place",
    "Shown",
    "SuiteVerdict",
    "Verdict",
]


class Verdict(StrEnum):
    """What became of a case, a suite or a comparison.

    ``SAME``: shown to be equal within the margin, on these cases. ``NOISE``: no further apart than where
    nothing that matters changed. ``DRIFT``: further apart than noise, and no right answer lost; the next line
    says whether it matters. ``REGRESSION``: right answers were lost, more than noise explains.
    ``INCONCLUSIVE``: too few cases to decide, or the sides were asked different questions. ``ERROR``: a side
    could not answer.
    """

    SAME = "SAME"
    NOISE = "NOISE"
    DRIFT = "DRIFT"
    REGRESSION = "REGRESSION"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"


class ExitStatus(IntEnum):
    """How a gate ends: the exit status of `harness gate` and of ``pytest --gate``."""

    PASSED = 0  # the same, noise, drift within the margin, or what budgets allow
    FAILED = 1  # right answers lost, a wide lead flipped, or a move not shown within the margin
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
    hash of their image (the case's own name without one), are not independent of one another. ``asked`` is
    the hash of question and image, by which a noise floor knows the case. ``agreement`` is None where a side
    could not answer; ``errors`` then say why.
    """

    case: str
    suite: str
    place: str
    letters: tuple[str, ...]
    expect: str
    cluster: str
    agreement: Agreement | None
    asked: str
    tags: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        case: Case,
        *,
        images: Sequence[str],
        agreement: Agreement | None,
        asked: str,
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
            asked=asked,
            tags=case.tags,
            errors=tuple(errors),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseVerdict:
    """The verdict on one case.

    ``reason`` has the rule in words and the numbers. ``baseline`` and ``candidate`` [L] are centred
    log-odds of the letters, NaN where a side did not see one, empty where it never reached the letter or
    could not answer; ``difference`` [L] is candidate less baseline, centred over the letters both sides saw,
    ``largest`` its largest amount. ``sigma`` is the standard deviation of one letter's difference under
    noise, ``limit`` the most that ``largest`` may be. ``answers`` are the letters answered, None where there
    is none, and ``right`` says for each side whether it is the expected one. ``rest`` is the probability
    outside the letters on each side, None where it is not known. ``gap`` is how far, in log-odds, the
    baseline's top letter is above the next one, and ``flip_probability`` how probable noise makes another.
    ``cluster`` is that of the case's `Change`.
    """

    case: str
    suite: str
    place: str
    verdict: Verdict
    reason: str
    letters: tuple[str, ...]
    expect: str
    tags: tuple[str, ...]
    baseline: tuple[float, ...]
    candidate: tuple[float, ...]
    difference: tuple[float, ...]
    largest: float | None
    sigma: float
    limit: float
    answers: tuple[str | None, str | None]
    right: tuple[bool | None, bool | None]
    rest: tuple[float, float] | None
    gap: float | None
    flip: Flip | None
    flip_probability: float | None
    cluster: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One statistical test on a group of cases.

    ``name`` is one of `harness.verdicts.rules.TESTS`. ``p`` is its own p-value and ``adjusted`` Holm's over
    all tests of the group; ``found`` is whether ``adjusted`` is at most ``alpha``. ``text`` has the numbers
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
class Shown:
    """Whether a group of cases is shown to be within its margin; each end holds with 95% confidence.

    A claim about these cases, in which only noise is chance. ``within`` is the answer, and ``open`` says in
    words which figure is too large. ``log_odds`` is the root mean square of all changes, ``shift`` the mean
    change of the expected letter's log-odds, ``rest`` the root mean square change of the probability outside
    the letters; None where there is none. ``largest`` is the largest change of a case in margins. ``beyond``
    is whether more cases of the kind would leave one of the figures beyond its margin (99%).
    """

    within: bool
    open: tuple[str, ...]
    log_odds: Estimate | None
    shift: Estimate | None
    rest: Estimate | None
    largest: float
    beyond: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteVerdict:
    """The verdict on a comparison's cases, or on those of one suite.

    ``sentence`` says it in one, ``reasons`` give the rules in words with their numbers. ``within_budget`` is
    whether what was found is let pass by budgets, ``together`` whether something is found in the cases that
    are not beyond their own noise, ``shown`` whether the cases are within their margin, and ``passes``
    whether a gate lets it pass for either; ``settled`` is whether it does not, for what more cases do not
    take back. ``clusters`` is the number of independent groups of cases.
    ``spread`` is the candidate's spread in units of noise, None where too few cases can be judged, and
    ``found_from`` the least that is found. ``accuracy`` is the share of right answers on each side, with
    ``accuracy_change`` between them (95%); ``flips`` the number seen and ``expected_flips`` the number that
    noise alone would give. ``missing_cases`` is how many more would be needed to end an INCONCLUSIVE that is
    due to their number.
    """

    suite: str
    verdict: Verdict
    sentence: str
    reasons: tuple[str, ...]
    within_budget: bool
    together: bool
    passes: bool
    evidence: tuple[Evidence, ...]
    cases: int
    clusters: int
    counts: Mapping[Verdict, int]
    spread: Estimate | None
    found_from: float | None
    shown: Shown
    margin: float
    accuracy: tuple[float, float] | None
    accuracy_change: Estimate | None
    flips: int
    expected_flips: float
    missing_cases: int | None = None
    settled: bool = False

    @property
    def within_margin(self) -> bool:
        """Whether a DRIFT is one within the margin."""
        return self.verdict is Verdict.DRIFT and self.shown.within

    @property
    def shift(self) -> Estimate | None:
        """The mean change of the expected letter's log-odds."""
        return self.shown.shift

    @property
    def log_odds(self) -> Estimate | None:
        """The root mean square of all changes of log-odds."""
        return self.shown.log_odds


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something was found: in the suite, tag or expected letter (``kind``) of this ``name``."""

    kind: str
    name: str
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonVerdict:
    """The verdict on a candidate, from all cases of the comparison together.

    ``whole`` is that verdict with its numbers, None where nothing could be judged; ``suites`` say what was
    found in each, and ``where`` points at groups of cases in which something was. ``noise`` says in words
    where the noise comes from: a measured floor, or the table of a dtype.
    ``findings`` are what comes before the numbers.
    """

    baseline: str
    candidate: str
    verdict: Verdict
    sentence: str
    status: ExitStatus
    suites: tuple[SuiteVerdict, ...]
    cases: tuple[CaseVerdict, ...]
    noise: str
    whole: SuiteVerdict | None = None
    where: tuple[Place, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def pointed(self) -> tuple[str, ...]:
        """The suites in which something was found, or else tags and letters; none where it is everywhere."""
        suites = [f"suite {name}" for name in dict.fromkeys(p.name for p in self.where if p.kind == "suite")]
        if len(suites) == len(self.suites):
            return ()
        return tuple(suites or dict.fromkeys(f"{place.kind} {place.name}" for place in self.where))

    @property
    def settled(self) -> bool:
        """Whether it fails for something that more cases do not take back."""
        return self.status is ExitStatus.FAILED and self.whole is not None and self.whole.settled

    @property
    def within_margin(self) -> bool:
        """Whether this is a DRIFT that is shown not to matter."""
        return self.whole is not None and self.whole.within_margin

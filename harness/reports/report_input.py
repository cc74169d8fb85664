"""What a report is made of: one `ReportInput` for each comparison, from a gate or from a pytest run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.cases.suites import Case
from harness.checks.tolerances import Tolerances
from harness.engines.contract import Json
from harness.recordings.fingerprint import Difference
from harness.recordings.pace import Pace
from harness.reports.summary import CheckSummary, Status, Tally, total
from harness.verdicts.verdict import Change, ComparisonVerdict, Estimate

__all__ = ["Explanation", "HistoryLine", "HistoryPoint", "PytestRun", "ReportInput", "ReportSide"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSide:
    """One side of a comparison.

    ``label`` is how it was named, ``device`` the line of `harness.recordings.device.device_line`,
    ``dtype`` as the engine says it ('' if it does not). ``made`` is the ISO day of its answers, '' for those
    of now. ``pace`` is how fast it went where one start of it on this machine answered every case, else None.
    """

    label: str
    device: str
    dtype: str
    made: str
    model: str
    fingerprint: Mapping[str, Json] = field(repr=False)
    pace: Pace | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Where one case's difference begins, between the two ``sides``, named as `ReportSide.label` is.

    ``sentences`` are the finding, the first of them, and its proof; ``text`` is all that a terminal shows.
    ``picture`` is an SVG of distance against stage without a style, '' where nothing could be drawn.
    """

    case: str
    sides: tuple[str, str]
    sentences: Sequence[str]
    text: str = field(repr=False)
    picture: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPoint:
    """What an earlier stored run of the candidate's engine answered for one case.

    ``when`` is an ISO day or time, ``fingerprint`` the engine's short name
    (`harness.recordings.fingerprint.engine_id`), ``version`` that of its library ('' if unknown).
    ``probability`` and ``log_odds`` are those of the expected letter, None where it was not seen, and
    ``right`` whether it was on top.
    """

    when: str
    fingerprint: str
    version: str
    probability: float | None
    log_odds: float | None
    right: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """What the candidate's engine answered in ``runs`` stored runs in a row that gave the same answers.

    ``when`` and ``until`` are ISO times of the first and the last of them, ``fingerprint`` and ``version`` as
    in `HistoryPoint`. ``cases`` were asked then what they ask now and answered, ``errors`` got no answer.
    ``accuracy`` has a 95% interval. Against the last answers before, of as many as there are: ``spread``
    is the root mean square change of a letter's log-odds, ``largest`` the largest one, in ``case``; None and
    '' where there are none. ``shown`` is whether these are the answers of this comparison.
    """

    when: str
    until: str
    runs: int
    fingerprint: str
    version: str
    cases: int
    errors: int
    accuracy: Estimate | None
    spread: float | None
    largest: float | None
    case: str
    shown: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PytestRun:
    """What pytest itself counted, in a ``sentence``; ``failed`` are failures and errors together.

    ``gate`` is whether a gate was asked for, whose exit status the run then has.
    """

    sentence: str
    failed: int
    gate: bool

    @classmethod
    def of(cls, tallies: Sequence[Tally], *, gate: bool) -> PytestRun:
        """From all checks of a run."""
        every = {status: total(tallies, status) for status in Status}
        failed = Counter[str]()
        for tally in tallies:
            failed.update({check: counts[Status.FAILED.name] for check, counts in tally.counts.items()})
        failed = +failed
        checks = total(tallies)
        of = f" ({', '.join(f'{name} {count}' for name, count in failed.most_common())})" if failed else ""
        words = [
            f"{every[Status.PASSED]} passed",
            *([f"{every[Status.FAILED]} failed{of}"] if failed else []),
            *([f"{every[Status.ERROR]} without an answer"] if every[Status.ERROR] else []),
            *([f"{every[Status.KNOWN]} known to fail"] if every[Status.KNOWN] else []),
        ]
        sentence = f"pytest: of {checks} check{'s' * (checks != 1)} {', '.join(words)}."
        return cls(sentence=sentence, failed=every[Status.FAILED] + every[Status.ERROR], gate=gate)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInput:
    """Two sides, what was judged of them, and what a reader asks next.

    ``changes`` are what the judge was given, and ``cases`` the cases that they are about, as far as they are
    known. ``changed`` is what differs between the fingerprints. By case name (``suite.id``): ``commands`` to
    reproduce it, ``limits`` of the metrics, ``histories`` from the oldest run on. ``runs`` is the history of
    all cases together, likewise. ``checks`` are those of a pytest run on either side. ``texts`` are those of
    the candidate's tokens, as far as they are known.
    """

    name: str
    baseline: ReportSide
    candidate: ReportSide
    verdict: ComparisonVerdict
    changes: Sequence[Change] = field(repr=False)
    cases: Sequence[Case] = field(repr=False)
    changed: Sequence[Difference] = field(repr=False)
    notes: Sequence[str] = ()
    commands: Mapping[str, str] = field(default_factory=dict, repr=False)
    limits: Mapping[str, Tolerances] = field(default_factory=dict, repr=False)
    checks: Sequence[CheckSummary] = field(default=(), repr=False)
    histories: Mapping[str, Sequence[HistoryPoint]] = field(default_factory=dict, repr=False)
    runs: Sequence[HistoryLine] = field(default=(), repr=False)
    texts: Mapping[int, str] = field(default_factory=dict, repr=False)

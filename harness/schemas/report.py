"""What the machine-readable report holds. The JSON Schema is made from these models, and so is the report.

Every field is always there. Null is a number that does not exist or is not known; a metric that is infinite
or not a number is told as text.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue

from harness.schemas.report_parts import (
    CheckStatus,
    Count,
    EngineEntry,
    Entry,
    EstimateEntry,
    Finite,
    HistoryEntry,
    HistoryLineEntry,
    ImageEntry,
    KindOfDifference,
    Measured,
    Number,
    PaceEntry,
    Share,
    StatusName,
    Text,
    VerdictName,
)

__all__ = [
    "VERSION",
    "AccuracyEntry",
    "AnswerEntry",
    "CaseEntry",
    "CheckEntry",
    "ComparisonEntry",
    "CoverageEntry",
    "DifferenceEntry",
    "EngineEntry",
    "EstimateEntry",
    "EvidenceEntry",
    "FindingEntry",
    "FlipEntry",
    "HistoryEntry",
    "HistoryLineEntry",
    "ImageEntry",
    "KindOfDifference",
    "LostAndGainedEntry",
    "MassEntry",
    "MassOfCaseEntry",
    "MetricEntry",
    "PaceEntry",
    "PlaceEntry",
    "ReportFile",
    "SideEntry",
    "SuiteEntry",
    "TakenEntry",
    "TokenEntry",
]

VERSION = 3
"""That of the form of report which is described here."""


def _readable(version: object) -> object:
    if version != VERSION:
        raise ValueError(
            f"found version {version!r} of the report; allowed: version {VERSION}. Read it with the harness "
            "that wrote it (its field 'harness' says which), or make it again, of the same recordings:\n"
            "  harness gate --baseline A --candidate B --json FILE"
        )
    return version


class SideEntry(Entry):
    """One side of a comparison."""

    label: Text = Field(description="How the side was named.")
    device: Text = Field(description="Where and with what it ran, in a line.")
    dtype: Text = Field(description="The dtype it computed in; empty if not known.")
    made: Text = Field(description="The day of its answers; empty for those of this run.")
    model: Text = Field(description="What the profile calls the model.")
    fingerprint: dict[str, JsonValue] = Field(description="Everything its answers may depend on.")


class DifferenceEntry(Entry):
    """One value in which the fingerprints differ."""

    path: Text = Field(description="Dotted path in the fingerprint.")
    kind: KindOfDifference = Field(description="What it is about; versions come first.")
    before: JsonValue = Field(description="The baseline's value.")
    after: JsonValue = Field(description="The candidate's value.")


class EvidenceEntry(Entry):
    """One statistical test on a suite."""

    name: Text = Field(description="The name of the test.")
    rule: Text = Field(description="What it finds, in words.")
    text: Text = Field(description="Its numbers, in words.")
    statistic: Finite = Field(description="The statistic; null where nothing could be tested.")
    p: Finite = Field(description="Its own p-value.")
    adjusted: Finite = Field(description="Holm's p-value over all tests of the suite.")
    alpha: Number = Field(description="What the adjusted p-value is held to.")
    found: bool = Field(description="Whether the effect was found.")


class PlaceEntry(Entry):
    """A group of cases in which something was found."""

    kind: Text = Field(description="What groups the cases: suite, tag, or letter, which is the expected one.")
    name: Text = Field(description="Name of the suite or tag, or the letter.")
    evidence: EvidenceEntry = Field(description="What was found; adjusted over all groups of the comparison.")


class SuiteEntry(Entry):
    """The verdict on all cases, or on one suite."""

    suite: Text = Field(description="Name of the suite; 'all cases' for the whole.")
    verdict: VerdictName = Field(description="The verdict on the suite.")
    words: Text = Field(description="The verdict with what lets it pass, such as 'DRIFT within the margin'.")
    sentence: Text = Field(description="The verdict in a sentence.")
    reasons: list[Text] = Field(description="The rules in words with their numbers.")
    within_budget: bool = Field(description="Whether a drift or regression is within the suite's budgets.")
    within_margin: bool = Field(description="Whether the cases are shown to be within their margin.")
    passes: bool = Field(description="Whether what was found is let pass, by budgets or by the margin.")
    evidence: list[EvidenceEntry] = Field(description="The tests on the suite.")
    cases: Count = Field(description="The number of cases.")
    clusters: Count = Field(description="The number of independent groups of cases.")
    counts: dict[VerdictName, Count] = Field(description="The number of cases by verdict.")
    spread: EstimateEntry | None = Field(description="The candidate's spread in units of noise.")
    shift: EstimateEntry | None = Field(description="Mean change of the expected letter's log-odds.")
    log_odds: EstimateEntry | None = Field(description="Root mean square of all changes of log-odds.")
    rest: EstimateEntry | None = Field(
        description="Root mean square change of the probability outside the letters."
    )
    margin: Number = Field(description="Change of log-odds within which the suite is the same.")
    accuracy: tuple[Share, Share] | None = Field(description="Share of right answers on each side.")
    accuracies: tuple[EstimateEntry, EstimateEntry] | None = Field(
        description="The same with 95% intervals, each side by itself."
    )
    accuracy_change: EstimateEntry | None = Field(description="Candidate less baseline, with a 95% interval.")
    flips: Count = Field(description="How many top letters changed.")
    expected_flips: Finite = Field(description="How many flips noise alone would give.")
    missing_cases: Count | None = Field(description="How many more cases would end an INCONCLUSIVE.")


class AccuracyEntry(Entry):
    """The change of accuracy among cases whose answers are known on both sides."""

    cases: Count = Field(description="How many they are.")
    baseline: Share = Field(description="Share of right answers of the baseline.")
    candidate: Share = Field(description="Share of right answers of the candidate.")
    low: Number = Field(description="The lower end of the change's 95% interval.")
    high: Number = Field(description="The upper end of the change's 95% interval.")
    upper_loss: Number = Field(description="What the loss is under with 95% confidence.")
    lost: Count = Field(description="How many right answers were lost.")
    gained: Count = Field(description="How many right answers were gained.")
    p_lost: Share = Field(description="Exact one-sided McNemar test of a loss.")
    p_gained: Share = Field(description="Exact one-sided McNemar test of a gain.")
    decides: Number = Field(description="The margin that as many such cases can decide.")


class LostAndGainedEntry(Entry):
    """Right answers that were lost and gained."""

    change: AccuracyEntry = Field(description="The change among all cases.")
    lost: list[Text] = Field(description="Names of the cases whose right answer was lost.")
    gained: list[Text] = Field(description="Names of the cases whose right answer was gained.")
    tags: dict[Text, AccuracyEntry] = Field(description="The change among the cases of each tag.")
    expected: dict[Text, AccuracyEntry] = Field(description="The same of each expected letter.")
    letters: list[tuple[Text, Text, Count]] = Field(
        description="Answer before, answer after, and how many changed so; 'something else' is no letter."
    )


class MassOfCaseEntry(Entry):
    """The probability on a case's letters together."""

    case: Text = Field(description="Name of the case.")
    baseline: Share = Field(description="The baseline's; of a partial answer at least.")
    candidate: Share = Field(description="The candidate's; of a partial answer at least.")


class MassEntry(Entry):
    """The probability on the letters together, over all cases."""

    baseline: Share = Field(description="The baseline's mean.")
    candidate: Share = Field(description="The candidate's mean.")
    lost: list[MassOfCaseEntry] = Field(description="The cases that lost most, at most 20, the worst first.")


class TokenEntry(Entry):
    """A token that is no letter, in the answer's row."""

    id: Annotated[int, Field(ge=0)] = Field(description="Id of the token.")
    text: Text | None = Field(description="As its tokenizer writes it; null if not known.")
    logprob: Number = Field(description="Its log-probability.")


class TakenEntry(TokenEntry):
    """A token that is no letter and gained probability; the log-probability is that in ``case``."""

    gained: Share = Field(description="How much at least, a mean over the cases.")
    cases: Count = Field(description="In how many cases.")
    case: Text = Field(description="Name of the case in which it gained most.")


class CoverageEntry(Entry):
    """Whether the top tokens that a side reports hold the letters."""

    reported: Count | None = Field(description="How many tokens it reports; null if it reports none.")
    within: bool | None = Field(description="Whether every letter is among them; null if not known.")
    lowest: Text | None = Field(description="The letter of the lowest rank; null if not known.")
    rank: Count | None = Field(description="Its rank, 1 for the most probable token; null if not known.")


class AnswerEntry(Entry):
    """What one side answered; lists are in the order of the case's letters."""

    engine: Text = Field(description="Profile and engine.")
    path: Text = Field(description="The path to the logits that gave the answer.")
    text: Text = Field(description="What it wrote.")
    reached: bool = Field(description="Whether it got as far as the letter.")
    partial: bool = Field(description="Whether only the top of the row was seen.")
    top: Text | None = Field(
        description="The most probable letter, or the accepted text or 'anything else'; null if not known."
    )
    right: bool | None = Field(description="Whether that is the expected letter; null if not known.")
    least: list[Finite] = Field(description="The least that each letter's probability can be.")
    most: list[Finite] = Field(description="The most that it can be; equal to it where known.")
    log_odds: list[Finite] = Field(description="Centred log-odds; null for a letter not seen.")
    coverage: CoverageEntry = Field(description="Whether the reported top tokens hold the letters.")
    others: list[TokenEntry] = Field(description="The most probable tokens that are no letters, at most 5.")


class FlipEntry(Entry):
    """Another top letter in the candidate."""

    kind: Text = Field(description="What it did to correctness, in words.")
    before: Text | None = Field(description="The baseline's answer, a letter or 'something else'; or null.")
    after: Text | None = Field(description="The candidate's; null if the letter was not reached.")


class MetricEntry(Entry):
    """A number that was taken of a case, and the most it may be."""

    name: Text = Field(description="Name of the metric.")
    value: Measured = Field(description="The number; text where it is infinite or not a number.")
    limit: Annotated[Number, Field(gt=0)] | None = Field(description="The most it may be; null for none.")
    where: Text = Field(description="The letter where it was worst; empty if there is one place.")
    bounded: bool = Field(description="Whether it is only known to be no larger.")


class CheckEntry(Entry):
    """How one check of a pytest run ended for the case."""

    check: Text = Field(description="Name of the check.")
    engine: Text = Field(description="The engine whose answer was checked.")
    status: CheckStatus = Field(description="How it ended.")


class CaseEntry(Entry):
    """One case: what was asked, what both sides answered, and what was judged of it."""

    case: Text = Field(description="Name of the case, suite.id.")
    suite: Text = Field(description="Name of the suite.")
    place: Text = Field(description="File and line of the case.")
    verdict: VerdictName = Field(description="The verdict on the case.")
    reason: Text = Field(description="The rule in words, with its numbers.")
    prompt: Text | None = Field(description="What the model was asked; null if not known.")
    system: Text | None = Field(description="Text of the system message; null for none.")
    images: list[Text] = Field(description="Keys in `images` of the document, in the case's own order.")
    cluster: Text = Field(description="Cases of one cluster share their images.")
    letters: list[Text] = Field(description="The letters on offer; or the accepted text, 'anything else'.")
    expect: Text = Field(description="The right answer.")
    tags: list[Text] = Field(description="The case's tags.")
    mass: tuple[Share, Share] | None = Field(
        description="Probability on the letters together on each side, at least; null if not known."
    )
    baseline: AnswerEntry | None = Field(description="The baseline's answer; null if there is none.")
    candidate: AnswerEntry | None = Field(description="The candidate's answer; null if there is none.")
    errors: list[Text] = Field(description="Why a side could not answer.")
    question: list[Text] = Field(description="What differs between the questions the sides were asked.")
    difference: list[Finite] = Field(description="Change of each letter's log-odds.")
    largest: Finite = Field(description="The largest change of log-odds.")
    sigma: Annotated[Number, Field(ge=0)] = Field(description="Standard deviation of a change under noise.")
    limit: Finite = Field(description="The largest change that noise allows.")
    gap: Finite = Field(description="Log-odds of the baseline's top letter above the next.")
    flip: FlipEntry | None = Field(description="Another top letter; null for none.")
    flip_probability: Finite = Field(description="How probable noise flips the case.")
    metrics: list[MetricEntry] = Field(description="What was measured, with limits.")
    checks: list[CheckEntry] = Field(description="The checks of a pytest run.")
    command: Text = Field(description="The command that reproduces the case; empty if not known.")
    history: list[HistoryEntry] = Field(description="Earlier stored runs, the oldest first.")


class FindingEntry(Entry):
    """What was found of the two sides before their numbers."""

    name: Text = Field(description="What it is about, in a word.")
    text: Text = Field(description="What was found, where, and what is allowed.")
    cases: list[Text] = Field(description="Names of the cases in which it was found.")
    blocks: bool = Field(description="Whether it keeps the comparison from passing.")


class ComparisonEntry(Entry):
    """A candidate judged against a baseline."""

    name: Text = Field(description="Name of the comparison.")
    baseline: SideEntry = Field(description="What the candidate is compared with.")
    candidate: SideEntry = Field(description="What is judged.")
    verdict: VerdictName = Field(description="The verdict on the candidate.")
    words: Text = Field(description="The verdict with what lets it pass, such as 'DRIFT within the margin'.")
    sentence: Text = Field(description="The verdict in a sentence.")
    status: StatusName = Field(description="How a gate ends.")
    noise: Text = Field(description="Where the noise comes from, in words.")
    findings: list[FindingEntry] = Field(description="What comes before the numbers, as another question.")
    changed: list[DifferenceEntry] = Field(description="What differs between the fingerprints.")
    notes: list[Text] = Field(description="What a reader should know of cases that were not compared.")
    whole: SuiteEntry | None = Field(description="The verdict on all cases; null if nothing was judged.")
    where: list[PlaceEntry] = Field(description="In which suites, tags and letters something was found.")
    accuracy: LostAndGainedEntry | None = Field(description="Lost and gained; null if no answer is known.")
    mass: MassEntry | None = Field(description="Probability on the letters; null if it is not known.")
    taken: list[TakenEntry] = Field(
        description="Tokens, no letters, that gained: at most 20, the most first."
    )
    suites: list[SuiteEntry] = Field(description="The verdicts on the suites.")
    cases: list[CaseEntry] = Field(description="The cases.")
    runs: list[HistoryLineEntry] = Field(
        description="Stored runs of the candidate's engine over all cases, the oldest first."
    )


class ReportFile(Entry):
    """A report of the harness: one or more comparisons."""

    version: Annotated[Literal[3], BeforeValidator(_readable)] = Field(
        description="Version of this form of report."
    )
    harness: Text = Field(description="Version of the harness that made it.")
    made: Text = Field(description="When it was made, ISO.")
    comparisons: Annotated[list[ComparisonEntry], Field(min_length=1)] = Field(description="The comparisons.")
    engines: list[EngineEntry] = Field(
        description="Every engine: what others are compared with, then the candidates, the worst first."
    )
    images: dict[Text, ImageEntry] = Field(description="The images of the cases, by key.")

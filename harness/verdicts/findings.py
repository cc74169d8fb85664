"""What is found of two sides beside how far apart their answers are, and what that does to a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.verdicts.verdict import ComparisonVerdict, ExitStatus, SuiteVerdict, Verdict

__all__ = ["Finding", "with_findings"]

_QUIET = (Verdict.SAME, Verdict.NOISE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that comes before the numbers of a comparison.

    ``name`` says in a word what it is about, ``text`` all of it on one line, and ``cases`` are the names of
    those in which it was found. While one ``blocks``, no verdict passes.
    """

    name: str
    text: str
    cases: tuple[str, ...]
    blocks: bool


def _blocking(verdict: ComparisonVerdict, suite: str | None = None) -> tuple[Finding, ...]:
    """The findings that keep the comparison from passing, or those on cases of one ``suite``."""
    blocking = tuple(one for one in verdict.findings if one.blocks)
    if suite is None:
        return blocking
    own = {case.case for case in verdict.cases if case.suite == suite}
    return tuple(one for one in blocking if not own.isdisjoint(one.cases))


def with_findings(verdict: ComparisonVerdict) -> ComparisonVerdict:
    """The verdict as its findings leave it.

    One of them that blocks makes SAME and NOISE INCONCLUSIVE, of the comparison and of each suite with such a
    case. DRIFT and REGRESSION stand, and what was let pass ends as INCONCLUSIVE does.
    """
    found = _blocking(verdict)
    if not found:
        return verdict
    named = ", ".join(f"{one.name} ({len(one.cases)} case{'s' * (len(one.cases) != 1)})" for one in found)
    word, sentence, passed = verdict.verdict, verdict.sentence, verdict.status is ExitStatus.PASSED
    if word in _QUIET:
        sides = f"{verdict.candidate} against {verdict.baseline}, {len(verdict.cases)} cases"
        told = f"the numbers alone say {word}, which these findings do not let stand: {named}"
        word, sentence = Verdict.INCONCLUSIVE, f"{Verdict.INCONCLUSIVE}: {sides}: {told}"
    elif passed:
        sentence = f"{sentence}; not passed, for these findings: {named}"
    return replace(
        verdict,
        verdict=word,
        sentence=sentence,
        status=ExitStatus.INCONCLUSIVE if passed else verdict.status,
        suites=tuple(_suite(suite, _blocking(verdict, suite.suite)) for suite in verdict.suites),
        whole=None if verdict.whole is None else _suite(verdict.whole, found),
    )


def _suite(suite: SuiteVerdict, found: Sequence[Finding]) -> SuiteVerdict:
    if not found:
        return suite
    if suite.verdict not in _QUIET:
        return replace(suite, passes=False)
    said = f"{suite.suite}: {Verdict.INCONCLUSIVE}: the numbers alone say {suite.verdict}"
    return replace(
        suite,
        verdict=Verdict.INCONCLUSIVE,
        sentence=f"{said}; {found[0].text}",
        reasons=(*(one.text for one in found), *suite.reasons),
        passes=False,
    )

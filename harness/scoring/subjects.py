"""Subjects: which case is put to which engine, and so which tests there are.

A test of the suite asks for ``subject`` and says with the ``subjects`` mark which engines it is for::

    @pytest.mark.subjects("compared")
    def test_engines_agree(subject: Subject, ...) -> None: ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.cases.profiles import EngineSpec, Profile
from harness.cases.suites import Case
from harness.engines.contract import EngineSettings, Request
from harness.recordings.fingerprint import image_fingerprint

__all__ = [
    "SELECTIONS",
    "Subject",
    "has_two_accounts",
    "images_of",
    "reports_log_probabilities",
    "request_for",
    "subjects",
]


@dataclass(frozen=True, slots=True)
class Subject:
    """One case put to one engine of one profile."""

    case: Case
    profile: Profile
    engine: EngineSpec

    @property
    def id(self) -> str:
        """The test id: ``suite.case-profile-engine``."""
        return f"{self.case.name}-{self.profile.name}-{self.engine.name}"

    @property
    def engine_label(self) -> str:
        """``profile-engine``, as shown in reports."""
        return f"{self.profile.name}-{self.engine.name}"

    @property
    def is_reference(self) -> bool:
        """Whether this engine is the one the others are compared with."""
        return self.engine.name == self.profile.reference

    def reference(self) -> Subject:
        """The same case put to the profile's reference engine."""
        engine = next(e for e in self.profile.engines if e.name == self.profile.reference)
        return Subject(self.case, self.profile, engine)


def reports_log_probabilities(settings: EngineSettings) -> bool:
    """Whether such an engine reports log-probabilities that could be right or wrong."""
    # TurboMind's, under greedy decoding, are one token with 0.0.
    return (
        settings.kind == "lmdeploy" and settings.top_k > 0 and settings.options.get("backend") != "turbomind"
    )


def has_two_accounts(settings: EngineSettings) -> bool:
    """Whether such an engine gives two accounts of an answer; one cannot contradict itself.

    It takes two paths, or a path and reported values. What is reported is the path top-k. An engine that
    takes the best paths it has counts.
    """
    return len(settings.paths) != 1 or (reports_log_probabilities(settings) and settings.paths != ("top-k",))


SELECTIONS: Mapping[str, Callable[[Subject], bool]] = {
    "every": lambda _: True,
    "compared": lambda subject: not subject.is_reference,
    "top-k": lambda subject: reports_log_probabilities(subject.engine.settings),
    "staged": lambda subject: has_two_accounts(subject.engine.settings),
}


def subjects(cases: Sequence[Case], profiles: Sequence[Profile], *, selection: str) -> Iterator[Subject]:
    """Yield the subjects of a selection (a key of `SELECTIONS`), cases first, then profiles and engines."""
    chosen = SELECTIONS[selection]
    for case in cases:
        for profile in profiles:
            if not profile.takes(case):
                continue
            for engine in profile.engines:
                subject = Subject(case, profile, engine)
                if chosen(subject):
                    yield subject


def request_for(case: Case, profile: Profile) -> Request:
    """The case as the engines of a profile see it: without the expected letter, with a system text pinned.

    A text is accepted behind its prefix, all of which is put behind the prompt to be scored.
    """
    text = case.kind == Request.TEXT
    return Request(
        case=case.name,
        prompt=case.prompt,
        letters=() if text else case.letters,
        images=tuple(map(str, case.images)),
        system=profile.system if case.system is None else case.system,
        answer_prefix="" if text else case.answer_prefix,
        max_new_tokens=case.max_new_tokens,
        kind=case.kind,
        target=case.answer_prefix + case.expect if text else "",
    )


def images_of(case: Case) -> tuple[str, ...]:
    """The hashes of the case's images, none for text only; raises `EngineError` when one cannot be read."""
    return tuple(map(image_fingerprint, case.images))

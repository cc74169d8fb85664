"""The names of a gate's sides: what may stand before and after `..`.

    PROFILE/ENGINE               made where recordings are missing
    ENGINE                       where one profile is meant, and where one profile only has such an engine
    PROFILE/ENGINE@2026-10-25    the last stored run on or before that day
    PROFILE/ENGINE@previous      the last stored run with another fingerprint than the engine has now
    PROFILE/ENGINE@RECORDINGS    the last stored run in another folder of recordings or a bundle
    accepted                     what is accepted of the candidate's engine
    SNAPSHOTS/PROFILE/ENGINE     what is accepted of this engine; of one suite: SNAPSHOTS/.../SUITE.jsonl

Names are checked against the profiles; whether there is such a run or file is found out when it is loaded.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.cases.problems import nearest
from harness.cases.profiles import EngineSpec, Profile
from harness.cases.suites import Case
from harness.errors import GateError
from harness.scoring.subjects import Subject, subjects
from harness.snapshots.accepted import engine_folder

__all__ = ["PREVIOUS", "SideName", "parse_pair", "parse_side"]

PREVIOUS = "previous"
_ACCEPTED = "accepted"
_BETWEEN = ".."
_GRAMMAR = (
    "PROFILE/ENGINE, ENGINE, PROFILE/ENGINE@2026-10-25 (a day), PROFILE/ENGINE@previous, "
    "PROFILE/ENGINE@RECORDINGS (a folder or a bundle), accepted, or the path of accepted outputs "
    "(SNAPSHOTS/PROFILE/ENGINE, or a SUITE.jsonl in it)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SideName:
    """A side as it was named, and what that means.

    ``profile`` and ``engine`` are None for a ``path`` of accepted outputs. ``at`` is '' for an engine as it
    is now, an ISO day or `PREVIOUS` for a stored run. ``runs`` are the stored runs whose answers are taken,
    whatever ``at`` says, where they are known: those of a bundle. ``store`` is the folder of recordings, or
    the bundle, in which the run is stored, None for the one that is used anyway.
    """

    text: str
    profile: Profile | None = None
    engine: EngineSpec | None = None
    at: str = ""
    path: Path | None = None
    runs: tuple[str, ...] = ()
    store: Path | None = None

    @property
    def live(self) -> bool:
        """Whether an engine is asked, rather than what is stored."""
        return self.engine is not None and not self.at and not self.runs

    @property
    def label(self) -> str:
        """The name in full: ``PROFILE/ENGINE``, with ``@...`` for a stored run; for a path that."""
        if self.profile is None or self.engine is None:
            return self.text
        return f"{self.profile.name}/{self.engine.name}" + (f"@{self.at}" if self.at else "")

    @property
    def id(self) -> str:
        """The name as a part of a test's id, in which there is no ``/``."""
        return self.label.replace("/", "-") if self.path is None else "-".join(self.path.parts[-2:])

    def subjects(self, cases: Sequence[Case]) -> list[Subject]:
        """What a live side is asked: the cases of its profile's suites; none for a stored one."""
        if not self.live or self.profile is None or self.engine is None:
            return []
        every = subjects(cases, [self.profile], selection="every")
        return [subject for subject in every if subject.engine.name == self.engine.name]


def parse_pair(
    text: str,
    profiles: Sequence[Profile],
    *,
    meant: Sequence[str],
    snapshots: Path,
    option: str = "--gate",
) -> tuple[SideName, SideName]:
    """Baseline and candidate of ``A..B``; arguments and errors as for `parse_side`.

    ``option`` is what the pair was given to. Paths may hold ``..`` themselves, so the first place at which
    both parts are names counts.
    """
    problem = GateError(f"{option}: found {text!r}; allowed: A..B, each of them {_GRAMMAR}")
    start = text.find(_BETWEEN)
    while start >= 0:
        left, right = text[:start], text[start + len(_BETWEEN) :]
        start = text.find(_BETWEEN, start + 1)
        if not left or not right:
            continue
        try:
            candidate = parse_side(right, profiles, meant=meant, snapshots=snapshots)
            baseline = parse_side(left, profiles, meant=meant, snapshots=snapshots, candidate=candidate)
        except GateError as error:
            problem = error
            if right.startswith(".") or left.endswith(
                ("@", "/")
            ):  # the dots are a path's, as ../snapshots/p/torch
                continue
            raise
        return baseline, candidate
    raise problem


def parse_side(
    text: str,
    profiles: Sequence[Profile],
    *,
    meant: Sequence[str],
    snapshots: Path,
    candidate: SideName | None = None,
) -> SideName:
    """What ``text`` names. ``meant`` are the profiles that --profile names.

    ``candidate`` is that of a baseline, whose engine ``accepted`` is about. Raises `GateError` with what is
    allowed.
    """
    if text == _ACCEPTED:
        return _accepted(text, snapshots, candidate)
    path = Path(text)
    if path.suffix in (".json", ".jsonl") or (len(path.parts) > 2 and path.is_dir()):
        return SideName(text=text, path=path)
    name, _, at = text.partition("@")
    store = Path(at) if at and Path(at).exists() else None
    if "@" in text and at != PREVIOUS and store is None:
        at = _day(text, at)
    profile, engine = _engine(text, name, profiles, meant)
    return SideName(text=text, profile=profile, engine=engine, at=at, store=store)


def _accepted(text: str, snapshots: Path, candidate: SideName | None) -> SideName:
    if candidate is None or candidate.profile is None or candidate.engine is None:
        raise GateError(
            f"found {text!r} where no engine of a candidate says whose baseline is meant; allowed: accepted "
            "as the baseline of a candidate PROFILE/ENGINE, or the path of accepted outputs"
        )
    return SideName(text=text, path=engine_folder(snapshots, candidate.profile.name, candidate.engine.name))


def _day(text: str, at: str) -> str:
    try:
        return datetime.date.fromisoformat(at).isoformat()
    except ValueError:
        raise GateError(
            f"found {text!r}; allowed after @: a day such as 2026-10-25, {PREVIOUS}, "
            "or a folder of recordings or a bundle that is there"
        ) from None


def _engine(
    text: str, name: str, profiles: Sequence[Profile], meant: Sequence[str]
) -> tuple[Profile, EngineSpec]:
    slash = "/" in name
    known = {f"{p.name}/{e.name}": (p, e) for p in profiles for e in p.engines}
    if slash:
        if name not in known:
            raise GateError(f"found {text!r}; allowed: {nearest(name, known)}; or {_GRAMMAR}")
        return known[name]
    found = {
        full: pair
        for full, pair in known.items()
        if pair[1].name == name and (not meant or pair[0].name in meant)
    }
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise GateError(
            f"found {text!r}, an engine of several profiles; allowed: one of {', '.join(found)}, or one "
            "profile named with --profile"
        )
    where = f" in {', '.join(meant)}" if meant else ""
    raise GateError(f"found {text!r}, no engine{where}; allowed: {nearest(name, known)}; or {_GRAMMAR}")

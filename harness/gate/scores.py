"""Engines asked, compared and judged from a script: `score` is where a program begins.

``harness gate`` and pytest do the same from a command line.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from harness.cases.folder import Loaded
from harness.checks.agreement import Agreement, paths_with_rows
from harness.environments.store import Environments
from harness.gate.comparison import Comparison, Terms
from harness.gate.gating import Sides, gate
from harness.gate.reporting import report_input
from harness.gate.side import GateSide, Kept, load_side
from harness.gate.side_floors import SideFloors
from harness.gate.sides import SideName, parse_side
from harness.reports.page.document import make_report
from harness.reports.report_files import write_document, write_page
from harness.scoring.resolving import EngineProgress
from harness.scoring.scoring import Scoring

__all__ = ["Scores", "score"]


class Scores(Mapping[str, GateSide]):
    """What engines answered, by the names that `score` was given, and what is made of it."""

    def __init__(
        self, sides: Mapping[str, GateSide], loaded: Loaded, scoring: Scoring, environments: Environments
    ) -> None:
        """`score` makes it."""
        self._sides = sides
        self._loaded = loaded
        self._scoring = scoring
        self._environments = environments

    def __getitem__(self, name: str) -> GateSide:
        """The answers of an engine: ``recordings`` and ``errors`` by case, ``probabilities``, ``dtype``."""
        return self._sides[name]

    def __iter__(self) -> Iterator[str]:
        """The names, in their order."""
        return iter(self._sides)

    def __len__(self) -> int:
        """How many engines there are."""
        return len(self._sides)

    def compare(self, baseline: str, candidate: str) -> dict[str, Agreement]:
        """Both answers to each case that both have, side by side, by case name; no judgement.

        KL and JS are there between the first engine that `score` was given and each other one. Raises
        `RecordingError` where what is stored cannot be read.
        """
        before, after = self[baseline].recordings, self[candidate].recordings
        letters = {case.name: case.letters for case in self._loaded.cases}
        return {
            case: self._scoring.beside(before[case], after[case], letters[case])
            for case in before
            if case in after
        }

    def judge(
        self, baseline: str, candidate: str, *, margin: float | None = None, strict: bool = False
    ) -> Comparison:
        """The verdict of ``harness gate --baseline BASELINE --candidate CANDIDATE``, and its numbers.

        The names are any that ``harness gate`` takes, ``accepted`` and ``PROFILE/ENGINE@previous`` as well;
        answers that are missing are made. ``margin`` is in log-odds and wins over those of suites and
        profiles; ``strict`` fails for every move beyond noise. Raises `GateError` where the two cannot be
        compared.
        """
        after = _named(candidate, self._loaded)
        before = _named(baseline, self._loaded, candidate=after)
        floors = SideFloors(
            self._scoring.store.root, self._loaded.profiles, snapshots=_snapshots(self._loaded)
        )
        terms = Terms(margin=margin, strict=strict, floors=floors)
        with closing(self._environments):
            found = gate([Sides(before, after)], self._loaded, self._scoring, terms, self._loaded.suites)
        return found[0]

    def write_report(self, comparison: Comparison, file: str | os.PathLike[str]) -> None:
        """Write the comparison as a page, or as data where the file's name ends in ``.json``.

        Raises `RecordingError` where the disk refuses.
        """
        data = Path(file).suffix == ".json"
        report = make_report([report_input(comparison, self._scoring.store)], page=not data)
        (write_document if data else write_page)(report, Path(file))


def score(
    loaded: Loaded,
    *engines: str,
    recordings: str | os.PathLike[str] = ".harness",
    environments: str | os.PathLike[str] | None = None,
    fresh: bool = False,
    show: Callable[[EngineProgress], None] = lambda _: None,
) -> Scores:
    """Ask engines all cases of their profiles, and hand out what they answered.

    ``engines`` are named ``PROFILE/ENGINE``; the first is the one that the others are compared with. What
    is in the folder ``recordings`` already is not asked again, unless ``fresh``. ``environments`` is where
    engines with ``requirements`` have theirs, the user's cache folder if None. ``show`` is told the progress.
    A case that an engine could not answer is in its ``errors``. Raises `GateError` for a name that no engine
    has, and `RecordingError` where the disk refuses.
    """
    this_run = uuid.uuid4().hex
    made = Environments(None if environments is None else Path(environments), run_id=this_run)
    root = Path(recordings).absolute()
    scoring = Scoring(root, run_id=this_run, fresh=fresh, show=show, environments=made)
    kept = Kept(folder=loaded.folder, suites=loaded.suites, scoring=scoring)
    sides = {name: _named(name, loaded) for name in engines}
    asked = [{s.case.name: s for s in side.subjects(kept.cases)} for side in sides.values()]
    first = asked[0] if asked else {}
    pairs = [(first[case], one) for other in asked[1:] for case, one in other.items() if case in first]
    before = {file.name for file in scoring.store.rows_folder.glob("*.npy")}
    with closing(made):
        scoring.make([s for each in asked for s in each.values()], compared=pairs)
    scores = Scores({name: load_side(side, kept) for name, side in sides.items()}, loaded, scoring, made)
    for name in engines[1:]:
        scores.compare(engines[0], name)  # which keeps KL and JS, and so rows are wanted no longer
    for recording in (one for side in scores.values() for one in side.recordings.values()):
        new = [path for path in paths_with_rows(recording) if f"{recording.key}.{path}.npy" not in before]
        scoring.store.drop_rows(recording.key, new)
    return scores


def _named(text: str, loaded: Loaded, *, candidate: SideName | None = None) -> SideName:
    return parse_side(text, loaded.profiles, meant=(), snapshots=_snapshots(loaded), candidate=candidate)


def _snapshots(loaded: Loaded) -> Path:
    return loaded.folder.parent / "snapshots"

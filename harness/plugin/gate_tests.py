"""The gate inside pytest (``--gate A..B``): which tests there are, their fixture, and the exit status."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import CheckFailed, EngineError, ErrorKind, GateError, HarnessError
from harness.gate.comparison import Comparison, Terms, compare_sides
from harness.gate.gating import Sides, known_cases, quiet_rows
from harness.gate.outputs import suite_text
from harness.gate.side import Kept, load_side
from harness.gate.side_floors import SideFloors
from harness.gate.sides import parse_pair
from harness.scoring.subjects import Subject
from harness.verdicts.verdict import ExitStatus, SuiteVerdict, Verdict

if TYPE_CHECKING:
    from harness.plugin.run import Run

__all__ = ["GATE", "GATE_PROPERTY", "GateOutcomes", "GateRun", "SuiteGate", "gate_suite_of", "words_again"]

GATE_PROPERTY = "vlm-harness-gate"
PARAMETER = "gate_suite"


@dataclass(frozen=True, slots=True)
class SuiteGate:
    """One suite's part of a comparison: what `test_gate` is about."""

    comparison: Comparison
    suite: SuiteVerdict

    def require(self) -> None:
        """Raise `CheckFailed` unless the suite passes: what matters and what is inconclusive both fail."""
        __tracebackhide__ = True
        if not self.suite.passes or self.suite.verdict is Verdict.INCONCLUSIVE:
            raise CheckFailed(suite_text(self.comparison, self.suite))


class GateRun:
    """The gate of one pytest process, kept in ``config.stash[GATE]`` where ``--gate`` is given."""

    def __init__(self, text: str, config: pytest.Config, run: Run) -> None:
        """Touches nothing yet."""
        self._text = text
        self._config = config
        self._run = run
        self._sides: Sides | None = None
        self._result: Comparison | HarnessError | None = None
        self._suites: tuple[str, ...] = ()

    @property
    def sides(self) -> Sides:
        """Baseline and candidate; raises `GateError` and `CaseFileError`."""
        if self._sides is None:
            meant = self._config.getoption("harness_profiles") or ()
            profiles, snapshots = self._run.loaded.profiles, self._run.snapshots_folder
            self._sides = Sides(*parse_pair(self._text, profiles, meant=meant, snapshots=snapshots))
        return self._sides

    def parameters(self) -> list[pytest.ParameterSet]:
        """A parameter per suite of which both sides have, or may have, cases; raises as `sides`."""
        loaded, sides = self._run.loaded, self.sides
        kept = Kept(folder=loaded.folder, suites=loaded.suites, scoring=self._run.scoring)
        baseline, candidate = (known_cases(side, kept) for side in sides)
        both = baseline & candidate
        names = [suite.name for suite in loaded.suites if any(case.name in both for case in suite.cases)]
        if not names:
            raise GateError(
                f"--gate: found no case that {sides.baseline.label} ({len(baseline)} cases) and "
                f"{sides.candidate.label} ({len(candidate)} cases) have in common; allowed: sides with some"
            )
        live = [side.profile for side in sides if side.live and side.profile is not None]
        marks = dict.fromkeys(mark for profile in live for mark in profile.marks)
        for mark in marks:
            self._config.addinivalue_line("markers", f"{mark}: given in the case files")
        pair = f"{sides.baseline.id}..{sides.candidate.id}"
        decorators = [getattr(pytest.mark, mark) for mark in marks]
        return [pytest.param(name, id=f"{name}-{pair}", marks=decorators) for name in names]

    def subjects(self, items: Iterable[pytest.Item]) -> list[Subject]:
        """What the selected tests of the gate need to have made; remembers their suites."""
        wanted = {name for item in items if (name := gate_suite_of(item)) is not None}
        self._suites = tuple(suite.name for suite in self._run.loaded.suites if suite.name in wanted)
        if not self._suites:
            return []
        return [subject for side in self.sides for subject in side.subjects(self._kept().cases)]

    def suite(self, name: str) -> SuiteGate:
        """One suite of the comparison. Raises `EngineError` where a case has no answer.

        Where more does not pass than an answer that is missing, that is for `SuiteGate.require` to tell.
        Raises `GateError` where the sides cannot be compared.
        """
        comparison = self.comparison()
        suite = next((one for one in comparison.verdict.suites if one.suite == name), None)
        if suite is None:
            raise GateError(
                f"{name}: found no case that {comparison.baseline.label} and {comparison.candidate.label} "
                f"were both asked; allowed: a stored run or baseline with some\n{'; '.join(comparison.notes)}"
            )
        if suite.counts.get(Verdict.ERROR) and suite.passes:
            raise EngineError(ErrorKind.FAILED, suite_text(comparison, suite))
        return SuiteGate(comparison, suite)

    def comparison(self) -> Comparison:
        """The comparison on the suites of the selected tests, made once; raises `GateError`."""
        if self._result is None:
            try:
                self._result = self._compare()
            except HarnessError as error:
                self._result = error
        if isinstance(self._result, HarnessError):
            raise self._result.with_traceback(None)  # else it grows with each suite that is told of it
        return self._result

    @property
    def judged(self) -> Comparison | None:
        """The comparison, None where this process has made none: under pytest-xdist its workers make it."""
        return self._result if isinstance(self._result, Comparison) else None

    def _kept(self) -> Kept:
        loaded = self._run.loaded
        suites = [suite for suite in loaded.suites if suite.name in self._suites]
        return Kept(folder=loaded.folder, suites=suites, scoring=self._run.scoring)

    def _compare(self) -> Comparison:
        kept = self._kept()
        baseline, candidate = (load_side(side, kept) for side in self.sides)
        again = words_again(self._config, self._run, self.sides.baseline.text, self.sides.candidate.text)
        profiles = self._run.loaded.profiles
        floors = SideFloors(kept.scoring.store.root, profiles, snapshots=self._run.snapshots_folder)
        every = [case.name for suite in self._run.loaded.suites for case in suite.cases]
        terms = Terms(floors=floors, again=again, every=every)
        return compare_sides(baseline, candidate, kept.suites, profiles, kept.scoring, terms)


def words_again(config: pytest.Config, run: Run, baseline: str, candidate: str) -> list[str]:
    """The command that compares the two sides outside pytest, where one case can be named."""
    words = ["harness", "gate", "--baseline", baseline, "--candidate", candidate]
    here = config.invocation_params.dir
    folders = {
        "cases": run.cases_folder,
        "snapshots": run.snapshots_folder,
        "recordings": run.scoring.store.root,
        "environments": config.getoption("harness_environments"),
    }
    for name, folder in folders.items():
        if folder is not None:
            words += [f"--{name}", os.path.relpath(Path(here, folder), here)]
    for name in config.getoption("harness_profiles") or ():
        words += ["--profile", name]
    return words


GATE = pytest.StashKey[GateRun]()


def gate_suite_of(item: pytest.Item) -> str | None:
    """The suite that a test of the gate is about, None for any other test."""
    callspec = getattr(item, "callspec", None)
    name = callspec.params.get(PARAMETER) if callspec is not None else None
    return name if isinstance(name, str) else None


def tell(item: pytest.Item, gate: GateRun, name: str) -> None:
    """Note on a test of the gate what pytest's main process is to know, for its exit status and report."""
    comparison = gate.comparison()
    found = [one.text for one in comparison.verdict.findings]
    said: dict[str, object] = {
        "status": int(comparison.verdict.status),
        "whole": [*found, comparison.verdict.sentence],
        "rows": quiet_rows(comparison, name),
        **({"finding": "\n".join(found)} if found else {}),
    }
    suite = next((one for one in comparison.verdict.suites if one.suite == name), None)
    if suite is not None:
        said |= {"verdict": suite.verdict.value, "sentence": suite.sentence}
    item.user_properties.append((GATE_PROPERTY, said))


@dataclass(slots=True)
class GateOutcomes:
    """Takes the reports of one run, in pytest's main process, for the exit status of a gate.

    ``rows`` has the keys and paths of full rows that the gate does not want any more.
    """

    _sentences: dict[str, None] = field(default_factory=dict)  # in order, each once
    rows: dict[str, list[str]] = field(default_factory=dict)
    _statuses: list[ExitStatus] = field(default_factory=list)
    _others_failed: bool = False

    def take(self, report: pytest.TestReport) -> None:
        """Note how a test ended."""
        said = dict(report.user_properties).get(GATE_PROPERTY)
        if isinstance(said, dict):
            self._statuses.append(ExitStatus(int(said["status"])))
            self._sentences |= dict.fromkeys(map(str, said["whole"]))
            self.rows.update(said["rows"])
        elif "::test_gate[" in report.nodeid:
            if report.failed:
                self._statuses.append(ExitStatus.ERROR)  # refused: there is no comparison
        elif report.failed:
            self._others_failed = True

    def exit_status(self, found: int) -> int:
        """What pytest's exit status ``found`` becomes.

        1 where another test failed; else the gate's: what is beyond budget first, then errors. A gate none of
        whose tests ran has not passed.
        """
        if found not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return found
        if self._others_failed or (found == pytest.ExitCode.TESTS_FAILED and not self._statuses):
            return int(pytest.ExitCode.TESTS_FAILED)
        return int(ExitStatus.worst(self._statuses) if self._statuses else ExitStatus.ERROR)

    def lines(self) -> list[str]:
        """What was found before the numbers and the verdict, a sentence each, or that there is none."""
        if not self._statuses:
            return ["no test of the gate ran, so nothing was judged"]
        return list(self._sentences) or ["the two sides could not be compared; nothing was judged"]

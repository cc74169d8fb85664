"""The report on a finished pytest run (``--report``, ``--report-json``): its gate, and each engine judged
against its profile's reference on the cases that were tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import HarnessError
from harness.gate.comparison import Comparison, Terms, compare_sides
from harness.gate.reporting import report_input
from harness.gate.side import Kept, load_side
from harness.gate.side_floors import SideFloors
from harness.gate.sides import SideName
from harness.plugin.bulk import BULK_RUN
from harness.plugin.gate_tests import GATE, words_again
from harness.reports.outcomes import Outcomes
from harness.reports.report_input import Explanation, PytestRun
from harness.reports.summary import CheckSummary, tallies_of

if TYPE_CHECKING:
    from harness.plugin.run import Run

__all__ = ["write_reports"]


def write_reports(
    config: pytest.Config,
    run: Run,
    outcomes: Outcomes,
    *,
    page: Path | None,
    data: Path | None,
    explained: Sequence[Explanation] = (),
) -> Iterator[str]:
    """Write the report to the files that are asked for; yields lines for the terminal.

    ``outcomes`` are those of the run, ``explained`` where its failures begin. What cannot be compared
    is told and fails nothing: what the run found stands. Raises HarnessError at the end where a file could
    not be written: who asks for one needs it.
    """
    from harness.reports.page.document import make_report
    from harness.reports.report_files import write_document, write_page

    inputs, tallies = [], outcomes.tallies
    summaries = [*outcomes.summaries, *(one for tally in tallies for row in tally.rows for one in row)]
    gate = config.stash.get(GATE, None)
    if gate is not None and gate.judged is not None:
        inputs.append(report_input(gate.judged, run.scoring.store, checks=summaries))
    pairs = dict.fromkeys((one.profile, one.engine) for one in outcomes.summaries)
    pairs |= dict.fromkeys((tally.profile, engine) for tally in tallies for engine in tally.engines)
    for profile, engine in pairs:
        own = [one for one in summaries if one.profile == profile]
        try:
            comparison = _compared(config, run, profile, engine, own)
        except HarnessError as error:
            yield f"not in the report: {profile}/{engine}: {error}"
            continue
        if comparison is not None:
            both = {comparison.baseline.engine, engine}
            checks = [one for one in own if one.engine in both]
            told = report_input(comparison, run.scoring.store, checks=checks)
            if told.name not in {one.name for one in inputs}:  # the gate's may be the same two
                inputs.append(told)
    if not inputs:
        yield "no report: this run compared no engine with another"
        return
    ran = PytestRun.of([*tallies_of(outcomes.summaries), *tallies], gate=gate is not None)
    failed = []
    for file, write in ((page, write_page), (data, write_document)):
        if file is None:
            continue
        report = replace(make_report(inputs, page=write is write_page), explained=explained, ran=ran)
        try:
            write(report, config.invocation_params.dir / file)
        except HarnessError as error:
            failed.append(error)
        else:
            yield f"report: {file}"
    if failed:
        raise failed[0]


def _compared(
    config: pytest.Config, run: Run, profile: str, engine: str, summaries: Sequence[CheckSummary]
) -> Comparison | None:
    """One engine against its profile's reference, None for the reference itself."""
    found = run.loaded.profile(profile)
    if engine == found.reference:
        return None
    names = {one.case for one in summaries if one.engine == engine}
    if (bulk := config.stash.get(BULK_RUN, None)) is not None:
        names |= bulk.cases(profile, engine)
    suites = [
        replace(suite, cases=own)
        for suite in run.loaded.suites
        if (own := tuple(case for case in suite.cases if case.name in names))
    ]
    specs = {spec.name: spec for spec in found.engines}
    sides = [
        SideName(text=f"{profile}/{name}", profile=found, engine=specs[name])
        for name in (found.reference, engine)
    ]
    kept = Kept(folder=run.loaded.folder, suites=suites, scoring=run.scoring)
    again = words_again(config, run, sides[0].text, sides[1].text)
    return compare_sides(
        load_side(sides[0], kept),
        load_side(sides[1], kept),
        suites,
        run.loaded.profiles,
        run.scoring,
        Terms(
            floors=SideFloors(run.scoring.store.root, run.loaded.profiles, snapshots=run.snapshots_folder),
            again=again,
            every=[case.name for suite in run.loaded.suites for case in suite.cases],
        ),
    )

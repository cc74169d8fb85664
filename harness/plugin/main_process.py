"""What pytest's main process tells at the end of a run: table, refusals, reports, exit status."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from typing import Any, NoReturn

import pytest
from _pytest.terminal import TerminalReporter

from harness.errors import HarnessError
from harness.gate.reporting import breakdown_of
from harness.plugin.explaining import OPTION, explain_failures
from harness.plugin.gate_report import write_reports
from harness.plugin.gate_tests import GATE, GATE_PROPERTY, GateOutcomes
from harness.plugin.run import COLUMNS, RUN, update_command
from harness.plugin.told_once import ToldOnce
from harness.reports.ci.junit import flatten
from harness.reports.ci.output import tell_checks, tell_sentences, tell_verdicts
from harness.reports.outcomes import Outcomes
from harness.reports.report_input import Explanation
from harness.reports.table import render_table
from harness.scoring.stored_runs import StoredRuns

__all__ = ["MainProcess", "break_off"]

_LOG_COLUMNS = 132
_BROKEN_OFF = "vlm-harness-broken-off"
_WHY = pytest.StashKey[str]()


def break_off(session: pytest.Session, why: str) -> NoReturn:
    """End a run that can go no further, as FAILED; the main process tells ``why``, once."""
    session.config.stash[_WHY] = why
    if hasattr(session.config, "workeroutput"):  # of a worker of pytest-xdist
        session.config.workeroutput[_BROKEN_OFF] = why
    session.shouldfail = "the run was broken off"
    raise session.Failed(session.shouldfail)


class MainProcess:
    """Hooks for the process that reports to a person: under pytest-xdist its workers do without."""

    def __init__(self, config: pytest.Config) -> None:
        """With nothing told yet."""
        self._config = config
        self._outcomes = Outcomes()
        self._session: pytest.Session | None = None
        config.pluginmanager.register(ToldOnce(self._outcomes), "vlm-harness-told-once")
        self._gate = GateOutcomes() if GATE in config.stash else None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Note what holds the exit status."""
        self._session = session

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:  # noqa: ANN401 - pytest-xdist may not be there
        """Break off where a worker has done so."""
        if (why := getattr(node, "workeroutput", {}).get(_BROKEN_OFF)) and self._session is not None:
            break_off(self._session, why)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take how a test ended."""
        self._outcomes.take(report)
        if self._gate is not None:
            self._gate.take(report)
        # Before pytest's own JUnit writer, for which these are.
        flatten(report, gate=GATE_PROPERTY)

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Tell what there is to tell, and write the reports."""
        if (why := self._config.stash.get(_WHY, None)) is not None:
            terminalreporter.write_line(why, red=True)
        if self._gate is not None:
            terminalreporter.section("gate", sep="=")
            for line in self._gate.lines():
                terminalreporter.write_line(line)
            say = terminalreporter.write_line
            if (judged := self._config.stash[GATE].judged) is None:
                tell_sentences(self._gate.lines(), environ=os.environ, write_line=say)
            else:
                changed = [judged.changed.lines]
                found = [breakdown_of(judged)]
                tell_verdicts(
                    [judged.verdict], environ=os.environ, write_line=say, changed=changed, found=found
                )
        for remark in self._config.stash[RUN].remarks:
            terminalreporter.write_line(remark, yellow=True)
        tallies = self._outcomes.tallies
        if not (self._outcomes.summaries or tallies):
            self._write_reports(terminalreporter)
            return
        run = self._config.stash[RUN]
        # Letters first: they come in the profile's order of engines, and so set that of the table.
        order = {column: place for place, column in enumerate(COLUMNS.values())}
        summaries = sorted(self._outcomes.summaries, key=lambda s: order.get(s.check, len(order)))
        terminalreporter.section("engines", sep="=")
        # A log has no width of its own; the table needs some to name its cases.
        width = shutil.get_terminal_size().columns if terminalreporter.isatty else _LOG_COLUMNS
        every = self._config.option.verbose > 0
        color = terminalreporter.hasmarkup
        terminalreporter.write(
            render_table(summaries, tallies=tallies, width=width, color=color, every=every)
        )
        if refusals := self._outcomes.refusals.lines():
            terminalreporter.section("engines that could not be loaded", sep="=")
            for line in refusals:
                terminalreporter.write_line(line)
        for line in self._outcomes.several_of_one():
            terminalreporter.write_line(line)
        if count := self._outcomes.without_accepted:
            every = sum(summary.check == "snapshot" for summary in summaries)
            every += sum(tally.counts.get("snapshot", Counter()).total() for tally in tallies)
            terminalreporter.write_line(
                f"no accepted answer yet in {count} of {every} tests of snapshots, which fail. Where the "
                f"table is right, accept it: {update_command(self._config)}"
            )
        if (others := run.unasked) and not self._config.getoption("harness_profiles"):
            many = f"{len(others)} other profile{'s' * (len(others) != 1)}"
            terminalreporter.write_line(f"{many} not run: name them with --profile: {', '.join(others)}")
        store = run.scoring.store
        for sentence in (*store.damage(), *StoredRuns(store.root).damage()):
            terminalreporter.write_line(sentence, yellow=True)
        where = store.rows_folder
        # A recording of an earlier run, whose case passed then, has no rows any more.
        kept = [key for key in self._outcomes.rows_wanted() if any(where.glob(f"{key}.*.npy"))]
        if count := len(kept) + sum(facts.kept for facts in self._outcomes.bulk):
            terminalreporter.write_line(f"full logits of {count} recordings with failures: {where}")
        summaries += [one for tally in tallies for row in tally.rows for one in row]
        explained: Sequence[Explanation] = ()
        if most := self._config.getoption(OPTION):
            terminalreporter.section("where differences begin", sep="=")
            explained = explain_failures(run, summaries, most, terminalreporter.write_line)
        self._write_reports(terminalreporter, explained)
        tell_checks(
            self._outcomes.summaries,
            tallies=tallies,
            environ=os.environ,
            write_line=terminalreporter.write_line,
            reasons=self._outcomes.refusals.reasons,
        )

    def _write_reports(
        self, terminalreporter: TerminalReporter, explained: Sequence[Explanation] = ()
    ) -> None:
        page, data = (self._config.getoption(f"harness_report{end}") for end in ("", "_json"))
        if page is None and data is None:
            return
        run, outcomes = self._config.stash[RUN], self._outcomes
        told = write_reports(self._config, run, outcomes, page=page, data=data, explained=explained)
        try:
            for line in told:
                terminalreporter.write_line(line)
        except HarnessError as error:
            terminalreporter.write_line(f"no report: {error}", red=True)
            if self._session is not None and self._session.exitstatus == pytest.ExitCode.OK:
                self._session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Set a gate's exit status, and let go of full rows that nobody wants."""
        if self._gate is not None and not self._config.option.collectonly:
            session.exitstatus = self._gate.exit_status(int(exitstatus))
        if self._config.getoption("harness_keep_logits"):
            return
        store = self._config.stash[RUN].scoring.store
        for key, paths in self._outcomes.rows_to_drop():
            store.drop_rows(key, paths)
        wanted = self._outcomes.rows_wanted()
        for key, paths in ({} if self._gate is None else self._gate.rows).items():
            if key not in wanted:
                store.drop_rows(key, paths)

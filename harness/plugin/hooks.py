"""The pytest plugin: options, parametrisation, scoring before the first test, reports at the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

from harness.cases.folders import folder_named
from harness.environments.store import Environments
from harness.errors import CaseFileError, CheckFailed, GateError, HarnessError, UnknownProfile
from harness.gate.reporting import breakdown_of
from harness.machine.system import elsewhere
from harness.plugin.explaining import OPTION, add_option, explain_command, explain_failures
from harness.plugin.gate_report import write_reports
from harness.plugin.gate_tests import GATE, GATE_PROPERTY, PARAMETER, GateOutcomes, GateRun
from harness.plugin.run import (
    COLUMNS,
    RUN,
    Run,
    environments_folder,
    recordings_folder,
    refuse_moved_root,
    run_again,
    run_id,
    subject_of,
    update_command,
)
from harness.plugin.told_once import ToldOnce
from harness.reports.ci.junit import flatten
from harness.reports.ci.output import tell_checks, tell_sentences, tell_verdicts
from harness.reports.outcomes import Outcomes
from harness.reports.progress import ProgressLine
from harness.reports.report_input import Explanation
from harness.reports.table import render_table
from harness.scoring.scoring import Scoring
from harness.scoring.stored_runs import StoredRuns
from harness.scoring.subjects import SELECTIONS, Subject
from harness.snapshots.files import require_converted
from harness.snapshots.update import SnapshotSection, add_options, is_updating

_LOG_COLUMNS = 132
_SUITE = Path(__file__).parents[1] / "suite"
_GATE_TESTS = _SUITE / "test_gate.py"
_PROGRESS = pytest.StashKey[ProgressLine]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the harness."""
    group = parser.getgroup("vlm-harness", "consistency of vision-language models")
    group.addoption(
        "--cases",
        dest="harness_cases",
        type=Path,
        metavar="DIR",
        help="folder of suites and profiles.yaml; default: cases",
    )
    group.addoption(
        "--profile",
        dest="harness_profiles",
        action="append",
        metavar="NAME",
        help="run this profile only; may be repeated",
    )
    group.addoption(
        "--snapshots",
        dest="harness_snapshots",
        type=Path,
        metavar="DIR",
        help="folder of accepted outputs; default: snapshots beside the folder of cases",
    )
    group.addoption(
        "--recordings",
        dest="harness_recordings",
        type=Path,
        metavar="DIR",
        help="folder of recordings, logs and full logits; default: .harness",
    )
    group.addoption(
        "--environments",
        dest="harness_environments",
        type=Path,
        metavar="DIR",
        help="folder of the environments made for engines; default: in the user's cache folder",
    )
    group.addoption(
        "--gate",
        dest="harness_gate",
        metavar="A..B",
        help="judge candidate B against baseline A, each PROFILE/ENGINE, a stored run or an accepted "
        "baseline (see docs/gate.md); the exit status is then the gate's",
    )
    for option, what in (("--report", "page (HTML)"), ("--report-json", "document (JSON)")):
        group.addoption(
            option,
            dest=f"harness_{option[2:].replace('-', '_')}",
            type=Path,
            metavar="FILE",
            help=f"write the report here as a {what}: each engine judged against its profile's reference",
        )
    group.addoption("--fresh", dest="harness_fresh", action="store_true", help="make all recordings again")
    group.addoption(
        "--keep-logits",
        dest="harness_keep_logits",
        action="store_true",
        help="keep every full row of logits, not only those of failures",
    )
    add_option(group)
    add_options(group)


def pytest_configure(config: pytest.Config) -> None:
    """Register marks and set up the run."""
    config.addinivalue_line("markers", "gpu: needs an NVIDIA GPU; run with -m gpu")
    config.addinivalue_line(
        "markers", f"subjects(selection): which engines a test of the suite is for: {', '.join(SELECTIONS)}"
    )
    refuse_moved_root(config)
    try:
        folder_named("cases", config.invocation_params.dir)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    if config.getoption("harness_cases") is not None and not _names_tests(config):
        config.args[:] = [str(_SUITE)]
    progress = config.stash[_PROGRESS] = ProgressLine(config)
    this_run = run_id(config)
    environments = Environments(environments_folder(config), run_id=this_run)
    config.add_cleanup(environments.close)
    scoring = Scoring(
        recordings_folder(config),
        environments=environments,
        run_id=this_run,
        fresh=config.getoption("harness_fresh"),
        show=progress.show,
    )
    config.stash[RUN] = Run(config, scoring)
    if (gate := config.getoption("harness_gate")) is not None:
        config.stash[GATE] = GateRun(gate, config, config.stash[RUN])
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_MainProcess(config), "vlm-harness-main-process")
        if is_updating(config):
            # Behind the main process, so that of hooks that come first its own come before it.
            config.pluginmanager.register(SnapshotSection(), "vlm-harness-snapshots")


def _names_tests(config: pytest.Config) -> bool:
    """Whether the command line or the configuration says which tests to run.

    ``pytest --cases=DIR`` alone means the suite.
    """
    return config.args_source is not pytest.Config.ArgsSource.INVOCATION_DIR


def pytest_report_header() -> str | None:
    """On another system than Linux, what works there."""
    return elsewhere()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without ``--gate`` there are no tests of one."""
    return True if collection_path == _GATE_TESTS and GATE not in config.stash else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test of the suite its subjects, and each of the gate its suites."""
    if PARAMETER in metafunc.fixturenames and GATE in metafunc.config.stash:
        try:
            parameters = metafunc.config.stash[GATE].parameters()
        except (CaseFileError, GateError) as error:
            raise pytest.Collector.CollectError(str(error)) from error
        metafunc.parametrize(PARAMETER, parameters)
    if "subject" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("subjects")
    if marker is None or marker.args[:1] not in [(name,) for name in SELECTIONS]:
        raise pytest.UsageError(
            f"{metafunc.definition.nodeid}: a test with a `subject` needs @pytest.mark.subjects(NAME); "
            f"allowed: {', '.join(SELECTIONS)}"
        )
    run = metafunc.config.stash[RUN]
    try:
        if "accepted" in metafunc.fixturenames:
            require_converted(run.snapshots_folder)
        found = run.subjects(marker.args[0])
    except (CaseFileError, GateError, UnknownProfile) as error:
        raise pytest.Collector.CollectError(str(error)) from error
    for mark in sorted({mark for s in found for mark in (*s.case.marks, *s.profile.marks)}):
        metafunc.config.addinivalue_line("markers", f"{mark}: given in the case files")
    expected = metafunc.function.__name__ == "test_expected_letter"
    metafunc.parametrize(
        "subject",
        [pytest.param(s, id=s.id, marks=_marks(s, excuse=expected)) for s in found],
    )


def _marks(subject: Subject, *, excuse: bool) -> list[pytest.MarkDecorator]:
    names = dict.fromkeys((*subject.profile.marks, *subject.case.marks))
    marks = [getattr(pytest.mark, name) for name in names]
    if excuse and subject.case.known_failure is not None:
        # CheckFailed only: an engine that dies in a case known to fail is still an error.
        reason = f"known failure: {subject.case.known_failure}"
        marks.append(pytest.mark.xfail(raises=CheckFailed, strict=True, reason=reason))
    return marks


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let ``-k`` find a case by its tags."""
    if (subject := subject_of(item)) is not None:
        item.extra_keyword_matches.update(subject.case.tags)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this run is not about; what is left out is counted as deselected, never as skipped."""
    gpu_wanted = config.stash[RUN].asks_for_gpu
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        subject = subject_of(item)
        # pytest makes one skipped test of a function without subjects, which would look like a result.
        empty = "subject" in getattr(item, "fixturenames", ()) and subject is None
        gpu = subject is not None and item.get_closest_marker("gpu") is not None
        (left_out if empty or (gpu and not gpu_wanted) else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Make the missing recordings before the first test, all cases of an engine in one go."""
    config = session.config
    blocked = session.testsfailed and not config.option.continue_on_collection_errors
    if not config.option.collectonly and not blocked:
        try:
            gate = config.stash.get(GATE, None)
            also = () if gate is None else gate.subjects(session.items)
            config.stash[RUN].score(session.items, also=also)
        except KeyboardInterrupt:
            config.stash[_PROGRESS].interrupted()
            raise
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the message of our own errors alone: their tracebacks would lead into the harness."""
    ours = call.excinfo is not None and isinstance(call.excinfo.value, HarnessError)
    option = item.config.option
    style = option.tbstyle
    if ours:
        option.tbstyle = "value"  # else pytest parses the sources of a traceback that nobody is shown
    try:
        report = yield
    finally:
        option.tbstyle = style
    if call.excinfo is not None and ours:
        report.longrepr = call.excinfo.getrepr(style="value", chain=False)
    elif report.failed and (subject := subject_of(item)) is not None:
        told = f"{subject.case.location}\nrun again: {run_again(item)}"
        explain = explain_command(item.config, subject)
        report.sections.append(("case", told + (f"\nwhere it begins: {explain}" if explain else "")))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note what the test is about, so that an error in its fixtures is told with its case."""
    item.config.stash[RUN].begin(item)


class _MainProcess:
    """Hooks for the process that reports to a person: under pytest-xdist its workers do without."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._outcomes = Outcomes()
        self._session: pytest.Session | None = None
        config.pluginmanager.register(ToldOnce(self._outcomes), "vlm-harness-told-once")
        self._gate = GateOutcomes() if GATE in config.stash else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._outcomes.take(report)
        if self._gate is not None:
            self._gate.take(report)
        # Before pytest's own JUnit writer, for which these are.
        flatten(report, gate=GATE_PROPERTY)

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
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
            for sentence in StoredRuns(self._config.stash[RUN].scoring.store.root).damage():
                say(f"note: {sentence}", yellow=True)
        if not self._outcomes.summaries:
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
        terminalreporter.write(render_table(summaries, width=width, color=color, every=every))
        if refusals := self._outcomes.refusals.lines():
            terminalreporter.section("engines that could not be loaded", sep="=")
            for line in refusals:
                terminalreporter.write_line(line)
        if count := len(self._outcomes.unaccepted):
            every = sum(summary.check == "snapshot" for summary in summaries)
            terminalreporter.write_line(
                f"no accepted answer yet in {count} of {every} tests of snapshots, which fail. Where the "
                f"table is right, accept it: {update_command(self._config)}"
            )
        if (others := run.unasked) and not self._config.getoption("harness_profiles"):
            many = f"{len(others)} other profile{'s' * (len(others) != 1)}"
            terminalreporter.write_line(f"{many} not run: name them with --profile: {', '.join(others)}")
        for sentence in run.scoring.store.damage():
            terminalreporter.write_line(sentence, yellow=True)
        where = run.scoring.store.rows_folder
        # A recording of an earlier run, whose case passed then, has no rows any more.
        kept = [key for key in self._outcomes.rows_wanted() if any(where.glob(f"{key}.*.npy"))]
        if kept:
            terminalreporter.write_line(f"full logits of {len(kept)} recordings with failures: {where}")
        explained: Sequence[Explanation] = ()
        if most := self._config.getoption(OPTION):
            terminalreporter.section("where differences begin", sep="=")
            explained = explain_failures(run, summaries, most, terminalreporter.write_line)
        self._write_reports(terminalreporter, explained)
        reasons = self._outcomes.refusals.reasons
        tell_checks(summaries, environ=os.environ, write_line=terminalreporter.write_line, reasons=reasons)

    def _write_reports(
        self, terminalreporter: TerminalReporter, explained: Sequence[Explanation] = ()
    ) -> None:
        page, data = (self._config.getoption(f"harness_report{end}") for end in ("", "_json"))
        if page is None and data is None:
            return
        run, summaries = self._config.stash[RUN], self._outcomes.summaries
        told = write_reports(self._config, run, summaries, page=page, data=data, explained=explained)
        try:
            for line in told:
                terminalreporter.write_line(line)
        except HarnessError as error:
            terminalreporter.write_line(f"no report: {error}", red=True)
            if self._session is not None and self._session.exitstatus == pytest.ExitCode.OK:
                self._session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        self._session = session  # whose status is handed on after the summary
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

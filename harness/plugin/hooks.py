"""The pytest plugin: options, parametrisation, scoring before the first test, reports at the end."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from harness.cases.folders import folder_named, unusable
from harness.environments.store import Environments
from harness.errors import CaseFileError, CheckFailed, GateError, HarnessError, RecordingError, UnknownName
from harness.machine.system import elsewhere
from harness.plugin import sharding
from harness.plugin.bulk import (
    BULK_PARAMETER,
    BULK_RUN,
    BULK_TESTS,
    CHECKS,
    BulkRun,
    add_bulk,
    bulk_suite_of,
    require_single,
)
from harness.plugin.explaining import add_option, explain_command
from harness.plugin.gate_tests import GATE, PARAMETER, GateRun
from harness.plugin.main_process import MainProcess, break_off
from harness.plugin.run import (
    RUN,
    SUITE,
    Run,
    environments_folder,
    recordings_folder,
    refuse_moved_root,
    run_again,
    run_id,
    subject_of,
)
from harness.reports.outcomes import OURS
from harness.reports.progress import ProgressLine
from harness.scoring.scoring import Scoring
from harness.scoring.subjects import SELECTIONS, Subject
from harness.snapshots.files import require_converted
from harness.snapshots.update import SnapshotSection, add_options, is_updating

_GATE_TESTS = SUITE / "test_gate.py"
_OF_CASES = {SUITE / f"{name}.py" for name in CHECKS}
_WITH_OTHERS = SUITE / "test_matches_snapshot.py"  # has a test of the whole run as well
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
    sharding.add_options(group)
    add_bulk(group)
    add_option(group)
    add_options(group)


def pytest_configure(config: pytest.Config) -> None:
    """Register marks and set up the run."""
    config.addinivalue_line("markers", "gpu: needs an NVIDIA GPU; run with -m gpu")
    config.addinivalue_line(
        "markers", f"subjects(selection): which engines a test of the suite is for: {', '.join(SELECTIONS)}"
    )
    # After Ctrl-C under pytest-xdist, where warnings may be errors, and then what was accepted is lost.
    unsafe = "ignore:syrupy. received .* of .* xdist worker snapshot reports:UserWarning"
    config.addinivalue_line("filterwarnings", unsafe)
    refuse_moved_root(config)
    try:
        folder_named("cases", config.invocation_params.dir)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    _refuse_places(config)
    if config.getoption("harness_cases") is not None and not _names_tests(config):
        config.args[:] = [str(SUITE)]
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
        shard=sharding.shard_of(config),
        executor=sharding.executor_of(config),
    )
    config.stash[RUN] = Run(config, scoring)
    if config.getoption("harness_bulk"):
        config.stash[BULK_RUN] = BulkRun(config, config.stash[RUN], progress.show)
    if (gate := config.getoption("harness_gate")) is not None:
        config.stash[GATE] = GateRun(gate, config, config.stash[RUN])
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(MainProcess(config), "vlm-harness-main-process")
        if is_updating(config):
            require_single(config)
            # Behind the main process, so that of hooks that come first its own come before it.
            section = SnapshotSection(config.stash[RUN].snapshots_folder, scoring.store)
            config.pluginmanager.register(section, "vlm-harness-snapshots")


def _refuse_places(config: pytest.Config) -> None:
    """Raise UsageError for a path on the command line that cannot be what it is asked to be."""
    report = {"file": True}
    for option, how in {
        "cases": {"written": False, "new": False},
        "snapshots": {"written": is_updating(config)},
        "recordings": {},
        "environments": {},
        "report": report,
        "report_json": report,
    }.items():
        given = config.getoption(f"harness_{option}")
        if given is not None and (why := unusable(config.invocation_params.dir / given, **how)):
            raise pytest.UsageError(f"--{option.replace('_', '-')}: {why}")


def _names_tests(config: pytest.Config) -> bool:
    """Whether the command line or the configuration says which tests to run.

    ``pytest --cases=DIR`` alone means the suite.
    """
    return config.args_source is not pytest.Config.ArgsSource.INVOCATION_DIR


def pytest_report_header() -> str | None:
    """On another system than Linux, what works there."""
    return elsewhere()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without ``--gate`` there are no tests of one, and with ``--bulk`` none of single cases."""
    if collection_path == _GATE_TESTS and GATE not in config.stash:
        return True
    left_out = _OF_CASES - {_WITH_OTHERS} if BULK_RUN in config.stash else {BULK_TESTS}
    return True if collection_path in left_out else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test of the suite its subjects, and each of the gate its suites."""
    if PARAMETER in metafunc.fixturenames and GATE in metafunc.config.stash:
        try:
            parameters = metafunc.config.stash[GATE].parameters()
        except (CaseFileError, GateError) as error:
            raise pytest.Collector.CollectError(str(error)) from error
        metafunc.parametrize(PARAMETER, parameters)
    if BULK_PARAMETER in metafunc.fixturenames and BULK_RUN in metafunc.config.stash:
        try:
            metafunc.parametrize(BULK_PARAMETER, metafunc.config.stash[BULK_RUN].suites())
        except (CaseFileError, GateError, UnknownName) as error:
            raise pytest.Collector.CollectError(str(error)) from error
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
        in_bulk = BULK_RUN in metafunc.config.stash and metafunc.definition.path == _WITH_OTHERS
        found = [] if in_bulk else run.subjects(marker.args[0])
    except (CaseFileError, GateError, UnknownName) as error:
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


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    """Leave out what this run is not about; what is left out is counted as deselected, never as skipped."""
    kept: list[pytest.Item] = []
    if BULK_RUN in config.stash:
        # What -k and -m select of a suite in bulk is decided case by case.
        kept = [item for item in items if bulk_suite_of(item) is not None]
        replaced = (*kept, *(item for item in items if item.path == _WITH_OTHERS and _is_empty(item)))
        items[:] = [item for item in items if item not in replaced]
    yield
    gpu_wanted = config.stash[RUN].asks_for_gpu
    left_out: list[pytest.Item] = []
    for item in items:
        subject, empty = subject_of(item), _is_empty(item)
        gpu = subject is not None and item.get_closest_marker("gpu") is not None
        (left_out if empty or (gpu and not gpu_wanted) else kept).append(item)
    left_out += (others := sharding.left_out(config.stash[RUN], kept))
    if left_out and not others and not any(map(_asks, kept)) and not _chosen(config):
        # Only cases for a GPU that nobody asked for: that no snapshot is unused must not pass for them all.
        others = {item for item in kept if item.path == _WITH_OTHERS}
        left_out += others
    if left_out:
        config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in kept if item not in others]


def _asks(item: pytest.Item) -> bool:
    return subject_of(item) is not None or bulk_suite_of(item) is not None


def _chosen(config: pytest.Config) -> bool:
    """Whether ``-k``, ``-m`` or ``--shard`` may have left out all cases, as was asked for."""
    chosen = config.option.keyword or config.option.markexpr or config.getoption("harness_shard")
    return bool(chosen)


def _is_empty(item: pytest.Item) -> bool:
    """Whether it is the skipped test that pytest makes of a function without parameters: it is no result."""
    named = {"subject", BULK_PARAMETER}.intersection(getattr(item, "fixturenames", ()))
    return bool(named) and subject_of(item) is None and bulk_suite_of(item) is None


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
            if BULK_RUN in config.stash and not hasattr(config, "workerinput"):
                suites = [suite for item in session.items if (suite := bulk_suite_of(item)) is not None]
                config.stash[BULK_RUN].check(suites)
        except KeyboardInterrupt:
            config.stash[_PROGRESS].interrupted()
            raise
        except RecordingError as error:  # no test could be told from another by what is not kept
            break_off(session, str(error))
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
        vars(report)[OURS] = True  # travels from pytest-xdist's workers
        report.longrepr = call.excinfo.getrepr(style="value", chain=False)
    elif report.failed and (subject := subject_of(item)) is not None:
        told = f"{subject.case.location}\nrun again: {run_again(item)}"
        explain = explain_command(item.config, item.config.stash[RUN], subject)
        report.sections.append(("case", told + (f"\nwhere it begins: {explain}" if explain else "")))
    else:
        return report
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:  # pytest's short summary has it, on a continuous integration with every line of it
        crash.message = crash.message.partition("\n")[0]
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note what the test is about, so that an error in its fixtures is told with its case."""
    item.config.stash[RUN].begin(item)

"""The start of the commands that have engines answer: the folders they name, and what makes recordings."""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cases.folders import folder_named, unusable
from harness.cases.problems import shown
from harness.reports.pulse import Pulse

if TYPE_CHECKING:
    from harness.bundles import Opened
    from harness.cases.folder import Loaded
    from harness.engines.contract import Json
    from harness.environments.store import Environments
    from harness.scoring.resolving import EngineProgress
    from harness.scoring.scoring import Scoring
    from harness.scoring.shards import Shard

__all__ = [
    "Measuring",
    "Outcome",
    "add_bundle",
    "add_cases",
    "add_environments",
    "add_folders",
    "add_json",
    "add_recordings",
    "add_set",
    "add_shard",
    "add_snapshots",
    "add_workers",
    "collect_rarely",
    "conclude",
    "count",
    "default_folder",
    "from_bundle",
    "git_user",
    "makeable",
    "measuring",
    "positive",
    "put_text",
    "say",
    "snapshots_folder",
    "told",
    "writable",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """The folder of cases, and what makes and keeps recordings of them."""

    loaded: Loaded
    scoring: Scoring
    environments: Environments


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command measured: ``text`` for people, ``data`` for machines, and whether nothing is missing."""

    text: str
    data: Json
    complete: bool = True


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Add the options that `measuring` reads: ``--cases``, ``--recordings`` and ``--environments``."""
    add_cases(parser)
    add_recordings(parser)
    add_environments(parser)


def default_folder(name: str) -> Path:
    """``cases`` or ``recordings`` of pyproject.toml, as it is shown, or the one that is usual here.

    Raises HarnessError for what the file may not say.
    """
    named = folder_named(name, Path.cwd())
    return Path({"cases": "cases", "recordings": ".harness"}[name]) if named is None else Path(shown(named))


def add_cases(parser: argparse.ArgumentParser) -> None:
    """Add ``--cases``, a path."""
    parser.add_argument(
        "--cases",
        type=Path,
        default=(default := default_folder("cases")),
        metavar="DIR",
        help=f"suites and profiles; default: {default}",
    )


def add_recordings(parser: argparse.ArgumentParser) -> None:
    """Add ``--recordings``, a path."""
    parser.add_argument(
        "--recordings",
        type=makeable,
        default=default_folder("recordings"),
        metavar="DIR",
        help="default: %(default)s",
    )


def add_environments(parser: argparse.ArgumentParser) -> None:
    """Add ``--environments``, a path or None."""
    parser.add_argument(
        "--environments",
        type=makeable,
        default=folder_named("environments", Path.cwd()),
        metavar="DIR",
        help="default: in the user's cache folder, as for pytest",
    )


def add_shard(parser: argparse.ArgumentParser) -> None:
    """Add ``--shard``, a `harness.scoring.shards.Shard` or None."""
    parser.add_argument(
        "--shard",
        type=_shard,
        metavar="K/N",
        help="make this share of the answers only, such as 3/8, and judge nothing; see docs/cluster.md",
    )


def _shard(text: str) -> Shard:
    from harness.errors import HarnessError
    from harness.scoring.shards import parse_shard

    try:
        return parse_shard(text)
    except HarnessError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("--shard: ")) from error


def add_workers(add: Callable[..., Any], *, prefix: str = "") -> None:
    """Add ``--devices``, ``--executor`` and ``--ray-address`` by ``add``, argparse's way to add an option.

    `measuring` reads them; with a ``prefix`` they are under that and the name.
    """
    add(
        "--devices",
        dest=f"{prefix}devices",
        metavar="LIST",
        help="an engine's worker on each of these visible GPUs, as 0,1; cpu,cpu: two of one on the CPU",
    )
    add(
        "--executor",
        dest=f"{prefix}executor",
        choices=["ray"],
        help="ray: workers on the machines of a Ray cluster, which is running; see docs/cluster.md",
    )
    add(
        "--ray-address",
        dest=f"{prefix}ray_address",
        metavar="ADDRESS",
        help="default: the one that Ray finds",
    )


def add_set(parser: argparse.ArgumentParser) -> None:
    """Add ``--set``, a list of texts for `harness.gate.candidates.engine_setting`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PROFILE/ENGINE=REQUIREMENT",
        help="in place of that package's requirement, as mine/candidate=lmdeploy==0.18.0; repeatable",
    )


def add_snapshots(parser: argparse.ArgumentParser) -> None:
    """Add ``--snapshots``, a path or None; `snapshots_folder` reads it."""
    parser.add_argument(
        "--snapshots",
        type=Path,
        default=folder_named("snapshots", Path.cwd()),
        metavar="DIR",
        help="default: snapshots beside the folder of cases",
    )


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Add ``--from``, a bundle or None; `from_bundle` opens it."""
    parser.add_argument(
        "--from",
        dest="bundle",
        type=Path,
        metavar="BUNDLE",
        help="what harness bundle wrote, in place of cases, recordings and snapshots; no engine is asked",
    )


@contextmanager
def from_bundle(options: argparse.Namespace) -> Iterator[Opened | None]:
    """Have ``options`` name the folders within the bundle; None where none is named.

    Raises `harness.bundles.container.BundleError`.
    """
    if options.bundle is None:
        yield None
        return
    from harness.bundles import opened

    with opened(options.bundle) as inside:
        for name in ("cases", "recordings", "snapshots"):
            setattr(options, name, getattr(inside, name))
        yield inside


def snapshots_folder(options: argparse.Namespace) -> Path:
    """Where accepted outputs are kept."""
    given: Path | None = options.snapshots
    return options.cases.absolute().parent / "snapshots" if given is None else given.absolute()


@contextmanager
def measuring(
    options: argparse.Namespace, *, fresh: bool = False, shard: Shard | None = None
) -> Iterator[Measuring]:
    """What the folders of `add_folders` hold, for as long as the environments of its engines are in use.

    With ``fresh`` all recordings are made again, and with ``shard`` others may make those of other shards.
    What engines are at is said on standard error. Raises CaseFileError with all problems of the folder.
    """
    from harness.cases.folder import load
    from harness.environments.store import Environments
    from harness.scoring.scoring import Scoring
    from harness.workers.executors.choosing import chosen

    executor = None
    if hasattr(options, "executor"):
        executor = chosen(options.devices, options.executor, options.ray_address)
    loaded = load(options.cases)
    this_run = uuid.uuid4().hex
    environments = Environments(options.environments, run_id=this_run)
    try:
        yield Measuring(
            loaded=loaded,
            scoring=Scoring(
                options.recordings.absolute(),
                run_id=this_run,
                fresh=fresh,
                show=_Progress().show,
                environments=environments,
                shard=shard,
                executor=executor,
            ),
            environments=environments,
        )
    finally:
        environments.close()


def count(text: str) -> int:
    """A number of something, on a command line."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"found {text}; allowed: a whole number from 1")
    return value


def positive(text: str) -> float:
    """A finite number above 0, on a command line."""
    if not 0 < (value := float(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"found {text}; allowed: a number above 0")
    return value


def writable(text: str) -> Path:
    """A file to be written, on a command line: refused before hours are spent on what is to stand in it."""
    if text != "-" and (why := unusable(Path(text), file=True)):
        raise argparse.ArgumentTypeError(why)
    return Path(text)


def makeable(text: str) -> Path:
    """A folder to be written to, there already or made for it, on a command line: refused likewise."""
    if why := unusable(Path(text)):
        raise argparse.ArgumentTypeError(why)
    return Path(text)


def put_text(file: Path, text: str) -> None:
    """Write a file that `writable` let pass; its folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def git_user(folder: Path) -> str:
    """The name that git has for the user in ``folder``, '' where there is none."""
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "-C", str(folder.absolute()), "config", "user.name"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``, which `conclude` reads."""
    parser.add_argument(
        "--json",
        nargs="?",
        const=Path("-"),
        type=writable,
        metavar="FILE",
        help="write all figures here, too; - or no FILE: instead of text",
    )


def conclude(options: argparse.Namespace, measure: Callable[[], Outcome]) -> int:
    """Run ``measure`` and tell what came of it; returns the exit status.

    Its text goes to standard output and its data where ``--json`` says. An error is said, and the status is 2
    for a name that nothing has and 1 for any other.
    """
    from harness.errors import HarnessError, UnknownName

    try:
        outcome = measure()
        data = json.dumps(outcome.data, indent=2, ensure_ascii=False) + "\n"
        if options.json is not None and str(options.json) != "-":
            put_text(options.json, data)
    except (HarnessError, OSError) as error:
        say(error)
        return 2 if isinstance(error, UnknownName) else 1
    sys.stdout.write(data if str(options.json) == "-" else outcome.text)
    return 0 if outcome.complete else 1


def collect_rarely() -> Callable[[], None]:
    """Have the garbage collector look for circles rarely; returns what puts the former thresholds back.

    Cases, tests and answers are in no circles, and hundreds of thousands are held: to look through them again
    and again took a fifth of a gate's time. What is in one is still found, but for what lives long.
    """
    former = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    return partial(gc.set_threshold, *former)


def told(error: Exception) -> str:
    """What an error says; of one of the disk what could not be done to which file, and what to do next."""
    if isinstance(error, OSError) and error.filename is not None:
        from harness.recordings.journal import disk_error

        error = disk_error("use", Path(os.fsdecode(error.filename)), error)
    return str(error)


def say(what: str | Exception) -> None:
    """Write a line to standard error, where what is not a command's result goes; of an error, see `told`."""
    sys.stderr.write(f"{what if isinstance(what, str) else told(what)}\n")
    sys.stderr.flush()


class _Progress:
    """Says when an engine begins something new, and now and then that it is still at it."""

    def __init__(self) -> None:
        self._last = ("", "")
        self._pulse = Pulse()

    def show(self, progress: EngineProgress) -> None:
        from harness.reports.progress import describe

        if self._pulse.due(anyway=(progress.engine, progress.phase) != self._last):
            say(describe(progress))
        self._last = (progress.engine, progress.phase)

"""What commands that ask engines share: their options, the scoring, and what is said meanwhile."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from harness.scoring import EngineProgress, Scoring

__all__ = ["Asking", "add_folders", "asking", "say", "snapshots_folder"]


class Asking(NamedTuple):
    """A scoring and the run that it belongs to."""

    scoring: Scoring
    run_id: str


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where things are, as pytest has them."""
    parser.add_argument("--cases", type=Path, default=Path("cases"), metavar="DIR", help="default: cases")
    parser.add_argument(
        "--snapshots", type=Path, metavar="DIR", help="default: snapshots beside the folder of cases"
    )
    parser.add_argument(
        "--recordings", type=Path, default=Path(".harness"), metavar="DIR", help="default: .harness"
    )
    parser.add_argument(
        "--environments", type=Path, metavar="DIR", help="default: in the user's cache folder, as for pytest"
    )


def snapshots_folder(options: argparse.Namespace) -> Path:
    """Where accepted outputs are kept."""
    given: Path | None = options.snapshots
    return options.cases.absolute().parent / "snapshots" if given is None else given.absolute()


@contextmanager
def asking(options: argparse.Namespace, *, fresh: bool) -> Iterator[Asking]:
    """Engines can be asked; what is going on is said on standard error."""
    import uuid

    from harness.environments.store import Environments
    from harness.scoring import Scoring

    run_id = uuid.uuid4().hex
    environments = Environments(options.environments, run_id=run_id)
    scoring = Scoring(
        options.recordings.absolute(),
        run_id=run_id,
        fresh=fresh,
        show=_Progress().show,
        environments=environments,
    )
    try:
        yield Asking(scoring, run_id)
    finally:
        environments.close()


class _Progress:
    """Says when an engine begins something new."""

    def __init__(self) -> None:
        self._last = ("", "")

    def show(self, progress: EngineProgress) -> None:
        from harness.reports.progress import describe

        if (progress.engine, progress.phase) != self._last:
            say(describe(progress))
        self._last = (progress.engine, progress.phase)


def say(text: str) -> None:
    """One message on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()

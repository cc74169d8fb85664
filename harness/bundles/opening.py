"""Opening a bundle: a folder of cases with recordings, for as long as somebody looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from harness.bundles.container import BundleError, read_bundle
from harness.cases.folder import Loaded, load
from harness.cases.problems import shown
from harness.cases.suites import Suite
from harness.errors import CaseFileError
from harness.gate.sides import PREVIOUS, SideName
from harness.machine.hold import scratch

__all__ = ["Opened", "opened"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The contents of the bundle ``file`` in ``folder``, which is gone once it is closed.

    ``cases`` is a folder that `harness.cases.folder.load` takes. ``recordings`` is one for `RecordingStore`,
    with ``traces`` in it where there are some. ``snapshots`` has what was accepted, and
    ``sides`` the stored runs of each side by its name.
    """

    file: Path
    folder: Path
    cases: Path
    recordings: Path
    snapshots: Path
    sides: Mapping[str, list[str]]

    def load(self) -> Loaded:
        """The cases, each at its place below ``cases/`` as in the repository; raises `BundleError`."""
        try:
            loaded = load(self.cases)
        except CaseFileError as error:
            told = str(error).replace(f"{self.folder}/", "")
            raise BundleError(f"{shown(self.file)}: found {told}") from error

        def placed(suite: Suite) -> Suite:
            file = suite.path.relative_to(self.folder)
            cases = (replace(case, location=replace(case.location, file=file)) for case in suite.cases)
            return replace(suite, cases=tuple(cases))

        return replace(loaded, suites=tuple(map(placed, loaded.suites)))

    def side(self, name: SideName) -> SideName:
        """The side of this name with its stored runs, so that no engine is asked.

        Raises `BundleError` for an engine of which the bundle holds nothing.
        """
        if name.path is not None or name.at not in ("", PREVIOUS):
            return name
        runs = tuple(map(str, self.sides.get(name.label, ())))
        if not runs:  # without any the side would be an engine to start
            raise BundleError(
                f"{shown(self.file)}: found no answers of {name.label}, and no engine is asked; allowed: "
                f"{', '.join(self.sides)}\nAsk it where it can run, and bundle that run:\n"
                f"  harness gate {name.label.partition('/')[0]} && harness bundle"
            )
        return replace(name, runs=runs)


@contextmanager
def opened(file: Path) -> Iterator[Opened]:
    """The bundle in ``file``, unpacked; raises as `harness.bundles.container.read_bundle`."""
    with scratch("harness-bundle-") as folder:
        sides = read_bundle(file, folder).get("sides")
        if not isinstance(sides, dict) or not all(isinstance(runs, list) for runs in sides.values()):
            allowed = "a bundle as harness bundle writes it"
            raise BundleError(f"{shown(file)}: found no stored runs by side; allowed: {allowed}")
        yield Opened(
            file=file,
            folder=folder,
            cases=folder / "cases",
            recordings=folder / "kept",
            snapshots=folder / "snapshots",
            sides=sides,
        )

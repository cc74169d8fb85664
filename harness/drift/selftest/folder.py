"""The folder of a user who has accepted a clean run and knows its noise, and copies of it with a fault."""

from __future__ import annotations

import importlib
import os
import runpy
import shlex
import shutil
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import yaml

from harness.cases.folder import Loaded
from harness.cases.profiles import Profile
from harness.drift.faults.catalogue import Fault
from harness.errors import HarnessError, UnknownName

__all__ = ["CASES", "NEAR_TIES", "Command", "Folder", "gate", "in_dtype", "pytest"]

CASES: Final = (
    "shapes.red-circle-colour",
    "shapes.wide-red-circle-colour",  # two tiles and a thumbnail
    "shapes.blue-turning-green",  # a near-tie
    "shapes.system-text-count",
    "chinese.widest-yellow-circles-colour",  # three tiles and a thumbnail
    "words.stated-count-zh",  # no image
    "answer_line.yellow-circle-colour",  # several tokens are decoded before the letter
    "answer_line.tallest-red-ring-colour",
    "answer_line.square-rounding-zh",
    "answer_line.system-text-colour",
)
"""What the self-test asks of the embedded model: each kind of case that it has."""
NEAR_TIES: Final = frozenset({"shapes.blue-turning-green", "answer_line.square-rounding-zh"})
"""Those that a clean run in 16 bits may get wrong, and that are left out there."""

_PATCH = "from harness.drift.faults import switch\nswitch.on({name!r}, {size!r})\n"
_NO_PATCH = "# Nothing is changed.\n"
_IMPORTED = ("harness.gate.gating", "harness.gate.outputs", "pytest", "scipy.stats", "syrupy")


class Command(NamedTuple):
    """A command of a user's, how it ended and where what it said is kept."""

    words: str
    status: int
    said: Path


class Folder:
    """A folder with ``cases``, ``snapshots`` and recordings."""

    def __init__(self, path: Path) -> None:  # noqa: D107
        self.path = path
        self.cases = path / "cases"
        self.recordings = path / ".harness"

    @classmethod
    def accepted(
        cls,
        path: Path,
        loaded: Loaded,
        profile: Profile,
        *,
        names: Sequence[str],
        dtype: str,
        snapshots: Path | None,
    ) -> Folder:
        """The cases ``names`` with the engines of ``profile``, accepted as they answer now, noise measured.

        Noise is that which is kept beside ``snapshots`` where ``dtype`` is the profile's own; without
        ``snapshots`` none is measured, and the table's limits hold. What is in ``path`` already is used.
        Raises UnknownName for a case that there is not, HarnessError where a clean run cannot be accepted.
        """
        known = {case.name for case in loaded.cases}
        if unknown := [name for name in names if name not in known]:
            raise UnknownName(f"case: found {', '.join(unknown)}; allowed: those of {loaded.folder}")
        folder, done, what = cls(path), path / "accepted", f"{dtype}: {' '.join(names)}\n"
        if done.exists() and done.read_text(encoding="utf-8") == what:
            return folder
        shutil.rmtree(path, ignore_errors=True)
        folder.take(loaded, names)
        folder._write_profile(loaded.folder, profile, dtype)
        for floor in (snapshots / profile.name).glob("*/any-cpu.floor.json*") if snapshots else ():
            if dtype == profile.engines[0].settings.dtype:
                there = path / "snapshots" / profile.name / floor.parent.name
                there.mkdir(parents=True)
                shutil.copy(floor, there)
        folder._require(pytest(folder, "--snapshot-update"))
        if snapshots and not list(path.glob("snapshots/*/*/any-cpu.floor.json*")):
            folder._require(_run(folder, "harness.cli", "noise", profile.name))
        done.write_text(what, encoding="utf-8")
        return folder

    def with_fault(self, path: Path, side: str, fault: Fault | None, size: str) -> Folder:
        """A copy of it in ``path``, in which the engine ``side`` has the fault as its ``patch``.

        None is a patch that changes nothing, so that the engine is asked again.
        """
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.path, path)
        folder, patch = Folder(path), path / "cases" / "fault.py"
        text = _NO_PATCH if fault is None else _PATCH.format(name=fault.name, size=size)
        patch.write_text(text, encoding="utf-8")
        with_patch = folder._profiles()
        for profile in with_patch["profiles"].values():
            profile["engines"][side]["patch"] = patch.name
        folder._write("profiles.yaml", with_patch)
        return folder

    def take(self, loaded: Loaded, names: Sequence[str]) -> None:
        """Copy the cases ``names`` of ``loaded``, with their images, to a folder of pytest's own."""
        self.cases.mkdir(parents=True, exist_ok=True)
        (self.path / "pytest.ini").touch()  # or pytest would heed the configuration of a folder around it
        for suite in loaded.suites:
            self._write_suite(loaded.folder, suite.name, {*names})

    def write_profiles(self, profiles: Mapping[str, object]) -> None:
        """Write ``profiles``, as they stand in profiles.yaml."""
        self._write("profiles.yaml", {"profiles": dict(profiles)})

    def _write_suite(self, there: Path, name: str, wanted: set[str]) -> None:
        content = yaml.safe_load((there / f"{name}.yaml").read_text(encoding="utf-8"))
        content["cases"] = [case for case in content["cases"] if f"{name}.{case['id']}" in wanted]
        if not content["cases"]:
            return
        for image in {case["image"] for case in content["cases"] if case.get("image")}:
            (self.cases / image).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(there / image, self.cases / image)
        self._write(f"{name}.yaml", content)

    def _write_profile(self, there: Path, profile: Profile, dtype: str) -> None:
        content = yaml.safe_load((there / "profiles.yaml").read_text(encoding="utf-8"))
        fields = content["profiles"][profile.name]
        model = there / fields["model"]
        fields |= {"model": str(model.absolute()) if model.exists() else fields["model"], "dtype": dtype}
        self.write_profiles({profile.name: fields})

    def _profiles(self) -> Any:  # noqa: ANN401 - what YAML holds
        return yaml.safe_load((self.cases / "profiles.yaml").read_text(encoding="utf-8"))

    def _write(self, name: str, content: object) -> None:
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        (self.cases / name).write_text(text, encoding="utf-8")

    def _require(self, command: Command) -> None:
        if command.status:
            raise HarnessError(
                f"a clean run cannot be accepted: {command.words}: found exit status {command.status}; "
                f"allowed: 0. What it said: {command.said}"
            )


def in_dtype(profile: Profile, dtype: str) -> Profile:
    """The profile with all its engines in ``dtype``."""
    engines = [replace(each, settings=replace(each.settings, dtype=dtype)) for each in profile.engines]
    return replace(profile, engines=tuple(engines))


def pytest(folder: Folder, *more: str) -> Command:
    """The suite's tests, as a user runs them in ``folder``."""
    return _run(
        folder, "pytest", "-p", "no:cacheprovider", "--pyargs", "harness.suite", "--cases", "cases", *more
    )


def gate(folder: Folder, engine: str) -> Command:
    """``engine``, a profile's name and its own, as it is now against the run stored before."""
    return _run(folder, "harness.cli", "gate", "--baseline", f"{engine}@previous", "--candidate", engine)


def _run(folder: Folder, module: str, *arguments: str) -> Command:
    """``python -m MODULE ARGUMENTS`` in the folder: in a child of this process, which has much imported."""
    for name in _IMPORTED:
        importlib.import_module(name)
    said = folder.path / f"{module.rpartition('.')[2]}-{arguments[0].strip('-')}.txt"
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        _as_command(folder.path, module, arguments, said)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Command(shlex.join(["python", "-m", module, *arguments]), status, said)


def _as_command(folder: Path, module: str, arguments: Sequence[str], said: Path) -> NoReturn:
    status: object = 1
    try:
        os.chdir(folder)
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for descriptor, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out), (2, out)):
            os.dup2(source, descriptor)
        sys.stdin, sys.stdout, sys.stderr = (
            open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - no path
            for descriptor, mode in ((0, "r"), (1, "w"), (2, "w"))
        )
        sys.argv = [module, *arguments]
        sys.path.insert(0, str(folder))
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as ended:
            status = 0 if ended.code is None else ended.code
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - printed, as the interpreter would
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(int(status) if isinstance(status, int) else 1)

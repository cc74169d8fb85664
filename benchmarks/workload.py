"""What is measured with: the cases, the profile, a scratch folder, and processes of a known environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.cases.folder import load
from harness.cases.profiles import EngineSpec, Profile
from harness.cases.suites import Case
from harness.engines.codec import request_to_json, settings_to_json
from harness.environments.store import Environments
from harness.errors import HarnessError
from harness.scoring.subjects import request_for
from harness.workers.process import worker_environment

__all__ = ["ROOT", "Workload"]

ROOT = Path(__file__).resolve().parents[1]
_TAIL_LINES = 25


@dataclass(frozen=True, slots=True)
class Workload:
    """Suites and the profile to run them on; ``repeats`` None leaves the number to each measurement.

    ``selected`` is what pytest is told to take of their tests, as its -k; '' for all.
    """

    folder: Path
    profile: Profile
    cases: tuple[Case, ...]
    scratch: Path
    repeats: int | None
    selected: str = ""

    @classmethod
    def read(cls, folder: Path, *, profile: str | None, scratch: Path, repeats: int | None) -> Workload:
        """The suites in ``folder`` and its profile ``profile``, by default the first without marks.

        Raises `CaseFileError`, and `HarnessError` where there is no such profile.
        """
        loaded = load(folder)
        fitting = [p for p in loaded.profiles if (p.name == profile if profile else not p.marks)]
        if not fitting:
            names = ", ".join(p.name for p in loaded.profiles)
            raise HarnessError(
                f"{folder / 'profiles.yaml'}: found no profile {profile or 'without marks'}; allowed: "
                f"--profile with one of {names}"
            )
        chosen = fitting[0]
        return cls(loaded.folder, chosen, tuple(filter(chosen.takes, loaded.cases)), scratch, repeats)

    def engine(self, kind: str) -> EngineSpec:
        """The profile's first engine of a kind; raises `HarnessError` if it has none."""
        for engine in self.profile.engines:
            if engine.settings.kind == kind:
                return engine
        raise HarnessError(
            f"profile {self.profile.name}: found no engine of kind {kind}; allowed: one, to measure it. "
            "Choose another profile with --profile, or other measurements with --only"
        )

    def with_repeats(self, default: int) -> Workload:
        """The same, with a number of repeats in any case."""
        return replace(self, repeats=self.repeats or default)

    def script(self, module: str, engine: EngineSpec, **more: object) -> Any:  # noqa: ANN401 - JSON
        """Run ``python -m benchmarks.MODULE ORDER RESULT`` in the engine's interpreter; what it wrote."""
        order, result = self.scratch / f"{module}-order.json", self.scratch / f"{module}-result.json"
        requests = [request_to_json(request_for(case, self.profile)) for case in self.cases]
        order.write_text(
            json.dumps(
                {
                    "settings": settings_to_json(engine.settings),
                    "requests": requests,
                    "repeats": self.repeats,
                    **more,
                }
            ),
            encoding="utf-8",
        )
        result.write_text("null", encoding="utf-8")
        self.command([self.python(engine), "-m", f"benchmarks.{module}", str(order), str(result)])
        return json.loads(result.read_text(encoding="utf-8"))

    def python(self, engine: EngineSpec) -> str:
        """The interpreter of an engine."""
        return Environments().interpreter(engine.name, engine, lambda *_: None).path

    def pytest(self, *arguments: str, folder: Path = ROOT, status: int = 0) -> Path:
        """Run pytest in ``folder``; its output. Raises `HarnessError` as `command`."""
        return self.command(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
            folder=folder,
            status=status,
        )

    def command(self, command: Sequence[str], *, folder: Path = ROOT, status: int = 0) -> Path:
        """Run a command in ``folder``, and return the file with its output.

        Raises `HarnessError` if it ends with another ``status``: a run that went wrong is no measurement.
        """
        output = self.scratch / "output.txt"
        with output.open("wb") as file:
            found = subprocess.run(
                command,
                cwd=folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                check=False,
            ).returncode
        if found != status:
            lines = output.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
            raise HarnessError(
                f"found exit status {found}; allowed: {status}, since only what works is measured\n"
                f"command: {' '.join(command)}\nlast lines:\n" + "\n".join(f"  | {line}" for line in lines)
            )
        return output

    def _environment(self) -> Mapping[str, str]:
        environment = worker_environment()
        environment.pop("PYTEST_ADDOPTS", None)
        if environment.pop("PYTHONDONTWRITEBYTECODE", ""):
            # Else every process would compile all it imports again, and that is what would be measured.
            environment["PYTHONPYCACHEPREFIX"] = os.fspath(self.scratch / "bytecode")
        return environment

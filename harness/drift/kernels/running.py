"""The kernels of one LMDeploy, run in the environment that it has for itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from packaging.version import InvalidVersion, Version

from harness.cases.environment_request import EnvironmentRequest
from harness.cases.problems import Location, nearest
from harness.cases.profiles import EngineSpec
from harness.engines.kernel_checks import catalogue
from harness.engines.kernel_checks.steps import Numbers
from harness.environments.store import Environments
from harness.errors import UnknownName
from harness.machine.hold import scratch
from harness.workers.interpreter import ask

__all__ = ["Checked", "Row", "check", "checks_of", "versions_of"]

_SCRIPT = Path(catalogue.__file__).with_name("script.py")
_SECONDS = 300.0  # the first import of gigabytes from a cold disk, or the slowest check on a busy machine


class Row(NamedTuple):
    """One check in one dtype: ``steps`` off; None where LMDeploy ``lacks`` a function or in ``error``.

    ``parts`` are the names of what was left.
    """

    steps: float | None = None
    lacks: str = ""
    error: str = ""
    parts: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What came of one LMDeploy.

    ``packages`` are the versions of it and of what computed, ``rows`` by name of the check and dtype,
    ``signatures`` the parameters by function, ``left`` the kernels' outputs, ``seconds`` those of CPU.
    """

    packages: Mapping[str, str]
    rows: Mapping[tuple[str, str], Row]
    signatures: Mapping[str, Sequence[str]]
    left: Mapping[str, Numbers]
    seconds: float

    @property
    def version(self) -> str:
        """LMDeploy's."""
        return self.packages["lmdeploy"]


def versions_of(text: str) -> tuple[str, ...]:
    """The versions in ``0.16.0,0.18.0``, each once, in that order; raises `UnknownName` for what is none."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    try:
        [Version(version) for version in found]
    except InvalidVersion as error:
        allowed = "versions with commas between, such as 0.16.0,0.18.0"
        raise UnknownName(f"--versions: found {text!r} ({error}); allowed: {allowed}") from error
    return found


def checks_of(names: Sequence[str]) -> tuple[catalogue.Check, ...]:
    """The checks of these functions or variants, all where none is named; raises `UnknownName`."""
    known = dict.fromkeys(name for one in catalogue.CHECKS for name in (one.function, one.name))
    if unknown := [name for name in names if name not in known]:
        raise UnknownName(f"--kernels: found {unknown[0]!r}; allowed: {nearest(unknown[0], known)}")
    return tuple(one for one in catalogue.CHECKS if not names or {one.function, one.name} & {*names})


def check(
    version: str | None,
    checks: Sequence[catalogue.Check],
    card: str,
    environments: Environments,
    show: Callable[[str], None],
) -> Checked:
    """Run checks on the kernels of an LMDeploy; None is the one beside this interpreter.

    The version's environment is made where it is not there, and ``show`` told of what takes long. Raises
    `EngineError` where it cannot be made, or the kernels cannot be run at all.
    """
    label, python = f"lmdeploy {version or 'of this environment'}", sys.executable
    if version is not None:
        spec = EngineSpec(
            name=label,
            settings=catalogue.settings(card),
            location=Location(Path("--versions"), 1, 1),
            environment=EnvironmentRequest(
                requirements=(f"lmdeploy=={version}",), folder=Path.cwd(), changed=True
            ),
        )
        told = cache(lambda what: show(f"{label}: {what} ..."))  # each once
        python = environments.interpreter(label, spec, lambda what, _: told(what)).path
    show(f"{label}: {len(checks)} kernels, each in {' and '.join(catalogue.DTYPES)} ...")
    with scratch("harness-kernels-") as folder:
        outputs = f"{folder}/outputs.npz"
        order = {"card": card, "checks": [one.name for one in checks], "outputs": outputs}
        report: dict[str, Any] = ask(python, order, _SECONDS, script=_SCRIPT)
        with np.load(outputs, allow_pickle=False) as kept:
            left = dict(kept)
    rows = {(row.pop("check"), row.pop("dtype")): Row(**row) for row in report.pop("rows")}
    return Checked(rows=rows, left=left, **report)

"""Accepted outputs: one file for each engine and suite, ``SNAPSHOTS/PROFILE/ENGINE/SUITE.jsonl``.

``pytest --snapshot-update`` writes single cases of it and ``harness accept`` all of an engine's, with a
decision. Lines, in this order, each a JSON object with a sum of its own, so that an edit by hand is found::

    {"format": ...}        what the file is, and of which engine and suite
    {"fingerprint": ...}   the parts of the fingerprint of the engine that was written last; none if not known
    {"decision": ...}      acceptances, oldest first, below each
    {"moved": ...}         the cases that it changed; of the last ten only
    {"case": ...}          what was accepted, by name

Letters have probabilities and natural log-probabilities over the whole vocabulary, both to six decimals; one
outside the top that the engine told of has ``{"at most": ...}``. Who changes a case leaves all other lines as
they are, byte for byte.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import ValidationError

from harness.cases.kept import write_whole
from harness.cases.problems import Location, ProblemList, shown
from harness.cases.validation import validate
from harness.cases.yaml_source import parse_document
from harness.engines.contract import Json
from harness.errors import GateError, RecordingError
from harness.recordings.fingerprint import digest
from harness.recordings.journal import json_text
from harness.schemas.accepted import LINES
from harness.snapshots.accepted import Acceptance, AcceptedCase, AcceptedSuite, Moved

__all__ = [
    "OLD_LAYOUT",
    "locked",
    "put_cases",
    "read_case",
    "read_engine",
    "read_suite",
    "require_converted",
    "write_suite",
]

OLD_LAYOUT = ("test_matches_snapshot", "baselines")
"""Folders in which files of a layout before this one stand."""

_HEAD: Mapping[str, Json] = {
    "format": "vlm-harness accepted",
    "version": 2,
    "about": "Written by pytest --snapshot-update and harness accept; see docs/snapshots.md",
}
_ANSWER: Mapping[str, Json] = {"answer": "letter", "coordinates": ["letters"]}
_SUM_DIGITS = 12
_LOCK_DIGITS = 16
_MOST_IN_FULL = 10
_WROTE = "what pytest --snapshot-update or harness accept wrote"


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Nobody else reads ``file`` in order to write it meanwhile. The lock is no file of the repository."""
    name = f"vlm-harness-{os.getuid()}-{digest(str(file.resolve()))[:_LOCK_DIGITS]}.lock"
    with FileLock(Path(tempfile.gettempdir(), name)):
        yield


def put_cases(snapshots: Path, head: AcceptedSuite, cases: Mapping[str, AcceptedCase]) -> None:
    """Write these cases into the file of ``head``, whose others and decisions stay as they are there.

    Raises OSError, and `GateError` where the file is damaged.
    """
    file = head.file(snapshots)
    with locked(file):
        held = read_suite(file) if file.exists() else head
        write_suite(snapshots, replace(head, decisions=held.decisions, cases={**held.cases, **cases}))


def write_suite(snapshots: Path, suite: AcceptedSuite) -> Path:
    """Write the file, whole or not at all; raises OSError. Who read it first does so under `locked`."""
    file = suite.file(snapshots)
    write_whole(file, "".join(f"{_text(line)}\n" for line in _lines(suite)))
    return file


def _lines(suite: AcceptedSuite) -> Iterator[Mapping[str, Any]]:
    """The lines of a file, in its order, without their sums."""
    names = ("profile", "engine", "suite", "model")
    yield {**_HEAD, **{name: getattr(suite, name) for name in names}, **_ANSWER}
    for part, value in sorted(suite.fingerprint.items()):
        yield {"fingerprint": part, "value": value}
    for index, one in enumerate(suite.decisions, start=1):
        held = {each.name: getattr(one, each.name) for each in fields(one) if each.name != "moved"}
        yield {**held, "lost": list(one.lost)}
        if index > len(suite.decisions) - _MOST_IN_FULL:
            for name, moved in sorted(one.moved.items()):
                yield {"moved": name, "why": moved.why, "old": moved.old, "new": moved.new}
    for name, case in sorted(suite.cases.items()):
        yield {"case": name, **case.to_json()}


def _text(line: Mapping[str, Any]) -> str:
    return json_text({**line, "sum": _sum(line)})


def _sum(line: Mapping[str, Any]) -> str:
    return digest({name: value for name, value in line.items() if name != "sum"})[:_SUM_DIGITS]


def read_engine(path: Path) -> tuple[AcceptedSuite, ...]:
    """What is accepted of an engine: ``path`` is its folder, or the file of one suite.

    Raises `GateError` where there is none, and as `read_suite` does.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path] if path.suffix == ".jsonl" else []
    if not files:
        require_converted(path.parent if path.suffix == ".json" else path.parents[1])
        raise _none(path)
    return tuple(read_suite(file) for file in files)


def require_converted(snapshots: Path) -> None:
    """Raise `GateError`, with the command, where the folder holds files of an earlier layout."""
    roots = {snapshots, snapshots.parent} if snapshots.name in OLD_LAYOUT else {snapshots}
    for old in (root / name for root in roots for name in OLD_LAYOUT):
        if any(old.glob("*.json")):
            raise GateError(
                f"{shown(old)}: found accepted outputs in an earlier version's layout; convert them, once, "
                f"and commit what comes of it:\n  harness accept --convert --snapshots {shown(old.parent)}"
            )


def read_suite(file: Path) -> AcceptedSuite:
    """Read one file.

    Raises `GateError` with file and line where there is none, where it is damaged, and where it was edited.
    """
    suite, damage = _seen(file)
    if damage:
        raise _damaged(damage)
    return suite


def read_case(file: Path, case: str) -> AcceptedCase | None:
    """What is accepted of one case, None where nothing is; lines of others may be damaged.

    Raises `GateError`, as `read_suite` does, where the case has no line that can be read and may have one
    that cannot.
    """
    if not file.exists():
        return None
    suite, damage = _seen(file)
    if damage and case not in suite.cases:
        raise _damaged(damage)
    return suite.cases.get(case)


def _seen(file: Path) -> tuple[AcceptedSuite, str]:
    """What can be read of a file, and what is wrong with the rest."""
    try:
        status = file.stat()
        return _read(file, (status.st_ino, status.st_mtime_ns, status.st_size))
    except FileNotFoundError:
        raise _none(file) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(f"{shown(file)}: cannot be read ({error})") from error


def _none(path: Path) -> GateError:
    return GateError(
        f"{shown(path)}: found no accepted outputs; make them:\n"
        "  harness accept PROFILE/ENGINE --reason TEXT --author NAME"
    )


def _damaged(text: str) -> GateError:
    return GateError(
        f"{text}\nRestore the file from version control; to change what is accepted, use harness accept or "
        "pytest --snapshot-update"
    )


@lru_cache(maxsize=64)  # a run of pytest reads a file for each of its cases
def _read(file: Path, _state: tuple[int, ...]) -> tuple[AcceptedSuite, str]:
    problems = ProblemList()
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in LINES}
    decisions: list[Acceptance] = []
    names: set[str] = set()
    twice: set[str] = set()
    for number, raw in enumerate(file.read_bytes().split(b"\n"), start=1):
        line = _line(raw, file, number, problems) if raw.strip() else None
        if line is None:
            continue
        kind = next(iter(line))
        if kind == "case":
            if line["case"] in names:
                twice.add(line["case"])
                problems.add(
                    Location(file, number, 1), field=line["case"], found="it twice", allowed="one line a case"
                )
            names.add(line["case"])
        found[kind].append(line)
        own = {name: value for name, value in line.items() if name != "sum"}
        if kind == "decision":
            decisions.append(Acceptance(**own))
        elif kind == "moved" and decisions:
            name = own.pop("moved")
            decisions[-1] = replace(decisions[-1], moved={**decisions[-1].moved, name: Moved(**own)})
    if not len(problems) and len(found["format"]) != 1:
        problems.add(file, field="", found=f"{len(found['format'])} lines of format", allowed="one")
    damage = "\n".join(str(problem) for problem in problems.in_file_order())
    if len(found["format"]) != 1:  # of what the other lines are is not known
        return AcceptedSuite(profile="", engine="", suite=""), damage
    suite = AcceptedSuite(
        **{name: found["format"][0][name] for name in ("profile", "engine", "suite", "model")},
        fingerprint={line["fingerprint"]: line["value"] for line in found["fingerprint"]},
        decisions=tuple(decisions),
        cases={
            line["case"]: AcceptedCase(**{k: v for k, v in line.items() if k not in ("case", "sum")})
            for line in found["case"]
            if line["case"] not in twice
        },
    )
    return suite, damage


def _line(raw: bytes, file: Path, number: int, problems: ProblemList) -> dict[str, Any] | None:
    """A line that is as it was written; None where it is not, which is noted."""
    place = Location(file.absolute(), number, 1)
    try:
        line: Any = json.loads(raw)
    except (ValueError, RecursionError) as error:
        problems.add(place, field="", found=f"no JSON ({getattr(error, 'msg', error)})", allowed=_WROTE)
        return None
    kind = next(iter(line), "") if isinstance(line, dict) else ""
    if (model := LINES.get(kind)) is None:
        problems.add(
            place, field="", found="another line", allowed=f"one that begins with {', '.join(LINES)}"
        )
        return None
    before = len(problems)
    try:
        model.model_validate(line)
    except ValidationError as error:
        # YAML, of which JSON is a part, knows the places.
        validate(model, document := parse_document(b"\n" * (number - 1) + raw, file.absolute(), problems))
        if len(problems) == before:
            document.add((), str(error), _WROTE)
        return None
    with suppress(RecordingError):  # of what is no JSON, as NaN
        if line["sum"] == _sum(line):
            return dict(line)
    problems.add(place, field=str(line[kind]), found="a line that was edited", allowed=_WROTE)
    return None

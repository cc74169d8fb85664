"""`harness accept --convert`: accepted outputs as earlier versions kept them, rewritten once.

There were two kinds: ``test_matches_snapshot/test_matches_snapshot[SUITE.CASE-PROFILE-ENGINE].json`` with
probabilities, and ``baselines/PROFILE-ENGINE.json`` with log-probabilities and decisions. Where only the
first was there, log-probabilities stay unknown: six decimals of a probability do not give them back.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.cases.folder import Loaded
from harness.cases.problems import shown
from harness.checks.intervals import apart
from harness.errors import GateError
from harness.recordings.fingerprint import asked_today, digest, loaded_dtype
from harness.scoring.subjects import Subject, subjects
from harness.snapshots.accepted import Acceptance, AcceptedCase, AcceptedSuite, Moved, probabilities, suite_of
from harness.snapshots.answers import DECIMALS, LOWERED, share_interval
from harness.snapshots.files import OLD_LAYOUT, write_suite

__all__ = ["convert"]

_SUM_DIGITS = 12
_Suites = dict[tuple[str, str, str], AcceptedSuite]


def convert(snapshots: Path, loaded: Loaded) -> list[Path]:
    """Write anew what stands in the earlier layout, and remove it; returns the files written.

    Raises `GateError`, before anything is written, where there is none, where a file is of no case of
    ``loaded``, cannot be read or was edited, and where two files do not agree on a case.
    """
    old = {name: sorted((snapshots / name).glob("*.json")) for name in OLD_LAYOUT}
    if not any(old.values()):
        raise GateError(f"{shown(snapshots)}: found nothing in the layout of an earlier version to convert")
    files, baselines = old.values()
    known = {
        f"test_matches_snapshot[{one.id}].json": one
        for one in subjects(loaded.cases, loaded.profiles, selection="every")
    }
    if unknown := [file for file in files if file.name not in known]:
        names = " ".join(shlex.quote(str(file)) for file in unknown)
        raise GateError(f"{len(unknown)} snapshots of cases that are no more. Remove them:\n  rm {names}")
    suites: _Suites = {}
    for file in baselines:
        _add_baseline(suites, file)
    for file in files:
        _add_snapshot(suites, file, known[file.name])
    there = [suite.file(snapshots) for suite in suites.values()]
    if taken := [file for file in there if file.exists()]:
        raise GateError(
            f"{shown(taken[0])}: is there already; remove the files of the one layout or the other"
        )
    for suite in suites.values():
        write_suite(snapshots, suite)
    for file in (*files, *baselines):
        file.unlink()
    for name in OLD_LAYOUT:
        if (folder := snapshots / name).is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return there


def _data(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GateError(
            f"{shown(file)}: cannot be read ({error})\nRestore it from version control"
        ) from error
    if not isinstance(data, dict):
        raise GateError(f"{shown(file)}: found no mapping\nRestore it from version control")
    return data


def _add_baseline(suites: _Suites, file: Path) -> None:
    data = _data(file)
    own = digest({name: value for name, value in data.items() if name != "sum"})
    if data.get("version") != 1 or data.get("sum") != own[:_SUM_DIGITS]:
        raise GateError(
            f"{shown(file)}: was edited, or is of a version before\nRestore it from version control"
        )
    decisions = [
        Acceptance(
            **{name: entry[name] for name in ("author", "reason", "verdict", "sentence", "lost")},
            decision=entry["date"],
            moved={case: Moved(**moved) for case, moved in entry["moved"].items()},
        )
        for entry in data["accepted"]
    ]
    head = {name: data[name] for name in ("profile", "engine", "model", "fingerprint")}
    for name in {suite_of(case) for case in data["cases"]}:
        suite = AcceptedSuite(**head, suite=name)
        suites[suite.profile, suite.engine, name] = replace(
            suite,
            decisions=tuple(
                replace(one, lost=suite.of(one.lost), moved={n: one.moved[n] for n in suite.of(one.moved)})
                for one in decisions
            ),
            cases={case: _baseline_case(data["cases"][case], suite) for case in suite.of(data["cases"])},
        )


def _baseline_case(held: Mapping[str, Any], suite: AcceptedSuite) -> AcceptedCase:
    logprobs = {letter: held["letters"][letter] for letter in held["asked"]["letters"] if held["letters"]}
    return AcceptedCase(
        top=held["top"],
        text=held["text"],
        letters=probabilities(logprobs),
        logprobs=logprobs,
        token_ids=None,
        dtype=loaded_dtype(suite.fingerprint),
        asked=asked_today(held["asked"]),
        rendered=None,
    )


def _add_snapshot(suites: _Suites, file: Path, subject: Subject) -> None:
    data, case = _data(file), subject.case
    key = (subject.profile.name, subject.engine.name, case.suite)
    suite = suites.get(key, AcceptedSuite(profile=key[0], engine=key[1], suite=key[2]))
    before = suite.cases.get(case.name)
    try:
        # Files were sorted by letter; the case has them as they are on offer.
        letters = {letter: data["letters"][letter] for letter in case.letters if letter in data["letters"]}
        now = AcceptedCase(
            top=data["top"],
            text=data["text"],
            letters={**letters, **data["letters"]},
            logprobs=None if before is None else before.logprobs,
            token_ids=data["token_ids"],
            dtype=data["dtype"],
            asked=None if before is None else before.asked,
            rendered=None,
            lowered=data.get(LOWERED, ""),
        )
    except (KeyError, TypeError) as error:
        raise GateError(f"{shown(file)}: found no {error}\nRestore it from version control") from error
    if before is not None and not _agree(before, now):
        raise GateError(
            f"{shown(file)}: found {case.name} as {now.top} {dict(now.letters)}, and the baseline of "
            f"{key[0]}/{key[1]} has {before.top} {dict(before.letters)}; remove the one of the "
            "two files that is out of date"
        )
    suites[key] = replace(suite, cases={**suite.cases, case.name: now})


def _agree(a: AcceptedCase, b: AcceptedCase) -> bool:
    """Whether two files say the same of a case, as far as the last of their digits tells."""
    pairs = [
        (share_interval(a.letters.get(x)), share_interval(b.letters.get(x))) for x in (*a.letters, *b.letters)
    ]
    return (a.top, a.text) == (b.top, b.text) and all(
        x is not None and y is not None and apart(x, y).high <= 1.5 * 10**-DECIMALS for x, y in pairs
    )

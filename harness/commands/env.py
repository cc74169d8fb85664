"""`harness env`: the environments in which engines run."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.commands.measuring import add_cases, add_environments, positive, say
from harness.errors import CaseFileError, EngineError

if TYPE_CHECKING:
    from harness.commands import Subparsers
    from harness.environments.folder import Size
    from harness.environments.inventory import NamedEngine
    from harness.environments.lock import Lock
    from harness.environments.store import Environments, Show

__all__ = ["register"]

_ID_DIGITS = 12
_TELL_SECONDS = 30.0
_AGES = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"))


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "env", help="list, make, check and remove the environments in which engines run"
    )
    actions = parser.add_subparsers(dest="action", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    add_cases(shared)
    add_environments(shared)
    shared.add_argument(
        "names", nargs="*", metavar="NAME", help="PROFILE, PROFILE/ENGINE or PROFILE-ENGINE; all if left out"
    )
    actions.add_parser(
        "list",
        parents=[shared],
        help="each engine with `requirements` or `python`, and what there is on disk",
    ).set_defaults(run=_run, act=_list)
    make = actions.add_parser("make", parents=[shared], help="make the environments that are missing")
    make.add_argument(
        "--again", action="store_true", help="resolve the requirements anew, as of now or their `as_of`"
    )
    make.set_defaults(run=_run, act=_make)
    actions.add_parser(
        "check",
        parents=[shared],
        help="say whether each engine can be loaded, what is missing and what mends it",
    ).set_defaults(run=_run, act=_check)
    remove = actions.add_parser(
        "remove",
        parents=[shared],
        help="remove environments by an engine's name or their own; locks are kept",
    )
    remove.add_argument(
        "--unused", action="store_true", help="remove those that no profile of the folder of cases names"
    )
    remove.add_argument(
        "--older-than",
        type=positive,
        metavar="DAYS",
        help="remove those that no run has used for so many days",
    )
    remove.set_defaults(run=_run, act=_remove)


def _run(options: argparse.Namespace) -> int:
    from harness.cases.folder import load
    from harness.environments.inventory import named_engines
    from harness.environments.store import Environments

    try:
        engines = named_engines(load(options.cases).profiles)
    except CaseFileError as error:
        print(error, file=sys.stderr)
        return 1
    environments = Environments(options.environments, loud=sys.stderr.isatty())
    try:
        status: int = options.act(options, environments, engines)
    except OSError as error:
        error.filename = error.filename or str(environments.folder.root)
        say(error)
        return 1
    except KeyboardInterrupt:
        print("interrupted: what was not completed is made anew the next time", file=sys.stderr)
        return 1
    finally:
        environments.close()
    return status


def _chosen(names: Sequence[str], engines: Sequence[NamedEngine]) -> list[NamedEngine] | None:
    """The engines that are named, all if none is; None, having said so, where a name is unknown."""
    from harness.cases.problems import nearest

    chosen = []
    for name in names:
        found = [engine for engine in engines if name in engine.names]
        if not found:
            known = dict.fromkeys(known for engine in engines for known in (engine.profile, engine.label))
            print(f"found the name {name!r}; allowed: {nearest(name, known)}", file=sys.stderr)
            return None
        chosen += [engine for engine in found if engine not in chosen]
    return chosen if names else list(engines)


def _list(options: argparse.Namespace, environments: Environments, engines: Sequence[NamedEngine]) -> int:
    from harness.environments.inventory import stored, used_by

    if (chosen := _chosen(options.names, engines)) is None:
        return 2
    locks = used_by(environments, engines)
    for engine in chosen:
        if engine.spec.environment is None:
            if engine.spec.python != sys.executable:
                print(f"{engine.label}: {engine.spec.python}, named by `python`")
            continue
        lock = locks[engine.label]
        told = _state(lock, environments)
        print(f"{engine.label}: {engine.spec.environment}\n    {told}")
    named = {lock.id for lock in locks.values() if lock is not None}
    others = [] if options.names else [one for one in environments.folder.ids() if one not in named]
    if others:
        print("named by no profile of this folder:")
    for one in others:
        there = stored(environments, one)
        if there.marker is None:
            print(f"{one[:_ID_DIGITS]}: not completed, {_shown_size(there.size)}")
            continue
        what = ", ".join(there.marker.requirements)
        made_for = f"made for {there.marker.engine} of {there.marker.profiles}"
        print(f"{one[:_ID_DIGITS]}: {what}, {made_for}\n    {_state_of(one, environments)}")
    print(f"folder: {environments.folder.root}")
    return 0


def _state(lock: Lock | None, environments: Environments) -> str:
    if lock is None:
        return "not made, not resolved"
    return f"{_state_of(lock.id, environments)}, lock of {len(lock.packages)} packages"


def _state_of(environment: str, environments: Environments) -> str:
    from harness.environments.inventory import stored

    there = stored(environments, environment)
    if there.marker is None:
        return f"not made, resolved as {environment[:_ID_DIGITS]}"
    used = "" if there.used is None else f", used {_ago(there.used)}"
    return (
        f"made {_ago(there.marker.made)}{used}, Python {there.marker.python}, {_shown_size(there.size)}, "
        f"{environment[:_ID_DIGITS]}"
    )


def _make(options: argparse.Namespace, environments: Environments, engines: Sequence[NamedEngine]) -> int:
    if (chosen := _chosen(options.names, engines)) is None:
        return 2
    wanted = [engine for engine in chosen if engine.spec.environment is not None]
    failed = 0
    for engine in wanted:
        began = time.monotonic()
        try:
            if options.again:
                changed = environments.resolve_again(engine.label, engine.spec, _show(engine.label))
                lock = "another lock than before" if changed else "the same lock as before"
                print(f"{engine.label}: {lock}")
            interpreter = environments.interpreter(engine.label, engine.spec, _show(engine.label))
        except EngineError as error:
            failed += 1
            print(error, file=sys.stderr)
        else:
            print(f"{engine.label}: {interpreter.path} ({time.monotonic() - began:.1f} s)")
    for engine in () if wanted else chosen:
        print(f"{engine.label}: nothing to make, it runs in {engine.spec.python}")
    return 1 if failed else 0


def _show(label: str) -> Show:
    """Tell each step and, of a long one, every half minute how it goes; on a terminal uv tells more."""
    told, when = "", 0.0

    def show(what: str, note: str) -> None:
        nonlocal told, when
        if what != told or time.monotonic() - when > _TELL_SECONDS:
            told, when = what, time.monotonic()
            print(f"{label}: {what}{f' ({note})' if note else ''} ...", file=sys.stderr)

    return show


def _check(options: argparse.Namespace, environments: Environments, engines: Sequence[NamedEngine]) -> int:
    from harness.environments.checking import check_loadable, look_at_needs
    from harness.machine.findings import Mark
    from harness.machine.nvidia import read_nvidia

    if (chosen := _chosen(options.names, engines)) is None:
        return 2
    cannot, nvidia = 0, read_nvidia()
    for engine in chosen:
        loadable = check_loadable(engine.label, engine.spec, environments)
        cannot += not loadable
        found = ", ".join(f"{name} {version}" for name, version in loadable.found.items())
        where = f" in {loadable.python}" if loadable.python else ""
        whether = "can be loaded" if loadable else "cannot be loaded"
        print(f"{engine.label}: {whether}{where}{': ' if found else ''}{found}")
        for missing in loadable.missing:
            print(f"    missing: {missing}")
        for note in loadable.notes:
            print(f"    note: {note}")
        if loadable.mend:
            print(f"    to mend: {loadable.mend}")
        needs = look_at_needs(engine.spec, environments, nvidia, wanted=True)
        lines = [line for need in needs if need.mark is not Mark.RIGHT for line in need.lines()]
        cannot += bool(loadable and lines)
        print("".join(f"  {line}\n" for line in lines), end="")
    return 1 if cannot else 0


def _remove(options: argparse.Namespace, environments: Environments, engines: Sequence[NamedEngine]) -> int:
    from harness.environments.inventory import stored, used_by

    if [bool(options.names), options.unused, options.older_than is not None].count(True) != 1:
        print("found none or several of names, --unused and --older-than; allowed: one", file=sys.stderr)
        return 2
    locks = used_by(environments, engines)
    there = environments.folder.ids()
    doomed = []
    if options.unused:
        named = {lock.id for lock in locks.values() if lock is not None}
        doomed = [one for one in there if one not in named]
    if options.older_than is not None:
        before = time.time() - options.older_than * _AGES[0][0]
        used = {one: environments.folder.last_used(one) for one in there}
        doomed = [one for one, when in used.items() if when is not None and when < before]
    for name in options.names:
        if own := [one for one in there if len(name) >= _ID_DIGITS and one.startswith(name)]:
            doomed += own
            continue
        if (chosen := _chosen([name], engines)) is None:
            return 2
        doomed += [lock.id for engine in chosen if (lock := locks.get(engine.label)) is not None]
    status = 0
    for one in dict.fromkeys(doomed):
        if one not in there:
            continue
        size = stored(environments, one).size
        if environments.remove(one):
            shared = size.whole - size.own
            stays = (
                f"; {_bytes(shared)} that uv's cache shares stay there (`uv cache prune`)" if shared else ""
            )
            print(f"removed {one[:_ID_DIGITS]}: freed {_bytes(size.own)}{stays}")
        else:
            print(f"{one[:_ID_DIGITS]} is in use and stays; end the run that uses it first", file=sys.stderr)
            status = 1
    if not any(one in there for one in doomed):
        print("nothing to remove")
    return status


def _shown_size(size: Size) -> str:
    return f"{_bytes(size.whole)} on disk, {_bytes(size.own)} of it not shared with uv's cache"


def _bytes(number: int) -> str:
    size = float(number)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _ago(moment: float) -> str:
    age = max(0.0, time.time() - moment)
    for seconds, unit in _AGES:
        if age >= seconds:
            number = int(age // seconds)
            return f"{number} {unit} ago" if number == 1 else f"{number} {unit}s ago"
    return "just now"

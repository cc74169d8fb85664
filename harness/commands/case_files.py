"""`harness init`, `check` and `schema`: how a folder of cases begins, what it holds, and what it may hold."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.measuring import conclude, default_folder, makeable
from harness.errors import CaseFileError

if TYPE_CHECKING:
    from harness.commands import Subparsers

__all__ = ["register"]


def register(commands: Subparsers) -> None:
    """Add the subcommands."""
    init = commands.add_parser(
        "init",
        help="write profiles, a starter suite with pictures and schemas for a model of yours",
        epilog="Nothing is loaded, downloaded or overwritten. Then harness doctor looks the machine over. "
        "Exit status: 0 written, 2 a file is there already or the command line is wrong.",
    )
    init.add_argument(
        "--model", metavar="MODEL", help="folder or hub id; asked for on a terminal if left out"
    )
    init.add_argument(
        "--cases", type=makeable, default=default_folder("cases"), metavar="DIR", help="default: %(default)s"
    )
    init.add_argument("--device", choices=("cpu", "cuda"), help="cuda where a GPU is found, if left out")
    init.add_argument("--workflow", action="store_true", help="write a GitHub workflow, too")
    init.set_defaults(run=_init)
    check = commands.add_parser(
        "check", help="check all suites and profiles of a folder without running anything"
    )
    check.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=default_folder("cases"),
        metavar="DIR",
        help="default: %(default)s",
    )
    check.set_defaults(run=_check)
    schema = commands.add_parser(
        "schema", help="write the JSON Schemas of suites and profiles (for editors) and of reports"
    )
    schema.add_argument(
        "folder", nargs="?", type=makeable, metavar="DIR", help="default: the folder of the installed package"
    )
    schema.add_argument(
        "--check", action="store_true", help="write nothing; say which are missing or out of date"
    )
    schema.set_defaults(run=_schema)


def _init(options: argparse.Namespace) -> int:
    from harness.cases.problems import shown
    from harness.commands.doctor import look
    from harness.machine.nvidia import read_nvidia
    from harness.profile_check.starter import Starter, starter_files

    model = options.model
    if model is None and sys.stdin.isatty():
        model = input("Your model, a folder or a hub id: ").strip()
    if not model or (not Path(model).is_dir() and not re.fullmatch(r"[\w.-]+/[\w.-]+", model)):
        print(
            f"--model: found {model or 'none'}; allowed: a folder that exists, or a hub id such as org/name",
            file=sys.stderr,
        )
        return 2
    gpu = options.device == "cuda" or (options.device is None and bool(read_nvidia().at_hand(os.environ)))
    starter = Starter(model=model, cases=options.cases, here=Path.cwd(), gpu=gpu, workflow=options.workflow)
    files = starter_files(starter)
    if there := [shown(Path.cwd() / path) for path in files if path.exists()]:
        print(
            f"{there[0]}: found, and {len(there) - 1} more of the files to write; allowed: none of them, as "
            "nothing is overwritten. Move them, or name another folder: harness init --cases=DIR",
            file=sys.stderr,
        )
        return 2
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        print(f"wrote {path}")
    _ignore(Path(".gitignore"), ".harness/")
    sys.stdout.flush()
    folders = {"recordings": default_folder("recordings"), "environments": None}
    asked = argparse.Namespace(cases=options.cases, profile=None, json=None, **folders)
    conclude(asked, lambda: look(asked))
    where = "" if options.cases == Path("cases") else f" --cases={options.cases}"
    mark = " -m gpu" if gpu else ""
    print(
        f"Next:\n  harness profile check {starter.profile}{where}\n"
        f"  pytest --pyargs harness.suite{where}{mark}\n"
        f"  pytest --pyargs harness.suite{where}{mark} --snapshot-update    # once the table is right"
    )
    return 0


def _ignore(file: Path, line: str) -> None:
    """Have git leave out what ``line`` names, behind what the file holds already."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    if line in text.splitlines():
        return
    file.write_text(text + ("" if not text or text.endswith("\n") else "\n") + f"{line}\n", encoding="utf-8")
    print(f"wrote {file}: {line}")


def _check(options: argparse.Namespace) -> int:
    from harness.cases.folder import load

    try:
        loaded = load(options.folder)
    except CaseFileError as error:
        print(error, file=sys.stderr)
        return 1
    for suite in loaded.suites:
        print(f"suite    {suite.name}: {_count(len(suite.cases), 'case')}")
    for profile in loaded.profiles:
        remark = f" (only with --profile {profile.name})" if profile.by_name_only else ""
        print(f"profile  {profile.name}: {', '.join(engine.name for engine in profile.engines)}{remark}")
    for remark in loaded.remarks:
        print(remark)
    cases = sum(len(suite.cases) for suite in loaded.suites)
    total = (
        _count(cases, "case"),
        _count(len(loaded.suites), "suite"),
        _count(len(loaded.profiles), "profile"),
    )
    remarks = f", {_count(len(loaded.remarks), 'remark')}" if loaded.remarks else ""
    print(f"{', '.join(total)}: no problems{remarks}")
    return 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _schema(options: argparse.Namespace) -> int:
    from harness.cases.problems import shown
    from harness.schemas import json_schema

    folder = (options.folder or json_schema.FOLDER).absolute()
    if not options.check:
        for path in json_schema.write_schemas(folder):
            print(f"wrote {shown(path)}")
        return 0
    wrong = json_schema.out_of_step(folder)
    for path in wrong:
        print(f"{shown(path)}: missing or out of date; run `harness schema {shown(folder)}`", file=sys.stderr)
    return 1 if wrong else 0

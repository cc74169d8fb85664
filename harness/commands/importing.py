"""`harness import`: a table as a suite in YAML with image files, where one wants to edit it."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.measuring import default_folder, makeable

if TYPE_CHECKING:
    from harness.cases.suites import Suite
    from harness.commands import Subparsers

__all__ = ["register"]


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "import",
        help="write a table of questions as a suite in YAML with image files, to edit them",
        epilog="A suite may also name its table under `source:` and need not be imported: docs/data.md. "
        "Nothing is overwritten. Exit status: 0 written, 1 the table has problems, 2 a file is there already "
        "or the command line is wrong.",
    )
    parser.add_argument(
        "source",
        type=Path,
        metavar="TABLE",
        help=".tsv, .csv, .jsonl or .parquet; or a suite, whose `source:` chooses rows of one",
    )
    parser.add_argument(
        "--into", type=makeable, default=default_folder("cases"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument("--name", help="the suite's; default: the table's")
    parser.set_defaults(run=lambda options: _import(parser, options))


def _import(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from harness.cases.problems import shown
    from harness.cases.suites import PROFILES_FILE, load_suite
    from harness.errors import CaseFileError
    from harness.machine.hold import scratch
    from harness.schemas.fields import MEANINGS, SUITE_NAME

    name = options.name or re.sub(r"[^A-Za-z0-9_-]+", "-", options.source.stem).strip("-")
    if not re.fullmatch(SUITE_NAME, name) or f"{name}.yaml" == PROFILES_FILE:
        allowed = f"{MEANINGS[SUITE_NAME]}, and not that of {PROFILES_FILE}; name it with --name"
        parser.error(f"the suite's name: found {name!r}; allowed: {allowed}")
    targets = [options.into / f"{name}.yaml", options.into / "images" / name]
    if there := [shown(path.absolute()) for path in targets if path.exists()]:
        parser.error(
            f"found {' and '.join(there)}, and nothing is overwritten; allowed: another --name or --into"
        )
    with scratch("harness-import-") as apart:
        given = options.source
        if given.suffix.lower() not in (".yaml", ".yml"):
            given = Path(apart, f"{name}.yaml")
            given.write_text(json.dumps({"source": {"file": str(options.source.absolute())}}), "utf-8")
        try:
            suite = load_suite(given)
            pictures = _write(suite, options.into, name)
        except CaseFileError as error:
            # Of what stands on the command line the place is no file.
            sys.stderr.write(re.sub(rf"\S*{re.escape(str(apart))}/\S+: source", "TABLE", f"{error}\n"))
            return 1
        except OSError as error:
            where = shown(options.into.absolute())
            found = error.strerror or str(error)
            parser.error(f"--into: found {where} ({found}); allowed: a folder that can be written to")
    for remark in suite.remarks:
        print(f"remark: {remark.found}; better: {remark.allowed}")
    print(f"wrote {shown(targets[0].absolute())}: {len(suite.cases)} cases")
    if pictures:
        print(f"wrote {shown(targets[1].absolute())}: {pictures} pictures")
    print(f"Next: harness check {shown(options.into.absolute())}")
    return 0


def _write(suite: Suite, into: Path, name: str) -> int:
    """Write all files beside where they go, look whether they are a suite, and move them there."""
    from dataclasses import replace

    from harness.cases.suites import load_suite
    from harness.cases.writing import image_names, suite_text
    from harness.machine.hold import scratch

    suite = replace(suite, name=name)
    images = image_names(suite)
    text = suite_text(suite, images)
    into.mkdir(parents=True, exist_ok=True)
    with scratch(".importing-", into) as apart:
        for image, path in images.items():
            Path(apart, path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(image, Path(apart, path))
        file = Path(apart, f"{name}.yaml")
        file.write_text(text, "utf-8", newline="\n")
        load_suite(file)
        if images:
            (into / "images").mkdir(exist_ok=True)
            Path(apart, "images", name).rename(into / "images" / name)
        file.rename(into / file.name)
    return len(images)

# PYTHON_ARGCOMPLETE_OK
"""The command `harness`: what is not a test. Each subcommand is a module below `harness.commands`.

Exit status: 0 all is well, 1 problems were found, 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from harness.commands import (
    accept,
    case_files,
    clean,
    doctor,
    env,
    gate,
    importing,
    merge,
    method,
    noise,
    plan,
    profile,
    run,
)
from harness.commands.debugging import bisect, bundle, explain, factors, kernels, search, selftest
from harness.commands.measuring import collect_rarely, say
from harness.errors import HarnessError
from harness.machine.system import elsewhere

__all__ = ["main", "make_parser"]

_INTERRUPTED = 130  # as shells say it: 128 and the signal's number
_STATUS = "Exit status: 0 all is well, 1 problems were found, 2 the command line is wrong"
_COMMANDS = (
    accept, bisect, bundle, case_files, clean, doctor, env, explain, factors, gate, importing, kernels, merge,
    method, noise, plan, profile, run, search, selftest,
)  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    """The command line with all subcommands; ends the process for a pyproject.toml that cannot be read."""
    parser = argparse.ArgumentParser(
        prog="harness",
        description="What is not a test. To compare engines, run pytest.",
        epilog=f"{_STATUS}; each command says its own in harness COMMAND --help.",
    )
    own = version("vlm-consistency-harness")
    parser.add_argument("--version", action="version", version=f"%(prog)s {own}")
    commands = parser.add_subparsers(dest="command", required=True)
    try:
        for command in _COMMANDS:
            command.register(commands)
    except HarnessError as error:  # of pyproject.toml, which the defaults come from
        parser.error(str(error))
    for each in commands.choices.values():
        each.epilog = each.epilog or f"{_STATUS}."
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (of the process, where None is given); return the exit status."""
    parser = make_parser()
    _complete(parser)
    options = parser.parse_args(arguments)
    collect_rarely()
    try:
        status: int = options.run(options)
    except KeyboardInterrupt:
        sys.stderr.write(
            "\ninterrupted; what was recorded is kept, and the same command goes on from there\n"
        )
        return _INTERRUPTED
    except OSError as error:  # of the user's disk: what the command writes or reads, whichever it is
        if error.filename is None or isinstance(error, FileNotFoundError):
            raise
        say(error)
        return 2
    except ModuleNotFoundError as error:
        if (said := elsewhere()) is None or error.name != "fcntl":
            raise
        parser.error(said)
    return status


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for what may follow; its setting up needs the extra `completion`."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


if __name__ == "__main__":
    sys.exit(main())

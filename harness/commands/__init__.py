"""The subcommands of `harness`, a module each.

Each module offers ``register(commands)``, which adds its parser and sets the parser's default ``run`` to a
function that takes the parsed options and returns the exit status. What only the running needs is imported
there, so that `harness --help` stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import argparse

__all__ = ["Subparsers"]

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name

"""The script behind `harness env check`: prints one JSON object on what its interpreter can load.

Run as ``python loadable_report.py ORDER`` with ORDER a JSON object. Standard library only, and on its own:
nothing of this package is imported, so any interpreter can run it, one that is too old among them.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import json
import os
import platform
import sys


def report(
    packages: dict[str, str],
    names: list[str],
    cuda: bool,
    fields_of: str | None,
    keys_of: str | None = None,
) -> dict[str, object]:
    """Try what an engine needs.

    ``packages`` maps names that pip knows to modules, ``names`` are dotted names in modules. What could be
    imported has no error. ``fields_of`` is the dotted name of a dataclass, or None, and ``keys_of`` that of
    a dictionary.
    """
    found = {}
    for package, module in packages.items():
        found[package] = {"version": _version(package), "error": _error_of_import(module)}
    return {
        "python": platform.python_version(),
        "packages": found,
        "names": {name: _error_of_name(name) for name in names},
        "cuda": _error_of_cuda() if cuda else None,
        "fields": _fields(fields_of) if fields_of else [],
        "keys": _keys(keys_of) if keys_of else [],
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _error_of_import(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except BaseException as error:  # noqa: BLE001 - libraries end with SystemExit too, and it is what is asked
        return f"{type(error).__name__}: {error}"
    return None


def _error_of_name(dotted: str) -> str | None:
    module, _, name = dotted.rpartition(".")
    if (error := _error_of_import(module)) is not None:
        return error
    try:
        getattr(sys.modules[module], name)
    except BaseException as error:  # noqa: BLE001 - libraries load themselves lazily, with all that can go wrong
        return f"{type(error).__name__}: {error}"
    return None


def _fields(dotted: str) -> list[str]:
    module, _, name = dotted.rpartition(".")
    if _error_of_name(dotted) is not None:
        return []
    return [field.name for field in dataclasses.fields(getattr(sys.modules[module], name))]


def _keys(dotted: str) -> list[str]:
    module, _, name = dotted.rpartition(".")
    return [] if _error_of_name(dotted) is not None else sorted(map(str, getattr(sys.modules[module], name)))


def _error_of_cuda() -> str | None:
    try:
        import torch

        return None if torch.cuda.is_available() else "torch.cuda.is_available() is False"
    except BaseException as error:  # noqa: BLE001 - as above
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    _here = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120 - as Python itself fills sys.path[0]
    sys.path[:] = [entry for entry in sys.path if entry != _here]
    _report = report(**json.loads(sys.argv[1]))
    # A line of its own, last, whatever the libraries print.
    print("\n" + json.dumps(_report), flush=True)  # noqa: T201
    os._exit(0)  # what a library started must not keep the answer waiting

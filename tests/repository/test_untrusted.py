"""Nothing is unpickled or run that a file or a message holds, and JSON of others is read with care."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FORBIDDEN = {
    *("eval", "exec", "shelve.open", "marshal.load", "marshal.loads", "joblib.load", "torch.load"),
    *(
        f"{module}.{name}"
        for module in ("pickle", "dill", "cloudpickle")
        for name in ("load", "loads", "Unpickler")
    ),
    *(
        "numpy.fromfile",
        "pandas.read_pickle",
        "yaml.load",
        "yaml.load_all",
        "yaml.full_load",
        "yaml.unsafe_load",
    ),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "tarfile.open"),
}
ALLOWED = {
    ("harness/drift/faults/planting.py", "exec"),  # a fault is a change of an engine's own text, written here
}
ARRAYS = {"numpy.load", "numpy.lib.format.read_array"}

# Rooms and files that read what others wrote; who writes a model's folder is trusted as far as its engine.
OUTSIDE = (
    "bundles/container.py", "bundles/opening.py", "cases/", "engines/api_server/client.py", "noise/kept.py",
    "recordings/journal.py", "recordings/packing.py", "snapshots/files.py", "workers/protocol.py",
)  # fmt: skip


def modules() -> Iterator[Path]:
    yield from sorted((ROOT / "harness").rglob("*.py"))


def names_of(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {each.asname or each.name.partition(".")[0]: each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    return found


def called(node: ast.Call, names: dict[str, str]) -> str:
    """The full name of what is called, as far as it is one."""
    parts, at = [], node.func
    while isinstance(at, ast.Attribute):
        parts.append(at.attr)
        at = at.value
    if not isinstance(at, ast.Name):
        return ""
    return ".".join([names.get(at.id, at.id), *reversed(parts)])


def unsafe(text: str, file: str) -> list[str]:
    """Lines that unpickle, run, or might."""
    tree, found = ast.parse(text), []
    names = names_of(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = called(node, names)
        refused = any(
            each.arg == "allow_pickle" and isinstance(each.value, ast.Constant) and each.value.value is False
            for each in node.keywords
        )
        shell = any(each.arg == "shell" for each in node.keywords)
        if (name in FORBIDDEN and (file, name) not in ALLOWED) or (name in ARRAYS and not refused) or shell:
            found.append(f"{file}:{node.lineno}: {name or 'shell'}")
    return found


def uncaught(text: str, file: str) -> list[str]:
    """Lines that read JSON where nothing catches what is nested too deep for Python's reader."""
    tree = ast.parse(text)
    names, safe = names_of(tree), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Try):
            caught = {
                each.id
                for one in node.handlers
                if one.type
                for each in ast.walk(one.type)
                if isinstance(each, ast.Name)
            }
            if caught & {"RecursionError", "Exception"}:
                safe |= {each for part in node.body for each in ast.walk(part)}
        if isinstance(node, ast.With) and any("RecursionError" in ast.dump(item) for item in node.items):
            safe |= {each for part in node.body for each in ast.walk(part)}
    return [
        f"{file}:{node.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and called(node, names) in ("json.load", "json.loads")
        and node not in safe
    ]


def test_nothing_unpickles_or_runs_what_it_reads() -> None:
    found = [line for file in modules() for line in unsafe(file.read_text(), str(file.relative_to(ROOT)))]
    assert found == []


def test_json_of_others_may_be_nested_as_deep_as_it_likes() -> None:
    for file in modules():
        own = str(file.relative_to(ROOT))
        if str(file.relative_to(ROOT / "harness")).startswith(OUTSIDE):
            found = uncaught(file.read_text(), own)
            assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle; pickle.loads(b'')",
        "from pickle import load as x; x(1)",
        "import torch; torch.load('x')",
        "import numpy as np; np.load('x')",
        "import numpy as np; np.load('x', allow_pickle=True)",
        "import yaml; yaml.load('x', yaml.Loader)",
        "eval('1')",
        "import subprocess; subprocess.run('x', shell=True)",
    ],
)
def test_it_would_be_noticed(line: str) -> None:
    assert len(unsafe(line, "x.py")) == 1


def test_uncaught_json_would_be_noticed() -> None:
    text = "import json\ntry:\n    json.loads('')\nexcept ValueError:\n    pass\n"
    assert uncaught(text, "x.py") == ["x.py:3"]
    assert uncaught(text.replace("ValueError", "(ValueError, RecursionError)"), "x.py") == []

"""The source files that make an engine's answer: what it imports, read from the text and never run.

Of the worker, what loads the engine and hands its answers over; of the engines, the one that answers, with
all that it imports, within functions too; of a file of the user's, that file and what it imports from beside
it. What only a type checker imports is left out, and other libraries are: `harness.workers.probe` tells them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from harness.engines.api_server.running import is_running_server
from harness.engines.contract import EngineSettings
from harness.engines.interpreted_kernels.card import is_interpreted
from harness.workers.serving import ENGINE_MODULES

__all__ = ["engine_sources", "sources_beside"]

_PACKAGE = "harness"
_WORKER = "harness.workers.serving"
# Lists of what two packages offer to the parent, what to do where a module or a GPU is missing, and names.
_NO_ANSWER = {"harness", "harness.workers", "harness.engines.requirements"}
_NO_ANSWER |= {"harness.machine", "harness.machine.nvidia", "harness.machine.processor"}
_NO_ANSWER |= {"harness.workers.tracing"}  # looks at what an engine holds, and never answers for it
_ON_CPU = "harness.engines.lmdeploy_on_cpu"
_INTERPRETED = "harness.engines.interpreted_kernels.installing"
_NEVER = {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
_STARTED = "harness.engines.api_server.lmdeploy_script"


class _Module(NamedTuple):
    file: Path
    is_package: bool


def engine_sources(settings: EngineSettings, *, root: Path | None = None) -> dict[str, Path]:
    """Our own modules that shape this engine's answers, by their names below the package, with their files.

    Of a kind that is the path of a ``.py`` file, that file and what it imports from beside it are among them,
    by their paths from its folder. ``root`` is the folder of the package. Raises OSError.
    """
    root = Path(__file__).parents[1] if root is None else root
    starts = [_WORKER]
    own: dict[str, Path] = {}
    if settings.kind in ENGINE_MODULES:
        starts.append(ENGINE_MODULES[settings.kind])
    elif settings.kind.endswith(".py"):
        own, imported = _beside(Path(settings.kind), root)
        starts += imported
    ours = not is_running_server(settings)
    if settings.kind == "api" and ours:
        starts.append(_STARTED)

    def find(name: str) -> _Module | None:
        on_cpu = ours and settings.device == "cpu"
        left = () if is_interpreted(settings) else (_INTERPRETED,) if on_cpu else (_INTERPRETED, _ON_CPU)
        return None if f"{name}.".startswith(tuple(f"{each}." for each in left)) else _in_package(name, root)

    found = _closure(starts, find)
    return {name.removeprefix(f"{_PACKAGE}."): file for name, file in found.items()} | own


def sources_beside(file: Path) -> dict[str, Path]:
    """A Python file with all that it imports from beside it, and from us; as `engine_sources`."""
    root = Path(__file__).parents[1]
    own, starts = _beside(file, root)
    found = _closure(starts, lambda name: _in_package(name, root))
    return {name.removeprefix(f"{_PACKAGE}."): path for name, path in found.items()} | own


def _beside(file: Path, root: Path) -> tuple[dict[str, Path], list[str]]:
    """The files from beside ``file``, by their paths from its folder, and the modules of ours they import."""
    ours: list[str] = []

    def find(name: str) -> _Module | None:
        if name == "":
            return _Module(file, is_package=True)  # so that `from . import x` is what lies beside it
        if name.partition(".")[0] == _PACKAGE:
            if _in_package(name, root) is not None:
                ours.append(name)
            return None
        return _find(name, file.parent)

    found = _closure([""], find)
    return {path.relative_to(file.parent).as_posix(): path for path in found.values()}, ours


def _closure(starts: list[str], find: Callable[[str], _Module | None]) -> dict[str, Path]:
    """All modules that ``starts`` import in any number of steps, with their packages, as found."""
    found: dict[str, Path] = {}
    seen: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        parent = name.rpartition(".")[0]
        if parent:
            waiting.append(parent)
        if (module := find(name)) is None:
            continue
        found[name] = module.file
        waiting += _imports(module.file.read_bytes(), name, module.is_package)
    return dict(sorted(found.items()))


def _in_package(name: str, root: Path) -> _Module | None:
    first, _, rest = name.partition(".")
    if first != _PACKAGE or name in _NO_ANSWER:
        return None
    return _find(rest, root)


def _find(name: str, folder: Path) -> _Module | None:
    path = folder.joinpath(*name.split("."))
    for file, is_package in ((path / "__init__.py", True), (path.with_name(f"{path.name}.py"), False)):
        if file.is_file():
            return _Module(file, is_package)
    return None


@lru_cache(maxsize=512)
def _imports(source: bytes, name: str, is_package: bool) -> tuple[str, ...]:
    """What a module's text imports when it runs; names from within modules too, which are no files."""
    package = name if is_package else name.rpartition(".")[0]
    try:
        return tuple(dict.fromkeys(_imported(ast.parse(source), package)))
    except (SyntaxError, ValueError):  # the worker says what is wrong with it
        return ()


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in _NEVER:
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".") if package else []
            start = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (start, node.module)))
            yield module
            yield from (f"{module}.{alias.name}".lstrip(".") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value.lstrip(".")

"""Which of our own files an engine's answers go through: those count, and no others."""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.engines.contract import EngineSettings
from harness.recordings.sources import engine_sources, sources_beside
from harness.workers.serving import ENGINE_MODULES

PACKAGE = Path(harness.__file__).parent


def settings(kind: str, device: str = "cpu", **options: str | bool) -> EngineSettings:
    return EngineSettings(
        kind=kind, model="m", dtype="auto", device=device, paths=(), top_k=0, batch_size=1, options=options
    )


ENGINES = {
    "torch": settings("torch"),
    "torch on a GPU": settings("torch", "cuda"),
    "lmdeploy": settings("lmdeploy"),
    "lmdeploy on a GPU": settings("lmdeploy", "cuda"),
    "interpreted": settings("lmdeploy", kernels="interpreted"),
    "served": settings("api", serve=True),
    "served on a GPU": settings("api", "cuda", serve=True),
    "running": settings("api", url="http://localhost:1"),
}
SERVERS = {"served", "served on a GPU", "running"}
LMDEPLOY = {"lmdeploy", "lmdeploy on a GPU", "interpreted"}
SERVED = {"served", "served on a GPU"}
# Who is to answer anew when the file changes.
FILES = {
    "distributions.py": set(ENGINES),
    "engines/__init__.py": set(ENGINES),
    "engines/requirements.py": set(),
    "engines/codec.py": set(ENGINES),
    "engines/torch_native/__init__.py": {"torch", "torch on a GPU"},
    "engines/torch_native/passes.py": {"torch", "torch on a GPU"},
    "engines/lmdeploy_pipeline/steps/access.py": LMDEPLOY,
    "engines/lmdeploy_pipeline/options.py": LMDEPLOY | SERVED,
    "engines/lmdeploy_on_cpu/specs.py": {"lmdeploy", "served", "interpreted"},
    "engines/lmdeploy_on_cpu/layers.py": {"lmdeploy", "served", "interpreted"},
    "engines/interpreted_kernels/card.py": LMDEPLOY,
    "engines/interpreted_kernels/stand_ins.py": {"interpreted"},
    "engines/interpreted_kernels/backend.py": {"interpreted"},
    "engines/api_server/tokens.py": SERVERS,
    "engines/api_server/lmdeploy_script.py": SERVED,
    "workers/serving.py": set(ENGINES),
    "workers/rows.py": set(ENGINES),
    "workers/supervisor.py": set(),
    "workers/__init__.py": set(),
    "recordings/fingerprint.py": set(),
    "recordings/sources.py": set(),
    "verdicts/judging.py": set(),
    "cli.py": set(),
    "__init__.py": set(),
}


def hashes(engine: EngineSettings, root: Path) -> dict[str, str]:
    return {
        name: hashlib.sha256(file.read_bytes()).hexdigest()
        for name, file in engine_sources(engine, root=root).items()
    }


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copy") / "harness"
    shutil.copytree(PACKAGE, root, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.mark.parametrize("name", FILES)
def test_a_file_counts_for_the_engines_that_go_through_it(copy: Path, name: str) -> None:
    before = {engine: hashes(each, copy) for engine, each in ENGINES.items()}
    text = (copy / name).read_text(encoding="utf-8")
    (copy / name).write_text(f"{text}\n# a comment\n", encoding="utf-8")
    after = {engine: hashes(each, copy) for engine, each in ENGINES.items()}
    (copy / name).write_text(text, encoding="utf-8")
    assert {engine for engine in ENGINES if before[engine] != after[engine]} == FILES[name]


def test_a_module_in_a_sub_folder_counts_from_when_it_is_imported(copy: Path) -> None:
    engine = copy / "engines" / "torch_native" / "engine.py"
    text = engine.read_text(encoding="utf-8")
    inner = engine.parent / "inner" / "deep.py"
    inner.parent.mkdir()
    inner.write_text("X = 1\n", encoding="utf-8")
    (inner.parent / "__init__.py").touch()
    before = set(engine_sources(ENGINES["torch"], root=copy))
    engine.write_text(
        f"{text}\n\ndef late() -> None:\n    from .inner import deep\n\n    deep.X\n", encoding="utf-8"
    )
    found = set(engine_sources(ENGINES["torch"], root=copy)) - before
    engine.write_text(text, encoding="utf-8")
    assert found == {"engines.torch_native.inner", "engines.torch_native.inner.deep"}


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("import harness.gate.history", True),
        ("from harness.gate import history", True),
        ("from harness.gate.history import named", True),
        ("from ...gate import history", True),
        ("import importlib\nimportlib.import_module('harness.gate.history')", True),
        ("def f():\n    import harness.gate.history", True),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import harness.gate.history", False),
        ("import typing\nif typing.TYPE_CHECKING:\n    import harness.gate.history", False),
        ("if TYPE_CHECKING:\n    ...\nelse:\n    import harness.gate.history", True),
        ("'import harness.gate.history'", False),
        ("# import harness.gate.history", False),
    ],
)  # fmt: skip
def test_every_way_to_import_is_seen_that_runs(copy: Path, line: str, counts: bool) -> None:
    module = copy / "engines" / "torch_native" / "passes.py"
    text = module.read_text(encoding="utf-8")
    (copy / "gate" / "history.py").write_text("named = 1\n", encoding="utf-8")
    module.write_text(f"{text}\n{line}\n", encoding="utf-8")
    found = engine_sources(ENGINES["torch"], root=copy)
    module.write_text(text, encoding="utf-8")
    assert ("gate.history" in found) == counts


@pytest.mark.parametrize("kind", sorted(ENGINE_MODULES))
@pytest.mark.engines
def test_what_a_worker_really_imports_is_among_them(kind: str) -> None:
    code = (
        f"import json, sys, {ENGINE_MODULES[kind]}, harness.workers.serving\n"
        "print(json.dumps([name for name in sys.modules if name.startswith('harness.engines')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.removeprefix("harness.") for name in json.loads(done.stdout)}
    assert "engines.contract" in loaded
    served = settings(kind, serve=True) if kind == "api" else settings(kind)
    assert loaded - {"engines.requirements"} <= set(engine_sources(served))


def test_nothing_that_shapes_no_answer_is_among_them() -> None:
    for engine in ENGINES.values():
        for name in engine_sources(engine):
            assert name.partition(".")[0] in ("distributions", "engines", "errors", "git_lfs", "workers"), (
                name
            )
            assert not name.startswith(("engines.taps", "engines.options", "workers.interpreter")), name


def test_what_is_left_out_of_the_workers_only_lists_names() -> None:
    tree = ast.parse((PACKAGE / "workers" / "__init__.py").read_text(encoding="utf-8"))
    docstring, *rest = tree.body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(node, ast.ImportFrom | ast.Assign) for node in rest)


def test_an_engine_of_the_users_counts_with_what_it_imports(tmp_path: Path) -> None:
    engine = tmp_path / "my_engine.py"
    engine.write_text(
        "from helping.words import X\nfrom harness.engines.readings import Reading\nimport json\n"
    )
    (tmp_path / "helping").mkdir()
    for name in ("helping/__init__.py", "helping/words.py", "helping/unused.py", "unused.py"):
        (tmp_path / name).write_text("X = 1\n")
    found = engine_sources(settings(str(engine)))
    assert {name for name in found if name.endswith(".py")} == {
        "my_engine.py",
        "helping/__init__.py",
        "helping/words.py",
    }
    assert {"workers.serving", "engines.readings", "distributions"} <= set(found)
    assert not [name for name in found if "torch_native" in name]


def test_a_patch_counts_with_what_it_imports(tmp_path: Path) -> None:
    patch = tmp_path / "patch.py"
    patch.write_text("import torch\nfrom .near import x\nimport helper\n")
    for name in ("near.py", "helper.py", "unused.py"):
        (tmp_path / name).write_text("")
    assert sorted(sources_beside(patch)) == ["helper.py", "near.py", "patch.py"]
    patch.write_text("no Python at all")
    assert sorted(sources_beside(patch)) == ["patch.py"]

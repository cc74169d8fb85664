from __future__ import annotations

import configparser
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from harness.errors import EngineError, ErrorKind
from harness.workers import interpreter_report, probe
from harness.workers.interpreter import toolkit
from tests.workers.conftest import Workers


def run_probe(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return probe(sys.executable, *args, **kwargs)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable package that must not be imported."""
    folder = tmp_path / "path" / "painted"
    (folder / "inner").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('imported')\n")
    (folder / "inner" / "shapes.py").write_text("RED = 1\n")
    (folder / "data.bin").write_bytes(b"0")
    (folder / "inner" / "_shapes.cpython-311.so").write_bytes(b"kernel A")
    monkeypatch.setenv("PYTHONPATH", str(folder.parent))
    return folder


def test_an_interpreter_and_its_machine_are_described() -> None:
    report = run_probe(["numpy", "surely-not-there"])
    assert report["python"] == platform.python_version()
    assert report["implementation"] == "CPython"
    assert report["platform"] == f"{platform.system()} {platform.machine()}"
    assert report["processor"]
    assert report["cores"] == len(os.sched_getaffinity(0))
    assert report["packages"]["numpy"] == importlib.metadata.version("numpy")
    assert report["packages"]["surely-not-there"] is None


def test_sources_are_hashed_without_being_imported(package: Path) -> None:
    assert set(run_probe([], sources=["painted", "missing"])["sources"]) == {"painted", "missing"}
    assert run_probe([], sources=["missing"])["sources"]["missing"] is None
    assert len(run_probe([], sources=["painted"])["sources"]["painted"]) == 64


def test_the_hash_follows_the_sources_and_nothing_else(package: Path, tmp_path: Path) -> None:
    def digest() -> str:
        report = run_probe([], sources=["painted"], cache=tmp_path / "cache")
        return str(report["sources"]["painted"])

    first = digest()
    (package / "data.bin").write_bytes(b"1")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "generated.py").write_text("")
    os.utime(package / "inner" / "shapes.py")
    os.utime(package / "inner" / "_shapes.cpython-311.so")
    assert digest() == first

    shapes = package / "inner" / "shapes.py"
    times = shapes.stat()
    shapes.write_text("RED = 2\n")
    os.utime(shapes, ns=(times.st_atime_ns, times.st_mtime_ns))
    edited = digest()
    assert edited != first, "an edit that keeps size and time is seen"

    shapes.rename(shapes.with_name("forms.py"))
    assert digest() not in {first, edited}


@pytest.mark.parametrize("name", ["_shapes.cpython-311.so", "libshapes.so.1.2", "shapes.pyd", "shapes.cu"])
def test_native_code_counts(package: Path, tmp_path: Path, name: str) -> None:
    library = package / "inner" / name
    library.write_bytes(b"kernel A")
    cache = tmp_path / "cache"
    before = run_probe([], sources=["painted"], cache=cache)["sources"]["painted"]
    times = library.stat()
    library.write_bytes(b"kernel B")
    os.utime(library, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert run_probe([], sources=["painted"], cache=cache)["sources"]["painted"] != before


def test_a_hash_that_is_kept_is_not_made_again(package: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = run_probe([], sources=["painted"], cache=cache)["sources"]["painted"]
    (kept,) = cache.iterdir()
    signature, _, digest = kept.read_text().partition(" ")
    assert digest == first
    kept.write_text(f"{signature} from-the-cache")
    assert run_probe([], sources=["painted"], cache=cache)["sources"]["painted"] == "from-the-cache"
    kept.write_bytes(b"\xff broken")
    assert run_probe([], sources=["painted"], cache=cache)["sources"]["painted"] == first


COUNTING = (
    "DEEPEP_X", "DG_JIT_X", "HF_HUB_OFFLINE", "LD_LIBRARY_PATH", "LMDEPLOY_X", "MKL_DYNAMIC",
    "OMP_NUM_THREADS", "TM_GEMM_TUNE", "TOKENIZERS_X", "TORCHDYNAMO_DISABLE", "TRANSFORMERS_X", "TRITON_X",
    "USE_HUB_KERNELS",
)  # fmt: skip
SECRET = (
    "HF_HUB_TOKEN",
    "LMDEPLOY_API_KEY",
    "TORCH_SECRET",
    "OMP_PASSWORD",
    "TOKENIZERS_TOKEN",
    "TRITON_AUTH",
)
CHANGING_NOTHING = (
    "DG_JIT_CACHE_DIR", "EDITOR", "HF_HUB_CACHE", "NVIDIA_VISIBLE_DEVICES", "TMPDIR", "TMP_X",
    "TOKENIZERS_PARALLELISM", "TORCHINDUCTOR_CACHE_DIR", "TORCH_LOGS", "TRANSFORMERS_CACHE",
    "TRANSFORMERS_VERBOSITY", "TRITON_CACHE_DIR",
)  # fmt: skip


def test_variables_that_change_numerics_are_told_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in COUNTING:
        monkeypatch.setenv(name, "1")
    before = run_probe([])
    assert set(COUNTING) <= set(before["environment"])
    for name in (*SECRET, *CHANGING_NOTHING):
        monkeypatch.setenv(name, "/tmp" if name == "TMPDIR" else "hush")
    assert run_probe([]) == before


def test_a_file_that_a_variable_names_is_told_by_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = tmp_path / "kernels.bin"
    kernels.write_text("A")
    monkeypatch.setenv("TM_GEMM_IMPORT", str(kernels))
    before = run_probe([])["environment"]["TM_GEMM_IMPORT"]
    os.utime(kernels)
    assert run_probe([])["environment"]["TM_GEMM_IMPORT"] == before
    kernels.write_text("B")
    assert run_probe([])["environment"]["TM_GEMM_IMPORT"] != before


def test_tox_passes_on_every_variable_that_is_told() -> None:
    ini = configparser.ConfigParser()
    ini.read(Path(__file__).parents[2] / "tox.ini")
    passed = ini["testenv:harness"]["pass_env"].split()
    names = (*interpreter_report.NAMES, *(f"{start}X" for start in interpreter_report.PREFIXES))
    lacking = [name for name in names if not any(fnmatchcase(name, pattern) for pattern in passed)]
    assert lacking == []


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes a distribution of a version that requires others, where the interpreter finds it first."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))

    def write(name: str, version: str, *requires: str, record: str = "") -> None:
        for old in folder.glob(f"{name}-*.dist-info"):
            shutil.rmtree(old)
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir()
        needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
        head = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{needs}"
        (info / "METADATA").write_text(f"{head}\nRequires-Dist: words-of-a-description\n")
        (info / "RECORD").write_text(record)

    write("lmdeploy", "0.99", "paint-brush[soft] (>=1)", 'hidden; extra == "all"', "Painted_Wall; x < '3'")
    write("paint_brush", "1", 'bristle ; extra == "soft"', 'steel ; extra == "hard"')
    for name in (
        "bristle",
        "hidden",
        "steel",
        "painted-wall",
        "words-of-a-description",
        "ruff-like",
        "flash_attn",
    ):
        write(name, "1")
    return write


def test_what_engines_require_counts_and_what_nobody_requires_does_not(site: Callable[..., None]) -> None:
    before = run_probe([])["packages"]
    assert before["lmdeploy"] == "0.99"
    required = {"paint-brush", "bristle", "painted-wall", "flash-attn"}
    assert required == {
        name
        for name in before
        if name in required | {"hidden", "steel", "ruff-like", "ruff", "pytest", "words-of-a-description"}
    }
    site("ruff-like", "2")
    assert run_probe([])["packages"] == before
    site("bristle", "2")
    site("flash_attn", "2.8.3")
    after = run_probe([])["packages"]
    assert {name for name in after if after[name] != before[name]} == {"bristle", "flash-attn"}


def test_torch_counts_by_what_its_installer_noted(site: Callable[..., None]) -> None:
    def digest(record: str) -> str:
        site("torch", "2.99", record=record)
        return str(run_probe([], sources=["torch"])["sources"]["torch"])

    noted = "torch/lib/libtorch.so,sha256=abc,5\n"
    before = digest(noted)
    assert digest(f"torch/a.pyc,,\n{noted}torch-2.99.dist-info/INSTALLER,sha256=x,3\n") == before
    assert digest(noted.replace("abc", "abd")) != before


def test_what_an_interpreter_prints_at_its_start_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('hello from sitecustomize')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert run_probe(["numpy"])["packages"]["numpy"]


def test_a_missing_interpreter_is_an_error_of_loading() -> None:
    with pytest.raises(EngineError, match="the interpreter /nowhere/python could not be started") as caught:
        probe("/nowhere/python")
    assert caught.value.kind is ErrorKind.LOAD


def test_a_program_that_gives_no_report_is_shown_with_its_words(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho '[]'\necho not a snake >&2\nexit 4\n")
    program.chmod(0o755)
    with pytest.raises(EngineError, match=r"no report on itself: exit code 4(?s:.*)not a snake"):
        probe(str(program))


def living(pid: str) -> bool:
    try:
        return "State:\tZ" not in Path("/proc", pid.strip(), "status").read_text()
    except OSError:
        return False


def test_an_interpreter_that_hangs_is_given_up_with_all_it_started(tmp_path: Path) -> None:
    program, started = tmp_path / "python", tmp_path / "started"
    program.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {started}\nwait\n")
    program.chmod(0o755)
    began = time.monotonic()
    with pytest.raises(EngineError, match=r"gave no report within 1 s of its last sign of life .* run again"):
        probe(str(program), seconds=1)
    assert time.monotonic() - began < 30
    assert Workers.soon(lambda: not living(started.read_text()))


def test_an_interpreter_that_shows_life_is_waited_for(tmp_path: Path) -> None:
    program = tmp_path / "python"
    lines = "".join(f'sleep 0.6; echo \'{{"progress": "{n} of 4"}}\'\n' for n in range(1, 5))
    program.write_text(f'#!/bin/sh\n{lines}echo \'{{"python": "3"}}\'\n')
    program.chmod(0o755)
    told: list[str] = []
    assert probe(str(program), seconds=2, show=told.append) == {"python": "3"}
    assert told == ["1 of 4", "2 of 4", "3 of 4", "4 of 4"]


def test_a_report_that_takes_long_shows_life(
    package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setattr(interpreter_report, "_TICK_SECONDS", -1)
    interpreter_report._source_hash("painted", None)
    told = [json.loads(line)["progress"] for line in capsys.readouterr().out.splitlines()]
    assert told[0].startswith("listing ")
    assert told[-1] == "hashing painted: 2 of 3 files"


@pytest.mark.parametrize(
    ("version", "cuda", "told"),
    [
        ("2.12.1+cu130", "'13.0'", ("2.12.1+cu130", "13.0")),
        ("2.6.0+cpu", "None", ("2.6.0+cpu", None)),
    ],
)
def test_what_torch_was_built_for_is_told_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, cuda: str, told: tuple[str, str | None]
) -> None:
    """The version.py that torch's build writes (tools/generate_torch_version.py)."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "torch" / "version.py").write_text(
        "from typing import Optional\n\n__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip']\n"
        f"__version__ = '{version}'\ndebug = False\ncuda: Optional[str] = {cuda}\nhip: Optional[str] = None\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = toolkit(sys.executable)
    assert (found["torch"], found["cuda"]) == told
    assert found["python"] == platform.python_version()
    assert found["headers"] == Path(str(found["include"]), "Python.h").exists()


def test_an_interpreter_without_torch_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = toolkit(sys.executable)
    assert (found["torch"], found["cuda"]) == (None, None)

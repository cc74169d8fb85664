from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.errors import EngineError, ErrorKind
from harness.workers import find_model, probe


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
    monkeypatch.setenv("PYTHONPATH", str(folder.parent))
    return folder


def test_an_interpreter_and_its_machine_are_described() -> None:
    report = run_probe(["numpy", "surely-not-there"])
    assert report["python"] == platform.python_version()
    assert report["implementation"] == "CPython"
    assert report["platform"] == f"{platform.system()} {platform.machine()}"
    assert report["processor"]
    assert report["cores"] == len(os.sched_getaffinity(0))
    assert report["packages"] == {"numpy": importlib.metadata.version("numpy"), "surely-not-there": None}


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
    assert digest() == first

    shapes = package / "inner" / "shapes.py"
    times = shapes.stat()
    shapes.write_text("RED = 2\n")
    os.utime(shapes, ns=(times.st_atime_ns, times.st_mtime_ns))
    edited = digest()
    assert edited != first, "an edit that keeps size and time is seen"

    shapes.rename(shapes.with_name("forms.py"))
    assert digest() not in {first, edited}


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


def test_variables_that_change_numerics_are_told_and_secrets_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "OMP_NUM_THREADS",
        "MKL_DYNAMIC",
        "CUDA_VISIBLE_DEVICES",
        "LMDEPLOY_X",
        "TORCHDYNAMO_DISABLE",
    ):
        monkeypatch.setenv(name, "1")
    for name in ("HF_HUB_TOKEN", "LMDEPLOY_API_KEY", "NVIDIA_SECRET", "OMP_PASSWORD", "EDITOR"):
        monkeypatch.setenv(name, "hush")
    told = run_probe([])["environment"]
    assert {
        "OMP_NUM_THREADS",
        "MKL_DYNAMIC",
        "CUDA_VISIBLE_DEVICES",
        "LMDEPLOY_X",
        "TORCHDYNAMO_DISABLE",
    } <= set(told)
    assert "hush" not in told.values()


def test_gpus_are_read_from_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\n"
        '[ "$*" = "--query-gpu=name,driver_version --format=csv,noheader" ] || exit 1\n'
        "echo 'NVIDIA X1, 500.1'\necho 'NVIDIA X1, 500.1'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert run_probe([])["gpus"] == ["NVIDIA X1, 500.1"] * 2
    program.write_text("#!/bin/sh\necho 'could not communicate with the driver'\nexit 9\n")
    assert run_probe([])["gpus"] == []


def test_without_nvidia_smi_there_are_no_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_probe([])["gpus"] == []


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


def test_an_interpreter_that_hangs_is_given_up(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    with pytest.raises(EngineError, match=r"gave no report within 0\.2 s"):
        probe(str(program), seconds=0.2)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub's cache with one model in it, and no way to the hub itself."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = tmp_path / "hub" / "models--painters--tiny"
    snapshot = model / "snapshots" / ("c0ffee" * 6 + "c0ff")
    snapshot.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "blobs").mkdir()
    (model / "refs" / "main").write_text(snapshot.name)
    (snapshot / "config.json").write_text("{}")
    return snapshot


def test_a_model_that_is_there_is_found(hub: Path) -> None:
    expected = {"folder": str(hub), "revision": hub.name}
    assert find_model(sys.executable, "painters/tiny") == expected
    assert find_model(sys.executable, "painters/tiny", revision=hub.name) == expected


@pytest.mark.parametrize("lacking", ["config", "shard", "download"])
def test_half_a_model_is_none(hub: Path, lacking: str) -> None:
    if lacking == "config":
        (hub / "config.json").unlink()
    elif lacking == "shard":
        (hub / "model.safetensors.index.json").write_text('{"weight_map": {"w": "model-1.safetensors"}}')
    else:
        (hub.parent.parent / "blobs" / "abc.incomplete").touch()
    with pytest.raises(EngineError, match="model 'painters/tiny' cannot be had: its download was broken off"):
        find_model(sys.executable, "painters/tiny")


def test_a_model_that_cannot_be_had_is_named_with_its_revision(hub: Path) -> None:
    with pytest.raises(EngineError, match="model 'painters/other' at revision 'v9' cannot be had") as caught:
        find_model(sys.executable, "painters/other", revision="v9")
    assert caught.value.kind is ErrorKind.LOAD

"""The folder of wheels: LMDeploy without TurboMind's library, and no more than may travel."""

from __future__ import annotations

import importlib.util
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import pack
from benchmarks.gpu.pack import download_command, main, slim, tree_bytes

MEMBERS = {
    "lmdeploy/turbomind/lib/_turbomind.so": b"x" * 5000,
    "lmdeploy/turbomind/turbomind.py": b"import _turbomind\n",
    "lmdeploy/pytorch/engine.py": b"pass\n",
    "lmdeploy-0.18.0.dist-info/RECORD": (
        b"lmdeploy/turbomind/lib/_turbomind.so,sha256=1,5000\n"
        b"lmdeploy/turbomind/turbomind.py,sha256=2,18\n"
        b"lmdeploy/pytorch/engine.py,sha256=3,5\n"
        b"lmdeploy-0.18.0.dist-info/RECORD,,\n"
    ),
}


def wheel(folder: Path, name: str = "lmdeploy-0.18.0-cp312-cp312-manylinux2014_x86_64.whl") -> Path:
    with zipfile.ZipFile(folder / name, "w") as archive:
        for member, content in MEMBERS.items():
            archive.writestr(member, content)
    return folder / name


def test_slim_takes_the_library_and_its_record_alone(tmp_path: Path) -> None:
    path = wheel(tmp_path)
    slim(path)
    with zipfile.ZipFile(path) as archive:
        assert set(archive.namelist()) == set(MEMBERS) - {"lmdeploy/turbomind/lib/_turbomind.so"}
        record = archive.read("lmdeploy-0.18.0.dist-info/RECORD").decode().splitlines()
        assert [line.partition(",")[0] for line in record] == [
            "lmdeploy/turbomind/turbomind.py",
            "lmdeploy/pytorch/engine.py",
            "lmdeploy-0.18.0.dist-info/RECORD",
        ]
    assert list(tmp_path.iterdir()) == [path]


def test_each_wheel_by_itself_for_the_image(tmp_path: Path) -> None:
    command = download_command(tmp_path, ["lmdeploy==0.18.0", "fire"])
    assert {"--no-deps", "--only-binary=:all:", "--python-version=3.12", "lmdeploy==0.18.0"} <= set(command)
    assert command[-4:] == ["--dest", str(tmp_path), "lmdeploy==0.18.0", "fire"]
    asked = (*pack._LMDEPLOY, *pack._HARNESS)
    assert not any(name.startswith(("torch", "transformers", "triton")) for name in asked)


def test_the_tree_is_what_git_knows(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("*.whl\n")
    (tmp_path / "source.py").write_bytes(b"x" * 100)
    (tmp_path / "large.whl").write_bytes(b"x" * 10_000)
    assert tree_bytes(tmp_path) == 100 + len("*.whl\n")


@pytest.mark.parametrize(
    ("limit", "pip_status", "status", "said"),
    [(10**9, 0, 0, "1 wheels"), (10, 0, 1, "allowed: 0 MiB"), (10**9, 1, 1, "pip ended with status 1")],
    ids=["fits", "too large", "pip fails"],
)
def test_what_it_makes_and_says(
    limit: int,
    pip_status: int,
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "old-1.0.whl").write_text("left from before")

    def stand_in_pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        wheel(folder)
        return subprocess.CompletedProcess(command, pip_status)

    monkeypatch.setattr(pack, "tree_bytes", lambda _: 0)
    monkeypatch.setattr(pack, "LIMIT_BYTES", limit)
    monkeypatch.setattr(subprocess, "run", stand_in_pip)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    assert main([str(folder)]) == status
    printed = capsys.readouterr()
    assert said in printed.out + printed.err
    assert not (folder / "old-1.0.whl").exists()
    assert (folder / ".gitignore").read_text().endswith("*\n")


def test_turbomind_is_packed_apart_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []

    def stand_in_pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        asked.append(command)
        wheel(tmp_path)
        (tmp_path / "nvidia_cuda_runtime_cu12-12.9.79.whl").write_bytes(b"")
        return subprocess.CompletedProcess(command, 0)

    def packed(lmdeploy: Path, runtime: Path, archive: Path) -> int:
        with zipfile.ZipFile(lmdeploy) as whole:
            assert "lmdeploy/turbomind/lib/_turbomind.so" in whole.namelist()  # not slimmed yet
        assert runtime.is_file()
        return archive.write_bytes(b"x" * 3 * 2**20)

    monkeypatch.setattr(pack, "tree_bytes", lambda _: 0)
    monkeypatch.setattr(subprocess, "run", stand_in_pip)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(pack, "pack_turbomind", packed)
    assert main(["--turbomind", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "TurboMind: 3.0 MiB" in said
    assert "1 wheels, 3.0 MiB in all" in said  # the runtime's wheel is not installed there
    assert asked[0][-1].startswith("nvidia-cuda-runtime-cu12==")
    assert main([str(tmp_path)]) == 0
    assert not (tmp_path / "turbomind.tar.xz").exists()


def test_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert main(["never made"]) == 1
    assert "has no pip" in capsys.readouterr().err

"""Runs that want a GPU at the same time. None is there: a stand-in of NVIDIA's library tells of two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.faults.ground import HERE, Ground, Ran, experiment

_NVIDIA = "NVIDIA's library; no GPU is there"
_PLUGIN = """
from harness.machine.nvidia import read_nvidia
from harness.workers import gpu_turn
from tests.machine.stand_in_nvml import GIB, Nvml

nvml = Nvml((("X1", "GPU-a"), ("X1", "GPU-b")), details={"memory": (80 * GIB, 79 * GIB)})
gpu_turn.read_nvidia = lambda: read_nvidia(library=lambda _: nvml)
"""
_REFUSES = '        if settings.device == "cuda":\n            raise EngineError('


def _two_runs(ground: Ground, *visible: str) -> tuple[str, list[tuple[str, str]]]:
    """Two runs on recordings of their own: what the first said, and who came and went in which order."""
    ground.patch(
        "        for request in requests:", "        time.sleep(1)\n        for request in requests:"
    )
    diary = ground.path / "diary"
    note = f"open({str(diary)!r}, 'a').write(os.environ['WHO'] + ' {{}}' + chr(10))"
    ground.patch(_REFUSES, f"        {note.format('in')}\n{_REFUSES.replace('cuda', 'no such')}")
    ground.patch('        """Nothing is held."""', f"        {note.format('out')}")
    (ground.path / "seen_gpus.py").write_text(_PLUGIN)
    profiles = ground.cases / "profiles.yaml"
    profiles.write_text(profiles.read_text().replace("dtype: float32", "dtype: float16\n    device: cuda"))

    def told(who: int) -> dict[str, str]:
        return {
            "WHO": str(who),
            "CUDA_VISIBLE_DEVICES": visible[who],
            "XDG_CACHE_HOME": str(ground.path / "cache"),
            "PYTHONPATH": f"{HERE}{os.pathsep}{ground.path}",
        }

    other: list[subprocess.Popen[str]] = []
    how = ("-p", "seen_gpus", "-q", "-k", "expected_letter and torch")

    def during(_: subprocess.Popen[str]) -> None:
        command = ["-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "harness.suite", "--cases=cases"]
        other.append(
            subprocess.Popen(
                [sys.executable, *command, *how, f"--recordings={Path('other')}"],
                cwd=ground.path,
                env={**os.environ, **told(1)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )

    ran = ground.pytest(*how, during=during, environ=told(0))
    output, _ = other[0].communicate(timeout=240)
    seen = ground.expect(ran, status=0, says=["passed"], passed=4)
    ground.expect(Ran(other[0].returncode, output, ()), status=0, says=["passed"], passed=4)
    lines = [line.split() for line in diary.read_text().splitlines()]
    return seen, [(who, what) for who, what in lines]


@experiment("two runs at once on one GPU", "one waits for the other; both pass", stand_in=_NVIDIA)
def two_on_one(ground: Ground) -> str:
    seen, diary = _two_runs(ground, "0", "0")
    first, second = diary[0][0], diary[-1][0]
    assert diary == [(first, "in"), (first, "out"), (second, "in"), (second, "out")], diary
    return seen


@experiment("two runs at once, each on a GPU of its own", "neither waits; both pass", stand_in=_NVIDIA)
def two_on_two(ground: Ground) -> str:
    seen, diary = _two_runs(ground, "0", "GPU-b")
    assert {what for _, what in diary[:2]} == {"in"}, diary
    return seen

"""What may happen to a worker in which LMDeploy's own engine runs, with the embedded model on a CPU."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.recordings.store import RecordingStore
from tests.faults.ground import HERE, Ground, experiment

_CASES, _COUNTS = 40, {"passed": 38, "xfailed": 2}
_MODEL = str(HERE / "cases" / "models" / "embedded")
_PASSES = ("-q", "-k", "expected_letter and lmdeploy")


def _real(ground: Ground, *, case: int = 60) -> None:
    """LMDeploy's pipeline and PyTorch on the embedded model and its suite of shapes, in batches of eight."""
    shutil.rmtree(ground.cases)
    shutil.copytree(HERE / "cases" / "images", ground.cases / "images")
    shutil.copy(HERE / "cases" / "shapes.yaml", ground.cases / "s.yaml")
    (ground.cases / "profiles.yaml").write_text(
        f"profiles:\n  p:\n    model: {_MODEL}\n    dtype: float32\n"
        f"    reference: torch\n    batch_size: 8\n    deadlines: {{load: 120, case: {case}}}\n"
        "    engines: {torch: {paths: [forward]}, lmdeploy: {paths: [two-stage, captured], top_k: 5}}\n"
    )


def _to_the_worker(ground: Ground, number: int) -> Callable[[subprocess.Popen[str]], None]:
    """Send a signal to the engine's process once it has handed over a batch."""

    def during(process: subprocess.Popen[str]) -> None:
        _some_are_kept(ground)
        (worker,) = _workers(process.pid)
        os.kill(worker, number)

    return during


def _some_are_kept(ground: Ground) -> None:
    end = time.monotonic() + 60
    while not ground.kept:
        assert time.monotonic() < end, "nothing was recorded"
        time.sleep(0.01)


def _workers(parent: int) -> list[int]:
    """The processes that the run started as workers."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(") ")[2].split()
            if b"workers/worker.py" in (entry / "cmdline").read_bytes() and int(fields[1]) == parent:
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


def _logprobs(ground: Ground) -> dict[str, list[float]]:
    """The letters' log-probabilities of what is kept of LMDeploy, by case."""
    store = RecordingStore(ground.path / ".harness")
    (file,) = (ground.path / ".harness" / "recordings").glob("lmdeploy-*.jsonl")
    kept = [one for one in map(store.get, store.answers(file.stem)) if one is not None]
    read = {one.case: one.answer.readings[0] for one in kept}
    return {case: [x - (seen.log_z or 0) for x in seen.letter_logits] for case, seen in read.items()}


def _goes_on(ground: Ground, *, least: int) -> None:
    """The same command makes the rest; answers are those of an undisturbed run, but for rounding."""
    assert least <= ground.kept < _CASES, f"{ground.kept} of {_CASES} were kept"
    ground.expect(ground.pytest(*_PASSES), status=0, says=["passed"], kept=_CASES, **_COUNTS)
    mended = _logprobs(ground)
    shutil.rmtree(ground.path / ".harness")
    ground.expect(ground.pytest(*_PASSES), status=0, says=["passed"], kept=_CASES, **_COUNTS)
    undisturbed = _logprobs(ground)
    assert mended.keys() == undisturbed.keys()
    for case, expected in undisturbed.items():
        assert mended[case] == pytest.approx(expected, abs=1e-4), (
            case
        )  # batches of one differ in the last bits


@experiment(
    "LMDeploy killed in a batch", "a new one answers the rest; ERROR of one case, asked again next time"
)
def killed(ground: Ground) -> str:
    _real(ground)
    ran = ground.pytest(*_PASSES, during=_to_the_worker(ground, signal.SIGKILL))
    seen = ground.expect(ran, status=1, says=["killed by signal 9"], kept=_CASES - 1, error=1, failed=0)
    _goes_on(ground, least=_CASES - 1)
    return seen


@experiment(
    "LMDeploy stopped in a batch", "the same at the deadline; no process is left, though it is stopped"
)
def stopped(ground: Ground) -> str:
    _real(ground, case=3)
    ran = ground.pytest(*_PASSES, during=_to_the_worker(ground, signal.SIGSTOP))
    # Of how many cases, eight as a rule, is as it happens: it may have handed over a part of the batch.
    return ground.expect(ran, status=1, says=["timeout: "], kept=_CASES - 1, error=1, failed=0)


@experiment(
    "Ctrl-C while LMDeploy answers",
    "exit status 2; what was handed over is kept, and a run goes on from there",
)
def interrupted(ground: Ground) -> str:
    _real(ground)

    def during(process: subprocess.Popen[str]) -> None:
        _some_are_kept(ground)
        os.killpg(process.pid, signal.SIGINT)

    ran = ground.pytest(*_PASSES, during=during)
    seen = ground.expect(ran, status=2, says=["recorded is kept"])
    _goes_on(ground, least=1)
    return seen


@experiment(
    "LMDeploy: the model's weights are cut off",
    "ERROR of all its cases, told once, with the command that names the file",
)
def half_copied(ground: Ground) -> str:
    _real(ground)
    model = ground.cases / "half"
    shutil.copytree(_MODEL, model)
    weights = next(model.glob("*.safetensors"))
    os.truncate(weights, weights.stat().st_size // 2)
    profiles = ground.cases / "profiles.yaml"
    profiles.write_text(profiles.read_text().replace(_MODEL, "half"))
    ran = ground.pytest(*_PASSES)
    seen = ground.expect(ran, status=1, says=["load: LMDeploy cannot load"], kept=0, error=_CASES, failed=0)
    assert ran.output.count("run again: ") == 1, ran.output
    assert "lack: harness profile check p" in ran.output, ran.output
    ground.expect(ground.harness("profile", "check", "p"), status=1, says=[f"{weights.name} has 1,"])
    return seen

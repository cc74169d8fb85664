"""A run that is stopped, two that run at once, and clocks that are wrong."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.ground import HERE, Ground, Ran, experiment

_PASSES = ("-q", "-k", "not snapshot")
_INIT = "        if settings.device =="
_SLOW = "            try:\n                yield Outcome"


def _slow(ground: Ground, cases: int, *, batch: int = 4) -> None:
    """Half a second a case."""
    ground.clean(cases)
    ground.patch(_SLOW, f"            time.sleep(0.5)\n{_SLOW}")
    file = ground.cases / "profiles.yaml"
    file.write_text(file.read_text().replace("dtype: float32", f"dtype: float32\n    batch_size: {batch}"))


def _until(met: Callable[[], bool], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def _stop(ground: Ground, *signals: int, kept: int) -> Callable[[subprocess.Popen[str]], None]:
    """Send ``signals`` to the run's processes, as a terminal does, once so many recordings are kept."""

    def during(process: subprocess.Popen[str]) -> None:
        log = ground.path / ".harness" / "logs" / "p-torch.log"
        _until(lambda: log.exists() and ground.kept >= kept)
        time.sleep(0.7)
        for number in signals:
            os.killpg(process.pid, number)
            time.sleep(0.2)

    return during


def _goes_on(ground: Ground, tests: int, *, least: int, **how: Any) -> None:
    """The same command makes what is missing only."""
    assert ground.kept >= least, f"{ground.kept} recordings are kept, not {least} or more"
    again = ground.pytest(*_PASSES, **how)
    ground.expect(again, status=0, says=["passed"], passed=tests)


@experiment("Ctrl-C", "exit status 2; what was answered is kept, and the same command goes on from there")
def interrupted(ground: Ground) -> str:
    _slow(ground, 12)
    ran = ground.pytest(*_PASSES, during=_stop(ground, signal.SIGINT, kept=4))
    seen = ground.expect(ran, status=2, says=["recorded is kept"])
    assert "passed" not in ran.output.splitlines()[-1], ran.output
    _goes_on(ground, 72, least=4)
    return seen


@experiment("Ctrl-C in the first batch", "exit status 2; it is said how many are kept: none")
def interrupted_at_once(ground: Ground) -> str:
    _slow(ground, 8, batch=8)
    ran = ground.pytest(*_PASSES, during=_stop(ground, signal.SIGINT, kept=0))
    return ground.expect(ran, status=2, says=["recorded is kept"])


@experiment("Ctrl-C twice", "nothing runs on, nothing passes; what was answered is kept")
def interrupted_twice(ground: Ground) -> str:
    _slow(ground, 12)
    ran = ground.pytest(*_PASSES, during=_stop(ground, signal.SIGINT, signal.SIGINT, kept=4))
    # The second one may hit pytest while it sums up, which it does not survive in good order.
    assert ran.status in (2, -signal.SIGINT, 1), ran
    assert not ran.left, ran.left
    assert " passed" not in ran.output, ran.output
    _goes_on(ground, 72, least=4)
    return f"exit status {ran.status}"


@experiment(
    "SIGTERM to pytest", "it ends with that signal's status; nothing runs on, what was answered is kept"
)
def terminated(ground: Ground) -> str:
    _slow(ground, 12)

    def during(process: subprocess.Popen[str]) -> None:
        _stop(ground, kept=4)(process)
        process.terminate()

    ran = ground.pytest(*_PASSES, during=during)
    assert ran.status in (-signal.SIGTERM, 128 + signal.SIGTERM), ran
    assert not ran.left, ran.left
    _goes_on(ground, 72, least=4)
    return f"ended by signal {signal.SIGTERM}"


@experiment("pytest killed", "nothing runs on; what was answered is kept; the next run clears up")
def killed(ground: Ground) -> str:
    _slow(ground, 12)
    (temporary := ground.path / "temporary").mkdir()
    environ = {"TMPDIR": str(temporary)}

    def during(process: subprocess.Popen[str]) -> None:
        _stop(ground, kept=4)(process)
        process.kill()

    ran = ground.pytest(*_PASSES, during=during, environ=environ)
    assert not ran.left, ran.left
    assert [*temporary.glob("harness-modules-*")], "what is to be cleared up"
    _goes_on(ground, 72, least=4, environ=environ)
    assert not [*temporary.glob("harness-modules-*")]
    return "ended by signal 9"


@experiment("Ctrl-C, gate", "exit status 130; no verdict; the same command goes on from there")
def interrupted_gate(ground: Ground) -> str:
    _slow(ground, 12)
    ran = ground.harness("gate", "p", during=_stop(ground, signal.SIGINT, kept=4))
    seen = ground.expect(ran, status=130, says=["interrupted; what was recorded is kept"])
    assert "SAME" not in ran.output, ran.output
    ground.expect(ground.harness("gate", "p"), status=0, says=["SAME"])
    return seen


@experiment(
    "Ctrl-C, in bulk", "exit status 130; what was answered is kept, and the same command asks the rest"
)
def interrupted_bulk(ground: Ground) -> str:
    _slow(ground, 12)
    ran = ground.harness("run", during=_stop(ground, signal.SIGINT, kept=4))
    seen = ground.expect(ran, status=130, says=["recorded is kept"])
    again = ground.harness("run")
    ground.expect(again, status=1, says=["24 for want of an accepted answer"], kept=24)
    unchanged = re.search(r"p-torch: (\d+) recorded, (\d+) unchanged", again.output)
    assert unchanged is not None
    made, kept = map(int, unchanged.groups())
    assert kept >= 4, again.output
    assert made + kept == 12, again.output
    return seen


@experiment("two runs at once on one folder", "both pass; nothing is made twice, nothing is lost")
def two_at_once(ground: Ground) -> str:
    _slow(ground, 6)
    other: list[subprocess.Popen[str]] = []

    def during(_: subprocess.Popen[str]) -> None:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "harness.suite"]
        other.append(
            subprocess.Popen(
                [*command, "--cases=cases", *_PASSES],
                cwd=ground.path,
                env={**os.environ, "PYTHONPATH": str(HERE)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )

    ran = ground.pytest(*_PASSES, during=during)
    output, _ = other[0].communicate(timeout=240)
    seen = ground.expect(ran, status=0, says=["passed"], passed=36, kept=12)
    ground.expect(Ran(other[0].returncode, output, ()), status=0, says=["passed"], passed=36, kept=12)
    lines = [
        line
        for file in (ground.path / ".harness" / "recordings").glob("*.jsonl")
        for line in file.read_text().splitlines()
        if '"like":' in line
    ]
    assert len(lines) == 12, f"{len(lines)} answers were written for 12 cases"
    return seen


@experiment("clock set back, another time zone", "@previous is the run stored before, whatever clocks said")
def clocks(ground: Ground) -> str:
    sources = []
    for place, zone in enumerate(("Pacific/Kiritimati", "Etc/GMT+12", "UTC")):
        ground.stand_in.write_text(f"{ground.stand_in.read_text()}# {place}\n")
        sources.append(hashlib.sha256(ground.stand_in.read_bytes()).hexdigest()[:12])
        ground.expect(ground.pytest(*_PASSES, environ={"TZ": zone}), status=0, says=["passed"])
    ran = ground.harness("gate", "--baseline", "p/torch@previous", "--candidate", "p/torch")
    return ground.expect(ran, status=0, says=[f"{sources[1]} → {sources[2]}", "SAME"])


@experiment(
    "model changed after it was loaded", "its answers are those of the model that was loaded; they are kept"
)
def model_changed_later(ground: Ground) -> str:
    weights = Path(ground.cases, "m", "model.safetensors")
    _slow(ground, 8)

    def during(_: subprocess.Popen[str]) -> None:
        _until(lambda: ground.kept >= 4)
        weights.write_text("another")

    ran = ground.pytest(*_PASSES, "-k", "expected_letter and torch", during=during)
    seen = ground.expect(ran, status=0, says=["passed"], kept=8)
    again = ground.pytest(*_PASSES, "-k", "expected_letter and torch")
    ground.expect(again, status=0, says=["passed"], kept=16)
    return seen


@experiment("model changed while it is loaded", "ERROR of all its cases, told once; nothing is kept of it")
def model_changed(ground: Ground) -> str:
    write = "open(os.path.join(settings.model, 'model.safetensors'), 'a').write('x')"
    ground.patch(_INIT, f"        if settings.kind == 'lmdeploy':\n            {write}\n{_INIT}")
    ran = ground.pytest(*_PASSES)
    seen = ground.expect(ran, status=1, says=["model.safetensors of", "changed while the engine was started"])
    assert ran.output.count("changed while the engine was started") == 1, ran.output
    assert ground.kept == 4, ground.kept  # torch's, which went before
    return seen


@experiment(
    "image changed before it was asked about", "ERROR of its case; nothing is kept under the old image's key"
)
def image_changed(ground: Ground) -> str:
    from PIL import Image

    image = ground.cases / "a.png"
    Image.new("RGB", (8, 8)).save(image)
    ground.write_suite("say A 0", {"prompt": "say A 1", "image": "a.png"})
    paint = f"__import__('PIL.Image').Image.new('RGB', (8, 8), 'red').save({str(image)!r})"
    ground.patch(
        "        orders = re.sub(",
        f"        if request.images:\n            {paint}\n        orders = re.sub(",
    )
    ran = ground.pytest(*_PASSES, "-k", "expected_letter")
    return ground.expect(ran, status=1, says=["an image of s.c1 changed"], kept=2, error=2, passed=2)


@experiment("model's folder missing", "nothing is run; one message with file and line")
def model_missing(ground: Ground) -> str:
    (ground.cases / "m").rename(ground.cases / "elsewhere")
    ran = ground.pytest(*_PASSES)
    seen = ground.expect(ran, status=2, says=["cases/profiles.yaml:3:12", "which does not exist"], passed=0)
    assert ran.output.count("does not exist") == 1, ran.output
    return seen


@experiment("environment deleted under way", "ERROR of the cases that are left; those before are kept")
def environment_deleted(ground: Ground) -> str:
    _slow(ground, 8)
    own = ground.path / "python"
    own.symlink_to(sys.executable)
    file = ground.cases / "profiles.yaml"
    text = file.read_text().replace("      lmdeploy:\n", f"      lmdeploy:\n        python: {own}\n")
    assert str(own) in text
    file.write_text(text)
    ground.patch(
        '        if "die" in orders:', "        if 'A 5' in orders and self.settings.kind == 'lmdeploy':"
    )

    def during(_: subprocess.Popen[str]) -> None:
        _until(lambda: ground.kept >= 9)
        own.unlink()

    ran = ground.pytest(*_PASSES, during=during)
    return ground.expect(ran, status=1, says=["python"], failed=0)

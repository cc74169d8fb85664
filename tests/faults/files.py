"""What is kept, cut off or changed behind the harness's back."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from harness.recordings.journal import Journal
from tests.faults.ground import Ground, experiment

_PASSES = ("-q", "-k", "not snapshot")
_PLACES = 12  # of a file, in each experiment


def _made(ground: Ground, *arguments: str) -> None:
    ran = ground.pytest("-q", *(arguments or ("-k", "not snapshot")))
    ground.expect(ran, status=0, says=["passed"], kept=8)


def _only(folder: Path, pattern: str) -> Path:
    return min(folder.glob(pattern))


def _cut(content: bytes, place: int) -> bytes:
    return content[: len(content) * place // _PLACES]


def _flipped(content: bytes, place: int) -> bytes:
    at = min(len(content) - 1, len(content) * place // _PLACES + 7)
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


def _each(
    ground: Ground, find: Callable[[], Path], change: Callable[[bytes, int], bytes], look: Callable[[], str]
) -> str:
    """``look`` at what is made of the file changed at each place; it is put back in between."""
    seen = ""
    for place in range(_PLACES):
        file = find()
        whole = file.read_bytes()
        file.write_bytes(change(whole, place))
        seen = look()
        if find().exists():
            file.write_bytes(whole)
    return seen


def _recordings(ground: Ground, change: Callable[[bytes, int], bytes]) -> str:
    _made(ground)

    def look() -> str:
        # What is lost is made again, and what is there is never another answer.
        ran = ground.pytest(*_PASSES)
        return ground.expect(ran, status=0, says=["24 passed"], failed=0, error=0)

    return _each(ground, lambda: _only(ground.path / ".harness" / "recordings", "torch*.jsonl"), change, look)


@experiment("recordings cut off", "what is lost is made again; all tests pass")
def recordings_cut(ground: Ground) -> str:
    return _recordings(ground, _cut)


@experiment("recordings with a flipped bit", "the line is left out and made again; all tests pass")
def recordings_flipped(ground: Ground) -> str:
    return _recordings(ground, _flipped)


def _rows(ground: Ground, change: Callable[[bytes, int], bytes]) -> str:
    _made(ground, "-k", "not snapshot", "--keep-logits")

    def look() -> str:
        (ground.path / ".harness" / "metrics.jsonl").unlink(missing_ok=True)
        ran = ground.pytest(*_PASSES, "--keep-logits")
        return ground.expect(ran, status=0, says=["24 passed"], failed=0, error=0)

    return _each(ground, lambda: _only(ground.path / ".harness" / "rows", "torch*.npy"), change, look)


@experiment("a kept row cut off", "it is made again; all tests pass")
def rows_cut(ground: Ground) -> str:
    return _rows(ground, _cut)


@experiment("a kept row with a flipped bit", "it is made again; all tests pass")
def rows_flipped(ground: Ground) -> str:
    return _rows(ground, _flipped)


def _runs(ground: Ground, change: Callable[[bytes, int], bytes]) -> str:
    _made(ground)
    ground.stand_in.write_text(ground.stand_in.read_text() + "# another engine by its source\n")
    ground.expect(ground.pytest(*_PASSES), status=0, says=["passed"], kept=16)
    previous = ("gate", "--baseline", "p/torch@previous", "--candidate", "p/torch")
    whole = ground.harness(*previous)
    ground.expect(whole, status=0, says=["SAME"])
    name = re.search(r"baseline: (p/torch@\S+)", whole.output)
    assert name is not None, whole.output

    def look() -> str:
        ran = ground.harness(*previous)
        assert ran.status in (0, 2), ran.output
        return ground.expect(ran, status=ran.status, says=["no such stored run" if ran.status else name[1]])

    return _each(ground, lambda: ground.path / ".harness" / "runs.jsonl", change, look)


@experiment("stored runs cut off", "a run that is lost is named as not there; never another one")
def runs_cut(ground: Ground) -> str:
    return _runs(ground, _cut)


@experiment("stored runs with a flipped bit", "the damaged line is told; never another run")
def runs_flipped(ground: Ground) -> str:
    return _runs(ground, _flipped)


def _snapshots(ground: Ground, change: Callable[[bytes, int], bytes]) -> str:
    _made(ground, "--snapshot-update")

    def look() -> str:
        ran = ground.pytest("-q")
        return ground.expect(ran, status=1, says=["s.jsonl"], error=0)

    return _each(ground, lambda: ground.path / "snapshots" / "p" / "torch" / "s.jsonl", change, look)


@experiment("snapshots cut off", "the tests of the file fail, and name it")
def snapshots_cut(ground: Ground) -> str:
    return _snapshots(ground, _cut)


@experiment("snapshots with a flipped bit", "the tests of the file fail, and name it")
def snapshots_flipped(ground: Ground) -> str:
    return _snapshots(ground, _flipped)


@experiment("snapshots of a newer format", "the tests fail, and say which version is read")
def newer_snapshots(ground: Ground) -> str:
    _made(ground, "--snapshot-update")
    file = ground.path / "snapshots" / "p" / "torch" / "s.jsonl"
    file.write_text(re.sub(r'"version": ?\d+', '"version": 99', file.read_text(), count=1))
    return ground.expect(ground.pytest("-q"), status=1, says=["99"], error=0)


@experiment("recordings of a newer format", "the run ends with one message, and how to move them aside")
def newer_recordings(ground: Ground) -> str:
    _made(ground)
    file = _only(ground.path / ".harness" / "recordings", "torch*.jsonl")
    _, _, rest = file.read_bytes().partition(b"\n")
    other = file.with_name("other")
    Journal(other, format_name="vlm-harness recordings", version=99).append("k", {})
    head = other.read_bytes().partition(b"\n")[0]
    other.unlink()
    file.write_bytes(head + b"\n" + rest)
    ran = ground.pytest(*_PASSES)
    return ground.expect(ran, status=1, says=["version 99", "mv "])

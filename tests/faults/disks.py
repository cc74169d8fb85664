"""Disks that are full, and folders that cannot be written."""

from __future__ import annotations

from pathlib import Path

from tests.faults.ground import Ground, experiment, small_disk

_PASSES = ("-q", "-k", "not snapshot")


def _closed(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o555)
    return folder


@experiment("disk full, recordings", "the run ends with one message; what fitted stays valid")
def full_of_recordings(ground: Ground) -> str:
    ground.clean(40)
    disk = ground.path / "disk"
    with small_disk(disk, 72):
        ran = ground.pytest(*_PASSES, "--recordings=disk/r")
        seen = ground.expect(ran, status=1, says=["No space left on device", "df -h"])
        assert ran.output.count("No space left on device") == 1, ran.output
        assert "passed" not in ran.output, ran.output
        again = ground.pytest(*_PASSES, "--recordings=disk/r")
        ground.expect(again, status=1, says=["No space left on device"])
    return seen


@experiment("disk full, gate", "no verdict; exit status 2 and one message")
def full_of_a_gate(ground: Ground) -> str:
    ground.clean(40)
    with small_disk(ground.path / "disk", 72):
        ran = ground.harness("gate", "p", "--recordings=disk/r")
        seen = ground.expect(ran, status=2, says=["No space left on device", "df -h"])
        assert "SAME" not in ran.output, ran.output
    return seen


@experiment("disk full, rows only", "ERROR of the cases whose rows could not be kept; nothing false passes")
def full_of_rows(ground: Ground) -> str:
    ground.clean(4)
    rows = ground.path / ".harness" / "rows"
    with small_disk(rows, 8):
        ran = ground.pytest(*_PASSES)
        return ground.expect(ran, status=1, says=["No space left on device"], failed=0)


@experiment("disk full, report", "the run fails, and says that there is no report")
def full_of_reports(ground: Ground) -> str:
    with small_disk(ground.path / "disk", 4):
        ran = ground.pytest(*_PASSES, "--report=disk/r.html")
        return ground.expect(ran, status=1, says=["no report: ", "No space left on device"], failed=0, kept=8)


@experiment("disk full, snapshots", "the update fails and says so; what was accepted before stays")
def full_of_snapshots(ground: Ground) -> str:
    with small_disk(ground.path / "snapshots", 4):
        ran = ground.pytest("-q", "--snapshot-update")
        seen = ground.expect(ran, status=1, says=["No space left on device", "df -h"])
        assert ran.output.count("No space left on device") == 2, ran.output  # once for each of two files
        again = ground.pytest("-q")
        assert again.status == 1, again.output
    return seen


@experiment("folder of recordings is read-only", "refused before the run, with one message")
def no_recordings(ground: Ground) -> str:
    _closed(ground.path / "closed")
    ran = ground.pytest(*_PASSES, "--recordings=closed/r", permissions=True)
    seen = ground.expect(ran, status=4, says=["Permission denied", "ls -ld"], kept=0)
    assert ran.output.count("Permission denied") == 1, ran.output
    return seen


@experiment("folder of recordings is read-only, gate", "no verdict; one message")
def no_recordings_of_a_gate(ground: Ground) -> str:
    _closed(ground.path / "closed")
    ran = ground.harness("gate", "p", "--recordings=closed/r", permissions=True)
    seen = ground.expect(ran, status=2, says=["Permission denied", "ls -ld"])
    assert ran.output.count("Permission denied") == 1, ran.output
    return seen


@experiment("recordings that are there are read-only", "the run ends with one message; they are as they were")
def closed_recordings(ground: Ground) -> str:
    first = ground.pytest(*_PASSES)
    ground.expect(first, status=0, says=["passed"], kept=8)
    for one in (ground.path / ".harness", *(ground.path / ".harness").rglob("*")):
        one.chmod(0o555 if one.is_dir() else 0o444)
    ran = ground.pytest(*_PASSES, permissions=True)
    return ground.expect(ran, status=1, says=["Permission denied", "ls -ld"], kept=8)


@experiment("folder of reports is read-only", "refused before the run, with one message")
def no_report(ground: Ground) -> str:
    _closed(ground.path / "closed")
    ran = ground.pytest(*_PASSES, "--report=closed/r.html", permissions=True)
    return ground.expect(ran, status=4, says=["Permission denied", "ls -ld"], kept=0)


@experiment("folder of snapshots is read-only", "the update fails and says so, once")
def no_snapshots(ground: Ground) -> str:
    _closed(ground.path / "snapshots")
    ran = ground.pytest("-q", "--snapshot-update", permissions=True)
    seen = ground.expect(ran, status=1, says=["Permission denied", "ls -ld"])
    assert ran.output.count("Permission denied") == 2, ran.output  # once for each of two files
    return seen


@experiment("recordings stand behind a file", "refused before the run, with one message")
def a_file_in_the_way(ground: Ground) -> str:
    (ground.path / "file").write_text("")
    ran = ground.pytest(*_PASSES, "--recordings=file/r")
    return ground.expect(ran, status=4, says=["Not a directory", "ls -ld"], kept=0)

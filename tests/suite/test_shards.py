"""The suite in shards: together they are the run of one process, each case in the same company."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from unittest import mock

import pytest

from harness.engines.contract import Answer
from harness.recordings.store import RecordingStore
from harness.scoring.asking_order import asking_order
from tests.suite.conftest import HERE, Project

# The stand-in's last digits then depend on who stands in the batch, as those of engines may.
COMPANY = (
    "        for request in requests:\n            try:",
    '        self.company = zlib.crc32("|".join(r.prompt for r in requests).encode())\n'
    "        for request in requests:\n            try:",
)
PROMPTS = {f"c{n:02}": f"say A {n:0{1 + n * 7 % 90}}" for n in range(20)}


@pytest.fixture
def companions(project: Project) -> Project:
    """Cases of all lengths in batches of two and three, answered by an engine to which company matters."""
    text = (HERE / "stand_in_engine.py").read_text()
    noise = "size=WIDTH).astype(np.float32)"
    shift = " + np.float32(self.company % 997 / 1e5) * np.arange(WIDTH, dtype='f4')"
    told = text.replace(*COMPANY).replace(noise, noise + shift)
    assert told.count("company") == 2
    (project.folder / "stand_in.py").write_text(told)
    patch = {"patch": str(project.folder / "stand_in.py")}
    project.write_profiles(
        engines={"torch": {**patch, "batch_size": 2}, "lmdeploy": {**patch, "batch_size": 3, "top_k": 5}},
    )
    project.write_suite(**PROMPTS, twin="say A 0")
    return project


def answers(project: Project, folder: str) -> dict[str, Answer]:
    store = RecordingStore(project.folder / folder)
    found = {}
    for journal in (store.root / "recordings").glob("*.jsonl"):
        keys = store.journal_of(journal.stem).keys()
        for key in keys:
            if ":" not in key:
                recording = store.get(key)
                assert recording is not None
                found[key] = recording.answer
    return found


def shown(result: pytest.RunResult) -> list[str]:
    return re.findall(r"::(\S+\[\S+\]) \w+", str(result.stdout))


def selected(*more: str) -> Sequence[str]:
    return ("-v", "-k", "expected or question or consistent", *more)


def test_shards_in_one_folder_are_the_run_of_one_process(companions: Project) -> None:
    whole = companions.run(*selected("--recordings=whole"))
    seen: list[str] = []
    for number in (1, 2, 3):
        result = companions.run(*selected(f"--shard={number}/3", "--recordings=shared"))
        assert result.ret == whole.ret
        seen += shown(result)
    assert len(seen) == len(set(seen))
    assert sorted(seen) == sorted(shown(whole))
    assert answers(companions, "shared") == answers(companions, "whole")
    assert sorted(companions.recorded("shared")) == sorted(companions.recorded("whole"))
    assert len(companions.recorded("whole")) == 40

    names = [line.split()[0] for line in companions.recorded("whole") if line.endswith("torch")]
    lengths = [len(PROMPTS[name.partition(".")[2]]) for name in names]
    assert lengths == sorted(lengths) != [*map(len, PROMPTS.values())]


def test_what_is_stored_is_put_into_no_order(companions: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would open each picture."""
    ordered = mock.Mock(wraps=asking_order)
    monkeypatch.setattr("harness.scoring.scoring.asking_order", ordered)
    for _ in range(2):
        companions.run(*selected())
        companions.run(*selected("--bulk"))
    assert ordered.call_count == 2  # once for each engine, when it was asked


def test_a_run_that_was_broken_off_goes_on_in_the_same_batches(companions: Project) -> None:
    """All but what was left of the batch that was in hand: that is asked by itself."""
    companions.run(*selected("--recordings=whole"))
    shutil.copytree(companions.folder / "whole", companions.folder / "cut")
    for journal in (companions.folder / "cut" / "recordings").glob("*.jsonl"):
        lines = journal.read_text().splitlines(keepends=True)
        answered = [place for place, line in enumerate(lines) if '"like"' in line]
        journal.write_text("".join(lines[: answered[7]]))
    companions.run(*selected("--recordings=cut"))
    whole, cut = answers(companions, "whole"), answers(companions, "cut")
    assert whole.keys() == cut.keys()
    assert sum(whole[key] != cut[key] for key in whole) == 1 + 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--shard=0/3"], "*--shard: found '0/3'; allowed: K/N, *"),
        (["--shard=4/3"], "*--shard: found '4/3'; allowed: K/N, *"),
        (["--shard=1/2", "--gate=p/torch..p/lmdeploy"], "*--shard: found --gate beside it*"),
        (["--shard=1/2", "--snapshot-update"], "*--shard: found --snapshot-update beside it*"),
    ],
)
def test_what_is_no_shard_is_refused(project: Project, arguments: list[str], told: str) -> None:
    project.write_suite(one="say A")
    result = project.run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([told])

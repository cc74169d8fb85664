"""A random model asked the questions of a workload; Transformers makes it, which tests need not have."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace

import pytest

from benchmarks.random_model import random_workload
from benchmarks.workload import Workload


def test_the_same_questions_on_another_model(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(self: Workload, command: Sequence[str]) -> None:
        assert command[1:3] == ["-m", "benchmarks.random_weights"]
        shutil.copytree(command[3], command[4])

    monkeypatch.setattr(Workload, "command", made)
    prefixed = [replace(case, answer_prefix="It is ") for case in workload.cases]
    drawn = random_workload(replace(workload, cases=(*prefixed, *workload.cases)))
    assert [case.name for case in drawn.cases] == ["small.one"]  # every eighth
    (first,) = drawn.cases
    assert first.images[0].read_bytes() == workload.cases[0].images[0].read_bytes()
    assert replace(first, images=()) == replace(workload.cases[0], images=())
    assert drawn.profile.engines[0].settings.model.endswith("random-100m/model")
    assert "not snapshot" in drawn.selected
    shutil.rmtree(workload.scratch / "random-100m")
    every = random_workload(workload, every=1)
    assert [case.name for case in every.cases] == [case.name for case in workload.cases]
    assert len(every.cases) > 1

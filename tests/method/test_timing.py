"""What each path costs, with stand-ins for the workers and the clock."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from harness.engines.contract import Answer, EngineSettings, Request
from harness.errors import EngineError, ErrorKind
from harness.method.timing import PathCost, Ratio, TimedPath, cheapest, measure_paths, ratio
from harness.workers import Event, Failed, Job, Loaded, Progress, Scored
from tests.method.conftest import full, partial, row_with

ROW = row_with(1.0, 2.0, 3.0)
REQUESTS = [Request(case=f"s.{n}", prompt="?", letters=("A", "B", "C")) for n in range(5)]


class StandInWorkers:
    """A case takes the seconds that ``takes`` names for its path; each worker's first case a hundred more."""

    def __init__(self, takes: dict[str, float], *, fails: str = "", at: str = "") -> None:
        self.takes, self.fails, self.at = takes, fails, at
        self.now = 0.0
        self.runs: list[tuple[str, int]] = []
        self.keys: list[list[str]] = []
        self.cases: list[str] = []

    def clock(self) -> float:
        return self.now

    def __call__(self, job: Job, requests: Sequence[tuple[str, Request]]) -> Generator[Event, None, None]:
        (path,) = job.settings.paths
        self.runs.append((path, job.settings.batch_size))
        self.keys.append([key for key, _ in requests])
        self.cases += [request.case for _, request in requests]
        self.now += 1000
        yield Progress("loading", 0, 0, 0.0)
        yield Loaded({"device": "stand-in", "dtype": "float32"}, 1.0)
        self.now += 100
        for key, request in requests:
            if path == self.fails and key.startswith(self.at):
                error = EngineError(ErrorKind.UNSUPPORTED, "path: it has none\nmore", log="l")
                yield Failed(key, error)
                continue
            self.now += self.takes[path]
            reading = partial(ROW, 2) if path == "top-k" else full(ROW)
            answer = Answer(
                prompt_ids=(1,),
                generated_ids=(12,),
                text=request.case,
                letter_ids=(10, 11, 12),
                answer_step=0,
                readings=(reading,),
            )
            yield Scored(key, answer)


def timed(path: str, *, batch_size: int = 2) -> TimedPath:
    settings = EngineSettings(
        kind="lmdeploy",
        model="m",
        dtype="float32",
        device="cpu",
        paths=(path,),
        top_k=0,
        batch_size=batch_size,
    )
    job = Job(python="python", settings=settings, load_seconds=1, case_seconds=1, log=Path("l"))
    return TimedPath(engine="lmdeploy", path=path, job=job)


def test_seconds_a_case_without_loading_and_warm_up() -> None:
    work = StandInWorkers({"captured": 2.0, "top-k": 1.0})
    costs = measure_paths(
        [timed("captured"), timed("top-k")],
        REQUESTS,
        rounds=3,
        show=lambda _: None,
        work=work,
        clock=work.clock,
    )
    assert [cost.seconds for cost in costs] == [(2.0, 2.0, 2.0), (1.0, 1.0, 1.0)]
    assert [cost.partial for cost in costs] == [False, True]
    assert {cost.device for cost in costs} == {"stand-in, float32"}


def test_the_warm_up_fills_exactly_one_batch() -> None:
    work = StandInWorkers({"captured": 2.0})
    measure_paths(
        [timed("captured", batch_size=2)],
        REQUESTS,
        rounds=1,
        show=lambda _: None,
        work=work,
        clock=work.clock,
    )
    assert [key.partition("-")[0] for key in work.keys[0]] == ["warm", "warm", *["counted"] * 5]
    assert len(set(work.cases)) == len(work.cases)
    measure_paths(
        [timed("captured", batch_size=16)],
        REQUESTS,
        rounds=1,
        show=lambda _: None,
        work=work,
        clock=work.clock,
    )
    assert work.runs[-1] == ("captured", 5)
    assert len(work.keys[-1]) == 10


def test_every_round_begins_with_another_path() -> None:
    work = StandInWorkers(dict.fromkeys("abc", 1.0))
    measure_paths(
        [timed(path) for path in "abc"],
        REQUESTS,
        rounds=3,
        show=lambda _: None,
        work=work,
        clock=work.clock,
    )
    assert "".join(path for path, _ in work.runs) == "abcbcacab"


@pytest.mark.parametrize("at", ["", "counted-4"], ids=["all of it", "one case"])
def test_a_path_that_fails_is_not_timed_and_says_why(at: str) -> None:
    work = StandInWorkers({"captured": 2.0, "two-stage": 1.0}, fails="two-stage", at=at)
    said: list[str] = []
    good, bad = measure_paths(
        [timed("captured"), timed("two-stage")],
        REQUESTS,
        rounds=2,
        show=said.append,
        work=work,
        clock=work.clock,
    )
    assert good.seconds == (2.0, 2.0)
    assert (bad.seconds, bad.problem) == ((), "path: it has none")
    assert [path for path, _ in work.runs] == ["captured", "two-stage", "captured"]
    assert said[0] == "timing lmdeploy, path captured: round 1 of 2 ..."


def cost(path: str, *seconds: float, sees_top: bool = False) -> PathCost:
    return PathCost(engine="e", kind="lmdeploy", path=path, top_k=0, seconds=seconds, partial=sees_top)


def test_ratios_are_of_the_same_round() -> None:
    assert ratio(cost("a", 2.0, 40.0, 6.0), cost("b", 1.0, 10.0, 2.0)) == Ratio(3.0, 2.0, 4.0)


def test_the_cheapest_by_the_median() -> None:
    costs = [
        cost("a", 2.0, 2.0, 2.0),
        cost("b", 1.0, 9.0, 9.0),
        cost("c", 3.0, 3.0, 3.0, sees_top=True),
        cost("d"),
    ]
    assert cheapest(costs) == costs[0]
    assert cheapest(costs, partial=True) == costs[2]
    assert cheapest(costs[3:]) is None

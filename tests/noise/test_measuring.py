"""Measuring, with stand-ins for the workers: which runs are made, and what becomes of them."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cases.folder import load
from harness.engines.contract import Answer, Request
from harness.engines.letters import LetterIds
from harness.engines.readings import read_rows
from harness.errors import EngineError, ErrorKind
from harness.noise.measuring import Measured, measure_noise
from harness.noise.store import load_floor
from harness.scoring.scoring import Scoring
from harness.scoring.subjects import subjects
from harness.workers import Event, Failed, Job, Loaded, Scored
from harness.workers.rows import save_rows
from tests.noise.folder import PROMPTS, write_folder

LETTERS = LetterIds(("A", "B", "C"), (), (5, 6, 7), ((), (), ()))
TORCH = (
    "reference undisturbed repeat batch-1 batch-4 reversed shuffled attention-eager "
    "path-generate threads-1 threads-3"
)
LMDEPLOY = "reference undisturbed repeat batch-1 batch-4 reversed shuffled threads-1 threads-3"


class StandInWorkers:
    """Rows are moved by 0.01 or so, by everything about a run; ``fails`` are prompts by run and engine.

    The same run once more gives the same, but for LMDeploy's rows, which ``drift`` moves one way or another.
    """

    def __init__(self) -> None:
        self.runs: list[tuple[str, str, list[str]]] = []
        self.fails: dict[tuple[str, str], str] = {}
        self.far = 0.0
        self.drift = 0.0
        self.interrupted_in = ""

    def names(self, engine: str) -> str:
        return " ".join(name for label, name, _ in self.runs if label == engine)

    def __call__(self, job: Job, requests: Sequence[tuple[str, Request]]) -> Generator[Event, None, None]:
        label, _, name = job.log.stem.partition("-noise-")
        self.runs.append((label, name, [request.prompt for _, request in requests]))
        assert job.rows is not None
        job.rows.mkdir(parents=True, exist_ok=True)
        yield Loaded({"device": "stand-in", "dtype": job.settings.dtype}, 1.0)
        for place, (key, request) in enumerate(requests):
            if name == self.interrupted_in and place == 2:
                raise KeyboardInterrupt
            if self.fails.get((label, name), "nothing") in request.prompt:
                yield Failed(key, EngineError(ErrorKind.CRASH, "it died\nof something"))
                continue
            row = self.row(job, request, name)
            for path in job.settings.paths or ("two-stage", "captured"):
                save_rows(job.rows, key, {path: row})
            yield Scored(key, self.answer(row, job.settings.paths or ("two-stage", "captured")))

    def row(self, job: Job, request: Request, name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        row = np.random.default_rng(zlib.crc32(request.prompt.encode())).normal(size=32)
        row[5] += 4
        as_before = "undisturbed" if name == "repeat" else name
        how = f"{job.settings.kind} {job.settings.dtype} {as_before} {request.prompt}"
        row += np.random.default_rng(zlib.crc32(how.encode())).normal(size=32) * 0.01
        if job.settings.kind == "lmdeploy":
            row[6] += self.far
            row[7] += self.drift * (name != "undisturbed")
        return row.astype(np.float32)

    def answer(self, row: np.ndarray[Any, np.dtype[np.float32]], paths: tuple[str, ...]) -> Answer:
        readings = [read_rows(path, row[None], (5,), letter_ids=LETTERS, top_k=0) for path in paths]
        return Answer(
            prompt_ids=(1,),
            generated_ids=(5,),
            text="A",
            letter_ids=LETTERS.ids,
            answer_step=0,
            readings=tuple(readings),
        )


@pytest.fixture
def work() -> StandInWorkers:
    return StandInWorkers()


def measure(root: Path, work: StandInWorkers, **options: Any) -> dict[str, Measured]:
    loaded = load(root / "cases")
    scoring = Scoring(root / "kept", run_id="r", fresh=False, show=lambda _: None)
    own = list(subjects(loaded.cases, loaded.profiles, selection="every"))
    found = measure_noise(own, scoring, show=lambda _: None, work=work, **options)
    return {one.engine: one for one in found}


@pytest.mark.engines
def test_every_variant_is_run_and_the_floor_is_kept(tmp_path: Path, work: StandInWorkers) -> None:
    write_folder(tmp_path)
    found = measure(tmp_path, work)
    assert work.names("p-torch") == TORCH
    assert work.names("p-lmdeploy") == LMDEPLOY
    floor = found["torch"].floor
    assert floor is not None
    assert (floor.dtype, floor.device) == ("bfloat16", "stand-in, bfloat16, torch 2.12.1")
    assert set(floor.cases) == {"s.c0", "s.c1", "s.c2", "s.c3"}
    assert set(floor.cases["s.c0"].runs) == set(TORCH.split()) - {"reference"}
    moves = [
        b - r
        for case in floor.cases.values()
        for run in case.runs.values()
        for r, b in zip(case.reference, run, strict=True)
    ]
    # A run and the reference stray by 0.01 each, less what centring over three letters takes.
    assert np.std(moves) == pytest.approx(0.01 * np.sqrt(2 * 2 / 3), rel=0.3)
    assert 0 < floor.full["s.c0"]["js"] < floor.full["s.c0"]["kl"] < 1e-3
    own = found["lmdeploy"].floor
    assert own is not None
    assert {"repeat", "repeat/captured", "undisturbed/captured"} <= set(own.cases["s.c0"].runs)
    assert own.cases["s.c0"].reference == floor.cases["s.c0"].reference
    assert own.cases["s.c0"].coordinates == ("log-odds A", "log-odds B", "log-odds C")
    assert load_floor(tmp_path / "kept", "p", "lmdeploy") == own
    assert found["torch"].notes == found["lmdeploy"].notes == ()
    assert list((tmp_path / "kept" / "noise" / "rows").glob("*.npy")) == []


def test_the_order_of_cases(tmp_path: Path, work: StandInWorkers) -> None:
    write_folder(tmp_path)
    measure(tmp_path, work, engines=["torch"])
    prompts = {name: asked for _, name, asked in work.runs}
    assert prompts["batch-1"] == list(PROMPTS)
    assert prompts["reversed"] == list(PROMPTS)[::-1]
    assert sorted(prompts["shuffled"]) == sorted(PROMPTS)


def test_nothing_changed_nothing_measured(tmp_path: Path, work: StandInWorkers) -> None:
    write_folder(tmp_path)
    first = measure(tmp_path, work)
    work.runs.clear()
    second = measure(tmp_path, work)
    assert work.runs == []
    assert {name: one.made for name, one in second.items()} == {"torch": 0, "lmdeploy": 0}
    assert {name: one.floor for name, one in second.items()} == {n: o.floor for n, o in first.items()}
    measure(tmp_path, work, again=True, engines=["torch"])
    assert work.names("p-torch") == TORCH


def test_an_edited_case_alone_is_measured_and_cases_that_ask_the_same_once(
    tmp_path: Path, work: StandInWorkers
) -> None:
    write_folder(tmp_path, prompts=("say A 0", "say A 0", "say B 1"))
    found = measure(tmp_path, work, engines=["torch"])
    assert {len(asked) for _, _, asked in work.runs} == {2}
    work.runs.clear()
    write_folder(tmp_path, prompts=("say A 0", "say A 0", "say B, edited"))
    edited = measure(tmp_path, work, engines=["torch"])
    assert [asked for _, _, asked in work.runs] == [["say B, edited"]] * len(TORCH.split())
    before, after = found["torch"].floor, edited["torch"].floor
    assert before is not None
    assert after is not None
    assert before.cases["s.c0"] == after.cases["s.c0"] == after.cases["s.c1"]
    assert before.cases["s.c2"].asked != after.cases["s.c2"].asked


def test_an_interrupted_measurement_goes_on(tmp_path: Path, work: StandInWorkers) -> None:
    write_folder(tmp_path)
    work.interrupted_in = "batch-4"
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path, work, engines=["torch"])
    assert load_floor(tmp_path / "kept", "p", "torch") is None
    work.runs.clear()
    work.interrupted_in = ""
    found = measure(tmp_path, work, engines=["torch"])
    assert work.names("p-torch").startswith("batch-4 reversed")
    assert len(work.runs[0][2]) == 2
    floor = found["torch"].floor
    assert floor is not None
    assert set(floor.full) == set(floor.cases)


def test_rows_that_were_lost_have_the_reference_run_again(tmp_path: Path, work: StandInWorkers) -> None:
    write_folder(tmp_path)
    work.interrupted_in = "batch-4"
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path, work, engines=["torch"])
    for file in (tmp_path / "kept" / "noise" / "rows").glob("*.npy"):
        file.unlink()
    work.runs.clear()
    work.interrupted_in = ""
    measure(tmp_path, work, engines=["torch"])
    assert work.names("p-torch").startswith("reference batch-4 reversed")


def test_in_float32_the_undisturbed_run_is_the_reference(tmp_path: Path, work: StandInWorkers) -> None:
    write_folder(tmp_path, dtype="float32")
    found = measure(tmp_path, work)
    assert work.names("p-torch") == TORCH.removeprefix("reference ")
    assert work.names("p-lmdeploy") == LMDEPLOY
    floor = found["torch"].floor
    assert floor is not None
    assert "undisturbed" not in floor.cases["s.c0"].runs


def test_a_variant_that_fails_is_told_and_left_out(tmp_path: Path, work: StandInWorkers) -> None:
    write_folder(tmp_path)
    work.fails = {("p-torch", "attention-eager"): "say", ("p-torch", "batch-1"): "say B"}
    found = measure(tmp_path, work, engines=["torch"])["torch"]
    assert found.notes == (
        "left out: attention-eager: it died",
        "batch-1 left out for 1 case: s.c1: it died",
    )
    assert found.floor is not None
    assert "attention-eager" not in found.floor.cases["s.c0"].runs
    assert "batch-1" in found.floor.cases["s.c0"].runs
    assert "batch-1" not in found.floor.cases["s.c1"].runs
    work.runs.clear()
    assert measure(tmp_path, work, engines=["torch"])["torch"].notes == found.notes
    assert work.runs == []


def test_too_few_variants_make_no_floor(tmp_path: Path, work: StandInWorkers) -> None:
    write_folder(tmp_path)
    found = measure(tmp_path, work, engines=["torch"], variants=["reversed", "batch-1"])["torch"]
    assert found.floor is None
    assert "batch-1" in found.problem
    assert "allowed: 3 or more" in found.problem
    assert load_floor(tmp_path / "kept", "p", "torch") is None
    more = measure(tmp_path, work, engines=["torch"], variants=["shuffled"])["torch"]
    assert more.floor is not None
    assert {"reversed", "batch-1", "shuffled"} < set(more.floor.cases["s.c0"].runs)


def test_a_case_that_errs_undisturbed_has_no_floor(tmp_path: Path, work: StandInWorkers) -> None:
    write_folder(tmp_path)
    work.fails = {("p-torch", "undisturbed"): "say C"}
    found = measure(tmp_path, work, engines=["torch"])["torch"]
    assert found.floor is not None
    assert "s.c3" not in found.floor.cases
    assert found.notes == ("1 case without a floor, ERROR undisturbed: s.c3: it died",)


def test_an_engine_that_answers_nothing_has_a_problem(tmp_path: Path, work: StandInWorkers) -> None:
    write_folder(tmp_path)
    work.fails = {("p-torch", "undisturbed"): "say"}
    found = measure(tmp_path, work)
    assert (found["torch"].floor, found["torch"].problem) == (None, "it died")
    assert found["lmdeploy"].floor is not None


def test_without_native_float32_the_undisturbed_run_is_the_reference(
    tmp_path: Path, work: StandInWorkers
) -> None:
    write_folder(tmp_path)
    work.fails = {("p-lmdeploy", "reference"): "say"}
    found = measure(tmp_path, work)["lmdeploy"]
    assert found.floor is not None
    assert "undisturbed" not in found.floor.cases["s.c0"].runs
    assert found.notes == (
        "measured from its own undisturbed run: torch in float32 does not answer: it died",
    )


def test_what_an_engine_always_does_is_no_noise_of_it(tmp_path: Path, work: StandInWorkers) -> None:
    write_folder(tmp_path)
    work.far = 1.0
    found = measure(tmp_path, work)["lmdeploy"]
    assert found.floor is not None
    for case in found.floor.cases.values():
        assert "undisturbed" not in case.runs
        far = [abs(b - r) for run in case.runs.values() for r, b in zip(case.reference, run, strict=True)]
        assert max(far) < 0.1
    assert found.floor.full == {}
    (note,) = found.notes
    assert note.startswith("s.c0 and 3 more: further from native float32 than noise brings an answer")


@pytest.mark.parametrize(
    ("dtype", "drift", "differ", "found_out"),
    [
        ("float32", 0.0, 0, False),
        ("float32", 0.0023, 4, True),
        ("bfloat16", 0.01, 4, False),
        ("bfloat16", 0.1, 4, True),
    ],
)
def test_what_differs_by_more_than_the_dtypes_step_is_a_finding_and_no_noise(
    tmp_path: Path, work: StandInWorkers, dtype: str, drift: float, differ: int, found_out: bool
) -> None:
    write_folder(tmp_path, dtype=dtype)
    work.drift = drift
    measured = measure(tmp_path, work)
    floor, refused = measured["lmdeploy"].floor, measured["lmdeploy"].refused
    assert floor is not None
    assert floor.repeats is not None
    assert (floor.repeats.cases, floor.repeats.differ, floor.repeats.beyond) == (4, differ, 4 * found_out)
    # One of three letters moved: centring leaves two thirds of it.
    assert floor.repeats.difference == pytest.approx(drift * 2 / 3, rel=1e-3)
    assert measured["torch"].refused == ""
    assert load_floor(tmp_path / "kept", "p", "lmdeploy") == floor
    assert bool(refused) == found_out
    if found_out:
        told = f"not deterministic: the same question twice differs by {floor.repeats.difference:.2g} (s.c"
        assert refused.startswith(told)
    write_folder(tmp_path, dtype=dtype, nondeterminism="allow")
    assert measure(tmp_path, work)["lmdeploy"].refused == ""

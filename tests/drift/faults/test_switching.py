"""Faults are switched within one worker: each moves what it says, and is as after a fresh start."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness.drift.faults.catalogue import CATALOGUE, Fault
from harness.drift.selftest.bench import Bench
from harness.engines.contract import Answer, EngineSettings, Request
from harness.errors import HarnessError
from harness.workers import Failed, Job, Scored, run
from harness.workers.process import start_worker

pytestmark = [pytest.mark.slow, pytest.mark.engines]

CASES = Path(__file__).parents[3] / "cases"
ASKED = {
    "shapes": ["red-circle-colour", "wide-red-circle-colour"],
    "chinese": ["system-text-shape"],
    "answer_line": ["tallest-red-ring-colour", "stated-count"],
}
SETTINGS = {
    "torch": {"paths": ("forward",), "options": {"threads": 1}},
    "lmdeploy": {"paths": ("two-stage", "captured"), "options": {"threads": 1}},
}
QUIET = 2e-5
"""Twenty times what a clean run moves log-odds by in float32."""

Found = dict[str, Answer | str]


def requests() -> list[Request]:
    found = []
    for suite, names in ASKED.items():
        content = yaml.safe_load((CASES / f"{suite}.yaml").read_text(encoding="utf-8"))
        for case in content["cases"]:
            if case["id"] in names:
                fields = {"answer_prefix": "", "system": None, **content["defaults"], **case}
                images = (str(CASES / case["image"]),) if case.get("image") else ()
                found.append(
                    Request(
                        case=f"{suite}.{case['id']}",
                        prompt=fields["prompt"],
                        letters=tuple(map(str, fields["letters"])),
                        images=images,
                        system=fields["system"],
                        answer_prefix=fields["answer_prefix"],
                    )
                )
    return found


def job(folder: Path, side: str, *, batch: int = 16, patch: Path | None = None) -> Job:
    settings = EngineSettings(
        kind=side,
        model=str(CASES / "models" / "embedded"),
        dtype="float32",
        device="cpu",
        top_k=20,
        batch_size=batch,
        **SETTINGS[side],  # type: ignore[arg-type]
    )
    return Job(
        python=sys.executable,
        settings=settings,
        load_seconds=240,
        case_seconds=60,
        log=folder / "worker.log",
        rows=folder / "rows",
        patch=patch,
    )


def answers(job: Job, bench: Bench | None = None) -> Found:
    start = start_worker
    if bench is not None:  # which plants in an engine that has a patch, and puts its own there
        start, job = bench.start, dataclasses.replace(job, patch=Path("of a profile"))
    events = run(job, [(request.case, request) for request in requests()], start=start)
    return {
        event.key: dataclasses.replace(event.answer, seconds={})
        if isinstance(event, Scored)
        else str(event.error)
        for event in events
        if isinstance(event, Scored | Failed)
    }


def moved(before: Found, after: Found) -> float:
    """The largest change of a log-probability; infinite where a question or an answer is another."""
    largest = 0.0
    for case, old in before.items():
        new = after[case]
        if not isinstance(old, Answer) or not isinstance(new, Answer):
            return math.inf
        if (old.generated_ids, old.prompt_ids, old.letter_ids) != (
            new.generated_ids,
            new.prompt_ids,
            new.letter_ids,
        ):
            return math.inf
        for one, other in zip(old.readings, new.readings, strict=True):
            assert one.log_z is not None
            assert other.log_z is not None
            for a, b in zip(one.letter_logits, other.letter_logits, strict=True):
                largest = max(largest, abs(a - one.log_z - b + other.log_z))
        for told, now in zip(old.reported_top, new.reported_top, strict=True):
            largest = max(largest, abs(told.logprob - now.logprob))
    return largest


@pytest.fixture(scope="module", params=["torch", "lmdeploy"])
def side(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("bench"))
    yield bench
    bench.close()


def test_each_moves_what_it_says_and_the_tiny_are_silent(side: str, bench: Bench, tmp_path: Path) -> None:
    bench.plant(None)
    clean = answers(job(tmp_path, side), bench)
    wrong: dict[str, float] = {}
    for fault in (fault for fault in CATALOGUE.values() if fault.side == side):
        for size in {"gross", fault.offered[0]}:
            bench.plant(fault, size)
            far = moved(clean, answers(job(tmp_path, side), bench))
            if (far > QUIET) != (size == "gross"):
                wrong[f"{fault.name} {size}"] = far
    bench.plant(None)
    assert moved(clean, answers(job(tmp_path, side), bench)) < QUIET
    assert wrong == {}


@pytest.mark.parametrize(
    ("side", "names"),
    [
        ("lmdeploy", ["old_template", "kv_half", "top_k_renormalised"]),
        ("torch", ["vision_int8", "rope_offset"]),
    ],
)
def test_switched_on_it_answers_as_after_a_fresh_start(side: str, names: list[str], tmp_path: Path) -> None:
    # One case at a time: in company LMDeploy's last digits depend on when a case comes.
    with_faults: dict[str, Found] = {}
    bench = Bench(tmp_path / "bench")
    try:
        for name in names:
            bench.plant(CATALOGUE[name], "gross")
            with_faults[name] = answers(job(tmp_path, side, batch=1), bench)
    finally:
        bench.close()
    for name, switched in with_faults.items():
        patch = tmp_path / f"{name}.py"
        patch.write_text(f"from harness.drift.faults import switch\nswitch.on({name!r}, 'gross')\n")
        assert answers(job(tmp_path, side, batch=1, patch=patch)) == switched
    assert len({repr(found) for found in with_faults.values()}) == len(names)  # else nothing was switched


def test_what_cannot_be_planted_is_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    try:
        nameless = Fault("rope_bass", "torch", "rope", "")
        bench.plant(nameless, "gross")
        with pytest.raises(HarnessError, match=r"rope_bass gross: cannot be planted: .*allowed: system_lost"):
            answers(job(tmp_path, "torch"), bench)
    finally:
        bench.close()

"""Runs the fake engine in real workers, and checks after each run what must hold whatever happened."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.engines.contract import Answer, EngineSettings, Request
from harness.errors import EngineError
from harness.workers import Event, Failed, Job, Loaded, Progress, Scored, run


@dataclass
class Result:
    """What came of one run; answers and errors by the request's number."""

    job: Job
    events: list[Event]

    @property
    def answers(self) -> dict[int, Answer]:
        return {int(event.key[3:]): event.answer for event in self.events if isinstance(event, Scored)}

    @property
    def errors(self) -> dict[int, EngineError]:
        return {int(event.key[3:]): event.error for event in self.events if isinstance(event, Failed)}

    @property
    def loads(self) -> list[Mapping[str, Any]]:
        return [event.fingerprint for event in self.events if isinstance(event, Loaded)]

    @property
    def progress(self) -> list[Progress]:
        return [event for event in self.events if isinstance(event, Progress)]

    @property
    def error(self) -> EngineError:
        """The only one."""
        (error,) = self.errors.values()
        return error


class Workers:
    FAKE_ENGINE = Path(__file__).with_name("fake_engine.py")

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def job(self, *, options: Mapping[str, Any] | None = None, batch_size: int = 4, **fields: Any) -> Job:
        settings = EngineSettings(
            kind=fields.pop("kind", str(self.FAKE_ENGINE)),
            model=str(self.folder),
            dtype="float32",
            device=fields.pop("device", "cpu"),
            paths=("forward",),
            top_k=2,
            batch_size=batch_size,
            options=options or {},
        )
        given: dict[str, Any] = {
            "python": sys.executable,
            "load_seconds": 60,
            "case_seconds": 60,
            "log": self.folder / "engine.log",
            **fields,
        }
        return Job(settings=settings, **given)

    def start(self, job: Job, prompts: Iterable[str]) -> Iterator[Event]:
        requests = [
            (f"key{number}", Request(case=f"suite.case-{number}", prompt=prompt, letters=("A", "B")))
            for number, prompt in enumerate(prompts)
        ]
        return run(job, requests)

    def run(self, *prompts: str, see: Callable[[Event], object] = id, **fields: Any) -> Result:
        job = self.job(**fields)
        descriptors = self.descriptors()
        result = Result(job, [])
        for event in self.start(job, prompts):
            see(event)
            result.events.append(event)
        keys = sorted(event.key for event in result.events if isinstance(event, Scored | Failed))
        assert keys == sorted(f"key{number}" for number in range(len(prompts))), "one outcome each"
        for number, answer in result.answers.items():
            assert answer.generated_ids == tuple(map(ord, prompts[number][:50])), "answers are not mixed up"
        for fingerprint in result.loads:
            assert self.living(fingerprint["group"]) == [], "no process is left"
        assert self.descriptors() == descriptors, "no descriptor is left"
        return result

    @staticmethod
    def descriptors() -> list[str]:
        return sorted(entry.name for entry in Path("/proc/self/fd").iterdir())

    @staticmethod
    def living(group: int) -> list[int]:
        """The processes of ``group`` that are not dead; one that nobody has buried yet is."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    state, _, its_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
                except OSError:
                    continue
                if int(its_group) == group and state not in "ZX":
                    found.append(int(folder.name))
        return found

    def gone(self, group: int) -> bool:
        """Whether ``group`` is no more, soon."""
        return self.soon(lambda: not self.living(group))

    @staticmethod
    def soon(true: Callable[[], bool], *, seconds: float = 10) -> bool:
        until = time.monotonic() + seconds
        while not true():
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True


@pytest.fixture
def workers(tmp_path: Path) -> Workers:
    return Workers(tmp_path)

"""Making one engine's runs: every answer is kept at once, and rows go as soon as they are compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from harness.checks.full_vocabulary import compare_rows
from harness.checks.log_odds import of_reading, scalars_of
from harness.checks.target import raw_sizes
from harness.engines.contract import Answer, Request, Row
from harness.errors import EngineError
from harness.noise.store import NoiseStore, Sample
from harness.noise.variants import Order, ordered
from harness.recordings.store import RecordingStore
from harness.verdicts.noise_floor import UNDISTURBED
from harness.workers import Event, Failed, Job, Loaded, Scored
from harness.workers.rows import forget_rows

__all__ = ["REFERENCE", "UNDISTURBED", "Done", "Runs", "Work"]

Work = Callable[[Job, Sequence[tuple[str, Request]]], Generator[Event, None, None]]

REFERENCE = "reference"
"""The run of the native engine in float32."""

_SHORT = 24


@dataclass(slots=True)
class Done:
    """How a run went: how many cases were ``answered``, and why others were not, by what they ask."""

    answered: int = 0
    errors: dict[str, EngineError] = field(default_factory=dict)

    @property
    def first(self) -> EngineError | None:
        """The first error."""
        return next(iter(self.errors.values()), None)


class Runs:
    """The runs of one engine on ``requests`` (by the hash of what is asked), kept in ``store``.

    ``measurement`` names all that the runs depend on. ``rows`` has the folder for full rows, ``label`` is the
    engine's in messages and files, and ``reference`` the run from which others are measured.
    """

    def __init__(
        self,
        store: NoiseStore,
        rows: RecordingStore,
        requests: Mapping[str, Request],
        *,
        label: str,
        measurement: str,
        reference: str,
        show: Callable[[str], None],
        work: Work,
    ) -> None:
        """Touches nothing yet."""
        self.store = store
        self.measurement = measurement
        self.reference = reference
        self._rows = rows
        self._requests = requests
        self._label = label
        self._show = show
        self._work = work

    def letters(self, asked: str) -> tuple[str, ...]:
        """The letters on offer in a question, or what else its answer is read among."""
        return self._requests[asked].options

    def samples(self, name: str, asked: str) -> tuple[Sample, ...] | None:
        """What the run ``name`` answered; None where it was not made."""
        return self.store.samples(self.measurement, name, asked)

    @property
    def questions(self) -> tuple[str, ...]:
        """What is asked, by its hashes."""
        return tuple(self._requests)

    def failure(self, name: str, asked: str = "") -> str | None:
        """Why the run ``name`` failed, as a whole or for one question; None where it did not."""
        return self.store.failure(self.measurement, f"{name}:{asked}")

    def put_failure(self, name: str, why: str, asked: str = "") -> None:
        """Remember that the run ``name`` failed, so that it is tried again only when that is asked for."""
        self.store.put_failure(self.measurement, f"{name}:{asked}", why)

    def ready(self, asked: str) -> bool:
        """Whether the reference's answer is there with what others are compared with."""
        samples = self.samples(self.reference, asked)
        if samples is None:
            return False
        return not (samples and samples[0].whole) or self._reference_row(asked) is not None

    def make(
        self, name: str, job: Job, wanted: Sequence[str], *, order: Order = "given", told: str = ""
    ) -> Done:
        """Have a worker answer what is ``wanted``; every answer is kept when it comes."""
        self._show(f"{self._label}: {name}{told}: {len(wanted)} questions ...")
        kept = job.settings.kind != "api"  # a server shows no full rows
        log = job.log.with_name(f"{self._label}-noise-{name}.log")
        job = replace(job, rows=self._rows.rows_folder if kept else None, log=log)
        log.unlink(missing_ok=True)  # workers append to it
        asked_of = {self._key(name, asked): asked for asked in wanted}
        # A question stands for all cases that ask it, so it needs a name of its own.
        requests = [(key, self._requests[asked]) for key, asked in asked_of.items()]
        done = Done()
        with closing(self._work(job, ordered(requests, order))) as events:
            for event in events:
                match event:
                    case Loaded():
                        self.store.put_loaded(self.measurement, name, event.fingerprint)
                    case Scored():
                        asked = asked_of[event.key]
                        samples = self._samples(name, asked, event.answer)
                        self.store.put_samples(self.measurement, name, asked, samples)
                        done.answered += 1
                    case Failed():
                        done.errors[asked_of[event.key]] = event.error
        return done

    def forget_rows(self) -> None:
        """Remove the reference's rows."""
        for asked in self._requests:
            forget_rows(self._rows.rows_folder, self._key(self.reference, asked))

    def _key(self, name: str, asked: str) -> str:
        return f"noise-{self._label}-{asked[:_SHORT]}-{name}"

    def _reference_row(self, asked: str) -> Row | None:
        samples = self.samples(self.reference, asked)
        if not samples:
            return None
        return self._rows.load_row(self._key(self.reference, asked), samples[0].path)

    def _samples(self, name: str, asked: str, answer: Answer) -> list[Sample]:
        key, own = self._key(name, asked), name == self.reference
        paths = [reading.path for reading in answer.readings]
        rows = {path: self._rows.load_row(key, path) for path in paths}
        measured_from = rows.get(paths[0]) if own and paths else self._reference_row(asked)
        samples = []
        for number, reading in enumerate(answer.readings):
            row, full = rows[reading.path], {}
            if measured_from is not None and row is not None and not (own and number == 0):
                compared = compare_rows(measured_from, row)
                full = {"kl": compared.kl, "js": compared.js}
            log_odds = of_reading(reading)
            if log_odds:
                samples.append(
                    Sample(
                        path=reading.path,
                        log_odds=log_odds,
                        full=full,
                        whole=row is not None,
                        scalars=scalars_of(reading, answer.letter_ids),
                        size=max(raw_sizes(reading), default=math.nan),
                    )
                )
        if own:
            self._rows.drop_rows(key, paths[1:])
        else:
            forget_rows(self._rows.rows_folder, key)
        return samples

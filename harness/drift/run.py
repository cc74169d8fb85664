"""From two named engines and some cases to what `explain` says of them."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from harness.cases.problems import nearest
from harness.checks.agreement import Agreement
from harness.checks.target import weakest
from harness.drift.explaining import Explained, explain
from harness.drift.explaining_text import sentences_of, text_of
from harness.drift.gathering import Asked, Gathered, Gathering
from harness.drift.grafting import graft
from harness.drift.kept import FOLDER, Kept, pair_folder, read_kept, read_noise, write_kept, write_noise
from harness.drift.picture import picture_of
from harness.drift.session import TracedEngine
from harness.drift.stage_noise import StageNoise
from harness.engines.contract import Answer
from harness.engines.taps.stages import EXACT
from harness.errors import EngineError, GateError, HarnessError
from harness.machine.hold import new_scratch
from harness.recordings.store import Recording
from harness.reports.report_input import Explanation
from harness.scoring.scoring import Scoring
from harness.scoring.subjects import Subject, request_for
from harness.workers import Job
from harness.workers.process import WorkerProcess, start_worker

__all__ = ["NOISE_CASES", "Explaining", "Pair", "Ready", "explanation_of", "explanations"]

NOISE_CASES: Final = 12
"""On how many cases noise is measured."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One case put to the two engines."""

    a: Subject
    b: Subject

    @property
    def name(self) -> str:
        """The case's name."""
        return self.a.case.name


class Ready(NamedTuple):
    """What traces, the case, the others beside it, and how loud each stage is."""

    gathering: Gathering
    asked: Asked
    others: list[Asked]
    noise: StageNoise


class Explaining:
    """Explains cases of two engines, whose workers live as long as this. Use it as a context.

    ``pairs`` are all cases that both are asked: those in question and those on which noise is measured are
    among them. With ``fresh`` nothing that was traced before is used again.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        scoring: Scoring,
        *,
        say: Callable[[str], None],
        noise_cases: int = NOISE_CASES,
        fresh: bool = False,
        grafts: bool = True,
        start: Callable[[Job], WorkerProcess] = start_worker,
        noise: StageNoise | None = None,
    ) -> None:
        """Touches nothing yet; raises GateError where there is no case.

        Without ``grafts`` a stage is named and not proven. ``start`` is the way in which workers are started.
        ``noise`` is measured where it is not given.
        """
        self._grafts = grafts
        self._start = start
        if not pairs:
            raise GateError(
                "the two engines have no case in common; allowed: engines of profiles with the same suites"
            )
        self._pairs = {pair.name: pair for pair in pairs}
        self._scoring = scoring
        self._say = say
        self._noise_cases = noise_cases
        self._fresh = fresh
        first = pairs[0]
        self.labels = (_label(first.a), _label(first.b))
        self._folder = pair_folder(scoring.store.root, self.labels)
        self._noise = noise
        self._stack = ExitStack()
        self._gathering: Gathering | None = None

    def __enter__(self) -> Explaining:  # noqa: D105
        return self

    def __exit__(self, *error: Any) -> None:  # noqa: ANN401, D105 - what a context is given
        self._stack.__exit__(*error)

    def record(self) -> None:
        """Have every case answered by both engines, as far as it is not."""
        self._scoring.make(subject for pair in self._pairs.values() for subject in (pair.a, pair.b))

    def worst(self, most: int) -> list[str]:
        """The ``most`` cases whose letters are furthest apart, those first that B could not answer.

        Raises EngineError where an engine could not be loaded, or A answered none.
        """
        self.record()
        gaps: dict[str, float] = {}
        told: EngineError | None = None
        for name, pair in self._pairs.items():
            try:
                gaps[name] = _gap(self._scoring.agreement(pair.a, pair.b))
            except EngineError as error:
                told = error
                if self._recorded(pair.a) is not None and not error.refused:
                    gaps[name] = math.inf
        if told is not None and not gaps:
            raise told.with_traceback(None)
        return sorted(gaps, key=lambda name: -gaps[name])[:most]

    def file(self, case: str) -> Path:
        """Where what was traced of a case is kept."""
        return self._folder / f"{case}.npz"

    def explain(self, case: str) -> Explained:
        """Trace a case, unless that was done, and name the stage at which the difference begins.

        Raises EngineError where an engine cannot be traced, GateError for an unknown case.
        """
        pair = self.pair(case)
        keys = self._keys(pair)
        if not self._fresh and (known := self._known(case, keys)) is not None:
            return explain(known)
        gathering, asked, others, noise = self._ready(pair)
        self._say(f"{case}: traced on {' and '.join(self.labels)}")
        found = gathering.gather(asked, others)
        kept = self._kept(pair, keys, noise, found)
        if self._grafts and (stage := explain(kept).stage) is not None and not found.lacking:
            self._say(f"{case}: states are put from one into the other")
            grafts = graft(gathering, asked, found, stage)
            kept = replace(kept, grafts=tuple(replace(one, noise=noise.letters) for one in grafts))
        for side in (0, 1):
            gathering.states(side, case).unlink(missing_ok=True)
        write_kept(self.file(case), kept)
        return explain(kept)

    def ready(self, case: str) -> Ready:
        """Everything to trace a case with; its noise is measured unless it is known. Raises as `explain`."""
        pair = self.pair(case)
        self._keys(pair)
        return self._ready(pair)

    def _ready(self, pair: Pair) -> Ready:
        gathering = self._gather()
        others = [self._asked(each) for each in self._spread() if self._recorded(each.a) is not None]
        noise = self._noise_on(gathering, others, pair)
        return Ready(gathering, self._asked(pair), [each for each in others if each.name != pair.name], noise)

    def spread(self) -> list[str]:
        """The cases on which noise is measured."""
        return [pair.name for pair in self._spread()]

    def pair(self, case: str) -> Pair:
        """A case by its name; raises GateError for one that both are not asked."""
        pair = self._pairs.get(case)
        if pair is None:
            known = nearest(case, self._pairs)
            raise GateError(f"case: found {case!r}; allowed: one that both engines are asked: {known}")
        return pair

    def _keys(self, pair: Pair) -> tuple[str, str]:
        """Those of the case's recordings, made with those of the cases on which noise is measured."""
        asked = [s for each in (*self._spread(), pair) for s in (each.a, each.b)]
        if any(self._recorded(subject) is None for subject in asked):
            self._scoring.make(asked)
        for subject in (pair.a, pair.b):
            try:
                self._scoring.recording(subject)
            except EngineError as error:  # of a case it may still be looked into
                if error.refused:
                    raise
        return self._scoring.recording(pair.a).key, self._scoring.key(pair.b)

    def _known(self, case: str, keys: tuple[str, str]) -> Kept | None:
        try:
            kept = read_kept(self.file(case))
        except (HarnessError, OSError):
            return None
        return kept if kept.keys == keys else None

    def _gather(self) -> Gathering:
        if self._gathering is None:
            root = self._scoring.store.root / FOLDER
            root.mkdir(parents=True, exist_ok=True)
            folder, held = new_scratch("states-", root)
            self._stack.callback(held.release)
            self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
            pair = next(iter(self._pairs.values()))
            engines = [
                self._stack.enter_context(
                    TracedEngine(
                        _label(subject), self._scoring.job(subject), folder, say=self._say, start=self._start
                    )
                )
                for subject in (pair.a, pair.b)
            ]
            cpu = any(pair_side.engine.settings.device == "cpu" for pair_side in (pair.a, pair.b))
            self._gathering = Gathering(engines[0], engines[1], folder, cpu=cpu, say=self._say)
        return self._gathering

    def _spread(self) -> list[Pair]:
        """The cases on which noise is measured, spread over all."""
        every = list(self._pairs.values())
        return every[:: max(1, len(every) // max(1, self._noise_cases))][: self._noise_cases]

    def _noise_on(self, gathering: Gathering, cases: Sequence[Asked], pair: Pair) -> StageNoise:
        """Measured once for two engines, and kept until either is another."""
        keys = [self._scoring.key(s) for each in self._spread() for s in (each.a, each.b)]
        if self._noise is None and not self._fresh:
            self._noise = read_noise(self._folder, keys)
        if self._noise is None:
            dtypes = (self._scoring.dtype(pair.a), self._dtype(pair))
            self._noise = gathering.noise(dtypes, cases)
            write_noise(self._folder, self._noise, keys)
        return self._noise

    def _dtype(self, pair: Pair) -> str:
        return self._scoring.dtype(pair.a if self._recorded(pair.b) is None else pair.b)

    def _recorded(self, subject: Subject) -> Recording | None:
        try:
            return self._scoring.recording(subject)
        except EngineError:
            return None

    def _asked(self, pair: Pair) -> Asked:
        ours, theirs = self._scoring.recording(pair.a).answer, self._recorded(pair.b)
        letters = ours.letter_ids if theirs is None else theirs.answer.letter_ids or ours.letter_ids
        forced, step, both = ours.generated_ids[:-1], ours.answer_step, (ours.letter_ids, letters)
        if ours.target_ids:
            forced, step = ours.target_ids, weakest(ours.readings[0])
            both = (_nearest(ours), _nearest(ours))
        return Asked(
            name=pair.name,
            a=request_for(pair.a.case, pair.a.profile),
            b=request_for(pair.b.case, pair.b.profile),
            forced=forced,
            letter_ids=both,
            answer_step=step,
            length=len(ours.prompt_ids) + len(forced),
        )

    def _kept(self, pair: Pair, keys: tuple[str, str], noise: StageNoise, found: Gathered) -> Kept:
        ours, theirs = self._scoring.recording(pair.a), self._recorded(pair.b)
        question: tuple[tuple[str, str, str], ...] = ()
        if theirs is not None:
            differences = self._scoring.agreement(pair.a, pair.b).question
            question = tuple(
                (each.cause.value, each.title, each.text) for each in differences if not each.note
            )
        letters = pair.a.case.letters
        told = _answer(ours, letters), self._error(pair.b) if theirs is None else _answer(theirs, letters)
        both = (ours.answer, None if theirs is None else theirs.answer)
        return Kept(
            case=pair.name,
            labels=self.labels,
            keys=keys,
            letters=letters,
            dtype=noise.dtype,
            question=question,
            answers=told,
            wrote=(both[0].generated_ids, both[1].generated_ids if both[1] else ()),
            letter_ids=(both[0].letter_ids, both[1].letter_ids if both[1] else ()),
            recorded=(_recorded_letters(both[0]), _recorded_letters(both[1])),
            about=found.about,
            lacking=found.lacking,
            noise=noise,
            grafts=(),
            traces=found.traces,
        )

    def _error(self, subject: Subject) -> str:
        try:
            self._scoring.recording(subject)
        except EngineError as error:
            return f"ERROR: {error.message.splitlines()[0]}"
        return ""


def explanations(
    pairs: Sequence[Pair], cases: Sequence[str], scoring: Scoring, say: Callable[[str], None]
) -> Iterator[Explanation]:
    """What there is to say of each of ``cases`` of two engines; also where one cannot be explained."""
    with Explaining(pairs, scoring, say=say) as explaining:
        for case in cases:
            try:
                yield explanation_of(explaining.explain(case))
            except HarnessError as error:
                text = f"{case}: cannot be explained: {error}\n"
                yield Explanation(case=case, sides=explaining.labels, sentences=[text.strip()], text=text)


def explanation_of(found: Explained) -> Explanation:
    """As reports take it."""
    return Explanation(
        case=found.case,
        sides=found.labels,
        sentences=[*sentences_of(found)],
        text=text_of(found),
        picture=picture_of(found, style=False) if any(row.stage not in EXACT for row in found.rows) else "",
    )


def _label(subject: Subject) -> str:
    return f"{subject.profile.name}/{subject.engine.name}"


def _nearest(answer: Answer) -> tuple[int, ...]:
    """Of a text, its token that another is nearest to, or above, and that one: what letters are elsewhere."""
    step = weakest(answer.readings[0])
    rival = answer.readings[0].target[step].rival
    return (answer.target_ids[step], *([rival] if rival >= 0 else []))


def _recorded_letters(answer: Answer | None) -> tuple[float, ...]:
    """The log-probabilities [L] of the letters by the first path, () where it did not come to them."""
    reading = None if answer is None else next(iter(answer.readings), None)
    if reading is None or reading.log_z is None or reading.partial or reading.target:
        return ()
    return tuple(logit - reading.log_z for logit in reading.letter_logits)


def _answer(recording: Recording, letters: Sequence[str]) -> str:
    """The most probable letters of an answer, and what was written."""
    answer = recording.answer
    reading = next(iter(answer.readings), None)
    written = f"wrote {answer.text!r}"
    if reading is None or reading.log_z is None or not reading.letter_logits:
        return written
    logs = [logit - reading.log_z for logit in reading.letter_logits]
    best = sorted(zip(letters, logs, strict=True), key=lambda each: -each[1])[:2]
    return ", ".join(f"P({letter}) {math.exp(value):.4g}" for letter, value in best) + f"; {written}"


def _gap(agreement: Agreement) -> float:
    """The largest difference of the letters' probabilities, infinite where a side never came to them."""
    return math.inf if agreement.worst is None else agreement.worst

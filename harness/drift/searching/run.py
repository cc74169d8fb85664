"""From engines to what a search says: two held against each other, or one against itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from harness.checks.tolerances import known_dtypes, resolve
from harness.drift.searching.distances import FAR, Judged, apart
from harness.drift.searching.hunting import Budget, Hunt, hunt
from harness.drift.searching.relations import RELATIONS, Asking, judge
from harness.drift.searching.studio import Drawn, requests_of, write_suite
from harness.drift.session import TracedEngine
from harness.engines.contract import Answer, Request
from harness.errors import EngineError
from harness.machine.hold import scratch
from harness.reports.pulse import Pulse
from harness.scoring.scoring import Scoring
from harness.scoring.subjects import Subject

__all__ = ["search"]

_MOST: Final = 4
"""Cases in a batch."""


def search(
    subjects: Sequence[Subject],
    scoring: Scoring,
    budget: Budget,
    out: Path,
    *,
    say: Callable[[str], None],
    limit: float | None = None,
) -> Iterator[tuple[str, bool]]:
    """Yield a text and whether something was found, of two engines once, of one for each relation.

    Of ``subjects`` only engine and profile count. ``limit`` None is that of log-odds for the dtypes in which
    they were loaded. What is found is written to ``out``. Raises EngineError where one cannot be loaded or
    ended, HarnessError as `hunt` and `write_suite`.
    """
    engines: list[TracedEngine] = []
    profiles = [subject.profile for subject in subjects]
    labels = [f"{subject.profile.name}/{subject.engine.name}" for subject in subjects]
    memory = scoring.store.root / "search" / "..".join(labels).replace("/", "-")
    memory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = stack.enter_context(scratch("pictures-", memory))
        for label, subject in zip(labels, subjects, strict=True):
            job = replace(scoring.job(subject), rows=None)
            engine = TracedEngine(label, job, folder, say=say, beside=bool(engines))
            engines.append(stack.enter_context(engine))
            engine.load()
        dtypes = [name for each in engines for name in known_dtypes(str(each.fingerprint.get("dtype")))]
        most = resolve(*dtypes, overrides=[profile.tolerances for profile in profiles]).log_odds
        limit = most if limit is None else limit
        size = min(_MOST, *(max(1, subject.engine.settings.batch_size) for subject in subjects))

        pulse, asked = Pulse(), 0

        def heard() -> None:
            nonlocal asked
            asked += 1
            if pulse.due():
                say(f"{'..'.join(labels)}: {asked} batches asked")

        def score(requests: Sequence[Request]) -> list[Answer | EngineError]:
            heard()
            return engines[0].score(requests)

        asking = Asking(score, profiles[0], folder, limit)

        def between(drawn: Sequence[Drawn]) -> Judged | None:
            heard()
            ours, theirs = (
                engine.score(requests_of(drawn, profile, folder))
                for engine, profile in zip(engines, profiles, strict=True)
            )
            batch = zip(ours, theirs, drawn, strict=True)
            found = [apart(a, b, one.letters, limit) for a, b, one in batch]
            told = [Judged(far.ratio, f"case-{n}, {far.what}") for n, far in enumerate(found, 1) if far]
            return max(told, default=None)

        if len(engines) > 1:
            yield _told("..".join(labels), hunt(size, between, budget, memory), asking, out)
            return
        for number, name in enumerate(RELATIONS):
            came = hunt(size, partial(judge, name, asking), budget, memory / str(number))
            yield _told(f"{labels[0]}, {name}", came, asking, out)


def _told(label: str, came: Hunt, asking: Asking, out: Path) -> tuple[str, bool]:
    limit = f"the limit of {asking.limit:g} nats"
    if came.found is None:
        return (
            f"{label}: nothing found in {came.tried} examples, {came.worst:.3g} of {limit} at most\n",
            False,
        )
    drawn, judged = came.found
    answers = asking.ask(asking.requests(*drawn))
    expect = [_letter(one, answer) for one, answer in zip(drawn, answers, strict=True)]
    suite, *pictures = write_suite(out, drawn, expect, f"Found by harness search: {label}")
    far = f"{judged.ratio:.3g} times {limit}" if judged.ratio < FAR else "as far as can be"
    lines = [
        f"{label}: FOUND in example {came.tried}, shrunk with {came.asked - came.tried} more",
        f"  {judged.what}: {far}",
        *([] if came.steady else ["  not each time that it was asked: the answers themselves vary"]),
        *(f"  case-{number}: {_described(one)}" for number, one in enumerate(drawn, 1)),
        f"  written: {', '.join(map(str, (suite, *pictures)))}",
    ]
    if ".." in label:
        case = f"{suite.stem}.{judged.what.partition(',')[0]}"
        lines.append(f"  cp -r {out}/. cases/ && harness explain {label} {case}")
    return "\n".join(lines) + "\n", True


def _letter(drawn: Drawn, answer: object) -> str:
    """What the baseline takes for the most probable; the first where it took none."""
    logits = answer.readings[0].letter_logits if isinstance(answer, Answer) and answer.readings else ()
    return max(zip(logits, drawn.letters, strict=False), default=(0.0, drawn.letters[0]))[1]


def _described(drawn: Drawn) -> str:
    picture = drawn.picture
    seen = "no picture" if picture is None else f"{picture.width} x {picture.height}, {picture.shapes} shapes"
    given = [
        f"{name} {text!r}" for name, text in (("prefix", drawn.prefix), ("system", drawn.system)) if text
    ]
    return ", ".join([seen, repr(drawn.question), "/".join(drawn.options), *given])

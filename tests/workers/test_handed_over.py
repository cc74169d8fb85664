"""What of an answer does not fit its request, and that nothing of a sound one does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.engines.codec import request_digest
from harness.engines.contract import Answer, EngineSettings, Entry, Question, Reading, Request, Row
from harness.engines.letters import LetterIds
from harness.engines.readings import TextEntry, read_rows, read_top, read_top_texts
from harness.errors import ErrorKind
from harness.workers import Job
from harness.workers.handed_over import HandedOver
from harness.workers.rows import row_file, save_rows
from tests.text_answers import rows_for, text_answer

PATHS = ("two-stage", "captured")
IDS = LetterIds(("A", "B", "C"), (30,), (5, 6, 7), ((15,), (16,), ()))
REQUESTS = [
    Request(case=f"s.c{n}", prompt=f"Which\n  of {n}?", letters=("A", "B", "C"), answer_prefix=": ")
    for n in range(40)
]
GENERATED = (30, 6)
KEY = "key"


def rows(seed: int = 0, width: int = 40) -> Row:
    """The rows [T, V] of one answer."""
    found = np.random.default_rng(seed).normal(size=(2, width)).astype(np.float32)
    found[[0, 1], GENERATED] += 9
    return found


def whole(request: Request, seen: Row) -> Answer:
    """A sound answer by two paths with all of their rows."""
    readings = tuple(read_rows(path, seen, GENERATED, letter_ids=IDS, top_k=4) for path in PATHS)
    return Answer(
        prompt_ids=(1, 99_999, 3),  # a placeholder beyond the vocabulary, as some models have
        generated_ids=GENERATED,
        text=": B",
        letter_ids=IDS.ids,
        answer_step=1,
        readings=readings,
        reported_top=readings[0].top,
        reported_logprobs=readings[0].logprobs,
        rows=dict.fromkeys(PATHS, seen[1]),
        question=Question(text=f"<user> {request.prompt} <end>"),
        request=request_digest(request),
    )


def checker(
    folder: Path | None, *, paths: tuple[str, ...] = PATHS, requests: Sequence[Request] = REQUESTS
) -> HandedOver:
    settings = EngineSettings(
        kind="lmdeploy", model="m", dtype="float32", device="cpu", paths=paths, top_k=4, batch_size=8
    )
    job = Job(python="", settings=settings, load_seconds=1, case_seconds=1, log=Path("log"), rows=folder)
    return HandedOver(job, requests)


def found(
    check: HandedOver, folder: Path, answer: Answer, request: Request = REQUESTS[9], *, key: str = KEY
) -> str:
    """What is said of an answer that comes with its rows, '' where it fits."""
    save_rows(folder, key, answer.rows)
    misfit = check.misfit(key, request, answer, answer.request or request_digest(request))
    assert misfit is None or misfit.kind is ErrorKind.FAILED
    return "" if misfit is None else misfit.message


def of_reading(number: int, change: Callable[[Reading], dict[str, Any]]) -> Callable[[Answer], Answer]:
    """A fault of one reading."""

    def fault(answer: Answer) -> Answer:
        readings = [*answer.readings]
        readings[number] = replace(readings[number], **change(readings[number]))
        return replace(answer, readings=tuple(readings))

    return fault


def field(**changes: Any) -> Callable[[Answer], Answer]:
    return lambda answer: replace(answer, **changes)


OTHER = whole(REQUESTS[10], rows(1))
FAULTS: dict[str, tuple[Callable[[Answer], Answer], str]] = {
    # letters
    "letter-id": (field(letter_ids=(5, 6)), "letter_ids: found 2 entries; allowed: 3, one for each letter"),
    "letter": (
        of_reading(1, lambda r: {"letter_logits": r.letter_logits[1:]}),
        "captured.letter_logits: found 2 entries; allowed: 3",
    ),
    "spelling": (
        of_reading(0, lambda r: {"other_spellings": r.other_spellings[1:]}),
        "two-stage.other_spellings: found 2 entries; allowed: 3",
    ),
    "rank": (of_reading(0, lambda _: {"letter_ranks": (0,)}), "two-stage.letter_ranks: found 1 entries"),
    "ceiling": (
        of_reading(0, lambda _: {"letter_ceilings": (0.0,)}),
        "two-stage.letter_ceilings: found 1 entries",
    ),
    # tokens and paths
    "argmax": (of_reading(1, lambda _: {"argmax": (30,)}), "captured.argmax: found 1 entries; allowed: 2"),
    "fewer-rows": (of_reading(0, lambda r: {"logprobs": r.logprobs[:1]}), "two-stage.logprobs: found 1 ent"),
    "path": (
        lambda answer: replace(answer, readings=answer.readings[:1]),
        "readings: found ['two-stage']; allowed: ['two-stage', 'captured']",
    ),
    "no-path": (field(readings=()), "readings: found []"),
    "step": (field(answer_step=2), "answer_step: found 2; allowed: a place among the 2 tokens"),
    "before": (field(answer_step=-1), "answer_step: found -1"),
    "unreached": (field(answer_step=None), "two-stage.log_z: found "),
    "no-log-z": (of_reading(0, lambda _: {"log_z": None}), "two-stage.log_z: found None; allowed: a number"),
    # another case's
    "digest": (field(request=OTHER.request), "the worker answered another request than this one, s.c10; "),
    "unknown": (field(request="0" * 64), "the worker answered another request than this one; nothing of"),
    "question": (field(question=OTHER.question), "question.text: found the prompt of s.c10; allowed: this"),
    "readings": (field(readings=OTHER.readings), "row of two-stage: found the letters' logits ["),
    "rows": (field(rows=OTHER.rows), "row of two-stage: found the letters' logits ["),
    "text": (field(text=": C"), "text: found ': C'; allowed: one with 'B', whose id was generated"),
    "empty": (field(text=""), "text: found ''; allowed: one with 'B'"),
    # rows and numbers
    "log-z": (of_reading(0, lambda _: {"log_z": 9.5}), "row of two-stage: found a log Z of "),
    "flat": (field(rows=dict.fromkeys(PATHS, np.full(40, -np.inf))), "row of two-stage: found no finite num"),
    "nan": (
        field(rows=dict.fromkeys(PATHS, np.where(np.arange(40) < 2, np.nan, rows()[1]))),
        "row of two-stage: found 2 of 40 logits NaN or +inf; allowed: none",
    ),
    "beyond": (
        of_reading(1, lambda r: {"argmax": (30, 40)}),
        "captured.argmax: found 40; allowed: 0 to 39, the columns of the logits",
    ),
    "below": (field(generated_ids=(-1, 6)), "generated_ids: found -1; allowed: 0 to 39"),
    "top-id": (of_reading(0, lambda _: {"top": (Entry(41, -1.0),)}), "two-stage.top: found 41"),
    "reported-id": (field(reported_top=(Entry(40, -1.0),)), "reported_top: found 40"),
    "logprob": (
        of_reading(0, lambda _: {"logprobs": (0.5, -1.0)}),
        "two-stage.logprobs: found 0.5; allowed: log-probabilities, which are 0 at most",
    ),
    "share": (of_reading(0, lambda _: {"other_spellings": (0.0, 1.5, 0.0)}), "two-stage.other_spellings: f"),
}


@pytest.mark.parametrize(("fault", "words"), FAULTS.values(), ids=FAULTS)
def test_what_does_not_fit_is_named(tmp_path: Path, fault: Callable[[Answer], Answer], words: str) -> None:
    check, sound = checker(tmp_path), whole(REQUESTS[9], rows())
    assert found(check, tmp_path, sound) == ""
    said = found(check, tmp_path, fault(sound))
    assert said.startswith(words)
    assert said.endswith("; nothing of this answer is kept")


def test_rows_that_are_not_there_or_damaged(tmp_path: Path) -> None:
    check, sound = checker(tmp_path), whole(REQUESTS[9], rows())
    assert found(check, tmp_path, replace(sound, rows={"two-stage": sound.rows["two-stage"]})).startswith(
        "row of captured: found No such file or directory; allowed: a file, "
    )
    file = row_file(tmp_path, KEY, "captured")
    file.write_bytes(row_file(tmp_path, KEY, "two-stage").read_bytes()[:-1])
    misfit = check.misfit(KEY, REQUESTS[9], sound, sound.request)
    assert misfit is not None
    assert misfit.message.startswith(f"row of captured: found a damaged file; allowed: a whole one, {file}")
    assert checker(None).misfit(KEY, REQUESTS[9], sound, sound.request) is None, "where no rows are kept"


def test_an_engine_has_one_vocabulary(tmp_path: Path) -> None:
    check = checker(tmp_path)
    assert found(check, tmp_path, whole(REQUESTS[8], rows()), REQUESTS[8], key="first") == ""
    assert found(check, tmp_path, whole(REQUESTS[9], rows(width=48))).startswith(
        "row of two-stage: found 48 columns; allowed: 40, as s.c8 had of this engine"
    )


def test_a_template_may_change_a_prompt(tmp_path: Path) -> None:
    """That is for the comparison of questions to tell, unless it is the prompt of another case."""
    sound = whole(REQUESTS[9], rows())
    for text in ("Which of 9?", "WHICH OF 9?", "of 9?", None):
        assert found(checker(tmp_path), tmp_path, replace(sound, question=Question(text=text))) == ""


def test_what_stands_around_images_makes_it_no_other_prompt(tmp_path: Path) -> None:
    own = Request(case="s.i", prompt="Is {image:2}this{image:1}?", letters=("A", "B", "C"), images=("a", "b"))
    check = checker(tmp_path, requests=[own, replace(own, case="s.j", prompt="this", images=())])
    told = replace(whole(own, rows()), question=Question(text="<user> Is <image>\n this<image>\n? <end>"))
    assert found(check, tmp_path, told, own) == ""
    other = replace(told, question=Question(text="<user> this <end>"))
    assert "found the prompt of s.j" in found(check, tmp_path, other, own)


def test_an_answer_that_never_reached_the_letter_fits(tmp_path: Path) -> None:
    seen, generated = rows()[:1], (8,)
    readings = tuple(read_rows(path, seen, generated, letter_ids=IDS, top_k=4) for path in PATHS)
    fields: dict[str, Any] = {"generated_ids": generated, "answer_step": None, "readings": readings}
    answer = replace(whole(REQUESTS[9], rows()), **fields, reported_logprobs=(), text="", rows={})
    assert found(checker(tmp_path), tmp_path, answer) == ""


def test_partial_readings_fit_without_rows(tmp_path: Path) -> None:
    tops = [{30: -0.1, 9: -3.0}, {6: -0.2, 5: -2.5}]
    reading = read_top("top-k", tops, GENERATED, letter_ids=IDS)
    assert reading.letter_logits[2] == -math.inf
    sound = replace(whole(REQUESTS[9], rows()), readings=(reading,), rows={})
    check = checker(tmp_path, paths=("top-k",))
    assert found(check, tmp_path, sound) == ""
    above = replace(sound, readings=(replace(reading, letter_ceilings=(-2.5, -0.2, 0.3)),))
    assert found(check, tmp_path, above).startswith("top-k.letter_ceilings: found 0.3; allowed: log-probab")


def test_answers_by_text_fit(tmp_path: Path) -> None:
    top = [TextEntry("B", -0.1), TextEntry("A", -3.0)]
    chat = read_top_texts("chat", top, [-0.1, -0.1], letters="ABC", spellings=[(), (), ()])
    scored = Reading(
        path="scored", argmax=(), logprobs=(), letter_logits=(-3.0, -0.1, -4.0), log_z=0.0, letter_ceilings=()
    )
    scored = replace(scored, letter_ceilings=scored.letter_logits)
    answer = Answer(
        prompt_ids=(), generated_ids=(), text=": B", letter_ids=(), answer_step=1, readings=(chat, scored)
    )
    assert found(checker(tmp_path, paths=("chat", "scored")), tmp_path, answer) == ""
    alone = replace(answer, readings=(scored,))
    assert found(checker(tmp_path, paths=("scored",)), tmp_path, alone) == ""
    assert found(checker(tmp_path, paths=()), tmp_path, replace(answer, answer_step=2)) != ""
    silent = replace(answer, text="", answer_step=None, readings=())
    assert found(checker(tmp_path, paths=("chat",)), tmp_path, silent) == ""


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_are_finite(number: float) -> None:
    sound = whole(REQUESTS[9], rows())
    broken = of_reading(1, lambda _: {"logprobs": (-0.1, number)})(sound)
    misfit = checker(None).misfit(KEY, REQUESTS[9], broken, sound.request)
    assert misfit is not None
    assert misfit.kind is ErrorKind.NOT_FINITE
    assert misfit.message == f"captured.logprobs[1] is {number}; allowed: finite numbers"


TEXT = Request(case="s.text", prompt="Which year?", letters=(), kind=Request.TEXT, target="1984")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (field(), ""),
        (
            of_reading(1, lambda r: {"target": r.target[:2]}),
            "captured.target: found 2 entries; allowed: 3, one for",
        ),
        (of_reading(0, lambda _: {"target": ()}), "two-stage.target: found 0 entries; allowed: 3"),
        (field(target_ids=(10, 999)), "target_ids: found 999; allowed: 0 to 31"),
        (field(target_ids=(11, 10)), "row of two-stage: found -"),
        (
            of_reading(
                0, lambda r: {"target": (r.target[0], r.target[1]._replace(logprob=0.5), r.target[2])}
            ),
            "two-stage.target: found 0.5; allowed: log-probabilities",
        ),
    ],
)
def test_a_text_has_a_score_for_each_token_and_the_end(
    tmp_path: Path, fault: Callable[[Answer], Answer], words: str
) -> None:
    answer = text_answer(dict.fromkeys(PATHS, rows_for(2.0, 1.0, 3.0)), top_k=4)
    said = found(checker(tmp_path, requests=[TEXT]), tmp_path, fault(answer), TEXT)
    assert said.startswith(words)
    assert bool(said) == bool(words)

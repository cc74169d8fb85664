"""Who is blamed, who keeps an answer, and when workers are started again."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.engines.contract import Request
from harness.errors import ErrorKind, HarnessError
from harness.workers import Event, Failed, Loaded, Progress, Scored, run, supervisor
from harness.workers.process import WorkerProcess

if TYPE_CHECKING:
    from tests.workers.conftest import Workers

DEATHS = [
    pytest.param("exit 3", "exited with code 3", id="exit"),
    pytest.param("kill-9", "was killed by signal 9 (SIGKILL)", id="killed"),
    pytest.param("segfault", "was killed by signal 11 (SIGSEGV)", id="segmentation-fault"),
]


def test_all_cases_are_answered_in_one_worker(workers: Workers) -> None:
    result = workers.run("a", "b", "c", "d", "e", batch_size=2)
    assert sorted(result.answers) == [0, 1, 2, 3, 4]
    assert len(result.loads) == 1
    assert result.answers[1].text == "b"
    assert result.answers[1].readings[0].letter_logits == (1.5, -2.0)


def test_progress_tells_the_phase_and_counts(workers: Workers) -> None:
    progress = workers.run("a", "b", "c", batch_size=2).progress
    assert [(p.phase, p.done, p.total) for p in progress] == [
        ("loading", 0, 3),
        ("scoring", 0, 3),
        ("scoring", 2, 3),
    ]


def test_progress_goes_on_while_nothing_else_happens(workers: Workers) -> None:
    progress = workers.run("hang", case_seconds=2.2).progress
    seconds = [p.seconds for p in progress if p.phase == "scoring"]
    assert len(seconds) > 1
    assert seconds[0] == 0.0
    assert seconds[1] > 0.9


def test_without_requests_no_worker_is_started(workers: Workers) -> None:
    result = workers.run()
    assert result.events == []
    assert not result.job.log.exists()


@pytest.mark.parametrize(("prompt", "words"), DEATHS)
def test_only_the_case_that_ends_the_worker_is_an_error(workers: Workers, prompt: str, words: str) -> None:
    result = workers.run("a", "b", prompt, "c", "d", "e")
    assert sorted(result.answers) == [0, 1, 3, 4, 5]
    assert result.error.kind is ErrorKind.CRASH
    assert words in result.error.message
    # One ended by the case in company, one by the case alone, and one that goes on.
    assert len(result.loads) == 3


def test_cases_answered_together_are_told_apart_all_the_same(workers: Workers) -> None:
    result = workers.run("a", "b", "exit 3", "c", options={"late": True})
    assert sorted(result.answers) == [0, 1, 3]
    assert "while this case was scored alone" in result.error.message


def test_in_a_batch_of_one_the_case_is_blamed_at_once(workers: Workers) -> None:
    result = workers.run("a", "exit 3", "b", batch_size=1)
    assert sorted(result.answers) == [0, 2]
    assert result.error.message.startswith("the worker exited with code 3 while this case was in hand")
    assert len(result.loads) == 2


def test_the_last_unanswered_case_of_a_batch_is_not_tried_again(workers: Workers) -> None:
    result = workers.run("a", "b", "exit 3", batch_size=3)
    assert "while this case was in hand and the 2 others of its batch had outcomes" in result.error.message
    assert len(result.loads) == 1


def test_a_worker_killed_from_outside_costs_one_case(workers: Workers, tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    def kill(event: Event) -> None:
        if isinstance(event, Scored) and event.key == "key0":
            assert workers.soon(marker.exists)
            assert workers.soon(lambda: marker.read_text() != "")
            os.kill(int(marker.read_text()), signal.SIGKILL)

    result = workers.run("a", f"once {marker}", "b", "c", "d", see=kill, batch_size=4)
    assert sorted(result.answers) == [0, 2, 3, 4]
    error = result.errors[1]
    assert error.kind is ErrorKind.CRASH
    assert "was killed by signal 9 (SIGKILL) while this case and 2 more were in hand" in error.message
    assert "alone every one of them answered" in error.message
    assert "out-of-memory killer: lower batch_size (now 4)" in error.message


def test_a_crash_that_needs_company_is_not_passed_over(workers: Workers) -> None:
    result = workers.run("a", "b", "company-crash", batch_size=3)
    assert sorted(result.answers) == [1, 2]
    assert "exited with code 7 while this case and 2 more were in hand" in result.errors[0].message


def test_the_answer_of_a_case_that_bears_the_blame_is_not_kept(workers: Workers, tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    workers.run("a", "b", "company-crash", "c", batch_size=3, rows=rows, options={"rows": True})
    assert sorted(file.name for file in rows.iterdir()) == [
        f"key{number}.{path}.npy" for number in (1, 2, 3) for path in ("forward", "generate")
    ]


def test_each_case_in_hand_has_its_time(workers: Workers) -> None:
    result = workers.run(*["nap 0.7"] * 4, case_seconds=2.0, options={"late": True})
    assert sorted(result.answers) == [0, 1, 2, 3]
    assert len(result.loads) == 1, "nothing comes for 2.8 s, and there are four cases in hand"


def test_a_batch_that_hangs_says_how_long_how_many_had(workers: Workers) -> None:
    result = workers.run("a", "company-hang", case_seconds=1.0)
    assert result.error.kind is ErrorKind.TIMEOUT
    assert result.error.message.startswith(
        "no answer came for 2 cases within 2 × 1 s while this case and 1 more were in hand; alone every one"
    )
    assert "`deadlines.case` (1 s) per case in hand" in result.error.message


def test_a_case_that_hangs_times_out_and_the_others_are_answered(workers: Workers) -> None:
    result = workers.run("a", "hang", "b", case_seconds=1.0)
    assert sorted(result.answers) == [0, 2]
    error = result.errors[1]
    assert error.kind is ErrorKind.TIMEOUT
    assert error.message.startswith("nothing was heard for 1 s while this case was scored alone")
    assert "`deadlines.case` (1 s) per case in hand" in error.message
    assert "_misbehave" in result.job.log.read_text(), "the log shows where it hung"


def test_a_hang_that_holds_the_interpreters_lock_times_out_too(workers: Workers) -> None:
    result = workers.run("hang-holding-the-lock", "a", case_seconds=1.0, batch_size=1)
    assert sorted(result.answers) == [1]
    assert result.errors[0].kind is ErrorKind.TIMEOUT


def test_every_answer_starts_the_deadline_anew(workers: Workers) -> None:
    # The last has 1.2 s to itself, and 2.4 s have passed when it comes to its turn.
    result = workers.run(*["nap 0.6"] * 5, case_seconds=1.2, batch_size=5)
    assert sorted(result.answers) == [0, 1, 2, 3, 4]
    assert len(result.loads) == 1


RAISED = [
    (
        "raise too bad",
        ErrorKind.FAILED,
        "the engine raised RuntimeError: too bad while this case was in hand",
    ),
    ("memory", ErrorKind.OUT_OF_MEMORY, "lower batch_size (now 1)"),
    ("torch-memory", ErrorKind.OUT_OF_MEMORY, "Tried to allocate 2.00 GiB"),
    ("torch-cpu-memory", ErrorKind.OUT_OF_MEMORY, "can't allocate memory"),
    ("sys.exit giving up", ErrorKind.FAILED, "SystemExit: giving up"),
    ("raise-engine-error no such dtype", ErrorKind.UNSUPPORTED, "no such dtype"),
    ("raise-letters-error A has two tokens", ErrorKind.LETTERS, "A has two tokens"),
]


def test_exceptions_are_told_by_their_kind(workers: Workers) -> None:
    prompts = [prompt for raising, _, _ in RAISED for prompt in (raising, "a")]
    result = workers.run(*prompts, batch_size=1)
    assert sorted(result.answers) == list(range(1, len(prompts), 2))
    assert len(result.loads) == 1
    for number, (_, kind, words) in enumerate(RAISED):
        assert result.errors[2 * number].kind is kind
        assert words in result.errors[2 * number].message


def test_only_the_case_that_raises_is_an_error(workers: Workers) -> None:
    result = workers.run("a", "raise too bad", "b", "c", "d")
    assert sorted(result.answers) == [0, 2, 3, 4]
    assert "RuntimeError: too bad while this case was scored alone" in result.error.message


def test_an_exception_that_needs_company_is_not_passed_over(workers: Workers) -> None:
    result = workers.run("a", "company-raise", "b", "c", "d", "e", batch_size=3)
    assert sorted(result.answers) == [1, 2, 3, 4, 5]
    assert (
        "RuntimeError: too much company while this case and 2 more were in hand" in result.errors[0].message
    )
    assert len(result.loads) == 1, "a worker that raised and then answers is kept"


def test_after_an_exception_the_cases_go_on_alone(workers: Workers) -> None:
    result = workers.run("raise x", "where", "where", "where", "where", batch_size=3)
    assert [result.answers[number].text for number in (1, 2, 3, 4)] == [
        "alone",
        "alone",
        "in company",
        "in company",
    ]


def test_a_case_is_not_blamed_for_an_engine_that_another_case_broke(workers: Workers) -> None:
    result = workers.run("a", "break", "b", "c", "d", "e", batch_size=3)
    assert sorted(result.answers) == [0, 2, 3, 4, 5]
    assert "RuntimeError: breaking" in result.errors[1].message


def test_what_goes_wrong_after_every_answer_blames_nobody(workers: Workers) -> None:
    result = workers.run("a", "after-exit", "b", "after-raise", "c", batch_size=2)
    assert sorted(result.answers) == [0, 1, 2, 3, 4]
    assert len(result.loads) == 2


def test_a_worker_that_ends_between_batches_is_replaced(workers: Workers) -> None:
    pids: list[int] = []
    late: list[int] = []

    def kill_after_the_first_batch(event: Event) -> None:
        if isinstance(event, Loaded):
            pids.append(int(str(event.fingerprint["pid"])))
        if isinstance(event, Progress) and event.phase == "scoring" and event.done == 2 and len(pids) == 1:
            late.append(pids[0])  # the second batch went to the worker that was to be killed
        if isinstance(event, Scored) and event.key == "key1":
            os.kill(pids[0], signal.SIGKILL)
            assert workers.soon(lambda: pids[0] not in workers.living(pids[0]))

    for _ in range(10):
        pids.clear()
        late.clear()
        result = workers.run("a", "b", "c", "d", batch_size=2, see=kill_after_the_first_batch)
        if not late:
            break
    assert not late, "each time it was killed too late"
    assert sorted(result.answers) == [0, 1, 2, 3]
    assert len(result.loads) == 2


def test_a_failure_is_the_error_of_its_case_only(workers: Workers) -> None:
    result = workers.run("a", "failure no id for 'B'", "b")
    assert sorted(result.answers) == [0, 2]
    assert (result.error.kind, result.error.message) == (ErrorKind.LETTERS, "no id for 'B'")
    assert len(result.loads) == 1


def test_a_forgotten_case_has_failed(workers: Workers) -> None:
    result = workers.run("a", "forget", "b", options={"late": True})
    assert sorted(result.answers) == [0, 2]
    assert result.error.kind is ErrorKind.FAILED
    assert result.error.message == "the engine finished the batch without an outcome for this case"


def test_an_outcome_for_an_unknown_case_is_named(workers: Workers) -> None:
    result = workers.run("a", "stray", "b")
    assert sorted(result.answers) == [0, 2]
    assert "it yielded unasked or twice: 'nobody-asked'" in result.error.message


def test_a_second_outcome_for_a_case_is_dropped_and_logged(workers: Workers) -> None:
    result = workers.run("a", "twice", "b")
    assert sorted(result.answers) == [0, 1, 2]
    assert "unasked or twice: 'suite.case-1'" in result.job.log.read_text()


def test_what_is_no_answer_has_failed(workers: Workers) -> None:
    result = workers.run("a", "wrong-type")
    assert result.error.message == "the engine yielded a int; allowed: Answer or Failure"


def test_something_that_is_no_message_ends_the_worker(workers: Workers) -> None:
    result = workers.run("a", "garble", "b", batch_size=1)
    assert sorted(result.answers) == [0, 2]
    assert "something other than an answer came from the worker" in result.error.message
    assert "this is no message" in result.error.message


def test_the_answer_to_another_request_is_none(workers: Workers) -> None:
    result = workers.run("forge", batch_size=1)
    assert result.error.kind is ErrorKind.FAILED
    assert "answered another request" in str(result.error)


def test_an_answer_that_says_it_is_another_request_s_is_the_error_of_its_case(workers: Workers) -> None:
    result = workers.run("a", "answer-to b", "c")
    assert sorted(result.answers) == [0, 2]
    assert result.error.kind is ErrorKind.FAILED
    assert result.error.message.startswith("the worker answered another request than this one; nothing of")
    assert len(result.loads) == 1


def test_what_does_not_fit_its_request_is_an_error_and_no_row_of_it_stays(
    workers: Workers, tmp_path: Path
) -> None:
    result = workers.run("a", "few-letters", "other-row", "b", rows=tmp_path / "rows", options={"rows": True})
    assert sorted(result.answers) == [0, 3]
    assert "letter_ids: found 1 entries; allowed: 2" in result.errors[1].message
    assert "row of forward: found the letters' logits [2.5, -1.0]" in result.errors[2].message
    assert {file.name.partition(".")[0] for file in (tmp_path / "rows").iterdir()} == {"key0", "key3"}


@pytest.mark.parametrize(("device", "loads"), [("cpu", 1), ("cuda", 2)])
def test_a_worker_whose_gpu_ran_out_of_memory_is_replaced(
    workers: Workers, monkeypatch: pytest.MonkeyPatch, device: str, loads: int
) -> None:
    monkeypatch.setattr("tests.workers.conftest.run", lambda *given: run(*given, look=dict))
    result = workers.run("a", "torch-memory", "b", batch_size=1, device=device)
    assert sorted(result.answers) == [0, 2]
    assert result.error.kind is ErrorKind.OUT_OF_MEMORY
    assert len(result.loads) == loads


def test_an_engine_that_never_answers_is_given_up(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_STARTS_WITHOUT_OUTCOME", 3)
    result = workers.run("a", *["exit 3"] * 5, "b", batch_size=1)
    assert sorted(result.answers) == [0]
    assert len(result.loads) == 4
    assert all(error.kind is ErrorKind.CRASH for error in result.errors.values())
    assert "exited with code 3 while this case was in hand" in result.errors[4].message
    for number in (5, 6):
        assert (
            "in the last of 3 workers in a row without one outcome; not tried"
            in result.errors[number].message
        )


def test_an_answer_between_bad_cases_keeps_it_going(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_STARTS_WITHOUT_OUTCOME", 3)
    result = workers.run("exit 3", "exit 3", "a", "exit 3", "exit 3", "b", batch_size=1)
    assert sorted(result.answers) == [2, 5]


@pytest.mark.parametrize("what", ["key", "case"])
def test_requests_must_be_told_apart(workers: Workers, what: str) -> None:
    a = Request(case="suite.a", prompt="a", letters=("A", "B"))
    b = Request(case="suite.a" if what == "case" else "suite.b", prompt="b", letters=("A", "B"))
    twice = "suite.a" if what == "case" else "k"
    with pytest.raises(HarnessError, match=f"1 {what}s stand in more than one of 2 requests.*'{twice}'"):
        run(workers.job(), [("k", a), ("k" if what == "key" else "l", b)])


def test_who_starts_workers_and_where_can_be_chosen(workers: Workers) -> None:
    started: list[WorkerProcess] = []

    def start(job: object) -> WorkerProcess:
        started.append(WorkerProcess(str(workers.job().python), workers.folder / "elsewhere.log"))
        return started[-1]

    request = Request(case="suite.a", prompt="a", letters=("A", "B"))
    events = list(run(workers.job(), [("k", request)], start=start))
    assert [event.key for event in events if isinstance(event, Scored)] == ["k"]
    assert [event for event in events if isinstance(event, Failed)] == []
    assert len(started) == 1

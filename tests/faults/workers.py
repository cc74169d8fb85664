"""What may happen to a worker, and to what it answers."""

from __future__ import annotations

from tests.faults.ground import Ground, experiment

_KILL = "os.kill(os.getpid(), signal.SIGKILL)"
_INIT = "        if settings.device =="
_ANSWER = "        orders = re.sub("
_BEFORE = "        logprobs = log_softmax(row)\n"
_ROWS = "rows=dict.fromkeys(self.paths, row),"
_ODD = "('odd' in request.prompt and self.settings.kind == 'lmdeploy')"
TESTS = 24  # of four cases and two engines, those of snapshots left out
OF_ONE = 5  # of one case of LMDeploy


def _of_the_odd_case(ground: Ground, words: str, *, deadline: float = 20) -> str:
    """LMDeploy's odd case alone is an ERROR, told once; everything else passes and is kept."""
    ground.write_suite("say A 0", "say A 1", "say A odd", "say A 3")
    if deadline != 20:
        ground.write_profiles()
        file = ground.cases / "profiles.yaml"
        file.write_text(file.read_text().replace("case: 20", f"case: {deadline}"))
    ran = ground.pytest("-q", "-k", "not snapshot")
    seen = ground.expect(
        ran, status=1, says=[words, "s.c2-p-lmdeploy"], kept=7, error=OF_ONE, passed=TESTS - OF_ONE, failed=0
    )
    assert ran.output.count("run again: ") == 1, ran.output
    return seen


def _when_odd(statement: str, before: str = _ANSWER) -> tuple[str, str]:
    return before, f"        if {_ODD}:\n            {statement}\n{before}"


@experiment("worker killed at load", "ERROR of all its cases, told once; the other engine's are kept")
def killed_at_load(ground: Ground) -> str:
    ground.patch(_INIT, f"        if settings.kind == 'lmdeploy':\n            {_KILL}\n{_INIT}")
    ran = ground.pytest("-q", "-k", "not snapshot")
    seen = ground.expect(ran, status=1, says=["killed by signal 9", "could not be loaded"], kept=4, failed=0)
    assert ran.output.count("killed by signal 9") == 1, ran.output
    return seen


@experiment("worker killed in stage one", "ERROR of its case alone, told once")
def killed_in_stage_one(ground: Ground) -> str:
    ground.patch(*_when_odd(_KILL))
    return _of_the_odd_case(ground, "killed by signal 9")


@experiment("worker killed in stage two", "ERROR of its case alone, told once")
def killed_in_stage_two(ground: Ground) -> str:
    ground.patch(*_when_odd(_KILL, _BEFORE))
    return _of_the_odd_case(ground, "killed by signal 9")


@experiment("worker killed with half an answer written", "ERROR of its case alone; nothing of it is kept")
def killed_while_answering(ground: Ground) -> str:
    half = (
        "import harness.workers.serving as s; send = s._send; "
        "s._send = lambda out, m: (out.write(s.encode(m)[:99]), out.flush(), "
        f"{_KILL}) if m.get('event') == 'answer' and 'odd' in str(m) else send(out, m)"
    )
    ground.patch(*_when_odd(half))
    return _of_the_odd_case(ground, "killed by signal 9")


@experiment("worker killed with half a row written", "ERROR of its case alone; no half row stays")
def killed_while_writing_rows(ground: Ground) -> str:
    half = (
        "import pathlib; write = pathlib.Path.write_bytes; "
        f"pathlib.Path.write_bytes = lambda p, d: (write(p, d[:99]), {_KILL})"
    )
    ground.patch(*_when_odd(half, _BEFORE))
    seen = _of_the_odd_case(ground, "killed by signal 9")
    assert [*(ground.path / ".harness" / "rows").glob(".*")] == []
    return seen


@experiment("worker hangs in a case", "ERROR of its case at the deadline, told once")
def hangs(ground: Ground) -> str:
    ground.patch(*_when_odd("time.sleep(600)"))
    return _of_the_odd_case(ground, "the profile's `deadlines.case`", deadline=2)


@experiment("worker hangs and ignores SIGTERM", "ERROR of its case at the deadline; it is gone")
def hangs_hard(ground: Ground) -> str:
    ground.patch(*_when_odd("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"))
    return _of_the_odd_case(ground, "the profile's `deadlines.case`", deadline=2)


@experiment("worker hangs at load", "ERROR of all its cases at the deadline, told once")
def hangs_at_load(ground: Ground) -> str:
    ground.patch(_INIT, f"        if settings.kind == 'lmdeploy':\n            time.sleep(600)\n{_INIT}")
    file = ground.cases / "profiles.yaml"
    file.write_text(file.read_text().replace("load: 60", "load: 2"))
    ran = ground.pytest("-q", "-k", "not snapshot")
    return ground.expect(ran, status=1, says=["`deadlines.load`"], kept=4, failed=0)


@experiment("worker at its memory limit", "ERROR of its case alone, which says to lower batch_size")
def out_of_memory(ground: Ground) -> str:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30,) * 2); np.ones(2**32)"
    ground.patch(*_when_odd(limit))
    return _of_the_odd_case(ground, "out-of-memory")


@experiment(
    "GPU out of memory", "ERROR of its case alone", stand_in="the exception's class and words, without a GPU"
)
def out_of_gpu_memory(ground: Ground) -> str:
    text = "CUDA out of memory. Tried to allocate 2.00 GiB."
    ground.patch(*_when_odd(f"raise type('OutOfMemoryError', (RuntimeError,), {{}})({text!r})"))
    return _of_the_odd_case(ground, "CUDA out of memory")


@experiment("NaN in the logits", "ERROR of its case alone")
def nan(ground: Ground) -> str:
    ground.patch(*_when_odd("row[3] = np.nan", "        readings = ["))
    return _of_the_odd_case(ground, "not-finite")


@experiment("infinite logits", "ERROR of its case alone")
def infinite(ground: Ground) -> str:
    ground.patch(*_when_odd("row[3] = np.inf", "        readings = ["))
    return _of_the_odd_case(ground, "not-finite")


@experiment("fewer rows than paths", "ERROR of its case alone; nothing of it is kept")
def fewer_rows(ground: Ground) -> str:
    ground.patch(_ROWS, f"rows=dict.fromkeys(self.paths[{_ODD} :], row),")
    return _of_the_odd_case(ground, "row of two-stage: found No such file")


@experiment("another vocabulary", "ERROR of its case alone; nothing of it is kept")
def another_vocabulary(ground: Ground) -> str:
    ground.patch(_ROWS, f"rows=dict.fromkeys(self.paths, np.append(row, [-9.0] * 8 * {_ODD}).astype('f4')),")
    return _of_the_odd_case(ground, "columns; allowed: ")


@experiment("an empty text", "ERROR of its case alone; nothing of it is kept")
def empty_text(ground: Ground) -> str:
    ground.patch("text=chr(", f"text='' if {_ODD} else chr(")
    return _of_the_odd_case(ground, "text: found ''")


@experiment("another case's answer", "ERROR of its case alone; nothing of it is kept")
def anothers_answer(ground: Ground) -> str:
    ground.patch(
        "question=Question(text=request.prompt",
        f"question=Question(text='say A 0' if {_ODD} else request.prompt",
    )
    return _of_the_odd_case(ground, "found the prompt of s.c0")


@experiment("an outcome twice, another never", "ERROR of the case that has none")
def one_twice(ground: Ground) -> str:
    ground.patch(
        "                yield Outcome(request.case, self.answer(request))\n",
        "                again = request.case\n"
        "                if 'odd' in request.prompt and self.settings.kind == 'lmdeploy':\n"
        "                    again = requests[0].case\n"
        "                yield Outcome(again, self.answer(request))\n",
    )
    return _of_the_odd_case(ground, "without an outcome for this case")

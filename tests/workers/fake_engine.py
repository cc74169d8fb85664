"""An engine that does what prompts and options tell it, good or bad. Standard library and numpy only."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.engines.codec import request_digest
from harness.engines.contract import Answer, EngineSettings, Entry, Failure, Outcome, Reading, Request, Row
from harness.errors import EngineError, ErrorKind, LettersError

PATCHED: list[str] = []


def _misbehave(order: str, argument: str) -> None:
    """Orders that a load and a case understand alike; an unknown one does nothing."""
    match order:
        case "exit":
            os.write(1, b"about to exit\n")
            os._exit(int(argument))
        case "sys.exit":
            sys.exit(argument)
        case "kill-9":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)
        case "hang":
            time.sleep(600)
        case "hang-holding-the-lock":
            re.match("(a+)+$", "a" * 60 + "b")
        case "raise":
            raise RuntimeError(argument)
        case "raise-engine-error":
            raise EngineError(ErrorKind.UNSUPPORTED, argument)
        case "raise-letters-error":
            raise LettersError(argument)
        case "memory":
            raise MemoryError
        case "torch-memory":
            raise type("OutOfMemoryError", (RuntimeError,), {})(
                "CUDA out of memory. Tried to allocate 2.00 GiB"
            )
        case "torch-cpu-memory":
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes."
            )
        case "import":
            __import__(argument)
        case "once":
            # Hangs the first time, so that somebody can kill the worker meanwhile.
            marker, _, then = argument.partition(" ")
            if not Path(marker).exists():
                Path(marker).write_text(str(os.getpid()))
                _misbehave(*(then or "hang").partition(" ")[::2])
        case "print":
            text = "x" * 99 + "\n"
            for _ in range(int(argument) // 200):
                os.write(1, text.encode())
                sys.stderr.write(text)
        case "unless":
            name, _, value = argument.partition(" ")
            if os.environ.get(name) != value:
                raise EngineError(ErrorKind.LOAD, f"{name} is not {value}")
        case "nap":
            time.sleep(float(argument))
        case "say":
            os.write(1, f"{argument}\n".encode())
        case "hang-up":
            for descriptor in range(3, 64):
                with contextlib.suppress(OSError):
                    os.close(descriptor)
            time.sleep(600)
        case "forge":
            # As a worker that mixes up its cases would: what it says it answered is another request.
            serving = sys.modules["harness.workers.serving"]
            serving.request_digest = lambda _: "0" * 64  # type: ignore[attr-defined]
        case "garble" | "flood":
            said = b"x" * int(argument) if argument else b"this is no message\n"
            for descriptor in range(3, 64):
                with contextlib.suppress(OSError):
                    if str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith("pipe:"):
                        os.write(descriptor, said)


class FakeEngine:
    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.broken = False
        self.together: list[str] = []
        self.children: list[subprocess.Popen[bytes]] = []

    def fingerprint(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "group": os.getpgrp(),
            "prefix": sys.prefix,
            "path": sys.path,
            "argv": sys.argv,
            "stdin": str(Path("/proc/self/fd/0").readlink()),
            "modules": sorted(sys.modules),
            "parallelism": os.environ["TOKENIZERS_PARALLELISM"],
            "faulthandler": faulthandler.is_enabled(),
            "threads": threading.active_count(),
            "patched": list(PATCHED),
            **({"set": {1}} if self.settings.options.get("fingerprint") == "bad" else {}),
        }

    def score(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        prompts = self.together = [request.prompt for request in requests]
        company = len(requests) > 1
        if company and "company-crash" in prompts:
            os._exit(7)
        if company and "company-hang" in prompts:
            time.sleep(600)
        if company and "company-raise" in prompts:
            raise RuntimeError("too much company")
        if "late" in self.settings.options:
            yield from [self.outcome(request, company) for request in requests if request.prompt != "forget"]
            return
        for request in requests:
            if request.prompt == "forget":
                continue
            yield self.outcome(request, company)
            if request.prompt == "twice":
                yield self.outcome(request, company)
            if request.prompt == "after-raise":
                raise RuntimeError("after the answer")
            if request.prompt == "after-exit":
                os._exit(5)

    def outcome(self, request: Request, company: bool) -> Outcome:
        if self.broken:
            raise RuntimeError("the engine is broken for good")
        order, _, argument = request.prompt.partition(" ")
        if order == "break":
            self.broken = True
            raise RuntimeError("breaking")
        _misbehave(order, argument)
        match order:
            case "failure":
                return Outcome(request.case, Failure(kind=ErrorKind.LETTERS, message=argument))
            case "stray":
                return Outcome("nobody-asked", answer(request))
            case "wrong-type":
                return Outcome(request.case, 42)  # type: ignore[arg-type]
            case "children":
                pids = []
                for _ in range(2):
                    self.children.append(subprocess.Popen(["/bin/sleep", "600"]))
                    pids.append(self.children[-1].pid)
                if not os.fork():
                    time.sleep(600)  # a fork, so it holds every descriptor open
                    os._exit(0)
                if argument == "exit":
                    os._exit(9)
                return Outcome(request.case, answer(request, text=" ".join(map(str, pids))))
            case "where":
                return Outcome(request.case, answer(request, text="in company" if company else "alone"))
            case "variable":
                time.sleep(0.3)  # so that another worker gets to answer as well
                return Outcome(request.case, answer(request, text=os.environ[argument.split()[0]]))
            case "company":
                time.sleep(0.1)
                return Outcome(request.case, answer(request, text=" ".join(self.together)))
            case "huge":
                return Outcome(request.case, answer(request, text="é" * int(argument)))
            case "nan":
                return Outcome(request.case, answer(request, numbers={argument: float("nan")}))
            case "partial":
                return Outcome(request.case, partial(answer(request), float(argument)))
            case "answer-to":
                other = replace(request, prompt=argument)
                return Outcome(request.case, replace(answer(request), request=request_digest(other)))
            case "few-letters":
                return Outcome(request.case, replace(answer(request), letter_ids=(7,)))
            case "other-row":
                found = answer(request, rows=True)
                return Outcome(request.case, replace(found, rows={"forward": found.rows["forward"] + 1}))
        return Outcome(request.case, answer(request, rows="rows" in self.settings.options))

    def close(self) -> None:
        if where := self.settings.options.get("closed"):
            Path(str(where)).write_text("closed in good order")
        if self.settings.options.get("close") == "hang":
            time.sleep(600)


def answer(
    request: Request,
    *,
    text: str | None = None,
    numbers: Mapping[str, float] = MappingProxyType({}),
    rows: bool = False,
) -> Answer:
    """An answer that tells requests apart: its generated ids are the prompt's code points."""
    generated, letters = tuple(map(ord, request.prompt[:50])), len(request.letters)
    reading = Reading(
        path="forward",
        argmax=generated,
        logprobs=(numbers.get("logprobs", -0.25),) * len(generated),
        letter_logits=(1.5, numbers.get("letter_logits", -2.0))[:letters],
        log_z=numbers.get("log_z", 3.0),
        top=(Entry(7, numbers.get("top", -0.25)), Entry(8, -1.0)),
        other_spellings=(0.0, numbers.get("other_spellings", 0.125))[:letters],
    )
    return Answer(
        prompt_ids=(1, 2, 3),
        generated_ids=generated,
        text=request.prompt if text is None else text,
        letter_ids=(7, 8)[:letters],
        answer_step=0,
        readings=(reading,),
        reported_top=(Entry(7, numbers.get("reported_top", -0.25)),),
        reported_logprobs=(numbers.get("reported_logprobs", -0.25),) * len(generated),
        seconds={"all": 0.5},
        rows=rows_of(request) if rows else {},
    )


def partial(whole: Answer, ceiling: float) -> Answer:
    """The answer as it is where only the top of its row was seen, the second letter outside it."""
    reading = replace(
        whole.readings[0],
        letter_logits=(-0.25, float("-inf")),
        log_z=0.0,
        letter_ceilings=(-0.25, ceiling),
    )
    return replace(whole, readings=(reading,))


def rows_of(request: Request) -> dict[str, Row]:
    import numpy as np  # here, because it is most of the time that a worker takes to start

    forward = np.full(256, -np.inf, dtype=np.float32)
    forward[[7, 8]] = 1.5, -2.0
    forward[0] = np.log(np.exp(3) - np.exp(1.5) - np.exp(-2))  # so that log Z is 3
    return {"forward": forward, "generate": np.full(6, len(request.prompt), np.float32)}


def load(settings: EngineSettings) -> FakeEngine:
    order, _, argument = str(settings.options.get("load", "")).partition(" ")
    _misbehave(order, argument)
    return FakeEngine(settings)

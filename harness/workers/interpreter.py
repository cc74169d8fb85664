"""What an interpreter and the machine around it are, asked without importing an engine's libraries."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from harness.engines.contract import Json
from harness.errors import EngineError, ErrorKind
from harness.workers.process import no_interpreter, worker_environment
from harness.workers.protocol import Lines

__all__ = ["PACKAGES", "ask", "ask_tokenizer", "find_model", "probe", "toolkit"]

_SCRIPT = Path(__file__).with_name("interpreter_report.py")
_HUB_SCRIPT = Path(__file__).with_name("hub_report.py")
_TOKENIZER_SCRIPT = Path(__file__).with_name("tokenizer_report.py")
_READ_BYTES = 1 << 16

PACKAGES = ("lmdeploy", "numpy", "pillow", "tokenizers", "torch", "torchvision", "transformers")
"""What is always told of, there or not, by the names pip knows."""


def probe(
    python: str,
    packages: Sequence[str] = PACKAGES,
    *,
    sources: Sequence[str] = ("lmdeploy", "torch", "transformers"),
    cache: Path | None = None,
    seconds: float = 120.0,
    show: Callable[[str], None] = lambda _: None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Json]:
    """Describe ``python`` for a fingerprint.

    Returns:
        ``python`` (version) and ``implementation``; ``platform``; ``processor`` and ``cores`` (usable ones);
        ``gpus``, one 'name, driver version' for each that is visible, and ``gpus_untold``, what was tried
        where there are some that cannot be told, '' else; ``packages``, name to version: ``packages`` (None:
        not there), what torch, transformers and lmdeploy require in any number of steps, and libraries of
        kernels; ``sources``, import name to the hash of its Python and native code or None, so that an
        install edited in place is another engine (of torch, of what its installer noted); ``environment``,
        the variables that change numerics or imports, of files that they name the content, never one that
        may hold a secret.

    Hashes are kept in the folder ``cache`` and made anew when a file's size or time differs. ``show`` is
    called with how far it is where that takes long; ``seconds`` is how long there may be no sign of life.
    ``environment`` has variables that differ from our own.

    Raises:
        EngineError: LOAD, there is no such interpreter or the report failed.
    """
    order = {
        "packages": list(packages),
        "sources": list(sources),
        "cache": None if cache is None else str(cache),
    }
    return ask(python, order, seconds, show=show, environment=environment)


def toolkit(python: str) -> dict[str, Json]:
    """What ``python`` has for a GPU; torch is not imported there. Raises `EngineError` (LOAD), as `probe`.

    ``python``, its version; ``include`` and ``headers``, the folder in which Triton expects Python.h and
    whether it is there; ``torch`` and ``cuda``, its version and the CUDA it was built for, None for none.
    """
    return ask(python, {}, 60.0)


def find_model(
    python: str,
    model: str,
    *,
    revision: str | None = None,
    seconds: float = 300.0,
    show: Callable[[str], None] = lambda _: None,
) -> dict[str, Json]:
    """The local folder of the hub model ``model`` ('org/name'); what is needed and not there is downloaded.

    Uses the interpreter's own huggingface_hub and the user's settings and credentials for it. ``show`` is
    called with how much has come, such as '3.2 of 16.1 GB'; ``seconds`` is how long nothing may come.

    Returns:
        ``folder`` and ``revision``, the commit that it holds.

    Raises:
        EngineError: LOAD, there is no such model, or it cannot be had from here: with what is missing.
    """
    order = {"model": model, "revision": revision}
    return ask(python, order, seconds, script=_HUB_SCRIPT, show=show)


def ask_tokenizer(
    python: str,
    model: str,
    questions: Sequence[Mapping[str, Json]],
    *,
    trust_remote_code: bool = False,
    configuration: bool = True,
    adds_special_tokens: bool = True,
    seconds: float = 300.0,
) -> dict[str, Json]:
    """What the tokenizer in the folder ``model`` makes of ``questions``, by Transformers in ``python``.

    A question has ``prompt``, ``system`` (or None), ``letters`` and ``answer_prefix``. No weights are loaded;
    with ``configuration`` the model's configuration class is, and Python files of the model's own run only
    with ``trust_remote_code``. ``adds_special_tokens`` is whether the engine lets the tokenizer add what it
    adds to a text. Nothing is downloaded.

    Returns:
        ``transformers``, the version; ``answers``, None where there is no chat template, else for each
        question its ``error`` (None if the letters resolve), what that is ``about`` (letters, template or
        tokenizer) and ``tokens``, the length of its prompt.

    Raises:
        EngineError: LOAD, there is no such interpreter, or the tokenizer cannot be loaded there.
    """
    order = {
        "model": model,
        "trust": trust_remote_code,
        "configuration": configuration,
        "adds": adds_special_tokens,
        "questions": [dict(question) for question in questions],
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        # Prompts can be longer than an argument may be.
        json.dump(order, file)
        file.flush()
        return ask(python, {"file": file.name}, seconds, script=_TOKENIZER_SCRIPT)


def ask(
    python: str,
    order: dict[str, Any],
    seconds: float,
    *,
    script: Path = _SCRIPT,
    show: Callable[[str], None] = lambda _: None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Json]:
    """Run ``script`` in an interpreter with ``order`` as JSON; the object that it prints last, as JSON.

    Objects that it prints before may have ``progress``, a text for ``show``. It is given up, with whatever it
    started, when it has printed nothing for ``seconds``.

    Raises `EngineError` (LOAD) when there is no such interpreter, it fails, or its answer holds an ``error``.
    """
    command = [python, os.fspath(script), json.dumps(order)]
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**worker_environment(), **(environment or {})},
                start_new_session=True,
            )
        except OSError as error:
            raise no_interpreter(python, error) from error
        with process:
            try:
                last = _last_line(process, seconds, show)
            finally:
                if process.returncode is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
        errors.seek(0)
        tail = "\n".join(errors.read().decode("utf-8", "replace").splitlines()[-15:])
    if last is None:
        what = (
            f"{python} gave no report within {seconds:g} s of its last sign of life ({script.name}); see "
            "whether the disk that it lies on, or what it asks on the network, answers, and run again"
        )
        raise EngineError(ErrorKind.LOAD, what, log_tail=tail)
    # Whatever a sitecustomize prints comes before the report, which is one line and the last.
    report = _json_object(last)
    if process.returncode != 0 or report is None:
        raise EngineError(
            ErrorKind.LOAD,
            f"{python} gave no report on itself: exit code {process.returncode}",
            log_tail=tail,
        )
    if "error" in report:
        raise EngineError(ErrorKind.LOAD, f"{report['error']} (asked in {python})", log_tail=tail)
    return report


def _last_line(process: subprocess.Popen[bytes], seconds: float, show: Callable[[str], None]) -> bytes | None:
    """The last line that comes until the process has ended; None when nothing came for ``seconds``."""
    output, poll, lines, last = cast(IO[bytes], process.stdout), select.poll(), Lines(), b""
    poll.register(output, select.POLLIN)
    while poll.poll(seconds * 1000):
        if not (data := os.read(output.fileno(), _READ_BYTES)):
            process.wait()
            return last
        for last in lines.feed(data):
            if (found := _json_object(last)) and isinstance(found.get("progress"), str):
                show(found["progress"])
    return None


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None

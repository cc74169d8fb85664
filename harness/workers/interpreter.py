"""What an interpreter and the machine around it are, asked without importing an engine's libraries."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.engines.contract import Json
from harness.errors import EngineError, ErrorKind
from harness.workers.process import no_interpreter, worker_environment

__all__ = ["PACKAGES", "ask", "ask_tokenizer", "find_model", "probe", "toolkit"]

_SCRIPT = Path(__file__).with_name("interpreter_report.py")
_TOKENIZER_SCRIPT = Path(__file__).with_name("tokenizer_report.py")

PACKAGES = ("lmdeploy", "numpy", "pillow", "tokenizers", "torch", "torchvision", "transformers")
"""What is always told of, there or not, by the names pip knows."""


def probe(
    python: str,
    packages: Sequence[str] = PACKAGES,
    *,
    sources: Sequence[str] = ("lmdeploy", "torch", "transformers"),
    cache: Path | None = None,
    seconds: float = 60.0,
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

    Hashes are kept in the folder ``cache`` and made anew when a file's size or time differs.

    Raises:
        EngineError: LOAD, there is no such interpreter or the report failed.
    """
    order = {
        "packages": list(packages),
        "sources": list(sources),
        "cache": None if cache is None else str(cache),
    }
    return ask(python, order, seconds)


def toolkit(python: str) -> dict[str, Json]:
    """What ``python`` has for a GPU; torch is not imported there. Raises `EngineError` (LOAD), as `probe`.

    ``python``, its version; ``include`` and ``headers``, the folder in which Triton expects Python.h and
    whether it is there; ``torch`` and ``cuda``, its version and the CUDA it was built for, None for none.
    """
    return ask(python, {}, 60.0)


def find_model(
    python: str, model: str, *, revision: str | None = None, seconds: float = 24 * 3600.0
) -> dict[str, Json]:
    """The local folder of the hub model ``model`` ('org/name'), downloaded if it is not there whole.

    Uses the interpreter's own huggingface_hub and the user's settings and credentials for it.

    Returns:
        ``folder`` and ``revision``, the commit that it holds.

    Raises:
        EngineError: LOAD, there is no such model, or it cannot be had from here.
    """
    return ask(python, {"model": model, "revision": revision}, seconds)


def ask_tokenizer(
    python: str,
    model: str,
    questions: Sequence[Mapping[str, Json]],
    *,
    trust_remote_code: bool = False,
    configuration: bool = True,
    seconds: float = 300.0,
) -> dict[str, Json]:
    """What the tokenizer in the folder ``model`` makes of ``questions``, by Transformers in ``python``.

    A question has ``prompt``, ``system`` (or None), ``letters`` and ``answer_prefix``. No weights are loaded;
    with ``configuration`` the model's configuration class is, and Python files of the model's own run only
    with ``trust_remote_code``. Nothing is downloaded.

    Returns:
        ``transformers``, the version; ``answers``, None where there is no chat template, else for each
        question its ``error`` (None if the letters resolve) and ``tokens``, the length of its prompt.

    Raises:
        EngineError: LOAD, there is no such interpreter, or the tokenizer cannot be loaded there.
    """
    order = {
        "model": model,
        "trust": trust_remote_code,
        "configuration": configuration,
        "questions": [dict(question) for question in questions],
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        # Prompts can be longer than an argument may be.
        json.dump(order, file)
        file.flush()
        return ask(python, {"file": file.name}, seconds, script=_TOKENIZER_SCRIPT)


def ask(python: str, order: dict[str, Any], seconds: float, *, script: Path = _SCRIPT) -> dict[str, Json]:
    """Run ``script`` in an interpreter with ``order`` as JSON; the object that it prints last, as JSON.

    Raises `EngineError` (LOAD) when there is no such interpreter, it fails, or its answer holds an ``error``.
    """
    command = [python, os.fspath(script), json.dumps(order)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=worker_environment(),
            timeout=seconds,
            check=False,
        )
    except OSError as error:
        raise no_interpreter(python, error) from error
    except subprocess.TimeoutExpired as error:
        raise EngineError(ErrorKind.LOAD, f"{python} gave no report within {seconds:g} s") from error
    # Whatever a sitecustomize prints comes before the report, which is one line and the last.
    *_, last = [b"", *done.stdout.splitlines()]
    try:
        report = json.loads(last)
    except ValueError:
        report = None
    tail = "\n".join(done.stderr.decode("utf-8", "replace").splitlines()[-15:])
    if done.returncode != 0 or not isinstance(report, dict):
        raise EngineError(
            ErrorKind.LOAD, f"{python} gave no report on itself: exit code {done.returncode}", log_tail=tail
        )
    if "error" in report:
        raise EngineError(ErrorKind.LOAD, f"{report['error']} (asked in {python})", log_tail=tail)
    return report

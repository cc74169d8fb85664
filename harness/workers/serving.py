"""The worker's side of the conversation: loads the engine, scores batches, and tells what went wrong.

Runs in the engine's interpreter: standard library, numpy and the engine's own library only.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import runpy
import shlex
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Final

from harness.engines.codec import answer_to_json, request_digest, request_from_json, settings_from_json
from harness.engines.contract import Answer, Engine, EngineSettings, Failure, Request
from harness.engines.out_of_memory import is_out_of_memory
from harness.engines.remote_code import refuse_code_of_others, switched_off
from harness.engines.requirements import IN_REQUIREMENTS, REQUIREMENTS
from harness.errors import EngineError, ErrorKind, LettersError
from harness.git_lfs import POINTER, pointers
from harness.workers.protocol import Message, decode, encode
from harness.workers.rows import save_rows

__all__ = ["ENGINE_MODULES", "serve"]

ENGINE_MODULES: Final[Mapping[str, str]] = {
    "api": "harness.engines.api_server.engine",
    "lmdeploy": "harness.engines.lmdeploy_pipeline.engine",
    "torch": "harness.engines.torch_native.engine",
}
"""The module behind each kind of engine. A kind that ends in ``.py`` is the path of a module."""

# Compilers put whole programs into their exceptions; the log has them in full.
_WORDS_CHARACTERS = 2000
ENVIRONMENT_MARKER: Final = "harness-environment.json"
"""A file in environments that the harness made (see `harness.environments`)."""


def serve(requests: int, replies: int) -> None:
    """Answer the messages read from the descriptor ``requests`` on ``replies`` until told to close."""
    with os.fdopen(requests, "rb") as incoming, os.fdopen(replies, "wb") as outgoing:
        messages = map(decode, incoming)
        order = next(messages, None)
        if order is None:
            return
        try:
            engine, loaded = _load(order)
        except BaseException as error:  # noqa: BLE001 - libraries end with SystemExit too, and the parent must know
            traceback.print_exc()
            _send(outgoing, {"event": "refused", **_refusal(order["settings"]["kind"], error)})
            return
        _send(outgoing, loaded)
        rows = None if order["rows"] is None else Path(order["rows"])
        kind, tracing = order["settings"]["kind"], None
        for message in messages:
            if message["do"] == "close":
                break
            try:
                if message["do"] == "trace":
                    from harness.workers.tracing import Tracing  # on demand: it shapes no answer

                    tracing = tracing or Tracing(kind, engine)
                    _send(outgoing, tracing.traced(message["order"], message["file"]))
                    continue
                for reply in _score(engine, message["batch"], rows):
                    _send(outgoing, reply)
            except BaseException as error:  # noqa: BLE001 - as above
                traceback.print_exc()
                _send(outgoing, {"event": "raised", "kind": _kind(error), "message": _in_words(error)})
        engine.close()


def _load(order: Message) -> tuple[Engine, Message]:
    if order["patch"] is not None:
        runpy.run_path(order["patch"], run_name="__patch__")
    settings = settings_from_json(order["settings"])
    refuse_code_of_others(settings)
    try:
        engine: Engine = _module(settings).load(settings)
    except Exception as error:
        if left := pointers(Path(settings.model)):
            told = f"{settings.model}: {', '.join(left)}: {POINTER} (loading ended in: {_in_words(error)})"
            raise EngineError(ErrorKind.LOAD, told) from None
        kind = error.kind if isinstance(error, EngineError) else None
        if kind is ErrorKind.LOAD and (more := switched_off(settings)):
            raise EngineError(kind, _in_words(error) + more) from error
        raise
    loaded = {"event": "loaded", "fingerprint": engine.fingerprint()}
    encode(loaded)  # an engine whose fingerprint is no JSON is refused here
    return engine, loaded


def _module(settings: EngineSettings) -> ModuleType:
    if not settings.kind.endswith(".py"):
        if settings.kind not in ENGINE_MODULES:
            raise EngineError(
                ErrorKind.LOAD,
                f"there is no kind of engine {settings.kind!r}; allowed: {', '.join(sorted(ENGINE_MODULES))} "
                "or the path of a .py file that offers load(settings)",
            )
        return importlib.import_module(ENGINE_MODULES[settings.kind])
    name = Path(settings.kind).stem
    spec = importlib.util.spec_from_file_location(name, settings.kind)
    if spec is None or spec.loader is None:
        raise EngineError(ErrorKind.LOAD, f"{settings.kind} cannot be imported as a module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _score(
    engine: Engine, batch: Iterable[tuple[str, Mapping[str, Any]]], rows: Path | None
) -> Iterator[Message]:
    requests = [request_from_json(request) for _, request in batch]
    keys = {request.case: (key, request) for (key, _), request in zip(batch, requests, strict=True)}
    strays: list[str] = []
    for case, result in engine.score(requests):
        found = keys.pop(case, None)
        if found is None:
            strays.append(case)
            continue
        yield _reply(*found, result, rows)
    stray = f"; it yielded unasked or twice: {', '.join(map(repr, strays))}" if strays else ""
    if strays:
        print(f"harness: the engine broke its contract{stray}", file=sys.stderr)  # noqa: T201 - this is the log
    for key, _ in keys.values():
        message = f"the engine finished the batch without an outcome for this case{stray}"
        yield {"event": "failure", "key": key, "kind": ErrorKind.FAILED, "message": message}
    yield {"event": "scored"}


def _reply(key: str, request: Request, result: object, rows: Path | None) -> Message:
    """The message for one outcome."""
    kind = ErrorKind.FAILED
    if isinstance(result, Failure):
        kind, message = result.kind, result.message
    elif not isinstance(result, Answer):
        message = f"the engine yielded a {type(result).__name__}; allowed: Answer or Failure"
    else:
        try:
            digest = result.request or request_digest(request)
            told = {"answer": answer_to_json(result), "request": digest}
            answer = {"event": "answer", "key": key, **told}
            encode(answer)
            if rows is not None:
                save_rows(rows, key, result.rows)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is about this answer only
            traceback.print_exc()
            message = f"the answer could not be handed over: {_in_words(error)}"
        else:
            return answer
    return {"event": "failure", "key": key, "kind": kind, "message": message}


def _kind(error: BaseException) -> ErrorKind:
    if isinstance(error, EngineError):
        return error.kind
    if isinstance(error, LettersError):
        return ErrorKind.LETTERS
    return ErrorKind.OUT_OF_MEMORY if is_out_of_memory(error) else ErrorKind.FAILED


def _in_words(error: BaseException) -> str:
    if isinstance(error, EngineError):
        return error.message
    return "".join(traceback.format_exception_only(error)).strip()[:_WORDS_CHARACTERS]


def _refusal(kind: str, error: BaseException) -> dict[str, str | bool]:
    """Why the engine could not be loaded, with what to install when a module is missing."""
    if isinstance(error, EngineError):
        # Raised on purpose, it leads nowhere but here; one with a cause leads to a library's own code.
        return {"kind": error.kind, "message": error.message, "says_all": error.__cause__ is None}
    words = _in_words(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        root = error.name.partition(".")[0]
        wanted = REQUIREMENTS[kind] if kind in REQUIREMENTS and root in IN_REQUIREMENTS else (root,)
        # An environment that the harness made has no pip, and others may share it.
        if Path(sys.prefix, ENVIRONMENT_MARKER).exists():
            words += f"; add to the engine's `requirements` in profiles.yaml: {', '.join(wanted)}"
        else:
            words += f"; install it with: {shlex.join([sys.executable, '-m', 'pip', 'install', *wanted])}"
    return {"kind": ErrorKind.LOAD, "message": words, "says_all": False}


def _send(outgoing: BinaryIO, message: Message) -> None:
    outgoing.write(encode(message))
    outgoing.flush()

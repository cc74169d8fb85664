"""The engine ``api``: any OpenAI-compatible server, by its chat completions.

A server tells the top of each row only, and of tokens their texts: its readings are partial and its answers
by text (see `harness.engines.contract`). How many entries it gives is found out when the engine is loaded.

The server is one that runs already (``options.url``), or LMDeploy's ``api_server``, started here
(``options.serve``; see `api_serving`).
"""

from __future__ import annotations

import base64
import io
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final

from harness.engines.api_server.answers import Choice, choice_of, read_choice
from harness.engines.api_server.client import Client, Reply, Unreachable, base_url, key_from
from harness.engines.api_server.limits import TopLimit, largest_accepted
from harness.engines.api_server.scored import SCORED, InputScorer
from harness.engines.api_server.serving import Server
from harness.engines.api_server.tokens import Spelling, spelling_of
from harness.engines.codec import request_digest
from harness.engines.contract import Answer, EngineSettings, Failure, Json, Outcome, Question, Request
from harness.engines.images import open_image
from harness.engines.pixel_limits import pixel_limits
from harness.engines.prefix_cache import asks_prefix_cache, check_in_force, is_warm
from harness.engines.template_date import TEMPLATE_DATE
from harness.errors import EngineError, ErrorKind, LettersError

__all__ = ["CHAT", "ApiServer", "load"]

CHAT: Final = "chat"
_CHAT: Final = "/v1/chat/completions"
_DEFAULT_SECONDS: Final = 100.0
_TOO_MANY: Final = (400, 413, 422, 500)
"""Statuses with which servers refuse a top_logprobs that is too large for them."""

_PROBE_TEXT: Final = "Write the numbers from one to nine as words."
_PROBE_TOKENS: Final = 4


def load(settings: EngineSettings) -> ApiServer:
    """Start or reach the server for ``settings``, and find out what it offers.

    Raises EngineError: UNSUPPORTED for settings that it cannot honour, LOAD where there is no server, it
    serves no such model or it reports no log-probabilities.
    """
    options = settings.options
    if set(settings.paths) - {CHAT, SCORED}:
        raise _unsupported("paths", ", ".join(settings.paths), f"{CHAT}, {SCORED} or both")
    if SCORED in settings.paths and not options.get("serve"):
        raise _unsupported(
            "paths", SCORED, f"{CHAT}; inputs are scored on a server that is started with serve"
        )
    limits = {"max_tiles": settings.max_tiles, **pixel_limits(settings)}
    for name, value in {**limits, TEMPLATE_DATE: options.get(TEMPLATE_DATE)}.items():
        if value is not None:
            raise _unsupported(
                name, str(value), "none; a server keeps to its model's own limit and to its clock"
            )
    if settings.top_k < 1:
        raise _unsupported("top_k", str(settings.top_k), "1 or more: it is all that a server tells")
    if bool(options.get("serve")) == bool(options.get("url")):
        raise _unsupported("options", "both or neither of url and serve", "one of them")
    variable, seconds = options.get("key_env"), options.get("timeout", _DEFAULT_SECONDS)
    key = key_from(None if variable is None else str(variable))
    limit = float(seconds) if isinstance(seconds, int | float) else _DEFAULT_SECONDS
    if url := options.get("url"):
        return _reached(settings, Client(base_url(str(url)), key=key, seconds=limit), None)
    if not Path(settings.model).is_dir():
        raise EngineError(
            ErrorKind.LOAD, f"there is no model folder {settings.model}; see 'model' in the profile"
        )
    server = Server(settings, served_model=str(options.get("served_model", Path(settings.model).name)))
    return _reached(settings, Client(server.url, key=key, seconds=limit), server)


def _reached(settings: EngineSettings, client: Client, server: Server | None) -> ApiServer:
    try:
        return ApiServer(settings, client, server)
    except BaseException:
        client.close()
        if server is not None:
            server.close()
        raise


class ApiServer:
    """A server that answers; `score` has ``batch_size`` requests under way at once."""

    def __init__(self, settings: EngineSettings, client: Client, server: Server | None) -> None:
        """Find out which model is served, and how many log-probabilities come; raises as `load` does."""
        self._settings = settings
        self._client = client
        self._server = server
        self._models = self._listed()
        self._model = self._chosen()
        self._health()
        self._spelling = Spelling.TEXT
        self._version = self._told_version()
        self._limit = self._probe()
        if asks_prefix_cache(settings):
            self._probe_prefix_cache()
        self._scorer = InputScorer(client, settings.model) if SCORED in settings.paths else None

    def fingerprint(self) -> dict[str, Json]:
        """Where it runs, the served model and what the server tells of itself. Never the key."""
        own: dict[str, Json] = {
            "server": self._version,
            "served_model": self._model,
            "models": [*self._models],
            "top_logprobs": self._limit.most,
            "tokens_told_as": self._spelling.value,
        }
        if self._server is None:
            return {
                "device": f"server at {self._client.url}",
                "dtype": self._settings.dtype,
                "weights": "not known: a running server cannot be asked for them",
                **own,
            }
        return {
            "device": f"{self._server.device}, api_server of LMDeploy {self._server.version}",
            "device_plugin": self._settings.device == "cpu",
            "dtype": self._server.dtype,
            **own,
        }

    def score(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        """Yield one outcome per request as they come in; ``seconds`` are ``prepare``, ``request``, ``score``.

        Raises EngineError (CRASH or LOAD) when the server has gone.
        """
        with ThreadPoolExecutor(max(1, self._settings.batch_size)) as pool:
            waiting = {pool.submit(self._answer, request): request for request in requests}
            try:
                for done in as_completed(waiting):
                    yield self._outcome(waiting[done], done)
            finally:
                for each in waiting:
                    each.cancel()

    def close(self) -> None:
        """Close the connections, and end a server that was started here."""
        self._client.close()
        if self._server is not None:
            self._server.close()

    def _outcome(self, request: Request, done: Future[Answer]) -> Outcome:
        try:
            return Outcome(request.case, done.result())
        except Unreachable as error:
            ending = None if self._server is None else self._server.ending()
            if ending is None:
                raise
            raise EngineError(
                ErrorKind.CRASH, f"LMDeploy's api_server {ending} while {request.case} was in hand"
            ) from error
        except LettersError as error:
            return Outcome(request.case, Failure(kind=ErrorKind.LETTERS, message=str(error)))
        except EngineError as error:
            return Outcome(request.case, Failure(kind=error.kind, message=f"{request.case}: {error.message}"))

    def _answer(self, request: Request) -> Answer:
        started = time.perf_counter()
        if request.kind != Request.LETTER:
            raise EngineError(ErrorKind.UNSUPPORTED, _NO_TEXTS)
        pictures = list(map(_data_url, request.shown))
        body = self._body(request, pictures)
        if is_warm(self._settings):
            self._client.post(_CHAT, body)
        prepared = time.perf_counter()

        def ask(count: int) -> Reply:
            return self._client.post(_CHAT, {**body, "top_logprobs": count})

        # LMDeploy 0.18 answers 500 when an id beyond the tokenizer's length is among the top, as it is with a
        # padded vocabulary: fewer entries may leave it out.
        limit, reply = largest_accepted(ask, self._limit.most, refused=(500,))
        if limit.note:
            print(f"harness: {request.case}: {limit.note}", file=sys.stderr)  # noqa: T201 - this is the log
        choice = self._choice(reply)
        answer, reading = read_choice(choice, request, self._spelling, path=CHAT)
        asked = time.perf_counter()
        readings = {} if reading is None else {CHAT: reading}
        seconds = {"prepare": prepared - started, "request": asked - prepared}
        if self._scorer is not None and reading is not None and answer.step is not None:
            readings[SCORED] = self._scorer.read(
                request,
                pictures,
                asked=choice.prompt_tokens,
                text=answer.text,
                tokens=len(reading.logprobs),
            )
            seconds["score"] = time.perf_counter() - asked
        paths = self._settings.paths or (CHAT,)
        return Answer(
            prompt_ids=(),
            generated_ids=(),
            text=answer.text,
            letter_ids=(),
            answer_step=answer.step,
            readings=tuple(readings[path] for path in paths if path in readings),
            seconds=seconds,
            question=Question(tokens=choice.prompt_tokens),
            request=request_digest(request),
        )

    def _body(self, request: Request, pictures: Sequence[str]) -> dict[str, Json]:
        shown = [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
        content: Json = request.content(shown) if shown else request.prompt
        messages: list[Json] = [{"role": "user", "content": content}]
        if request.system is not None:
            messages.insert(0, {"role": "system", "content": request.system})
        # A prefix takes an unknown number of tokens, each of at least one character; the rest is cut off.
        tokens = request.max_new_tokens or len(request.answer_prefix) + 1
        return {
            "model": self._model,
            "messages": messages,
            "temperature": 0,
            "max_tokens": tokens,
            "stream": False,
            "logprobs": True,
        }

    def _choice(self, reply: Reply) -> Choice:
        where = f"POST {self._client.url}{_CHAT}: status {reply.status}"
        if not reply.ok:
            raise EngineError(ErrorKind.FAILED, f"{where}, {reply.message}{self._advice(reply.status)}")
        return choice_of(reply, where)

    def _advice(self, status: int) -> str:
        variable = self._settings.options.get("key_env")
        if status in (401, 403):
            if variable is None:
                return ". It wants a key: options.key_env names the environment variable that holds one"
            return f". It does not take the key in the environment variable {variable}"
        if status == 404:
            return (
                f". Is the path right (url is the part before /v1), and the model {self._model!r} served? "
                f"Try: curl {self._client.url}/v1/models"
            )
        return ". See the server's own log"

    def _listed(self) -> tuple[str, ...]:
        """The served models; () where the server has no list of them and the profile names one."""
        reply = self._client.get("/v1/models")
        where = f"GET {self._client.url}/v1/models: status {reply.status}"
        if reply.status == 404 and self._settings.options.get("served_model"):
            return ()
        if not reply.ok:
            raise EngineError(
                ErrorKind.LOAD,
                f"{where}, {reply.message}{self._advice(reply.status) if reply.status != 404 else ''}"
                f"{_NO_LIST if reply.status == 404 else ''}",
            )
        entries = reply.data.get("data") if isinstance(reply.data, dict) else None
        named = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
        if not named:
            raise EngineError(
                ErrorKind.LOAD, f"{where}, but no list of models: {reply.message}. Is it OpenAI-compatible?"
            )
        return tuple(str(entry.get("id")) for entry in named)

    def _chosen(self) -> str:
        wanted = self._settings.options.get("served_model")
        if wanted is not None and self._models and wanted not in self._models:
            raise EngineError(
                ErrorKind.LOAD,
                f"options.served_model: found {wanted!r}; allowed: what {self._client.url} serves: "
                f"{', '.join(self._models)}",
            )
        if wanted is not None:
            return str(wanted)
        return self._settings.model if self._settings.model in self._models else self._models[0]

    def _health(self) -> None:
        reply = self._client.get("/health")
        if reply.status >= 500:
            raise EngineError(
                ErrorKind.LOAD,
                f"GET {self._client.url}/health: status {reply.status}, {reply.message}. The server is "
                "there but "
                "does not work; see its own log",
            )

    def _told_version(self) -> dict[str, Json]:
        reply = self._client.get("/version")
        told: dict[str, Json] = {"header": reply.headers.get("server", "")}
        if reply.ok and isinstance(reply.data, dict):
            told |= {str(name): str(value) for name, value in reply.data.items()}
        return told

    def _probe(self) -> TopLimit:
        probe = Request(case="probe", prompt=_PROBE_TEXT, letters=(), max_new_tokens=_PROBE_TOKENS)
        body = self._body(probe, ())

        def ask(count: int) -> Reply:
            return self._client.post(_CHAT, {**body, "top_logprobs": count})

        limit, reply = largest_accepted(ask, self._settings.top_k, refused=_TOO_MANY)
        try:
            choice = self._choice(reply)
            choice.require_logprobs(least=min(2, limit.most))
        except EngineError as error:
            raise EngineError(ErrorKind.LOAD, error.message) from error
        self._spelling = spelling_of(choice.texts())
        if limit.note:
            print(f"harness: {limit.note}", file=sys.stderr)  # noqa: T201 - this is the log
        return limit

    def _probe_prefix_cache(self) -> None:
        """Ask one long text twice; LMDeploy turns its prefix cache off for many models, and only warns."""
        text = Request(case="probe", prompt=_PROBE_TEXT * 20, letters=(), max_new_tokens=1)
        first, second = (self._client.post(_CHAT, self._body(text, ())) for _ in range(2))
        try:
            cached = second.data["usage"]["prompt_tokens_details"]["cached_tokens"]
        except (KeyError, TypeError):
            return  # this version does not tell
        check_in_force(self._settings, enabled=bool(cached) or not first.ok)


_NO_LIST: Final = (
    ". Is url the part before /v1? Where the server has no list of models, name its model in "
    "options.served_model"
)


_NO_TEXTS: Final = (
    "has expect_text, and a server tells how probable what it writes is, not how probable a given text with "
    "its end is; allowed: letters and expect. Next: keep such cases in a suite of their own and list "
    "the others under `suites:` of this engine's profile, or score them by the engines torch or lmdeploy"
)


def _data_url(path: str) -> str:
    """The picture as PNG in RGB.

    Not the file's own bytes: the other engines see what `open_image` gives, and servers differ in what they
    do with EXIF orientation, transparency and palettes. So all are shown one picture.
    """
    out = io.BytesIO()
    open_image(path).save(out, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"


def _unsupported(name: str, found: str, allowed: str) -> EngineError:
    return EngineError(ErrorKind.UNSUPPORTED, f"the engine api: {name}: found {found}; allowed: {allowed}")

"""A stand-in for an OpenAI-compatible server, on loopback: what it answers is a class's attributes.

It stands in for the HTTP interface only; the probabilities are made up.
"""

from __future__ import annotations

import base64
import io
import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

TOP = {"B": 0.9, "A": 0.05, " B": 0.02, "b": 0.01, "x": 0.004, "C": 0.003, "y": 0.002, "D": 0.001}


@dataclass
class StandIn:
    """What the server does. ``asked`` are the bodies of chat requests, ``keys`` all Authorization headers."""

    models: list[str] = field(default_factory=lambda: ["stand-in", "another"])
    cap: int = 1000
    padded: int = 1000  # from this many entries on an id has no token, and LMDeploy fails
    status: dict[str, int] = field(default_factory=dict)  # path to a status that it always gets
    bodies: dict[str, bytes] = field(default_factory=dict)  # path to what it always gets
    key: str | None = None
    busy: int = 0  # how many chat requests are told to come again
    drop: int = 0  # how many connections break off
    redirect: str = ""
    slow: float = 0.0
    drip: float = 0.0  # seconds from byte to byte
    logprobs: bool = True
    generated: list[str] = field(default_factory=lambda: ["B"])
    tokens_as: str = "text"
    entries: int | None = None  # of every list, whatever was asked
    top: dict[str, float] = field(default_factory=lambda: dict(TOP))
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    cached: int | None = None  # tokens from a prefix cache, where it tells
    hits: int = 0
    url: str = ""

    def image(self, number: int = -1) -> Image.Image:
        """The picture of a chat request."""
        (part,) = [p for p in self.asked[number]["messages"][-1]["content"] if p["type"] == "image_url"]
        kind, data = part["image_url"]["url"].split(";base64,")
        assert kind == "data:image/png"
        return Image.open(io.BytesIO(base64.b64decode(data)))

    def chat(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked.append(body)
        count = body.get("top_logprobs", 0)
        if body["model"] not in self.models:
            return 404, {"error": {"message": f"The model {body['model']!r} does not exist."}}
        if not self.logprobs and body.get("logprobs"):
            return 400, {"message": "logprobs requested but not enabled logprobs_mode", "object": "error"}
        if count > self.cap:
            return 400, {
                "message": f"The top_logprobs {count} must be in [0, {self.cap}].",
                "object": "error",
            }
        if count >= self.padded:
            return 500, {"error": "Internal Server Error"}
        generated = self.generated[: body["max_tokens"]]
        content = [self.token(text, self.entries or count) for text in generated]
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "".join(generated)},
            "logprobs": {"content": content} if content else None,
        }
        usage: dict[str, Any] = {"prompt_tokens": 52, "completion_tokens": len(content)}
        if self.cached is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": self.cached}
        return 200, {"choices": [choice], "usage": usage}

    def token(self, text: str, count: int) -> dict[str, Any]:
        lead = text[:-1] if text[-1:] in ("A", "B", "C", "D") else ""
        shown = {lead + other: p for other, p in self.top.items()} if lead else dict(self.top)
        if text not in shown:
            shown = {text: 0.95, **{other: p / 20 for other, p in shown.items()}}
        best = sorted(shown.items(), key=lambda entry: -entry[1])[:count]
        value = {other: 0.0 if self.entries == 1 else math.log(p) for other, p in best}
        entries = [{"token": self.spelled(other), "logprob": value[other]} for other, _ in best]
        if self.tokens_as != "text":  # as LMDeploy does: the generated token is not in its own list
            entries = [entry for entry in entries if entry["token"] != self.spelled(text)]
        logprob = 0.0 if self.entries == 1 else math.log(shown[text])
        return {"token": self.spelled(text), "logprob": logprob, "top_logprobs": entries}

    def spelled(self, text: str) -> str:
        return text.replace(" ", "Ġ") if self.tokens_as == "byte-level" else text


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(None)

    def do_POST(self) -> None:
        self.answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def answer(self, body: dict[str, Any] | None) -> None:
        me = self.stand_in
        me.hits += 1
        me.keys.append(self.headers.get("authorization"))
        if self.path in me.status or self.path in me.bodies:
            self.reply(me.status.get(self.path, 200), me.bodies.get(self.path, b"planted failure"))
        elif me.redirect:
            self.reply(307, b"", location=me.redirect + self.path)
        elif me.key is not None and self.headers.get("authorization") != f"Bearer {me.key}":
            told = {"error": {"message": f"Incorrect key: {self.headers.get('authorization')}"}}
            self.reply(401, json.dumps(told).encode())
        elif self.path == "/v1/models":
            self.reply(200, json.dumps({"data": [{"id": name} for name in me.models]}).encode())
        elif self.path == "/health":
            self.reply(200, b"{}")
        elif self.path == "/version":
            self.reply(200, b'{"version": "0.0-stand-in"}')
        elif self.path == "/v1/chat/completions" and body is not None:
            if me.drop:
                me.drop -= 1
                self.close_connection = True
                return
            if me.busy:
                me.busy -= 1
                self.reply(503, b"{}", **{"retry-after": "0.1"})
                return
            time.sleep(me.slow)
            status, data = me.chat(body)
            self.reply(status, json.dumps(data).encode())
        else:
            self.reply(404, b'{"detail": "Not Found"}')

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        for byte in body if self.stand_in.drip else ():
            self.wfile.write(bytes([byte]))
            time.sleep(self.stand_in.drip)
        if not self.stand_in.drip:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone meanwhile is no failure."""


@contextmanager
def serving(stand_in: StandIn) -> Iterator[StandIn]:
    """The stand-in, listening at its ``url``."""
    handler = type("Handler", (_Handler,), {"stand_in": stand_in})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

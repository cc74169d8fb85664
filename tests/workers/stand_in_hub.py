"""A stand-in for a model hub: as much of its HTTP interface as huggingface_hub asks for a download.

Paths and headers as huggingface_hub 0.20 to 2.4 uses them (``hf_api.py``, ``file_download.py``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class StandInHub:
    """One repository at one commit. ``asked`` are the requests' methods and paths, ``sent`` the files sent.

    Of a file in ``slow``, half is sent at once and the rest after so many seconds.
    """

    model: str
    files: Mapping[str, bytes]
    slow: Mapping[str, float] = field(default_factory=dict)
    url: str = ""
    asked: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    over: Event = field(default_factory=Event)


def _handler(hub: StandInHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(f"{self.command} {path}")
            if path.startswith(f"/api/models/{hub.model}/tree/"):
                self.as_json(
                    [
                        {"type": "file", "path": name, "size": len(content), "oid": etag(content)}
                        for name, content in hub.files.items()
                    ]
                )
            elif path == f"/api/models/{hub.model}" or path.startswith(f"/api/models/{hub.model}/revision/"):
                listed = [{"rfilename": name, "size": len(data)} for name, data in hub.files.items()]
                rest = {"private": False, "disabled": False, "downloads": 0, "likes": 0, "tags": []}
                self.as_json({"id": hub.model, "sha": COMMIT, "siblings": listed, **rest})
            elif (name := path.partition("/resolve/")[2].partition("/")[2]) in hub.files:
                self.file(name, hub.files[name])
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def as_json(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def file(self, name: str, content: bytes) -> None:
            self.send_response(200)
            self.send_header("ETag", f'"{etag(content)}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                hub.sent.append(name)
                middle = len(content) // 2
                with suppress(BrokenPipeError):  # who asked may have been given up
                    self.wfile.write(content[:middle])
                    hub.over.wait(hub.slow.get(name, 0))
                    self.wfile.write(content[middle:])

    return Handler


def etag(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@contextmanager
def serving(hub: StandInHub) -> Iterator[StandInHub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = False  # so that closing waits for them: no descriptor is left to a later test
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.over.set()
        server.shutdown()
        server.server_close()

"""HTTP for the engine ``api``: one client with time-outs, retries and errors that say what to do.

The key never leaves this module: it is sent in one header, to the URL of the profile only (redirects are not
followed), and cut out of every text that a server sends back.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from harness.engines.contract import Json
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    import httpx2

__all__ = ["Client", "Reply", "Unreachable", "base_url", "key_from"]

_CONNECT_SECONDS: Final = 10.0
_ATTEMPTS: Final = 4
_FIRST_WAIT: Final = 0.5
_BUSY: Final = (429, 503)
_LARGEST: Final = 1 << 26  # bytes of an answer, which takes some 10 KB
_SHOWN: Final = 300
"""Characters of a server's answer that messages show."""


class Unreachable(EngineError):  # noqa: N818 - it is what the server is
    """No answer came, after all attempts: the server is not there, or it has gone."""


class Reply(NamedTuple):
    """A server's answer. ``data`` is its JSON as decoded, None where ``text`` is none."""

    status: int
    data: Any
    text: str
    headers: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether it is a success."""
        return 200 <= self.status < 300

    @property
    def message(self) -> str:
        """What the server says is wrong, or the beginning of what it sent."""
        found: Any = self.data
        for name in ("error", "message", "detail"):
            if isinstance(found, dict) and name in found:
                found = found[name]
        text = found if isinstance(found, str) else self.text
        return " ".join(text.split())[:_SHOWN] or "(nothing)"


def base_url(url: str) -> str:
    """The part before ``/v1``, with or without which a URL may be written."""
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def key_from(variable: str | None) -> str | None:
    """The key in the environment variable of that name; raises EngineError(LOAD) if it cannot be one."""
    if variable is None:
        return None
    if not (key := os.environ.get(variable, "").strip()):
        raise EngineError(
            ErrorKind.LOAD,
            f"options.key_env: the environment variable {variable} is not set or empty; set it to the "
            "server's "
            f"key (export {variable}=...), or take key_env out of the profile",
        )
    if not (key.isascii() and key.isprintable()):
        # Libraries would complain as well, and show it.
        raise EngineError(
            ErrorKind.LOAD,
            f"options.key_env: the environment variable {variable} holds characters that no HTTP header may "
            "have; allowed: printable ASCII",
        )
    return key


class Client:
    """Talks to one server; may be used by several threads."""

    def __init__(self, url: str, *, key: str | None, seconds: float, attempts: int = _ATTEMPTS) -> None:
        """``url`` is as `base_url` gives it; a call may take ``seconds``, its retries included."""
        import httpx2

        self.url: Final = url
        self._key: Final = key
        self._seconds: Final = seconds
        self._attempts: Final = attempts
        self._errors: Final = httpx2
        headers = {"accept": "application/json"}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        host = httpx2.URL(url).host
        self._client: Final = httpx2.Client(
            headers=headers,
            timeout=httpx2.Timeout(seconds, connect=min(_CONNECT_SECONDS, seconds)),
            limits=httpx2.Limits(max_connections=None),
            follow_redirects=False,
            # Proxies of the environment are not for a server on this machine.
            trust_env=host not in ("localhost", "127.0.0.1", "::1"),
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def get(self, path: str) -> Reply:
        """The answer to a GET of ``path``; raises as `post` does."""
        return self._send("GET", path, None)

    def post(self, path: str, body: Mapping[str, Json]) -> Reply:
        """The answer to a POST of ``body`` as JSON, whatever its status.

        Tried again, at most 4 times in all, where none came or the server is too busy (429 and 503, after
        what its Retry-After says): never where it answered something else.

        Raises:
            Unreachable: the server cannot be reached (LOAD), or stopped in the middle (CRASH).
            EngineError: TIMEOUT, it was too slow; LOAD, its certificate is not valid, or it redirects.
        """
        return self._send("POST", path, json.dumps(body).encode())

    def _send(self, method: str, path: str, body: bytes | None) -> Reply:
        until = time.monotonic() + self._seconds
        wait = _FIRST_WAIT
        attempt = 0
        while True:
            attempt += 1
            last = attempt == self._attempts
            try:
                reply = self._once(method, path, body, max(0.1, until - time.monotonic()))
            except Unreachable:
                if last or time.monotonic() + wait >= until:
                    raise
            else:
                if reply.status not in _BUSY or last:
                    return reply
                wait = max(wait, _retry_after(reply))
                if time.monotonic() + wait >= until:
                    return reply
            time.sleep(wait)
            wait *= 2

    def _once(self, method: str, path: str, body: bytes | None, seconds: float) -> Reply:
        errors, where = self._errors, f"{method} {self.url}{path}"
        try:
            with self._client.stream(
                method,
                self.url + path,
                content=body,
                headers={} if body is None else {"content-type": "application/json"},
                timeout=errors.Timeout(seconds, connect=min(_CONNECT_SECONDS, seconds)),
            ) as found:
                content = self._content(found, where, seconds)
        except errors.ConnectTimeout as error:
            raise Unreachable(ErrorKind.LOAD, f"{where}: no connection within {seconds:.0f} s") from error
        except errors.TimeoutException as error:
            raise EngineError(
                ErrorKind.TIMEOUT,
                f"{where}: no answer within {self._seconds:.0f} s. Raise options.timeout and "
                "deadlines.case in "
                "the profile, or lower batch_size, the number of requests at once",
            ) from error
        except errors.ConnectError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise EngineError(
                    ErrorKind.LOAD,
                    f"{where}: {self._safe(str(error))}. Certificates are always checked: name the "
                    "authority's "
                    "in SSL_CERT_FILE",
                ) from error
            raise Unreachable(
                ErrorKind.LOAD,
                f"{where}: {self._safe(str(error)) or 'no connection'}. Is the server running, and url "
                "right? "
                f"Try: curl {self.url}/v1/models",
            ) from error
        except errors.TransportError as error:
            raise Unreachable(
                ErrorKind.CRASH,
                f"{where}: the connection broke off ({type(error).__name__}: {self._safe(str(error))}). "
                "See the "
                "server's own log",
            ) from error
        if found.is_redirect:
            target = self._safe(found.headers.get("location", "somewhere"))
            raise EngineError(
                ErrorKind.LOAD,
                f"{where}: status {found.status_code}, a redirect to {target}; redirects are not followed, "
                "since "
                "the key would travel with them. Set url to where the server really is",
            )
        return self._reply(found, content)

    def _content(self, found: httpx2.Response, where: str, seconds: float) -> bytes:
        """What a server sends, unpacked, however slowly it comes and however much it is."""
        content, until = bytearray(), time.monotonic() + seconds
        for piece in found.iter_bytes():
            content += piece
            if len(content) > _LARGEST:
                what = f"found an answer of more than {_LARGEST:,} bytes, which no chat completion has"
                raise EngineError(ErrorKind.FAILED, f"{where}: {what}. Is url right?")
            if time.monotonic() > until:
                raise self._errors.ReadTimeout("the answer had no end")
        return bytes(content)

    def _reply(self, found: httpx2.Response, content: bytes) -> Reply:
        text = self._safe(content.decode(found.encoding or "utf-8", "replace"))
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            data = None
        headers = {name.lower(): self._safe(value) for name, value in found.headers.items()}
        return Reply(found.status_code, data, text, headers)

    def _safe(self, text: str) -> str:
        """The text without the key, which some servers repeat."""
        return text if self._key is None else text.replace(self._key, "[key]")


def _retry_after(reply: Reply) -> float:
    try:
        return max(0.0, float(reply.headers.get("retry-after", "0")))
    except ValueError:  # a date; the usual wait is as good
        return 0.0

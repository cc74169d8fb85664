r"""What parent and worker say to each other: JSON objects, one a line, on descriptors of their own.

Standard library only, since both sides import it. Text is escaped to ASCII, so that a line feed ends a
message and nothing else does, and text with lone surrogates survives.

========  =====================================================================================
to the worker, by ``do``
load      ``settings``, ``patch`` (path or null), ``rows`` (folder or null); once, first
score     ``batch``: a list of [key, request]
trace     ``order``: a case (see `harness.engines.taps.contract`), ``file``: where what was seen goes
close     free the engine and exit
from the worker, by ``event``
loaded    ``fingerprint``
refused   ``kind``, ``message``: the engine could not be loaded; ``says_all``: the log has no more to tell
answer    ``key``, ``answer``, ``request``: the digest of the request that it answers, as the engine says
failure   ``key``, ``kind``, ``message``: no answer to this one; the engine lives on
raised    ``kind``, ``message``: an exception ended the batch; the worker lives on
scored    the batch is over
traced    ``about``: what the traced model is; the file is written
from nobody, made up by the parent's side of the pipe
ended     the worker's end of the pipe is closed: it has ended or is about to
garbled   ``line``: what came is no message
========  =====================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Lines", "Message", "decode", "encode"]

Message = dict[str, Any]

_SHOWN = 200


def encode(message: Mapping[str, Any]) -> bytes:
    """One line. Raises TypeError or ValueError for what JSON cannot hold, NaN included."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def decode(line: bytes) -> Message:
    """The message in ``line``; one of event ``garbled`` when there is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if isinstance(message, dict) and ("event" in message or "do" in message):
        return message
    return {"event": "garbled", "line": line[:_SHOWN].decode("utf-8", "replace")}


class Lines:
    """Puts lines together from pieces of any size, in time linear in their length."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that ``data`` completes, without their line feeds."""
        *complete, rest = data.split(b"\n")
        for end in complete:
            self._pieces.append(end)
            line = b"".join(self._pieces)
            self._pieces.clear()
            yield line
        if rest:
            self._pieces.append(rest)

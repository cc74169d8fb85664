"""The engine ``api`` asked about a stand-in of a server."""

from __future__ import annotations

from typing import Any

import pytest

from harness.engines.api_server.engine import ApiServer, load
from harness.engines.contract import Answer, EngineSettings, Failure, Request
from harness.errors import EngineError
from tests.engines.api_server.stand_in_server import StandIn

ASK = Request(case="s.a", prompt="Which?", letters=("A", "B", "C", "D"))


_loaded: list[ApiServer] = []


def settings(server: StandIn, *, top_k: int = 5, batch_size: int = 4, **options: Any) -> EngineSettings:
    return EngineSettings(
        kind="api",
        model="some/model",
        dtype="float32",
        device="cpu",
        paths=("chat",),
        top_k=top_k,
        batch_size=batch_size,
        options={"url": server.url, "timeout": 5.0, **options},
    )


def engine(server: StandIn, **changes: Any) -> ApiServer:
    _loaded.append(load(settings(server, **changes)))
    return _loaded[-1]


def close_all() -> None:
    """Close every engine that was loaded."""
    while _loaded:
        _loaded.pop().close()


def score(server: StandIn, *requests: Request, **changes: Any) -> dict[str, Answer | Failure]:
    return dict(engine(server, **changes).score(requests or [ASK]))


def answer(server: StandIn, request: Request = ASK, **changes: Any) -> Answer:
    result = score(server, request, **changes)[request.case]
    assert isinstance(result, Answer), result
    return result


def refusal(server: StandIn, **changes: Any) -> EngineError:
    with pytest.raises(EngineError) as caught:
        engine(server, **changes)
    return caught.value

"""A stand-in of a server, which is tried again without long waits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.engines.api_server import client as api_http
from tests.engines.api_server.asking import close_all
from tests.engines.api_server.stand_in_server import StandIn, serving


@pytest.fixture
def server() -> Iterator[StandIn]:
    with serving(StandIn()) as stand_in:
        yield stand_in


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(api_http, "_FIRST_WAIT", 0.05)
    yield
    close_all()

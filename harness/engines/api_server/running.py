"""Servers that run already. Standard library only."""

from __future__ import annotations

from harness.engines.contract import EngineSettings

__all__ = ["is_running_server"]


def is_running_server(settings: EngineSettings) -> bool:
    """Whether an engine is a server that runs already, whose identity nobody can hash.

    What it answered may be used again within the same run only: it may serve another model by the next.
    """
    return settings.kind == "api" and bool(settings.options.get("url"))

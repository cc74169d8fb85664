"""The rules of profiles.yaml that concern servers: the engine ``api``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from harness.cases.problems import describe
from harness.cases.yaml_document import Document, Steps

__all__ = ["asks_running_server", "check_api_engine", "needs_model"]


def asks_running_server(name: str, entry: Mapping[str, Any]) -> bool:
    """Whether an engine's entry, whatever else is wrong with it, is about a server that runs already."""
    options = entry.get("options")
    return entry.get("kind", name) == "api" and isinstance(options, dict) and "url" in options


def needs_model(profile: Mapping[str, Any]) -> bool:
    """Whether some engine of a profile takes the profile's own model; a running server has its own."""
    engines = profile.get("engines")
    if not isinstance(engines, dict) or not engines:
        return True
    return not all(
        isinstance(entry, dict) and ("model" in entry or asks_running_server(str(name), entry))
        for name, entry in engines.items()
    )


def check_api_engine(
    document: Document,
    steps: Steps,
    entry: Mapping[str, Any],
    profile: Mapping[str, Any],
    broken: Collection[str | int],
) -> None:
    """Note the problems of an entry of kind ``api``; ``broken`` are its fields of the wrong type."""
    if "options" in broken:
        return
    options = entry.get("options") or {}
    at = (*steps, "options") if "options" in entry else steps
    if "url" not in options and "serve" not in options:
        allowed = "options.url of a server that is running, or options.serve to have one started"
        document.add(at, "neither url nor serve", allowed)
    elif "url" in options:
        _check_running(document, steps, entry, profile)
    if entry.get("top_k") == 0 and "top_k" not in broken:
        allowed = "1 or more: the log-probabilities are all that a server tells"
        document.add((*steps, "top_k"), "0 for api", allowed)


def _check_running(
    document: Document,
    steps: Steps,
    entry: Mapping[str, Any],
    profile: Mapping[str, Any],
) -> None:
    options = entry["options"]
    if isinstance(options["url"], str) and (wrong := _url_problem(options["url"])) is not None:
        document.add((*steps, "options", "url"), *wrong)
    if {**profile, **entry}.get("dtype", "auto") == "auto":
        owner = steps if "dtype" in entry else steps[:2]
        place = (*owner, "dtype") if "dtype" in entry or "dtype" in profile else steps
        allowed = "the one that the server was started with: it cannot be asked, and the limits depend on it"
        document.add(place, "no dtype for a running server", allowed)


def _url_problem(url: str) -> tuple[str, str] | None:
    """What is found and what is allowed, None for a URL that is right."""
    allowed = "http:// or https://, a host and maybe a port and a path, such as http://localhost:23333"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"a URL that cannot be read ({error})", allowed
    if "@" in parts.netloc:
        # It is not shown: a password in it would end up in a terminal or in CI's log.
        return "a URL with a user or password", f"{allowed}; a key belongs into the variable named by key_env"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or any(map(str.isspace, url)):
        return describe(url), allowed
    if parts.query or parts.fragment:
        return f"a URL with {'a query' if parts.query else 'a fragment'}", allowed
    return None

"""Whether a server that is said to run answers, and which models it serves."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator

from harness.cases.profiles import EngineSpec
from harness.machine.findings import Finding, right, wrong
from harness.profile_check.places import Places

__all__ = ["look_at_server"]

_SECONDS = 5.0


def look_at_server(engine: EngineSpec, places: Places) -> Iterator[Finding]:
    """Findings on ``options.url`` of an engine ``api``: its key's variable, its answer, its model."""
    options = engine.settings.options
    url = f"{str(options['url']).rstrip('/').removesuffix('/v1')}/v1/models"
    headers = {}
    if variable := options.get("key_env"):
        key = os.environ.get(str(variable))
        if not key:
            yield wrong(
                "key",
                f"the environment variable {variable} is not set",
                places.of(engine, "options.key_env"),
                allowed=f"the server's key in {variable}",
                command=f"export {variable}=...",
            )
            return
        headers["Authorization"] = f"Bearer {key}"
    try:
        # The scheme is http or https: the profile's own validation sees to it.
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            served = [str(model["id"]) for model in json.load(answer)["data"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield wrong(
            "server",
            f"no list of models at {url}: {_why(error)}",
            places.of(engine, "options.url"),
            allowed="the address of an OpenAI-compatible server that runs",
            command=f"curl {url}",
        )
        return
    model = options.get("served_model")
    if model is not None and model not in served:
        yield wrong(
            "server",
            f"{url} does not serve {model}",
            places.of(engine, "options.served_model"),
            allowed=", ".join(served) or "a model, and it serves none",
            command="change served_model",
        )
        return
    yield right("server", f"{url} serves {', '.join(served)}")


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"it answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return f"no such answer as expected ({type(error).__name__}: {error})"

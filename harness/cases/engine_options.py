"""The rules of profiles.yaml that come from the table of options: what an engine takes and what not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harness.cases.problems import describe
from harness.cases.validation import Broken
from harness.cases.yaml_document import Document, Steps
from harness.engines.contract import EngineSettings
from harness.schemas.options import OPTIONS, PATHS, PINNED, Side, taken_by, takers

__all__ = ["KINDS", "check_engine_options", "default_options", "default_paths", "passed_fields"]

KINDS: Final = ("torch", "lmdeploy", "api")
_BY_NAME: Final = {option.name: option for option in OPTIONS}
_CONFIG: Final = "engine_config"


def default_options(side: Side, written: Mapping[str, Any]) -> dict[str, Any]:
    """Options that an engine has where a profile does not say them.

    A model with code of its own chooses its attention kernel, so there one that stands is asked for.
    """
    left_out = {"attention"} if written.get("trust_remote_code") is True else set()
    return {
        each.name: each.default
        for each in OPTIONS
        if each.default is not None and taken_by(each, side) and each.name not in left_out
    }


def default_paths(side: Side) -> tuple[str, ...]:
    """The paths of an engine whose profile names none; () where the engine chooses."""
    return tuple(path.name for path in PATHS if path.default and taken_by(path, side))


def passed_fields(settings: EngineSettings) -> list[str]:
    """Fields of LMDeploy's engine config that a profile sets, as options or by name."""
    config = settings.options.get(_CONFIG)
    own = [name for name in settings.options if name in _BY_NAME and _BY_NAME[name].field]
    return [*own, *config] if isinstance(config, dict) else own


def check_engine_options(
    document: Document, broken: Broken, steps: Steps, entry: Mapping[str, Any], side: Side
) -> None:
    """Note what an engine's entry says that its side does not take."""
    sound = {name: value for name, value in entry.items() if name not in broken.get(steps, ())}
    options = entry.get("options")
    wrong = broken.get((*steps, "options"), ())
    for name, value in options.items() if isinstance(options, dict) else ():
        if name not in _BY_NAME:
            continue
        option, at = _BY_NAME[name], (*steps, "options", name)
        if not taken_by(option, side):
            takes = ", ".join(each.name for each in OPTIONS if taken_by(each, side))
            allowed = f"an option of {side}: {takes}; {name} is for {takers(option)}"
            document.add(at, f"the option {describe(name)}", allowed, at_key=True)
        elif name not in wrong and (only := option.narrowed(side)) and value not in only.values:
            document.add(at, f"{describe(value)} for {side}", str(only))
    if "paths" in sound:
        _check_paths(document, steps, side, sound)
    if _CONFIG in sound:
        _check_config(document, (*steps, _CONFIG), side, sound[_CONFIG])


def _check_paths(document: Document, steps: Steps, side: Side, entry: Mapping[str, Any]) -> None:
    has = [path.name for path in PATHS if taken_by(path, side)]
    for number, path in enumerate(entry["paths"]):
        at = (*steps, "paths", number)
        if path not in has:
            document.add(at, describe(path), f"a path of {side}: {', '.join(has)}")
        elif path in entry["paths"][:number]:
            document.add(at, f"{describe(path)} a second time", "each path once")
        elif path == "top-k" and entry.get("top_k") == 0:
            document.add((*steps, "top_k"), "0 for the path top-k", "1 or more")


def _check_config(document: Document, steps: Steps, side: Side, config: Mapping[str, Any]) -> None:
    if side.kind not in _BY_NAME["session_len"].kinds:
        allowed = f"{_CONFIG} of {takers(_BY_NAME['session_len'])}"
        document.add(steps, f"{_CONFIG} for {side}", allowed, at_key=True)
        return
    for name in config:
        if name in _BY_NAME:
            allowed = f"{name} under `options:`"
        elif name in PINNED:
            allowed = PINNED[name]
        else:
            continue
        document.add((*steps, name), f"the field {describe(name)}", allowed, at_key=True)

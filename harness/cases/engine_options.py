"""The rules of profiles.yaml that come from the table of options: what an engine takes and what not."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from harness.cases.problems import describe, is_file, nearest, shown
from harness.cases.validation import Broken
from harness.cases.yaml_document import Document, Steps
from harness.engines.contract import EngineSettings
from harness.schemas.options import OPTIONS, PATHS, PINNED, Side, taken_by, takers

__all__ = [
    "KINDS",
    "check_engine_options",
    "default_options",
    "default_paths",
    "file_of",
    "passed_fields",
    "with_places",
    "without_rows",
]

KINDS: Final = ("torch", "lmdeploy", "api")
_BY_NAME: Final = {option.name: option for option in OPTIONS}
_CONFIG: Final = "engine_config"
_TEMPLATE: Final = "chat_template_config"
_TUNING: Final = "gemm_tuning"
_VISION: Final = ("max_batch_size", "thread_safe")
"""The fields of LMDeploy's VisionConfig (0.12 to 0.18)."""
_NO_ROWS: Final = (
    ("tp", ("pytorch",), ("captured", "two-stage")),
    ("prefix_cache", ("pytorch", "turbomind"), ("two-stage",)),
)
"""Options beside which LMDeploy gives no rows, on which backends, by which paths."""


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


def with_places(options: Mapping[str, Any], here: Path) -> dict[str, Any]:
    """``options`` in which a file's path relative to ``here``, the folder of profiles.yaml, is absolute.

    So a worker finds it wherever it runs, and it counts by its content. Under engine_config a text is a path
    where it has a / and there is such a file.
    """

    def placed(value: Any) -> Any:  # noqa: ANN401 - whatever a field of LMDeploy's holds
        if isinstance(value, dict):
            return {name: placed(each) for name, each in value.items()}
        if isinstance(value, str) and "/" in value and is_file(file := file_of(value, here)):
            return str(file)
        return value

    made = dict(options)
    if _TUNING in made:
        made[_TUNING] = str(file_of(made[_TUNING], here))
    if isinstance(template := made.get(_TEMPLATE), str) and _is_file(template):
        made[_TEMPLATE] = str(file_of(template, here))
    if _CONFIG in made:
        made[_CONFIG] = placed(made[_CONFIG])
    return made


def file_of(path: str, here: Path) -> Path:
    """The absolute path of what a profile in ``here`` names; links in it are not followed."""
    # Path.expanduser raises where there is no such user.
    return Path(os.path.abspath(here / os.path.expanduser(path)))  # noqa: PTH100, PTH111


def _is_file(template: str) -> bool:
    return "/" in template or template.endswith(".json")


def _missing_file(name: str, value: Any, here: Path) -> str:  # noqa: ANN401 - whatever an option holds
    """What may stand in place of a file that is not there, or is no JSON object; '' where all is well."""
    if name == _TUNING:
        file = file_of(value, here)
        made = "TurboMind writes it in a run with TM_GEMM_EXPORT=FILE"
        return "" if is_file(file) else f"a file that exists (looked for {shown(file)}); {made}"
    if name != _TEMPLATE or not _is_file(value):
        return ""
    file = file_of(value, here)
    try:
        if isinstance(json.loads(file.read_bytes()), dict):
            return ""
    except (OSError, RecursionError, ValueError):
        pass
    return f"a file that holds a JSON object (looked for {shown(file)}), or a template's name"


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
        elif name not in wrong and (allowed := _missing_file(name, value, document.file.parent)):
            document.add(at, describe(value), allowed)
        elif name == "vision_config" and name not in wrong:
            for field in value:
                if field not in _VISION:
                    document.add((*at, field), describe(field), nearest(field, _VISION), at_key=True)
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
        elif option := without_rows(side, entry.get("options"), path):
            left = ", ".join(name for name in has if not without_rows(side, entry.get("options"), name))
            document.add(at, f"{describe(path)} with {option}", f"{left}; LMDeploy gives no such rows then")


def without_rows(side: Side, options: Any, path: str) -> str:  # noqa: ANN401 - whatever stands there
    """The option with which LMDeploy gives no rows by that path, with its value; '' where there is none."""
    for name, backends, refused in _NO_ROWS if isinstance(options, dict) and side.kind == "lmdeploy" else ():
        if path in refused and side.backend in backends and options.get(name, 1) != 1:
            return f"{name}: {options[name]}"
    return ""


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

"""Code that comes with a checkpoint: what it is, when it may run, and where it is known to run.

It runs only in a worker, only where a profile switches it on, and only from the checkpoint's own folder,
whose files are part of the fingerprint. Standard library only.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from harness.engines.contract import EngineSettings
from harness.errors import EngineError, ErrorKind

__all__ = ["KNOWN_TO_WORK", "REQUIREMENTS", "environment_advice", "refuse_code_of_others", "switched_off"]

KNOWN_TO_WORK: Final = "4.49"
"""The last Transformers under which code such as that of InternVL2's checkpoints is known to run."""

REQUIREMENTS: Final = (
    "transformers==4.49.0", "torch==2.6.0", "torchvision==0.21.0", "timm", "einops", "sentencepiece",
    "pillow",
)  # fmt: skip
"""An environment for such code, as ``requirements`` of an engine in a profile."""

_CONFIGURATIONS = (
    "config.json",
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


def switched_off(settings: EngineSettings) -> str:
    """What to add to the message of a failed load: that the model's own code was not run, and how to run it.

    '' where the checkpoint has no code of its own, or where it is switched on.
    """
    folder = Path(settings.model)
    if settings.options.get("trust_remote_code") is True or not _references(folder):
        return ""
    files = sorted(folder.glob("*.py"))
    lines = sum(len(file.read_bytes().splitlines()) for file in files)
    named = f" ({', '.join(file.name for file in files)}: {lines} lines)" if files else ""
    # In a hub's cache the folder of a snapshot bears the name of its commit.
    commit = folder.name if _COMMIT.fullmatch(folder.name) else None
    pin = f"\n    revision: {commit}" if commit else ""
    return (
        f"\n{folder} comes with Python code of its own{named}, which is switched off. Switched on, it runs "
        "with your rights in this engine's worker process, whatever it does. Read it; then, to switch it on "
        "for this engine alone, write below the engine's name in profiles.yaml:\n"
        f"    options:\n      trust_remote_code: true{pin}"
    )


def refuse_code_of_others(settings: EngineSettings) -> None:
    """Raise EngineError (LOAD) where the code to run is another repository's, at no commit that is pinned."""
    folder = Path(settings.model)
    if settings.options.get("trust_remote_code") is not True:
        return
    for place, reference in _references(folder):
        if "--" in reference:
            repository, _, name = reference.partition("--")
            raise EngineError(
                ErrorKind.LOAD,
                f"{folder / place}: auto_map: found {reference!r}, code of the repository {repository} at "
                "whatever its latest commit is; allowed: code in the model's own folder. Put "
                f"{name.partition('.')[0]}.py and the files that it imports there, and write {name!r}",
            )


def environment_advice(version: str) -> str:
    """What to try when such code fails under the Transformers ``version``; '' where it is known to work."""
    if tuple(map(int, re.findall(r"\d+", version)[:2])) <= tuple(map(int, KNOWN_TO_WORK.split("."))):
        return ""
    return (
        f"\nThe code of this checkpoint ran under Transformers {version}. Code that comes with such "
        f"checkpoints is known to work up to {KNOWN_TO_WORK}. Give this engine an environment of its own in "
        "profiles.yaml:\n"
        f"    requirements: [{', '.join(REQUIREMENTS)}]\n"
        "or name the interpreter of one that exists with `python:`"
    )


def _references(folder: Path) -> list[tuple[str, str]]:
    """The code that the folder's configurations name, each with the file that names it."""
    found = []
    for place in _CONFIGURATIONS:
        try:
            data = json.loads((folder / place).read_bytes())
        except (OSError, ValueError):
            continue  # whoever loads the model says what is wrong with it
        named = data.get("auto_map") if isinstance(data, dict) else None
        for value in named.values() if isinstance(named, dict) else ():
            # A tokenizer's is a pair: slow and fast, either of which may be missing.
            pair = value if isinstance(value, list) else [value]
            found += [(place, each) for each in pair if isinstance(each, str)]
    return found

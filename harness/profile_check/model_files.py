"""A model's folder: whether everything is there that loading it takes. No weights are read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.git_lfs import POINTER, pointers
from harness.profile_check.safetensors import HeaderError, read_header
from harness.workers.hub_report import (
    INDEX,
    PROCESSORS,
    WHOLE,
    Trouble,
    lacking,
    own_code,
    tokenizer_file,
    weight_files,
)

__all__ = ["ModelFiles", "look_into"]

_SEEING = ("vision", "visual", "image", "vq_")  # within names of a configuration
_CONVERSATION = "conversation.py"
# dtypes of the format that are numbers of a model; integers are indices or packed weights
_FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


@dataclass(slots=True)
class ModelFiles:
    """What a folder holds. ``config`` is {} where config.json cannot be read.

    ``numbers`` are the entries of all tensors by dtype (as the format names it), and ``packed_bytes`` the
    size of those that are no floats; both empty where weights are missing or not in safetensors.
    """

    folder: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    weight_files: tuple[str, ...] = ()
    numbers: Counter[str] = field(default_factory=Counter)
    packed_bytes: int = 0
    tokenizer: str = ""
    template: str = ""
    processor: str = ""
    troubles: list[Trouble] = field(default_factory=list)

    @property
    def parameters(self) -> int:
        """Floats in all; 0 where they were not read."""
        return sum(count for dtype, count in self.numbers.items() if dtype in _FLOATS)

    @property
    def takes_images(self) -> bool:
        """Whether the configuration describes a vision tower."""
        return isinstance(self.config.get("vision_config"), dict)

    @property
    def speaks_of_images(self) -> bool:
        """Whether anything in the configuration is named for images, in whatever family's words."""
        return any(word in name for name in self.config for word in _SEEING)

    @property
    def architectures(self) -> tuple[str, ...]:
        """The classes that the configuration names, the one that loads it first."""
        found = self.config.get("architectures")
        return tuple(map(str, found)) if isinstance(found, list) else ()

    @property
    def most_patches(self) -> int | None:
        """The most tiles of an image by the processor's configuration; None where it says nothing."""
        for name in PROCESSORS:
            try:
                found = json.loads((self.folder / name).read_text(encoding="utf-8"))
                most = found.get("image_processor", found).get("max_patches")
            except (OSError, ValueError, AttributeError):
                continue
            if isinstance(most, int):
                return most
        return None

    @property
    def own_code(self) -> tuple[str, ...]:
        """The Python files that the configuration refers to (``auto_map``)."""
        return own_code(self.config)

    def weight_bytes(self, number_bytes: int | None) -> int:
        """Bytes of all weights with ``number_bytes`` for each float; None means as saved."""
        floats = sum(
            count * (number_bytes or _FLOATS[dtype])
            for dtype, count in self.numbers.items()
            if dtype in _FLOATS
        )
        return floats + self.packed_bytes

    def saved_as(self) -> str:
        """The dtypes of the weights, such as ``BF16``."""
        return ", ".join(sorted(self.numbers)) or "unknown"


def look_into(folder: Path) -> ModelFiles:
    """Look at everything; what is missing or broken is noted in ``troubles``."""
    files = ModelFiles(folder, troubles=lacking(folder))
    if left := pointers(folder):
        # What follows from one, such as weights of 132 bytes, is not told again.
        files.troubles.append(Trouble("model", f"{', '.join(left)}: {POINTER}", "the files themselves"))
        return files
    if (folder / "config.json").is_file():
        files.config = _json(files, "config.json", "model") or {}
    _look_at_weights(files)
    files.tokenizer = tokenizer_file(folder)
    files.template = _template(files)
    if not files.template:
        allowed = "chat_template.jinja, or a chat_template in tokenizer_config.json"
        files.troubles.append(Trouble("template", "no chat template", allowed))
    files.processor = next((name for name in PROCESSORS if (folder / name).is_file()), "")
    return files


def _json(files: ModelFiles, name: str, topic: str) -> dict[str, Any] | None:
    """A JSON object of the folder; None, with the trouble noted, where there is none."""
    try:
        found = json.loads((files.folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        files.troubles.append(Trouble(topic, f"{name} cannot be read: {error}", "a JSON object"))
        return None
    if not isinstance(found, dict):
        files.troubles.append(Trouble(topic, f"{name} holds no JSON object", "a JSON object"))
        return None
    return found


def _look_at_weights(files: ModelFiles) -> None:
    split = (files.folder / INDEX).is_file() and not (files.folder / WHOLE).is_file()
    if split and _json(files, INDEX, "model") is None:
        return
    found = weight_files(files.folder)
    expected = {name: tensors for name, tensors in found.items() if name.endswith(".safetensors")}
    files.weight_files = tuple(expected)
    troubles = list(_shard_troubles(files, expected))
    files.troubles += troubles
    if troubles or not all((files.folder / name).is_file() for name in expected):
        files.numbers.clear()
        files.packed_bytes = 0


def _shard_troubles(files: ModelFiles, expected: Mapping[str, set[str]]) -> Iterator[Trouble]:
    for name, tensors in expected.items():
        path = files.folder / name
        if not path.is_file():
            continue
        try:
            header = read_header(path)
        except (HeaderError, OSError) as error:
            yield Trouble("model", str(error), "the whole file; fetch it again")
            continue
        if missing := sorted(tensors - header.keys()):
            yield Trouble(
                "model",
                f"{name} without {len(missing)} of its tensors, among them {missing[0]}",
                f"the tensors that {INDEX} says it has",
            )
        for tensor in header.values():
            files.numbers[tensor.dtype] += tensor.numbers
            if tensor.dtype not in _FLOATS:
                files.packed_bytes += tensor.size


def _template(files: ModelFiles) -> str:
    """The file that holds the chat template; '' where there is none."""
    folder = files.folder
    if (folder / "chat_template.jinja").is_file():
        return "chat_template.jinja"
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        try:
            found = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(found, dict) and found.get("chat_template"):
            return name
    # InternVL's own code renders its prompts by itself.
    return _CONVERSATION if files.own_code and (folder / _CONVERSATION).is_file() else ""

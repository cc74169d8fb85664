"""Pictures of a table as image files: base64, bytes and paths, decoded one at a time and never twice."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from harness.cases.images import CheckedImage, ImageProblem, Looked, check_image
from harness.cases.kept import write_whole
from harness.cases.problems import describe
from harness.cases.sources.layout import list_in

__all__ = ["Pictures"]

_STARTS: Final = {b"\x89PNG": ".png", b"\xff\xd8": ".jpg", b"RIFF": ".webp", b"BM": ".bmp"}
_SHORTEST_BASE64: Final = 65  # VLMEvalKit takes what is shorter for the index of another row


class Pictures:
    """Puts pictures beside what was ``looked`` at; paths are of files below ``named``."""

    def __init__(self, looked: Looked, named: Path) -> None:
        """Nothing is made before the first picture."""
        self._looked, self._named = looked, named

    def of(self, cells: Sequence[Any]) -> list[CheckedImage | ImageProblem]:
        """The pictures in a row's cells, in order, each as a file or why it is none."""
        return [self._picture(item) for cell in cells for item in list_in(cell)]

    def _picture(self, item: Any) -> CheckedImage | ImageProblem:  # noqa: ANN401 - whatever a table holds
        if isinstance(item, dict):  # as Hugging Face's datasets have it
            item = item.get("bytes") or item.get("path")
        if isinstance(item, bytes):
            return self._put(item)
        if not isinstance(item, str):
            return ImageProblem(describe(item), "base64, bytes, or a file's path")
        text = item.partition(";base64,")[2] if item.startswith("data:image/") else item.strip()
        if len(text) < _SHORTEST_BASE64 or "." in text:
            checked = check_image(text, folder=self._named, looked=self._looked)
            if isinstance(checked, ImageProblem) and "." not in text:
                other = "base64, or the index of another row that has its picture"
                return ImageProblem(checked.found, f"{checked.allowed}; or {other}")
            return checked
        try:
            return self._put(base64.b64decode("".join(text.split()), validate=True))
        except (binascii.Error, ValueError) as error:
            return ImageProblem(f"base64 that is broken ({error})", "base64 of a whole picture")

    def _put(self, content: bytes) -> CheckedImage | ImageProblem:
        name = hashlib.sha256(content).hexdigest()
        suffix = next((own for start, own in _STARTS.items() if content.startswith(start)), ".bin")
        file = self._looked.kept / name[:2] / f"{name}{suffix}"
        if not (file.exists() and file.read_bytes() == content):  # a full disk or a hand has been at it
            write_whole(file, content)
        remarks = self._looked.at(file, file.stat())
        if isinstance(remarks, ImageProblem):
            file.unlink()
            return ImageProblem(f"picture data, {remarks.found}", remarks.allowed)
        return CheckedImage(file, remarks)

"""What must not leave the machine: where its files lie, and what lets somebody in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from harness.cases.environment_request import without_credentials

__all__ = ["Private"]

_SECRET: Final = re.compile(r"(?i)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL)S?(_|$)")
_SECRET_FIELD: Final = re.compile(r"(?i)(^|[_-])(api_?key|secret|password|passwd|credentials?|access_token)$")
_SHORTEST: Final = 8  # what is shorter, or a word, stands in ordinary texts
# A path of two folders or more that begins where a word could: not 'and/or', a URL or a closing tag.
_ABSOLUTE: Final = re.compile(r"(?<![\w~.<>:/\-])/(?:[\w.@+=~-]+/)+(?=[\w.@+=~-])")


class Private:
    """Takes out of texts and data the places of files, and the values of secrets.

    ``models`` are the models' folders, which become ``<model>``, ``<model-2>`` and so on; ``folder``, that of
    the cases, becomes ``<cases>``, the user's home ``~``, and the folders of any other absolute path
    ``<path>/``. Values of variables in ``environ`` that are named as keys or tokens are go wherever they
    stand, and so do users and passwords in URLs, and fields that are named so.
    """

    def __init__(
        self, *, models: Iterable[str], folder: Path, environ: Mapping[str, str] = os.environ
    ) -> None:
        """Touches nothing."""
        known = [path for path in dict.fromkeys(models) if path.startswith("/")]
        places = {path: f"<model-{n}>" if n > 1 else "<model>" for n, path in enumerate(known, 1)}
        places |= {str(folder.absolute()): "<cases>", str(Path.home()): "~", str(Path.home().resolve()): "~"}
        self._secrets = {
            value: f"<{name}>"
            for name, value in environ.items()
            if _SECRET.search(name) and len(value) >= _SHORTEST and not (value.isalpha() or value[0] == "/")
        }
        self._places = [
            (re.compile(rf"{re.escape(path)}(?![\w.-])"), word)
            for path, word in sorted(places.items(), key=lambda pair: -len(pair[0]))
            if path != "/"
        ]

    def text(self, text: str) -> str:
        """``text`` without them."""
        return _ABSOLUTE.sub("<path>/", self._known(text))

    def data(self, data: Any) -> Any:  # noqa: ANN401 - JSON, which stays of its kind
        """JSON without them, in keys and values."""
        if isinstance(data, str):
            return self.text(data)
        if isinstance(data, list):
            return [self.data(each) for each in data]
        if isinstance(data, Mapping):
            secret = {
                key for key, value in data.items() if isinstance(value, str) and _SECRET_FIELD.search(key)
            }
            return {
                self.text(key): "<removed>" if key in secret else self.data(value)
                for key, value in data.items()
            }
        return data

    def line_in(self, text: str) -> int | None:
        """The line (1-based) with a secret or a known place, None without: for what must stay as it is."""
        lines = enumerate(text.splitlines(), 1)
        return next((number for number, line in lines if self._known(line) != line), None)

    def _known(self, text: str) -> str:
        for value, word in self._secrets.items():
            text = text.replace(value, word)
        text = without_credentials(text)
        for place, word in self._places:
            text = place.sub(word, text)
        return text

"""Locks: what uv resolved an environment's requirements to, every package with its version and hashes.

A lock is kept as a requirements file, so that it can be read, and installed by hand with ``uv pip sync``. Its
first line is a comment with what it was resolved for, as JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.cases.environment_request import without_credentials
from harness.cases.kept import write_whole
from harness.engines.contract import Json

__all__ = ["Lock"]

_HEADER = "# vlm-harness lock: "
_PINNED = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:==\s*(?P<version>[^\s;\\]+)|@\s*(?P<url>[^\s;\\]+))")


@dataclass(frozen=True)
class Lock:
    """Requirements as uv resolved them for one kind of Python and platform.

    ``text`` is uv's requirements file without comments. ``python`` and ``platform`` are those it was resolved
    for. ``local`` holds the hash of each file or folder among the requirements, which uv's text does not.
    """

    text: str
    python: str
    platform: str
    requirements: tuple[str, ...]
    as_of: str | None
    local: tuple[tuple[str, str], ...] = ()

    @cached_property
    def digest(self) -> str:
        """Hash of everything that the environment made from it holds."""
        whole = [self.text, self.python, self.platform, [list(pair) for pair in self.local]]
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()

    @property
    def id(self) -> str:
        """The first digits of the hash: the name of the environment's folder."""
        return self.digest[:16]

    @cached_property
    def packages(self) -> dict[str, str]:
        """Version (or URL, without credentials) of each package, by name."""
        found = {}
        for line in self.text.splitlines():
            if match := _PINNED.match(line):
                found[match["name"]] = match["version"] or without_credentials(match["url"])
        return found

    def fingerprint(self) -> dict[str, Json]:
        """What recordings keep of it."""
        # Of a file or folder the content counts, not where it lies.
        local = {Path(text.partition(" @ ")[0]).name: f"sha256:{value}" for text, value in self.local}
        return {"lock": self.digest, "packages": {**self.packages, **local}}

    def write(self, path: Path) -> None:
        """Write it, all or nothing."""
        header = {
            "python": self.python,
            "platform": self.platform,
            "requirements": list(self.requirements),
            "as_of": self.as_of,
            "local": [list(pair) for pair in self.local],
        }
        write_whole(path, f"{_HEADER}{json.dumps(header)}\n{self.text}")

    @classmethod
    def read(cls, path: Path) -> Lock | None:
        """The lock at ``path``; None where there is none, or what is there is no lock."""
        try:
            first, _, text = path.read_text(encoding="utf-8").partition("\n")
            header = json.loads(first.removeprefix(_HEADER))
            return cls(
                text=text,
                python=header["python"],
                platform=header["platform"],
                requirements=tuple(header["requirements"]),
                as_of=header["as_of"],
                local=tuple((name, value) for name, value in header["local"]),
            )
        except (OSError, ValueError, TypeError, KeyError):
            return None

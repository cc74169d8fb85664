"""What a profile asks of an engine's environment, and the rules for it.

A requirement is one of

* a name with versions, extras and markers as PEP 508 has them: ``lmdeploy==0.12.3``
* ``NAME @ LOCATION``, with a URL or a path: ``lmdeploy @ ../lmdeploy``
* the path of a wheel or of a source archive
* a URL, also with a version control system before it: ``git+https://host/project@commit``

Paths are relative to the folder of profiles.yaml. Everything else, such as where to look for packages, is
uv's own configuration.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from harness.cases.problems import describe, is_file, is_folder, nearest, shown
from harness.cases.yaml_document import Document, Steps

__all__ = [
    "EnvironmentRequest",
    "RequirementError",
    "check_environment",
    "environment_request",
    "pinned",
    "with_requirement",
    "without_credentials",
]

_OLDEST_PYTHON = (3, 11)  # what the modules that run in workers are written for
_URL = re.compile(r"(?:(?:git|hg|svn|bzr)\+)?(?:https?|ssh|file)://\S+", re.IGNORECASE)
_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
# Above what packages of their own share, such as torch and torchao (0.83).
_SLIP = 0.85
_NOT_SOURCE = {"__pycache__", "build", "dist"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentRequest:
    """An environment to be made: its ``requirements``, every path in them absolute.

    ``as_of`` is a day (``2026-06-01``): nothing newer than it is taken. ``python_version`` is such as
    ``3.11``; None is that of pytest. uv runs in ``folder``, that of profiles.yaml, and so finds its uv.toml.
    ``changed`` is whether it is as changed for one run (`with_requirement`), and not as profiles.yaml has it.
    """

    requirements: tuple[str, ...]
    folder: Path = field(compare=False)
    as_of: str | None = None
    python_version: str | None = None
    changed: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        """The requirements as they are shown, without credentials."""
        text = ", ".join(without_credentials(requirement) for requirement in self.requirements)
        return text + (f" as of {self.as_of}" if self.as_of else "")

    def local(self) -> dict[str, str]:
        """Hash of the content of each file or folder among the requirements, by requirement.

        Raises OSError where one cannot be read.
        """
        found = {}
        for requirement in self.requirements:
            if (path := _local_path(requirement)) is not None:
                found[requirement] = _content_hash(path)
        return found

    def folders(self) -> list[str]:
        """Names of the packages that are built from a folder."""
        return [
            Requirement(requirement).name
            for requirement in self.requirements
            if (path := _local_path(requirement)) is not None and is_folder(path)
        ]


class RequirementError(ValueError):
    """A requirement that is none: what was ``found``, and what is ``allowed``."""

    def __init__(self, found: str, allowed: str) -> None:
        """Both as parts of a sentence."""
        super().__init__(found, allowed)
        self.found, self.allowed = found, allowed


def check_environment(
    document: Document, steps: Steps, entry: Mapping[str, Any], sound: Callable[[str], bool]
) -> None:
    """Note what is wrong with the fields of an engine's environment; ``sound`` tells those of sound type."""
    if "requirements" not in entry:
        for name in ("as_of", "python_version"):
            if name in entry:
                found = f"{name} without requirements"
                allowed = "it beside `requirements` only: an environment that is there has its own"
                document.add((*steps, name), found, allowed, at_key=True)
    elif "python" in entry:
        found = "an interpreter beside requirements"
        allowed = "either: `python` names an environment that is there, `requirements` one to be made"
        document.add((*steps, "python"), found, allowed, at_key=True)
    if sound("requirements"):
        for number, text in enumerate(entry["requirements"]):
            if isinstance(text, str):
                try:
                    _absolute_requirement(text, document.file.parent)
                except RequirementError as wrong:
                    document.add((*steps, "requirements", number), wrong.found, wrong.allowed)
    if sound("as_of"):
        _check_day(document, (*steps, "as_of"), entry["as_of"])
    if sound("python_version"):
        version = entry["python_version"]
        if tuple(map(int, version.split(".")))[:2] < _OLDEST_PYTHON:
            oldest = ".".join(map(str, _OLDEST_PYTHON))
            document.add((*steps, "python_version"), describe(version), f"{oldest} or newer")


def environment_request(entry: Mapping[str, Any], folder: Path) -> EnvironmentRequest | None:
    """The environment that a valid engine of a profile asks for; None where it asks for none."""
    if "requirements" not in entry:
        return None
    requirements = (_absolute_requirement(text, folder) for text in entry["requirements"])
    return EnvironmentRequest(
        requirements=tuple(dict.fromkeys(requirements)),
        folder=folder,
        as_of=entry.get("as_of"),
        python_version=entry.get("python_version"),
    )


def with_requirement(request: EnvironmentRequest, text: str) -> EnvironmentRequest:
    """The request with one more requirement, in place of those of the same package.

    Paths in ``text`` are relative to the folder of profiles.yaml, as in it. Raises `RequirementError` for
    what names no package, as which one it would be in place of could not be told, and for a package that has
    almost the name of one that is there: such a slip would be a second requirement beside it.
    """
    requirement = _absolute_requirement(text, request.folder)
    name = _package(requirement)
    if name is None:
        allowed = "a requirement with its package's name, such as lmdeploy==0.18.0 or NAME @ LOCATION"
        raise RequirementError(describe(text), allowed)
    known = [package for other in request.requirements if (package := _package(other)) is not None]
    if name not in known and difflib.get_close_matches(name, known, cutoff=_SLIP):
        allowed = f"{nearest(name, known)}; a package whose name is that near is added in profiles.yaml"
        raise RequirementError(f"the package {name!r}", allowed)
    kept = tuple(other for other in request.requirements if _package(other) != name)
    return replace(request, requirements=(*kept, requirement), changed=True)


def pinned(request: EnvironmentRequest, versions: Mapping[str, str]) -> EnvironmentRequest:
    """The request with each package at its version, or at its URL: its own requirement of it, or one more."""
    left = {canonicalize_name(name): version for name, version in versions.items()}
    requirements = [text for text in request.requirements if _package(text) not in left]
    # The first, so that its extras and marker stay.
    own = {_package(text): text for text in reversed(request.requirements)}
    for name, version in left.items():
        requirement = Requirement(own.get(name, name))
        requirement.url = version if "://" in version else None
        requirement.specifier = SpecifierSet("" if requirement.url else f"=={version}")
        requirements.append(str(requirement))
    return replace(request, requirements=tuple(requirements), changed=True)


def without_credentials(text: str) -> str:
    """The text with ``user:password@`` taken out of its URLs."""
    return _CREDENTIALS.sub("", text)


def _check_day(document: Document, steps: Steps, text: str) -> None:
    today = datetime.now(UTC).date()
    try:
        day = date.fromisoformat(text)
    except ValueError:
        document.add(steps, describe(text), "a day of the calendar, such as 2026-06-01")
        return
    if day > today:
        document.add(steps, f"{describe(text)}, which is to come", f"a day up to today, {today} in UTC")


def _absolute_requirement(text: str, here: Path) -> str:
    text = text.strip()
    if text.startswith("-") or len(text.splitlines()) > 1:
        allowed = (
            "a requirement; where to look for packages is said in uv.toml or in variables such as UV_INDEX"
        )
        raise RequirementError(f"{describe(text)}, an option", allowed)
    if _URL.fullmatch(text):
        return text
    if text.endswith(_ARCHIVES) and "@" not in text:  # x-1.0.tar.gz alone would pass for a name
        return str(_existing(text, here, named=False))
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        if not re.search(r"[/\\]|^~|^\.", text):
            why = str(error).splitlines()[0]
            allowed = "a requirement such as lmdeploy==0.12.3, NAME @ LOCATION, a URL, or a path"
            raise RequirementError(f"{describe(text)} ({why})", allowed) from error
        return str(_existing(text, here, named=False))
    if requirement.url is not None and not _URL.fullmatch(requirement.url):
        requirement.url = _existing(requirement.url, here, named=True).as_uri()
    return str(requirement)


def _existing(text: str, here: Path, *, named: bool) -> Path:
    path = Path(os.path.abspath(here / os.path.expanduser(text)))  # noqa: PTH100, PTH111 - as for other paths
    if is_folder(path):
        if named:
            return path
        raise RequirementError(
            f"{describe(text)}, a folder", f"a folder with its package's name: NAME @ {text}"
        )
    if not is_file(path):
        raise RequirementError(f"{describe(text)}, which does not exist", f"a path; looked for {shown(path)}")
    if not path.name.endswith(_ARCHIVES):
        raise RequirementError(
            f"{describe(text)}, a file", f"a folder, or a file that ends in {', '.join(_ARCHIVES)}"
        )
    return path


def _package(requirement: str) -> str | None:
    """The normalised name of an absolute requirement's package; None where it is a path or URL alone."""
    try:
        return canonicalize_name(Requirement(requirement).name)
    except InvalidRequirement:
        return None


def _local_path(requirement: str) -> Path | None:
    """The file or folder that an absolute requirement names."""
    if requirement.startswith("/"):
        return Path(requirement)
    if _URL.fullmatch(requirement):
        url: str | None = requirement
    else:
        url = Requirement(requirement).url
    if url is None or urlsplit(url).scheme != "file":
        return None
    return Path(unquote(urlsplit(url).path))


def _content_hash(path: Path) -> str:
    """Hash of a file, or of the names and contents of all source files below a folder."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256()
    for file_path in sorted(_source_files(path)):
        with file_path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(
            f"{file_path.relative_to(path).as_posix()}\0{content}\n".encode("utf-8", "surrogateescape")
        )
    return whole.hexdigest()


def _source_files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        # Builds write here; what they write must not look like another source.
        folders[:] = [
            name
            for name in folders
            if not (name.startswith(".") or name in _NOT_SOURCE or name.endswith(".egg-info"))
        ]
        for name in files:
            if not name.endswith(".pyc") and (path := Path(place, name)).is_file():
                yield path

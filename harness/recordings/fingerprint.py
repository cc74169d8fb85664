"""Fingerprints: everything an answer may depend on, by content, and the keys of recordings made from them.

An engine's fingerprint is known before the engine is loaded::

    {"version": 2,         # of this form
     "settings": {...},    # EngineSettings, but for the model's folder: moving it changes nothing; an option
                           # that is the path of a file is there by that file's content
     "model": {"hash": ..., "files": {name: hash}},
     "installed": {...},   # what `harness.workers.probe` says of the interpreter and its machine: versions of
                           # what the engines' libraries require, their code (Python and native), variables
                           # that choose kernels or numerics, processor, cores, and for ``device: cuda`` the
                           # visible GPUs with the driver's version
     "environment": {"lock": hash, "packages": {name: version}},   # if the harness made it
     "patch": None or {name: hash},   # of the file and of what it imports from beside it
     "harness": {module: hash}}       # of our own modules that this engine's answers go through

It holds what may change an answer and nothing else: not other engines' code, not what reads answers, not the
place of a cache, not a package that no engine's library requires.

A recording's key adds the request and the image's content. The name of the case is not in it: a renamed case
keeps its recordings, and two cases of equal content share one.

Canonical JSON, from which hashes are made: keys sorted, no white space, ASCII with ``\\u`` escapes, no NaN or
infinity, numbers as Python writes them (so 1 and 1.0 differ). Hashes are SHA-256 in hexadecimal.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from harness.engines.api_server.running import is_running_server
from harness.engines.codec import request_to_json, settings_to_json
from harness.engines.contract import Answer, EngineSettings, Json, Request
from harness.errors import EngineError, ErrorKind, RecordingError
from harness.recordings.journal import Journal
from harness.recordings.sources import engine_sources, sources_beside

__all__ = [
    "Difference",
    "asked_of",
    "asked_today",
    "canonical_json",
    "describe_differences",
    "digest",
    "engine_fingerprint",
    "engine_id",
    "engine_id_of",
    "image_fingerprint",
    "loaded_dtype",
    "model_fingerprint",
    "recording_key",
    "rendered_of",
]

# What cannot change an answer is left out, not what can put in: a kind of file nobody thought of must count.
_DOCUMENTS = {
    ".gif",
    ".jpeg",
    ".jpg",
    ".lock",
    ".md",
    ".mp4",
    ".pdf",
    ".png",
    ".pyc",
    ".rst",
    ".svg",
    ".webp",
}
_DOCUMENT_NAMES = ("license", "notice", "readme")
_VERSION = 2
_FRESH_NS = 2_000_000_000
_ABSENT = "(absent)"
_ENGINE_DIGITS = 12
_REQUEST_DIGITS = 40
_ASKED_DIGITS = 16
_ASKED_VERSION = 2  # 1, which did not say so, had `image` and no `kind`
_RENDERED_VERSION = 1
_NAMED = 3


class Difference(NamedTuple):
    """One value in which two fingerprints differ; ``path`` is dotted."""

    path: str
    before: Json
    after: Json

    def __str__(self) -> str:
        """``path: before became after``, hashes shortened."""
        return f"{self.path}: {_shown(self.before)} became {_shown(self.after)}"


def canonical_json(data: Json) -> bytes:
    """The one spelling of ``data`` that is hashed; raises `RecordingError` when it is not JSON."""
    try:
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError) as error:
        raise RecordingError(f"a fingerprint must be JSON: {error}\nfound: {str(data)[:200]}") from error


def digest(data: Json) -> str:
    """Hash of the canonical JSON of ``data``; raises as `canonical_json` does."""
    return hashlib.sha256(canonical_json(data)).hexdigest()


def model_fingerprint(folder: Path, cache: Path) -> dict[str, Json]:
    """Hash the files in ``folder`` that can change an answer: ``{"hash": ..., "files": {name: hash}}``.

    Weights, configuration, tokenizer, template, processor and code count; documents, pictures, licences and
    hidden files do not. Hashes of unchanged files (same path, size, times and inode) are remembered in the
    folder ``cache``, for all processes. Raises `EngineError` (LOAD) when there is no readable model.
    """
    if not folder.is_dir():
        raise EngineError(
            ErrorKind.LOAD, f"the model's folder {folder} does not exist\nSee: ls -la {folder.parent}"
        )
    remembered = Journal(cache / "file-hashes.jsonl", format_name="vlm-harness file hashes", version=1)
    files: dict[str, Json] = {}
    try:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and _matters(name):
                files[name.as_posix()] = _remembered_hash(path, remembered)
    except OSError as error:
        raise EngineError(
            ErrorKind.LOAD,
            f"cannot read the model's file {error.filename}: {error.strerror}\nSee: ls -laR {folder}",
        ) from error
    if not files:
        raise EngineError(ErrorKind.LOAD, f"the folder {folder} holds no model\nSee: ls -la {folder}")
    return {"hash": digest(files), "files": files}


def image_fingerprint(path: Path) -> str:
    """Hash of the file's bytes. Raises `EngineError` (FAILED) when it cannot be read.

    It is asked for again and again in a run. Of a file that is as it was seen then, it is remembered.
    """
    try:
        with path.open("rb") as file:  # opened: else a client of NFS may tell of it as it was seconds ago
            status = os.fstat(file.fileno())
            times = status.st_mtime_ns, status.st_ctime_ns
            state = (status.st_dev, status.st_ino, status.st_size, *times)
            if (found := _IMAGES.get(state)) is None:
                found = hashlib.file_digest(file, "sha256").hexdigest()
                if not _is_fresh(status):
                    if len(_IMAGES) >= _MOST_IMAGES:
                        _IMAGES.clear()
                    _IMAGES[state] = found
            return found
    except OSError as error:
        raise EngineError(
            ErrorKind.FAILED, f"cannot read the image {path}: {error.strerror}\nSee: ls -l {path}"
        ) from error


def engine_fingerprint(
    settings: EngineSettings,
    installed: Mapping[str, Json],
    *,
    patch: Path | None,
    cache: Path,
    environment: Mapping[str, Json] | None = None,
) -> dict[str, Json]:
    """What the engine's answers may depend on, as far as it is known before the engine is loaded.

    ``installed`` is what `harness.workers.probe` returned for its interpreter, ``patch`` the Python file that
    is run before the engine, ``cache`` a folder for hashes of large files, ``environment`` the lock of one
    that the harness made. Of a server that is running already only the model's name is known. Raises as
    `model_fingerprint`, and `EngineError` (LOAD) when the patch, the engine's module or a file that an option
    names cannot be read, or there are GPUs to compute on and nothing tells which.
    """
    described = settings_to_json(settings)
    del described["model"]
    described["options"] = {name: _by_content(name, value) for name, value in settings.options.items()}
    return {
        "version": _VERSION,
        "settings": described,
        "model": (
            {"served": settings.model}
            if is_running_server(settings)
            else model_fingerprint(Path(settings.model), cache)
        ),
        "installed": _seen_by(settings, installed),
        **({} if environment is None else {"environment": dict(environment)}),
        "patch": None if patch is None else _hashes("patch", patch, sources_beside),
        "harness": _hashes("engine", settings.kind, lambda _: engine_sources(settings)),
    }


def engine_id(fingerprint: Mapping[str, Json]) -> str:
    """Short name of an engine, ``KIND-HASH`` with 12 digits; the name of its journal."""
    return _engine_id(fingerprint, _engine_digest(fingerprint))


def recording_key(fingerprint: Mapping[str, Json], request: Request, images: Sequence[str]) -> str:
    """Key of the recording of ``request`` by the engine: ``KIND-HASH-HASH``, usable as a file's name.

    The first hash is the engine's (see `engine_id`), the second is over its whole hash, the request without
    the case's name, and ``images``, the hashes of its images in order.
    """
    engine = _engine_digest(fingerprint)
    asked = request_to_json(request)
    del asked["case"]
    asked["images"] = list(images)
    return f"{_engine_id(fingerprint, engine)}-{digest([engine, asked])[:_REQUEST_DIGITS]}"


def asked_of(request: Request, images: Sequence[str]) -> dict[str, Json]:
    """What a case asks, field by field, so that a reader can name the one that differs.

    ``images`` are the hashes of the images in order. Letters and numbers stand as they are, and of texts and
    images there are 16 digits of their hash. The expected letter is no part of it. ``version`` is that of
    these fields; `asked_today` makes of an older one what it would be now.
    """
    return {
        "version": _ASKED_VERSION,
        "kind": request.kind,
        "letters": list(request.letters),
        "images": [image[:_ASKED_DIGITS] for image in images],
        "prompt": _text_digest(request.prompt),
        "system": _text_digest(request.system),
        "answer_prefix": _text_digest(request.answer_prefix),
        "max_new_tokens": request.max_new_tokens,
        **({"target": _text_digest(request.target)} if request.target else {}),
    }


def asked_today(asked: Mapping[str, Json]) -> dict[str, Json]:
    """What `asked_of` gave, in whichever version, in the form of the present one."""
    if "version" in asked:
        return dict(asked)
    rest = {name: value for name, value in asked.items() if name != "image"}
    image = asked.get("image")
    return {
        "version": _ASKED_VERSION,
        "kind": Request.LETTER,
        "images": [] if image is None else [image],
        **rest,
    }


def rendered_of(answer: Answer) -> dict[str, Json]:
    """What a model was really shown, in short: digits of hashes of text, ids and pixels, and counts.

    None stands for what the engine does not tell. Two answers of equal values were shown the same.
    """
    question = answer.question
    return {
        "version": _RENDERED_VERSION,
        "text": _text_digest(question.text),
        "ids": digest(list(answer.prompt_ids))[:_ASKED_DIGITS] if answer.prompt_ids else None,
        "tokens": question.tokens,
        "tiles": question.tiles,
        "pixels": None if question.pixels is None else question.pixels[:_ASKED_DIGITS],
    }


def engine_id_of(key: str) -> str:
    """The `engine_id` with which a recording's key begins; raises `RecordingError` when it is no such key."""
    engine, dash, request = key.rpartition("-")
    if not (dash and engine and request):
        raise RecordingError(
            f"{key!r} is no recording's key\n"
            "allowed: KIND-HASH-HASH, as harness.recordings.fingerprint.recording_key makes it"
        )
    return engine


def loaded_dtype(fingerprint: Mapping[str, Json]) -> str:
    """The dtype that a loaded engine says it computes in, such as ``bfloat16+float32``; '' if it does not."""
    loaded = fingerprint.get("loaded")
    dtype = loaded.get("dtype") if isinstance(loaded, dict) else None
    return dtype if isinstance(dtype, str) else ""


def describe_differences(before: Mapping[str, Json], after: Mapping[str, Json]) -> tuple[Difference, ...]:
    """Every value in which two fingerprints differ, by dotted path, in order of the paths."""
    found: list[Difference] = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name, _ABSENT), after.get(name, _ABSENT)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found.extend(d._replace(path=f"{name}.{d.path}") for d in describe_differences(old, new))
        elif (name in before) != (name in after) or canonical_json(old) != canonical_json(new):
            found.append(Difference(name, old, new))
    return tuple(found)


_DIGESTS: dict[int, tuple[Mapping[str, Json], str]] = {}
_MOST_DIGESTS = 64
_IMAGES: dict[tuple[int, ...], str] = {}  # by what changes with every change of a file
_MOST_IMAGES = 20_000


def _engine_digest(fingerprint: Mapping[str, Json]) -> str:
    """`digest` of a whole fingerprint, which is long, shared by all cases of an engine and never changed."""
    found = _DIGESTS.get(id(fingerprint))
    if found is None or found[0] is not fingerprint:
        if len(_DIGESTS) >= _MOST_DIGESTS:
            _DIGESTS.clear()
        found = _DIGESTS[id(fingerprint)] = fingerprint, digest(dict(fingerprint))
    return found[1]


def _engine_id(fingerprint: Mapping[str, Json], engine: str) -> str:
    settings = fingerprint.get("settings")
    kind = settings.get("kind") if isinstance(settings, dict) else None
    return f"{kind or 'engine'}-{engine[:_ENGINE_DIGITS]}"


def _seen_by(settings: EngineSettings, installed: Mapping[str, Json]) -> dict[str, Json]:
    """What is ``installed``, without the GPUs where they are not computed on."""
    told = {name: value for name, value in installed.items() if name not in ("gpus", "gpus_untold")}
    if settings.device != "cuda" or is_running_server(settings):
        return told
    if untold := installed.get("gpus_untold"):
        raise EngineError(
            ErrorKind.LOAD,
            "device: found cuda, and this machine has GPUs, but not which: an answer of one kind could pass "
            f"for that of another\ntried: {untold}\nallowed: a driver that tells its GPUs. Make "
            "libnvidia-ml.so.1 loadable (in a container: NVIDIA_DRIVER_CAPABILITIES=compute,utility), or "
            "/proc/driver/nvidia readable",
        )
    return {**told, "gpus": installed.get("gpus", [])}


def _by_content(name: str, value: Json) -> Json:
    """An option's value; of each file that it names, the name and 16 digits of its hash."""
    if isinstance(value, dict):
        return {key: _by_content(f"{name}.{key}", each) for key, each in value.items()}
    if not isinstance(value, str) or not os.path.isfile(value):  # noqa: PTH113 - whatever the text
        return value
    (file, digest), *_ = _hashes(f"options.{name}", value, lambda path: {path.name: path}).items()
    return f"{file} {str(digest)[:_ASKED_DIGITS]}"


def _hashes(what: str, path: Path | str, files: Callable[[Path], Mapping[str, Path]]) -> dict[str, Json]:
    try:
        return {name: _file_hash(file) for name, file in files(Path(path)).items()}
    except OSError as error:
        raise EngineError(
            ErrorKind.LOAD,
            f"cannot read the {what} {error.filename}: {error.strerror}\nSee: ls -l {error.filename}",
        ) from error


@lru_cache(maxsize=64)  # of what many cases share
def _text_digest(text: str | None) -> str | None:
    return None if text is None else digest(text)[:_ASKED_DIGITS]


def _matters(name: Path) -> bool:
    hidden = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
    document = name.suffix.lower() in _DOCUMENTS or name.name.lower().startswith(_DOCUMENT_NAMES)
    return not (hidden or document)


def _remembered_hash(path: Path, remembered: Journal) -> str:
    status = path.stat()
    times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
    key = f"{path.resolve()} {status.st_size} {times} {status.st_ino}"
    if (entry := remembered.get(key)) is not None:
        return str(entry["sha256"])
    if _is_fresh(status):
        return _file_hash(path)
    with remembered.locked():  # so that of several processes one reads the gigabytes
        if (entry := remembered.get(key)) is not None:
            return str(entry["sha256"])
        digest = _file_hash(path)
        remembered.append(key, {"sha256": digest})
        return digest


def _is_fresh(status: os.stat_result) -> bool:
    """Whether a second change so soon after could leave the same time stamps: it is not remembered."""
    return time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < _FRESH_NS


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shown(value: Json) -> str:
    if isinstance(value, str):
        is_hash = len(value) == hashlib.sha256().digest_size * 2 and value.isalnum()
        return value[:_ENGINE_DIGITS] if is_hash else value if value == _ABSENT else repr(value)
    if isinstance(value, dict):
        return ", ".join(value) if len(value) <= _NAMED else f"{len(value)} values"
    return json.dumps(value)

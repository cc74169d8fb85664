"""The script behind `find_model`: where a hub model lies, what its folder lacks, and its download.

Run as ``python hub_report.py ORDER`` with ORDER a JSON object; prints lines of progress, then one of report.
Standard library only but for huggingface_hub, and nothing of this package, so any interpreter can run it.
The parent's side asks `lacking` too: what a model's folder must hold is said here and nowhere else.

The layout is huggingface_hub's: ``models--org--name/refs/REVISION`` holds a commit,
``models--org--name/snapshots/COMMIT`` links to its files in ``blobs/``, each made when its file is whole, and
``trees/COMMIT.json``, which newer versions write, lists what the commit has.
"""

from __future__ import annotations

import glob
import json
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"
PROCESSORS = ("processor_config.json", "preprocessor_config.json")
_TOKENIZER = re.compile(
    r"(tokenizer|vocab|spiece|sentencepiece|tekken).*(?<!_config)\.(json|txt|model)|.*\.(tiktoken|spm)"
)
_PART = re.compile(r".*-of-\d+\.(safetensors|bin)")
# Weights once more for other programs, and pictures; nothing that code of the model's own may read.
_NOT_NEEDED = re.compile(
    r"(.*/)?((pytorch_model|tf_model|flax_model|rust_model|consolidated|model)\b[^/]*\.(pt|pth|ckpt)"
    r"|consolidated[^/]*\.safetensors|[^/]*\.(msgpack|h5|ot|gguf|onnx|onnx_data|tflite|png|jpe?g|gif|mp4|pdf))"
    r"|(original|onnx|openvino|coreml)/.*"
)
_PICKLED = re.compile(r"(.*/)?(pytorch_model|model)\b[^/]*\.bin(\.index\.json)?")
_TICK_SECONDS = 1.0


class Trouble(NamedTuple):
    """Something missing or broken: ``topic`` is model, tokenizer, template or processor."""

    topic: str
    found: str
    allowed: str


def lacking(folder: Path) -> list[Trouble]:
    """What loading the model in ``folder`` takes and is not there: files only, none is looked into."""
    config, weights = _json_object(folder / "config.json"), weight_files(folder)
    own = own_code(config)
    files = [("config.json", ""), *((name, ", which the index of weights names") for name in weights)]
    files += [(name, ", which auto_map of config.json names") for name in own]
    lacks = [
        Trouble("model", f"no {name}{why}", name) for name, why in files if not (folder / name).is_file()
    ]
    if not weights:
        allowed = f"model.safetensors, or {INDEX} and the files that it names"
        lacks.append(Trouble("model", "no weights", allowed))
    elif any(_PART.fullmatch(name) and not tensors for name, tensors in weights.items()):
        lacks.append(Trouble("model", "no index of weights", f"{INDEX}, since the weights are in parts"))
    if not tokenizer_file(folder):
        allowed = "tokenizer.json, tokenizer.model, vocab.json or the like in the model's folder"
        lacks.append(Trouble("tokenizer", "no tokenizer", allowed))
    # Code of the model's own cuts its images itself.
    takes_images = isinstance(config.get("vision_config"), dict)
    if takes_images and not own and not any((folder / name).is_file() for name in PROCESSORS):
        allowed = f"{' or '.join(PROCESSORS)}, since config.json has a vision_config"
        lacks.append(Trouble("processor", "no configuration of the processor", allowed))
    return lacks


def weight_files(folder: Path) -> dict[str, set[str]]:
    """By file name, the tensors that an index says are in it; a file that one names may be missing.

    Those that loading takes: safetensors where there are any, and one whole file before an index, which may
    be left from before they were joined (transformers/modeling_utils.py looks in that order). Without an
    index, what is there.
    """
    for whole, files in ((WHOLE, "*.safetensors"), ("pytorch_model.bin", "*model*.bin")):
        index = f"{whole}.index.json"
        named: dict[str, set[str]] = {}
        for tensor, name in (_json_object(folder / index).get("weight_map") or {}).items():
            named.setdefault(str(name), set()).add(tensor)
        if (folder / whole).is_file():
            return {whole: named.get(whole, set())}
        if named := named or {path.name: set() for path in folder.glob(files)}:
            return dict(sorted(named.items()))
    return {}


def tokenizer_file(folder: Path) -> str:
    """The first file of the tokenizer's own data, '' where there is none."""
    return next((path.name for path in sorted(folder.glob("*")) if _TOKENIZER.fullmatch(path.name)), "")


def own_code(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The Python files that a configuration refers to (``auto_map``)."""
    found = config.get("auto_map")
    names = found.values() if isinstance(found, dict) else ()
    return tuple(sorted({f"{str(name).partition('.')[0].rpartition('--')[2]}.py" for name in names}))


def needed(names: Iterable[str]) -> list[str]:
    """Of a repository's files those that an engine may read: one set of weights, and no pictures."""
    names = list(names)
    top = [name for name in names if "/" not in name and not _NOT_NEEDED.fullmatch(name)]
    if any(name.endswith(".safetensors") for name in top):
        return [n for n in names if not (_NOT_NEEDED.fullmatch(n) or _PICKLED.fullmatch(n))]
    if any(_PICKLED.fullmatch(name) for name in top):
        return [name for name in names if not _NOT_NEEDED.fullmatch(name)]
    return names


def cache_folder() -> Path:
    """The hub's cache, as huggingface_hub finds it from the environment."""
    home = os.environ.get("HF_HOME") or os.path.join(  # noqa: PTH118
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(os.path.expandvars(named or os.path.join(home, "hub"))).expanduser()  # noqa: PTH118


def find_snapshot(model: str, revision: str | None) -> Path | None:
    """The folder of ``model`` ('org/name') at ``revision`` (main, if None); None where it is not cached.

    It may be incomplete: see `lacking`.
    """
    repository = cache_folder() / f"models--{model.replace('/', '--')}"
    name = revision or "main"
    try:
        commit = (repository / "refs" / name).read_text(encoding="utf-8").strip()
    except OSError:
        commit = name
    snapshot = repository / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def offline(variables: Mapping[str, str] = os.environ) -> str:
    """The variable by which the user forbids huggingface_hub to ask the network; '' where it may."""
    # As it reads them itself: the first that is set.
    name = next(filter(variables.get, ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")), "")
    return name if variables.get(name, "").upper() in {"1", "ON", "YES", "TRUE"} else ""


def command(model: str, revision: str | None) -> str:
    """What fetches a model by hand."""
    return f"hf download {model}" + (f" --revision {revision}" if revision else "")


def find_model(model: str, revision: str | None) -> dict[str, Any]:
    """See `harness.workers.find_model`."""
    folder = find_snapshot(model, revision)
    lacks = [] if folder is None else [lack.found for lack in lacking(folder)]
    if folder is not None and not lacks and _complete(folder):
        return {"folder": str(folder), "revision": folder.name}
    why = f"{offline()} forbids to fetch it"
    if not offline():
        try:
            # What loading takes is there: then the rest of that commit, not another that a branch has by now.
            fetched = _fetch(model, revision if folder is None or lacks else folder.name)
        except ModuleNotFoundError:
            why = "to look it up as a hub id huggingface_hub is missing"
        except Exception as failure:  # noqa: BLE001 - whatever it is, it is what the report has to say
            why = f"{type(failure).__name__}: {failure}"
        else:
            return {"folder": str(fetched), "revision": fetched.name}
    if folder is not None and not lacks:
        return {"folder": str(folder), "revision": folder.name}
    at = f" at revision {revision!r}" if revision else ""
    there = f"{folder} has {', '.join(lacks)}" if folder is not None else f"it is not in {cache_folder()}"
    return {
        "error": f"model {model!r}{at} is no folder and cannot be had: {there}; {why}; "
        f"where the hub can be reached: {command(model, revision)}"
    }


def _complete(snapshot: Path) -> bool:
    """Whether all that is needed of a commit is there, by the list of its files; False where none is kept."""
    listed = _json_object(snapshot.parent.parent / "trees" / f"{snapshot.name}.json").get("files") or {}
    return bool(listed) and all((snapshot / name).exists() for name in needed(listed))


def _fetch(model: str, revision: str | None) -> Path:
    """Download what is needed and not there yet."""
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    from huggingface_hub import HfApi, snapshot_download

    info = HfApi().model_info(model, revision=revision, files_metadata=True, timeout=10)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    files = needed(sizes)
    repository = cache_folder() / f"models--{model.replace('/', '--')}"
    there = repository / "snapshots" / str(info.sha)
    total = sum(sizes[name] for name in files if not (there / name).exists())
    with _told(repository / "blobs", total):
        # What needs no transfer is seen by its etag.
        patterns = [glob.escape(name) for name in files]
        folder = Path(snapshot_download(model, revision=revision, allow_patterns=patterns))
    if missing := [name for name in files if not (folder / name).exists()]:
        raise OSError(f"its download was broken off, without {', '.join(missing[:3])} ({len(missing)} files)")
    return folder


@contextmanager
def _told(blobs: Path, total: int) -> Iterator[None]:
    """Meanwhile, print a line whenever more of ``total`` bytes have come to the folder ``blobs``."""
    done, before, shown = threading.Event(), _bytes_in(blobs), -1

    def tell() -> None:
        nonlocal shown
        while not done.wait(_TICK_SECONDS):
            if (now := _bytes_in(blobs) - before) != shown:
                shown = now
                unit, name = (1e9, "GB") if total >= 1e9 else (1e6, "MB")
                note = f"{min(max(now, 0), total) / unit:.1f} of {total / unit:.1f} {name}"
                print(json.dumps({"progress": note}), flush=True)  # noqa: T201

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _bytes_in(folder: Path) -> int:
    """Bytes of files, of those with holes what is on disk."""
    size = 0
    for file in folder.glob("*"):
        try:
            status = file.stat()
        except OSError:
            continue  # renamed meanwhile
        size += min(status.st_size, status.st_blocks * 512 or status.st_size)
    return size


def _json_object(file: Path) -> dict[str, Any]:
    """{} where there is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    _here = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120 - as Python itself fills sys.path[0]
    sys.path[:] = [entry for entry in sys.path if entry != _here]
    print(json.dumps(find_model(**json.loads(sys.argv[1]))))  # noqa: T201

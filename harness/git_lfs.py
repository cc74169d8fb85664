"""Files that a clone without Git LFS left as pointers. Standard library only: workers ask, too."""

from __future__ import annotations

from pathlib import Path

__all__ = ["POINTER", "is_pointer", "pointers"]

POINTER = "a Git LFS pointer in place of the file; run `git lfs pull` in its repository"

_BEGIN = b"version https://git-lfs.github.com/spec/"  # the first key of every pointer, by its specification
_READ = {".safetensors", ".bin", ".json", ".jinja", ".model", ".py", ".spm", ".tiktoken", ".txt"}


def is_pointer(path: str | Path) -> bool:
    """Whether the file at ``path`` is a pointer; False where it cannot be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a text or a path
            return file.read(len(_BEGIN)) == _BEGIN
    except (OSError, ValueError):
        return False


def pointers(folder: Path) -> list[str]:
    """Of the files by which a model is loaded from ``folder`` those that are pointers, by name."""
    read = [path for path in sorted(folder.glob("*")) if path.suffix in _READ]
    left = [path.name for path in read if is_pointer(path)]
    # Weights that are there in the one form are not read in the other.
    if any(path.suffix == ".safetensors" and path.name not in left for path in read):
        left = [name for name in left if not name.endswith(".bin")]
    return left

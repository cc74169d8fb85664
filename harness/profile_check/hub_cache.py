"""Where a hub id lies on this machine, without asking the network.

The layout is huggingface_hub's: ``models--org--name/refs/REVISION`` holds a commit, and
``models--org--name/snapshots/COMMIT`` its files.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder", "find_snapshot"]


def cache_folder() -> Path:
    """The hub's cache, as huggingface_hub finds it from the environment."""
    if named := os.environ.get("HF_HUB_CACHE"):
        return Path(named).expanduser()
    home = os.environ.get("HF_HOME") or os.path.join(  # noqa: PTH118
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    return Path(home).expanduser() / "hub"


def find_snapshot(model: str, revision: str | None) -> Path | None:
    """The folder of ``model`` ('org/name') at ``revision`` (main, if None); None where it is not cached.

    What was found may be incomplete: see `harness.profile_check.model_files`.
    """
    repository = cache_folder() / f"models--{model.replace('/', '--')}"
    name = revision or "main"
    try:
        commit = (repository / "refs" / name).read_text(encoding="utf-8").strip()
    except OSError:
        commit = name
    snapshot = repository / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None

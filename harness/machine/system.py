"""What works on another operating system than Linux, in a sentence. Standard library only."""

from __future__ import annotations

import importlib.util
import sys

__all__ = ["elsewhere"]


def elsewhere(platform: str = sys.platform, *, unix: bool | None = None) -> str | None:
    """The sentence for ``platform``; None on Linux. ``unix``: whether files can be locked as engines' are."""
    if platform == "linux":
        return None
    able = importlib.util.find_spec("fcntl") is not None if unix is None else unix
    if able:
        return f"{platform}: engines were run on Linux only; harness check and schema work here"
    return (
        f"{platform}: engines run on Linux only, also in a container or under WSL; here work harness check, "
        "harness schema, and pytest for other tests with -p no:vlm-harness"
    )

"""Whether an error is about memory that ran out, for every engine. Standard library only."""

from __future__ import annotations

__all__ = ["is_out_of_memory"]

_TEXTS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether ``error`` says that the device's memory, or the host's, did not suffice."""
    # torch.OutOfMemoryError is known by its name, since torch may not be there; its CPU allocator raises a
    # RuntimeError that only its text tells from others.
    names = {parent.__name__ for parent in type(error).__mro__}
    text = str(error).lower()
    return (
        bool(names & {"MemoryError", "OutOfMemoryError"})
        or "defaultcpuallocator" in text
        or (isinstance(error, RuntimeError) and any(part in text for part in _TEXTS))
    )

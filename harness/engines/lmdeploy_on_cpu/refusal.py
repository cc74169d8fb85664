"""What the CPU device plug-in says of what it cannot do. Standard library only."""

from __future__ import annotations

from harness.errors import EngineError, ErrorKind

__all__ = ["unsupported"]


def unsupported(feature: str) -> EngineError:
    """The refusal of something that would otherwise be computed wrongly, or not at all."""
    return EngineError(
        ErrorKind.UNSUPPORTED,
        f"the CPU device plug-in for LMDeploy does not implement {feature}; run this profile with "
        "'device: cuda' on a machine with an NVIDIA GPU, or leave lmdeploy out of the profile's engines",
    )

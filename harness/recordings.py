"""Recordings: what one engine answered for one case, and the journal that keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.engines.contract import Answer, Json

__all__ = ["Recording"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What one engine answered for one case.

    ``key`` identifies everything the answer may depend on; ``case`` is ``suite.case-id`` and ``engine`` is
    ``profile-engine``, for people. ``fingerprint`` is that of the engine as it was loaded: model, versions,
    dtype, device.
    """

    key: str
    case: str
    engine: str
    answer: Answer
    fingerprint: Mapping[str, Json]

"""Room in LMDeploy's cache, shared out so that no sequence ever has to be put off and started again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["CacheRoom"]


class CacheRoom:
    """``blocks`` of ``block_size`` tokens each.

    LMDeploy starts a sequence when its prompt fits. Where the cache then fills up it throws a sequence out
    and computes it again later, for which a logits processor is shown some of its rows twice.
    """

    def __init__(self, blocks: int, block_size: int) -> None:
        """All blocks are free at first."""
        self._blocks = blocks
        self._block_size = block_size
        self._free = blocks
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def for_tokens(self, tokens: int) -> AsyncIterator[None]:
        """Hold room for a sequence of up to ``tokens``, once there is so much; at most all there is."""
        # One token for the step that the engine looks ahead, and one block that it may ask for early.
        wanted = min(self._blocks, (tokens + 1) // self._block_size + 2)
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            async with self._changed:
                self._free += wanted
                self._changed.notify_all()

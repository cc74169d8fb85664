"""Full rows of logits, taken while LMDeploy generates, through its public option ``logits_processors``.

On the PyTorch engine a processor is shown a request's raw logits at every step, before penalties and
temperature.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.engines.lmdeploy_pipeline.steps.contract import Take
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Capture", "Processor"]

Processor = Callable[["Tensor", "Tensor"], "Tensor"]
"""LMDeploy calls it with the ids so far and the next token's logits [V]; what it returns is sampled from."""


class Capture:
    """The rows of one request, each kept until its token is known."""

    def __init__(self, most: int, take: Take, forced: Sequence[int] = ()) -> None:
        """Hand on the first ``most`` rows; ``shown`` counts all that came.

        The first tokens are those ``forced``, by an infinite logit where they are sampled from.
        """
        self._most = most
        self._forced = tuple(forced)
        self._take = take
        self.shown = 0
        self._taken = 0
        self._rows: deque[Tensor] = deque()

    def processor(self) -> Processor:
        """A plain function, since LMDeploy copies generation options with all that is in them."""

        def keep(ids: Tensor, logits: Tensor) -> Tensor:
            del ids  # LMDeploy pads them on the left at first, and on the right once batches are joined
            self.shown += 1
            if self.shown <= self._most:
                # A GPU copies it before it samples, in one stream: it is whole once the token is known.
                self._rows.append(logits.to("cpu", non_blocking=True, copy=True))
            if self.shown <= len(self._forced):
                logits = logits.new_full(logits.shape, -math.inf)
                logits[..., self._forced[self.shown - 1]] = 0.0
            return logits

        return keep

    async def told(self, ids: Sequence[int]) -> None:
        """Hand on the rows that predicted ``ids``, the next that are known, in a thread of their own."""
        for token in ids:
            if self._rows:
                await asyncio.to_thread(self._take, self._rows.popleft(), int(token))
                self._taken += 1

    def require(self, count: int) -> None:
        """Raise EngineError(FAILED) if the rows shown cannot be those of ``count`` tokens, one by one."""
        # The engine looks ahead by one step, so a row more than there are tokens may have come.
        if self._taken != count or self.shown > count + 1:
            raise EngineError(
                ErrorKind.FAILED,
                f"LMDeploy showed the logits processor {self.shown} rows for {count} generated tokens; "
                f"allowed: {count} or {count + 1}. A case that was put off for want of cache and started "
                "again may do this: raise num_gpu_blocks in this engine's options in the profile, or lower "
                "batch_size",
            )

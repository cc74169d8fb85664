"""Full rows of logits, taken while LMDeploy generates, through its public option ``logits_processors``.

On the PyTorch engine a processor is shown a request's raw logits at every step, before penalties and
temperature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Capture", "Processor"]

Processor = Callable[["Tensor", "Tensor"], "Tensor"]
"""LMDeploy calls it with the ids so far and the next token's logits [V]; what it returns is sampled from."""


class Capture:
    """The rows of one request."""

    def __init__(self, most: int) -> None:
        """Keep the first ``most`` rows, as they are; ``shown`` counts all that came."""
        self._most = most
        self.shown = 0
        self._rows: list[Tensor] = []

    def processor(self) -> Processor:
        """A plain function, since LMDeploy copies generation options with all that is in them."""

        def keep(ids: Tensor, logits: Tensor) -> Tensor:
            del ids  # LMDeploy pads them on the left at first, and on the right once batches are joined
            self.shown += 1
            if len(self._rows) < self._most:
                self._rows.append(logits.clone())
            return logits

        return keep

    def rows(self, generated_ids: Sequence[int]) -> Tensor:
        """The rows [T, V] that predicted ``generated_ids`` [T], on the CPU.

        To be called in the thread of the engine's loop: on a GPU the rows are copied in that thread's stream.
        Raises EngineError(FAILED) if the rows shown cannot be those of the tokens, one by one.
        """
        import torch

        count = len(generated_ids)
        # The engine looks ahead by one step, so a row more than there are tokens may have come.
        if not count <= self.shown <= count + 1:
            raise EngineError(
                ErrorKind.FAILED,
                f"LMDeploy showed the logits processor {self.shown} rows for {count} generated tokens; "
                f"allowed: {count} or {count + 1}. A case that was put off for want of cache and started "
                "again may do this: raise num_gpu_blocks in this engine's options in the profile, or lower "
                "batch_size",
            )
        return torch.stack(self._rows[:count]).cpu()

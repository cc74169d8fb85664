"""The steps on LMDeploy's TurboMind engine, from within its event loop. Never run on a GPU by the harness."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.engines.contract import EngineSettings, Json
from harness.engines.dtypes import named_dtype
from harness.engines.lmdeploy_pipeline.options import GENERATION, NO_TOP_K, TWO_STAGE
from harness.engines.lmdeploy_pipeline.steps.access import Access
from harness.engines.lmdeploy_pipeline.steps.contract import Entries, Generated, Prepared, Take
from harness.engines.prefix_cache import NO_CACHED_ROWS, check_in_force
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from lmdeploy.serve.core.async_engine import AsyncEngine
    from torch import Tensor

__all__ = ["TurbomindSteps"]

_UNVERIFIED: Final = (
    "read in LMDeploy's sources and tested against stand-ins of them; not verified on a GPU by the harness"
)


class TurbomindSteps:
    """See `Steps`; rows come with ``output_logits``, of the answer or of all."""

    first = GENERATION
    reported: str | None = NO_TOP_K

    def __init__(self, engine: AsyncEngine, settings: EngineSettings) -> None:
        """Look at names; nothing is run. Raises EngineError: LOAD for missing names, as `check_in_force`."""
        self._access = Access(engine, {})
        self._prefix_cache = bool(engine.backend_config.enable_prefix_caching)
        check_in_force(settings, enabled=self._prefix_cache)
        self._alone = asyncio.Lock()
        # The rule stands in for LMDeploy only where it did not write down what it took.
        told = str(engine.backend_config.dtype)
        self.dtype = _automatic(Path(settings.model)) if told == "auto" else told
        self.limits = {"session_len": int(engine.session_len)}
        self.ways = {
            GENERATION: "generate with output_logits=generation",
            TWO_STAGE: f"{self._access.inputs}, safe_run with output_logits=all",
        }
        self.lacking = {"top-k": NO_TOP_K}
        self.described: dict[str, Json] = {"verified": _UNVERIFIED}
        self.prepare, self.forget = self._access.prepare, self._access.forget

    async def generate(  # noqa: D102
        self, prepared: Prepared, *, steps: int, logprobs: int | None, take: Take | None
    ) -> Generated:
        del logprobs  # it has none to give
        # An answer's last row goes with the stop token, so that one that ends at once would have none.
        found = await self._access.generate(
            prepared,
            stream=False,
            max_new_tokens=steps,
            ignore_eos=True,
            output_logits=None if take is None else "generation",
        )
        rows, ids = found.rows, _until_stop(found.ids, prepared.options.stop_token_ids or ())
        if rows is None or take is None:
            return Generated(ids=ids)
        if rows.ndim != 2 or len(rows) != len(found.ids):
            raise EngineError(
                ErrorKind.FAILED,
                f"output_logits='generation' brought logits of shape {tuple(rows.shape)} for "
                f"{len(found.ids)} generated tokens; allowed: one row each",
            )
        for row, token in zip(rows, ids, strict=False):
            await asyncio.to_thread(take, row, token)
        return Generated(ids=ids)

    async def rows_behind(self, prepared: Prepared, ids: Sequence[int], *, temperature: float) -> Tensor:  # noqa: D102
        if self._prefix_cache:
            raise EngineError(ErrorKind.UNSUPPORTED, NO_CACHED_ROWS)
        # It generates one token at least. One sequence at a time: all of a prompt's rows are in host memory.
        async with self._alone:
            return await self._access.full_logits(prepared, ids, temperature=temperature, steps=1)

    async def score_ids(self, prepared: Prepared, ids: Sequence[int], *, count: int) -> tuple[Entries, ...]:  # noqa: D102
        del prepared, ids, count
        raise EngineError(ErrorKind.UNSUPPORTED, "TurboMind scores no tokens of its input")

    def reset(self) -> None:
        """Nothing is left behind: every sequence of stage two ends by its one token."""

    def failure(self) -> EngineError | None:
        """It has no loop in Python whose end could be seen."""
        return None


def _until_stop(ids: tuple[int, ...], stops: Sequence[int]) -> tuple[int, ...]:
    ends = [step for step, token in enumerate(ids) if token in stops]
    return ids[: ends[0] + 1] if ends else ids


def _automatic(model: Path) -> str:
    """LMDeploy's documented rule for 'auto': bfloat16 stays, all else becomes float16."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return "bfloat16" if named_dtype(config) == "bfloat16" else "float16"

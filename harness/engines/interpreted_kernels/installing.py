"""From a profile's engine to LMDeploy's interpreted kernels. Importing it imports no engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.engines.contract import EngineSettings
from harness.engines.interpreted_kernels.card import card_of, cuda_of
from harness.engines.lmdeploy_on_cpu import plugin

if TYPE_CHECKING:
    from lmdeploy.pytorch.config import ModelConfig

__all__ = ["install"]


def install(settings: EngineSettings) -> None:
    """Make LMDeploy run its own CUDA backend on this CPU, until the process ends.

    As `lmdeploy_on_cpu.plugin.install`, whose device this is; raises EngineError(LOAD) also where Triton
    lacks a name of `stand_ins.REPLACED`, and UNSUPPORTED later, for a model that needs what cannot run.
    """
    card = card_of(settings)

    def prepare() -> None:
        from harness.engines.interpreted_kernels import stand_ins

        stand_ins.mend(card)

    def backend() -> type:
        from harness.engines.interpreted_kernels.backend import InterpretedOpsBackend

        return InterpretedOpsBackend

    def refuse(config: ModelConfig, dtype: str) -> None:
        from harness.engines.interpreted_kernels.backend import refuse_model

        refuse_model(config, dtype)

    plugin.install(
        dtype=settings.dtype,
        operators=plugin.Operators({"TRITON_INTERPRET": "1"}, prepare, backend, cuda_of(card), refuse),
    )

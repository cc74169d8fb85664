"""A loaded engine as the ground for faults: its parts by one name for both sides, and changes to undo."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from harness.engines.contract import Engine

__all__ = ["Ground", "bits_kept", "on_grid", "quick_gelu"]

Around = Callable[..., Any]
"""Called with what it stands around, then with that one's own arguments."""


class Ground:
    """One engine. What is changed by its methods `clear` undoes, the last first, to the bit."""

    def __init__(self, engine: Engine) -> None:  # noqa: D107
        self.engine: Any = engine
        self._undo: list[Callable[[], None]] = []

    @property
    def on_lmdeploy(self) -> bool:
        """Whether this is LMDeploy's engine; else it is Transformers'."""
        return hasattr(self.engine, "_pipe")

    @property
    def agent(self) -> Any:
        """What runs LMDeploy's model."""
        return self.engine._engine.engine.executor.model_agent

    @property
    def prompts(self) -> Any:
        """What renders and tokenizes for LMDeploy."""
        return self.engine._engine.prompt_processor

    @property
    def model(self) -> Any:
        """The whole model, with its head."""
        return self.agent.patched_model.get_model() if self.on_lmdeploy else self.engine._passes.model

    @property
    def parts(self) -> Any:
        """What has the vision tower and the projector."""
        return self.model if self.on_lmdeploy else self.model.model

    @property
    def language(self) -> Any:
        """The language model without its head: ``embed_tokens``, ``layers``, ``norm``, ``rotary_emb``."""
        found = self.parts.language_model
        return found.model if self.on_lmdeploy else found

    @property
    def pictures(self) -> Any:
        """The image processor, of which each engine has its own."""
        owner = (
            self.prompts.vl_encoder.model.processor if self.on_lmdeploy else self.engine._passes._processor
        )
        return owner.image_processor

    @property
    def dtype(self) -> str:
        """The model's, such as ``float32``."""
        return str(next(self.model.parameters()).dtype).removeprefix("torch.")

    def put(self, owner: Any, name: str, value: object) -> None:
        """Set an attribute."""
        modules = vars(owner).get("_modules", {})
        own = name in vars(owner) or name in modules
        before = getattr(owner, name)
        if isinstance(owner, type):
            before = vars(owner).get(name)  # a static method stays one
        self._undo.append(partial(setattr, owner, name, before) if own else partial(delattr, owner, name))
        setattr(owner, name, value)

    def wrap(self, owner: Any, name: str, around: Around) -> None:
        """Put ``around`` in the place of a function or method."""
        old = getattr(owner, name)
        if isinstance(owner, type):
            self.put(owner, name, lambda *args, **kwargs: around(old, *args, **kwargs))
        else:
            self.put(owner, name, partial(around, old))

    def write(self, tensor: torch.Tensor, values: torch.Tensor) -> None:
        """Write weights or a buffer over, in place."""
        before = tensor.detach().clone()
        self._undo.append(partial(_write, tensor, before))
        _write(tensor, values)

    def scale(self, tensor: torch.Tensor, factor: float) -> None:
        """Multiply weights; rounded once."""
        self.write(tensor, tensor.detach() * factor)

    def clear(self) -> None:
        """Undo all changes."""
        while self._undo:
            self._undo.pop()()


def _write(tensor: torch.Tensor, values: torch.Tensor) -> None:
    with torch.inference_mode():  # the CPU device plug-in's weights are inference tensors
        tensor.data.copy_(values)


def bits_kept(values: torch.Tensor, bits: float) -> torch.Tensor:
    """``values`` rounded to so many bits of the mantissa, in their own dtype."""
    mantissa, exponent = torch.frexp(values.float())
    steps = 2.0 ** (bits + 1)
    return torch.ldexp((mantissa * steps).round() / steps, exponent).to(values.dtype)


def on_grid(weights: torch.Tensor, levels: float) -> torch.Tensor:
    """``weights`` [out, in] rounded to so many levels to each side of zero, for each row by its largest."""
    weights = weights.detach()
    exact = weights.double()
    step = exact.abs().amax(1, keepdim=True).clamp(min=1e-12) / levels
    return ((exact / step).round() * step).to(weights.dtype)


def quick_gelu(values: torch.Tensor) -> torch.Tensor:
    """The sigmoid's approximation of GELU."""
    return values * torch.sigmoid(1.702 * values)

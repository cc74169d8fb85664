"""The device of the CPU device plug-in: 'cuda' read as 'cpu', and what stands in for ``torch.cuda``.

Imported by `lmdeploy_on_cpu.replace_names` once the environment is set, and by nobody else: importing it
imports torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypeVar

import torch
from torch.overrides import TorchFunctionMode

from harness.machine.processor import processor_name

if TYPE_CHECKING:
    from lmdeploy.pytorch.engine.model_agent import BaseModelAgent

__all__ = ["CudaReadAsCpu", "all_context_on_cpu", "cuda_stand_ins", "on_cpu"]

_T = TypeVar("_T")


def _on_cpu(value: _T) -> _T | str | torch.device:
    if isinstance(value, str) and value.partition(":")[0] == "cuda":
        return "cpu"
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device("cpu")
    return value


class CudaReadAsCpu(TorchFunctionMode):  # type: ignore[misc]
    """Within it every torch call that names the device 'cuda' means the CPU."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Call ``func`` with the device replaced."""
        if func is torch.Tensor.cuda and isinstance(args[0], torch.Tensor):
            # A transfer makes a copy; the host's tensor may be written to while the 'device' works.
            return args[0].clone()
        named = {name: _on_cpu(value) for name, value in (kwargs or {}).items()}
        return func(*map(_on_cpu, args), **named)


def on_cpu(original: Callable[..., object]) -> Callable[..., object]:
    """A function of LMDeploy's with 'cuda' read as 'cpu' inside."""

    def call(*args: object, **kwargs: object) -> object:
        with CudaReadAsCpu():
            return original(*args, **kwargs)

    return call


def all_context_on_cpu(
    original: Callable[[BaseModelAgent], AbstractContextManager[None]],
) -> Callable[[BaseModelAgent], AbstractContextManager[None]]:
    """LMDeploy's ``BaseModelAgent.all_context`` with 'cuda' read as 'cpu' inside."""

    @contextmanager
    def all_context(self: BaseModelAgent) -> Iterator[None]:
        with original(self), CudaReadAsCpu():
            yield

    return all_context


class Stream:
    """Everything is done at once on a CPU, so a stream never has anything to wait for."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def query(self) -> bool:
        """Whether all is done."""
        return True

    def synchronize(self) -> None:
        """Wait until all is done."""

    def wait_event(self, event: object) -> None:
        """Wait for what another stream does."""


class Event:
    """An event that has always happened."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def record(self, stream: object = None) -> None:
        """Happen when all that was queued before is done."""

    def wait(self, stream: object = None) -> None:
        """Let a stream wait."""

    def query(self) -> bool:
        """Whether it has happened."""
        return True

    def synchronize(self) -> None:
        """Wait for it."""


def cuda_stand_ins() -> dict[str, object]:
    """What takes the place of each replaced name of ``torch.cuda``; no function object serves two names."""
    default = Stream()
    page = os.sysconf("SC_PAGE_SIZE")
    memory = page * os.sysconf("SC_PHYS_PAGES")
    properties = SimpleNamespace(
        name=processor_name(),
        major=8,  # the lowest that LMDeploy takes for able to do bfloat16, as every CPU is in torch
        minor=0,
        total_memory=memory,
        multi_processor_count=os.cpu_count() or 1,
    )
    return {
        "Stream": Stream,
        "Event": Event,
        "stream": lambda stream: nullcontext(stream),
        "current_stream": lambda device=None: default,  # noqa: ARG005 - called by that name
        "synchronize": lambda device=None: None,  # noqa: ARG005
        "empty_cache": lambda: None,
        "set_device": lambda device: None,  # noqa: ARG005
        "device": lambda device: nullcontext(device),
        "current_device": lambda: 0,
        "mem_get_info": lambda device=None: (page * os.sysconf("SC_AVPHYS_PAGES"), memory),  # noqa: ARG005
        "get_device_name": lambda device=None: properties.name,  # noqa: ARG005
        "get_device_capability": lambda device=None: (properties.major, properties.minor),  # noqa: ARG005
        "get_device_properties": lambda device=None: properties,  # noqa: ARG005
    }

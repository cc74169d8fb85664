"""Variants: runs of an engine in which nothing that matters is changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, TypeVar

from harness.engines.contract import EngineSettings, Json
from harness.errors import UnknownName

__all__ = ["LEAST", "REPEAT", "Variant", "chosen", "ordered", "require_known", "variants_for"]

LEAST = 3
"""Variants that must have answered for a floor: fewer say too little of a spread."""

REPEAT = "repeat"
"""The variant in which nothing is changed: a second start, and the same questions in the same order."""

_SEED = 20_260_101
_FEW = 4  # cases in a batch, of a batch size that is no smaller than twice as many
_THREADS = (1, 3)  # other sums in other orders; three are no divisor of the usual widths
_TORCH_PATHS = ("forward", "generate")

Order = Literal["given", "reversed", "shuffled"]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One run: the engine's ``settings``, and the ``order`` in which cases are put to it."""

    name: str
    settings: EngineSettings
    order: Order = "given"


def variants_for(settings: EngineSettings) -> tuple[Variant, ...]:
    """The variants of an engine with these settings, in the order in which they are run.

    All kinds: the same once more (``repeat``), cases one at a time (``batch-1``), another batch size, their
    order reversed and shuffled.
    torch: the other attention kernel (not for models with code of their own, which choose theirs), the other
    path (decoding against prefill). torch and lmdeploy on a CPU: other numbers of threads. lmdeploy on a GPU:
    with CUDA graphs where it has none, or without.

    LMDeploy's longest prefill (``max_prefill_token_num``) is not varied: it changes which prompts go
    together, as the batch size does, and may cut an image in two.
    """
    found = [Variant(name=REPEAT, settings=settings)]
    own = settings.batch_size
    other = min(_FEW, own // 2) if own > 3 else own * 2
    found += [
        Variant(name=f"batch-{size}", settings=replace(settings, batch_size=size))
        for size in dict.fromkeys((1, other))
        if size != own
    ]
    found += [
        Variant(name="reversed", settings=settings, order="reversed"),
        Variant(name="shuffled", settings=settings, order="shuffled"),
    ]
    if settings.kind == "torch":
        found += _torch(settings)
    if settings.kind in ("torch", "lmdeploy") and settings.device == "cpu":
        found += [
            _with_option(f"threads-{count}", settings, "threads", count)
            for count in _THREADS
            if count != settings.options.get("threads")
        ]
    if settings.kind == "lmdeploy" and settings.device == "cuda" and _is_pytorch(settings):
        eager = settings.options.get("eager_mode") is True
        found.append(_with_option("graphs" if eager else "eager", settings, "eager_mode", not eager))
    return tuple(found)


def chosen(variants: Sequence[Variant], names: Collection[str] | None) -> tuple[Variant, ...]:
    """Those of ``names``, or all of them where that is None. An engine may lack some of them."""
    return tuple(one for one in variants if names is None or one.name in names)


def ordered(items: Sequence[_T], order: Order) -> list[_T]:
    """``items`` in that order; shuffled, always the same way."""
    if order == "given":
        return list(items)
    if order == "reversed":
        return list(reversed(items))
    shuffled = list(items)
    Random(_SEED).shuffle(shuffled)  # noqa: S311 - nothing is to be kept secret
    return shuffled


def require_known(option: str, names: Collection[str], allowed: Collection[str]) -> None:
    """Raise `UnknownName` for a name given with ``option`` that is not ``allowed``."""
    if unknown := [name for name in names if name not in allowed]:
        known = ", ".join(dict.fromkeys(allowed))
        raise UnknownName(f"{option}: found {', '.join(unknown)}; allowed: {known}")


def _torch(settings: EngineSettings) -> list[Variant]:
    found: list[Variant] = []
    attention = settings.options.get("attention", "sdpa")
    if settings.options.get("trust_remote_code") is not True:
        found += [
            _with_option(f"attention-{kernel}", settings, "attention", kernel)
            for kernel in ("sdpa", "eager")
            if kernel != attention
        ]
    first = (settings.paths or _TORCH_PATHS)[0]
    found += [
        Variant(name=f"path-{path}", settings=replace(settings, paths=(path,)))
        for path in _TORCH_PATHS
        # A path that the profile has beside its first is in every run as it is.
        if path != first and path not in settings.paths
    ]
    return found


def _is_pytorch(settings: EngineSettings) -> bool:
    return settings.options.get("backend", "pytorch") == "pytorch"


def _with_option(name: str, settings: EngineSettings, option: str, value: Json) -> Variant:
    return Variant(name=name, settings=replace(settings, options={**settings.options, option: value}))

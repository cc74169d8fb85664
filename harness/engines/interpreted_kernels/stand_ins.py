"""What Triton's interpreter lacks for LMDeploy's kernels, and where it is mended: `REPLACED` names all of it.

LMDeploy's files are not touched. Written for Triton 3.6.0 and 3.7.1; `mend` refuses one that lacks a name,
which are private ones for the most part. The replacements stay until the process ends.

Importing it imports triton, which reads TRITON_INTERPRET then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.runtime import interpreter

from harness.engines.interpreted_kernels.card import Card, cuda_of
from harness.engines.lmdeploy_on_cpu.plugin import Replacement, owners_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["REPLACED", "mend"]

_INTERPRETER: Final = "triton.runtime.interpreter"
_CUDA: Final = "triton.language.extra.cuda"
_MULTIPLIED: Final = (np.dtype(np.float32), np.dtype(np.float16))
_ORDER: Final = "lets dependent launches overlap, of which there are none: does nothing"

REPLACED: Final = (
    Replacement(
        "triton.runtime.driver.driver.set_active",
        "says which GPU there is, and times the configurations of a kernel: the pretended card, and the "
        "first configuration that LMDeploy leaves",
    ),
    Replacement(f"{_CUDA}.libdevice.fast_dividef", "of NVIDIA's compiled library: NumPy's divide"),
    Replacement(f"{_CUDA}.libdevice.round", "of that library: half away from zero, in NumPy"),
    Replacement(f"{_CUDA}.libdevice.tanh", "of that library: NumPy's tanh"),
    Replacement(f"{_CUDA}.gdc_wait", _ORDER, lacking="a Triton without it has no kernels that call it"),
    Replacement(f"{_CUDA}.gdc_launch_dependents", _ORDER, lacking="as gdc_wait"),
    Replacement(
        f"{_INTERPRETER}.GridExecutor.__init__",
        "adds a tuple to the grid, which LMDeploy gives as a list once: takes both, as the compiler does",
    ),
    Replacement(
        f"{_INTERPRETER}._patch_lang",
        "patches the language at every call of a function, under the names of Triton's own modules: once for "
        "each module of kernels, which is most of the time saved, and under LMDeploy's names for them too "
        "(tl_exp2 = tl.exp2)",
    ),
    Replacement(
        f"{_INTERPRETER}._patch_lang_tensor",
        "takes int() of an array with one element, which NumPy 2.4 refuses (Triton 3.6): of its element",
    ),
    Replacement(
        f"{_INTERPRETER}.interpreter_builder.options",
        "asserts after each addition of indices that nothing overflowed, a third of the time: does not",
    ),
    Replacement(
        f"{_INTERPRETER}.InterpreterBuilder.create_dot",
        "multiplies by NumPy, whose threads get in the way of torch's: by torch, as exactly",
    ),
    Replacement(f"{_INTERPRETER}._get_np_dtype", "makes a table of dtypes to look one up: keeps answers"),
    Replacement(
        "triton.language.core.tensor.__init__",
        "makes a tuple of constants of its shape, for every result: keeps one for each shape",
    ),
    Replacement("triton.language.core.block_type.__init__", "checks shape and dtype: once for each pair"),
    Replacement(f"{_INTERPRETER}.interpreter_semantic", "what those names are called with: read"),
)
"""Every name of Triton's that is replaced or built on, and why."""


def mend(card: Card) -> None:
    """Put everything of `REPLACED` in its place, and have torch and Triton tell of ``card``.

    Call it once, before anything imports LMDeploy's kernels, which take what they find. Raises
    EngineError(LOAD) where Triton lacks a name.
    """
    owners = owners_of(REPLACED)
    for name, stand_in in cuda_of(card).items():
        setattr(torch.cuda, name, stand_in)
    triton.runtime.driver.set_active(_Driver(card))
    made: dict[str, Callable[[Any], object]] = {
        "fast_dividef": lambda old: _of_numpy(old, np.divide),
        "round": lambda old: _of_numpy(old, _half_away_from_zero),
        "tanh": lambda old: _of_numpy(old, np.tanh),
        "gdc_wait": lambda _: _nothing,
        "create_dot": _dot_by_torch,
        "_get_np_dtype": _dtype_kept,
        "GridExecutor.__init__": _any_grid,
        "tensor.__init__": _shape_kept,
        "block_type.__init__": _type_kept,
        "gdc_launch_dependents": lambda _: _nothing,
        "_patch_lang": _patched_once,
        "_patch_lang_tensor": _index_of_one,
        "options": lambda _: interpreter.InterpreterOptions(sanitize_overflow=False),
    }
    for name, owner in owners.items():
        *_, before, last = name.split(".")
        if (make := made.get(last) or made.get(f"{before}.{last}")) is not None:
            # Triton loads that package twice, and kernels look into what is not in `sys.modules`.
            place = tl.extra.cuda if name.startswith(f"{_CUDA}.gdc") else owner
            setattr(place, last, make(getattr(place, last)))


class _Driver:
    """What is asked of Triton's driver: the pretended card, and no measurement."""

    def __init__(self, card: Card) -> None:
        major, minor = card.capability
        self._target = GPUTarget("cuda", 10 * major + minor, 32)

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: object = None) -> int:
        del device
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def get_benchmarker(self) -> Callable[..., list[float]]:
        return lambda call, quantiles: [1.0 for _ in quantiles]  # noqa: ARG005 - called by that name


def _of_numpy(original: Any, compute: Callable[..., NDArray[Any]]) -> Callable[..., Any]:  # noqa: ANN401
    """A function of NVIDIA's library that works on the interpreter's arrays."""

    def call(*args: object, _semantic: object = None, **_: object) -> object:
        tensors = [interpreter.interpreter_semantic.to_tensor(each) for each in args]
        widest = max(tensors, key=lambda each: each.handle.data.ndim)
        with np.errstate(all="ignore"):  # as on a GPU: infinities and NaN are results
            data = compute(*(each.handle.data for each in tensors))
        handle = interpreter.TensorHandle(
            np.asarray(data, dtype=widest.handle.data.dtype), widest.type.scalar
        )
        return tl.core.tensor(handle, widest.type)

    call.__name__ = getattr(original, "__name__", "call")
    return call


def _half_away_from_zero(x: NDArray[Any]) -> NDArray[Any]:
    # Of what lies next below a half, adding a half would round up to one; so the rest is compared.
    whole = np.trunc(x)
    return np.asarray(whole + np.sign(x) * (np.abs(x - whole) >= 0.5))


def _nothing(*_: object, **__: object) -> None:
    """Nothing."""


def _any_grid(original: Callable[..., None]) -> Callable[..., None]:
    def init(self: object, fn: object, arg_names: object, grid: Any, *rest: Any, **named: Any) -> None:  # noqa: ANN401
        original(self, fn, arg_names, grid if callable(grid) else tuple(grid), *rest, **named)

    return init


class _Kept:
    """A patch that stays."""

    def restore(self) -> None:
        """Nothing: every call would put it back."""


def _patched_once(original: Callable[[Any], object]) -> Callable[[Any], object]:
    seen: dict[int, dict[str, Any]] = {}  # with the names themselves, so that no other gets their id
    kept = _Kept()

    def patch_lang(fn: Any) -> object:  # noqa: ANN401 - a kernel or a function of one
        names = fn.__globals__
        if id(names) not in seen:
            seen[id(names)] = names
            original(fn)
            for name, value in [*names.items()]:
                if callable(value) and getattr(value, "__triton_builtin__", False) is True:
                    names[name] = _with_semantic(value)
        return kept

    return patch_lang


def _with_semantic(builtin: Callable[..., Any]) -> Callable[..., Any]:
    """A builtin of the language that is called without a compiler."""

    def call(*args: object, **named: object) -> object:
        return builtin(*args, **{**named, "_semantic": interpreter.interpreter_semantic})

    return call


def _index_of_one(original: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    def patch_lang_tensor(tensor: object, scope: Any) -> None:  # noqa: ANN401 - Triton's own
        original(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.squeeze()))

    return patch_lang_tensor


def _dot_by_torch(original: Callable[..., Any]) -> Callable[..., Any]:
    def create_dot(self: object, a: Any, b: Any, d: Any, *rest: object) -> object:  # noqa: ANN401 - Triton's own
        if d.data.dtype != np.float32 or not {a.data.dtype, b.data.dtype} <= {*_MULTIPLIED}:
            return original(self, a, b, d, *rest)
        factors = (torch.from_numpy(np.ascontiguousarray(each.data, dtype=np.float32)) for each in (a, b))
        return interpreter.TensorHandle(torch.matmul(*factors).numpy() + d.data, d.dtype.scalar)

    return create_dot


def _shape_kept(original: Callable[[Any, object, Any], None]) -> Callable[[Any, object, Any], None]:
    shapes: dict[tuple[int, ...], dict[str, object]] = {}

    def init(self: Any, handle: object, type: Any) -> None:  # noqa: A002, ANN401 - called by that name
        key = tuple(type.shape) if type.is_block() else ()
        if key not in shapes:
            original(self, handle, type)
            shapes[key] = {"shape": self.shape, "numel": self.numel}
            return
        self.__dict__.update(shapes[key], handle=handle, type=type, dtype=type.scalar)

    return init


def _type_kept(original: Callable[[Any, Any, Any], None]) -> Callable[[Any, Any, Any], None]:
    kept: dict[object, dict[str, object]] = {}

    def init(self: Any, element_ty: Any, shape: Any) -> None:  # noqa: ANN401 - Triton's own
        key = element_ty.name, *(getattr(size, "value", size) for size in shape)
        if key not in kept:
            original(self, element_ty, shape)
            kept[key] = {**self.__dict__}
            return
        self.__dict__.update(kept[key], element_ty=element_ty)

    return init


def _dtype_kept(original: Callable[[Any], object]) -> Callable[[Any], object]:
    kept: dict[str, object] = {}

    def np_dtype(tt_dtype: Any) -> object:  # noqa: ANN401 - Triton's own
        name = tt_dtype.scalar.name
        return kept[name] if name in kept else kept.setdefault(name, original(tt_dtype))

    return np_dtype

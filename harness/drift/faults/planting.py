"""Plants faults of `kernels`, in a worker: in place, so that whoever imported a kernel has the fault."""

from __future__ import annotations

import importlib
import inspect
import linecache
import textwrap
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

from harness.drift.faults.kernels import Patch
from harness.errors import HarnessError

__all__ = ["found", "plant", "text_of"]


def found(patch: Patch) -> FunctionType:
    """The plain function below a kernel's own wrappers: interpreted, compiled, tuned or none."""
    kernel: Any = importlib.import_module(f"lmdeploy.pytorch.kernels.cuda.{patch.module}")
    kernel = getattr(kernel, patch.function)
    while not isinstance(kernel, FunctionType):
        kernel = kernel.fn
    return kernel


def text_of(function: FunctionType) -> str:
    """Its source from ``def`` on."""
    text = textwrap.dedent(inspect.getsource(function))
    return text[0 if text.startswith("def ") else text.index("\ndef ") + 1 :]


def plant(patch: Patch) -> Callable[[], None]:
    """Change the code of the kernel, and return what changes it back, to the bit.

    Raises HarnessError where ``old`` does not stand in it exactly once.
    """
    from triton.runtime.interpreter import InterpretedFunction

    function = found(patch)
    text = text_of(function)
    if (times := text.count(patch.old)) != 1:
        raise HarnessError(
            f"lmdeploy's {patch.module}.{patch.function}: found {times} times {patch.old!r}; allowed: once, "
            "as in LMDeploy 0.18.0"
        )
    changed, file = text.replace(patch.old, patch.new), f"<{patch.function} with a fault: {patch.why}>"
    # Triton's interpreter rewrites a kernel's source, which it looks up by the file's name.
    linecache.cache[file] = (len(changed), None, changed.splitlines(keepends=True), file)
    made: dict[str, Any] = {}
    exec(compile(changed, file, "exec"), function.__globals__, made)  # noqa: S102 - that is what a fault is

    def put(code: Any) -> None:
        function.__code__ = code
        InterpretedFunction.rewritten_fn.pop(function, None)  # from the other source

    before = function.__code__
    put(made[function.__name__].__code__)
    return partial(put, before)

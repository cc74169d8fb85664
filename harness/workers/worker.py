"""The script a worker runs: ``python worker.py REQUESTS REPLIES LIFELINE``, three descriptors by number.

The interpreter is the engine's own and may know nothing of this package, and putting the package's folder on
``sys.path`` would expose everything installed beside it. So `harness` is made importable by itself, here, at
import: child processes that `multiprocessing` spawns import this file as ``__mp_main__`` and need it as well.

Standard library only, and no syntax newer than Python 3.7 needs to say that it is too old.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import os
import signal
import sys
import traceback

_OLDEST = (3, 11)
_FOLDER = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120 - as Python itself fills sys.path[0]
_PACKAGE = os.path.dirname(_FOLDER)  # noqa: PTH120


def _make_harness_importable() -> None:
    if "harness" in sys.modules:
        return
    init = os.path.join(_PACKAGE, "__init__.py")  # noqa: PTH118
    spec = importlib.util.spec_from_file_location("harness", init, submodule_search_locations=[_PACKAGE])
    if spec is None or spec.loader is None:
        sys.exit("cannot import " + init)
    package = importlib.util.module_from_spec(spec)
    sys.modules["harness"] = package
    spec.loader.exec_module(package)


def _watch(lifeline: int, others: tuple[int, ...]) -> None:
    """Start the watcher: a process, since an engine that holds the interpreter's lock would stop a thread."""
    group = os.getpid()  # a worker leads its group; were it not so, nobody else's must die
    if os.fork():
        os.close(lifeline)
        return
    for descriptor in others:
        os.close(descriptor)
    os.read(lifeline, 1)
    os.killpg(group, signal.SIGKILL)


def _main() -> None:
    requests, replies, lifeline = map(int, sys.argv[1:4])
    del sys.argv[1:]
    for descriptor in (requests, replies, lifeline):
        os.set_inheritable(descriptor, False)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    _watch(lifeline, (requests, replies))
    try:
        from harness.workers.serving import serve
    except ModuleNotFoundError as error:
        sys.exit(f"{error}; a worker needs it: {sys.executable} -m pip install {error.name}")
    code = 1
    try:
        serve(requests, replies)
        code = 0
    except BaseException:  # noqa: BLE001 - printed, as the interpreter would
        traceback.print_exc()
    # Not by the interpreter's own teardown: with torch in it that takes seconds, and sometimes crashes.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if sys.version_info < _OLDEST:
    sys.exit(
        "a worker needs Python {}.{} or newer; {} is {}".format(
            *_OLDEST, sys.executable, sys.version.split()[0]
        )
    )
if sys.path and sys.path[0] == _FOLDER:
    del sys.path[0]
_make_harness_importable()
if __name__ == "__main__":
    _main()

"""The date that a chat template writes, pinned; for every engine that renders by Transformers.

Transformers gives a template one clock, ``strftime_now``, which looks ``datetime`` up in a module of its own:
`_MODULE`. LMDeploy renders by the same functions. A worker holds one engine, so it is pinned for the process.
A template that takes ``date_string``, as Llama's, sets it by the same clock where nobody gives it one.

Standard library only.
"""

from __future__ import annotations

import datetime
import importlib
from typing import Any, Final

from harness.engines.contract import EngineSettings
from harness.errors import EngineError, ErrorKind

__all__ = ["TEMPLATE_DATE", "pin_template_date"]

TEMPLATE_DATE: Final = "template_date"
"""As a profile names it."""

_MODULE: Final = "transformers.utils.chat_template_utils"
_CLOCK: Final = "{{ strftime_now('%Y-%m-%d') }}"


def pin_template_date(settings: EngineSettings) -> None:
    """Let chat templates write midnight of the day that ``settings`` say, if they say one.

    Raises EngineError (LOAD) where this Transformers takes the time from elsewhere.
    """
    day = settings.options.get(TEMPLATE_DATE)
    if day is None:
        return
    pinned = datetime.datetime.fromisoformat(str(day))

    class Pinned(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:  # noqa: ANN401 - an older Python has no Self
            return cls(pinned.year, pinned.month, pinned.day, tzinfo=tz)

    why = ""
    try:
        module: Any = importlib.import_module(_MODULE)
        known = module.datetime, module._compile_jinja_template  # noqa: SLF001 - refused where it is not there
        if isinstance(known[0], type) and issubclass(known[0], datetime.datetime):
            module.datetime = Pinned
        found = known[1](_CLOCK).render()
    except Exception as error:  # noqa: BLE001 - whatever another release does instead
        found, why = "nothing", f" ({type(error).__name__}: {error})"
    if found != str(day):
        raise EngineError(
            ErrorKind.LOAD,
            f"{TEMPLATE_DATE}: {day}: this Transformers writes {found} all the same{why}; allowed: one whose "
            f"{_MODULE} takes `datetime.now()` for strftime_now, or no {TEMPLATE_DATE}",
        )

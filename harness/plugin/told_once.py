"""What many tests have in common stands once at the end of a run, and not in each of pytest's sections."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from _pytest.terminal import TerminalReporter

from harness.reports.outcomes import Outcomes

__all__ = ["ToldOnce"]


class ToldOnce:
    """Keeps out of pytest's own sections what is told once for many tests; its counts have them.

    That is what refused engines said, that nothing is accepted yet, and the error of a case that many tests
    ask about.
    """

    def __init__(self, outcomes: Outcomes) -> None:  # noqa: D107
        self._outcomes = outcomes

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> Generator[None, None, None]:
        """Take them out for the time of pytest's own summary."""
        stats, told = terminalreporter.stats, self._outcomes
        every = {**stats}
        for name, once in (("error", told.refused), ("failed", told.unaccepted)):
            once = once | told.repeated
            if once and name in every:
                stats[name] = [one for one in every[name] if getattr(one, "nodeid", None) not in once]
        yield
        stats.update(every)

"""What is seen while engines work: a line per engine, rewritten in place on a terminal."""

from __future__ import annotations

import time

import pytest
from _pytest.terminal import TerminalReporter

from harness.scoring.resolving import EngineProgress

__all__ = ["ProgressLine"]

_PLAIN_EVERY_SECONDS = 30.0  # between lines in a log, so that a long run shows it is alive


class ProgressLine:
    """Shows `EngineProgress` through pytest's terminal; silent with ``-q`` and in workers of pytest-xdist."""

    def __init__(self, config: pytest.Config) -> None:
        """The terminal is looked up when there is something to show: plugins may not all be there yet."""
        self._config = config
        self._last: tuple[str, str] = ("", "")
        self._printed = 0.0

    def show(self, progress: EngineProgress) -> None:
        """Show how far an engine is."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if not isinstance(terminal, TerminalReporter) or terminal.verbosity < 0:
            return
        text = describe(progress)
        finished = progress.phase == "recorded"
        if terminal.isatty:
            terminal.rewrite(text, erase=True)
            if finished:
                terminal.write("\n")
            return
        changed = (progress.engine, progress.phase) != self._last
        if finished or changed or time.monotonic() - self._printed > _PLAIN_EVERY_SECONDS:
            terminal.write_line(text)
            self._printed = time.monotonic()
        self._last = (progress.engine, progress.phase)

    def interrupted(self) -> None:
        """Say, when the run is broken off, that nothing made so far is lost."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if isinstance(terminal, TerminalReporter):
            terminal.ensure_newline()
            terminal.write_line("interrupted: what was recorded is kept; the same command goes on from there")


def describe(progress: EngineProgress) -> str:
    """One line for a person."""
    if progress.phase == "recorded":
        parts = [f"{progress.done - progress.errors} recorded", f"{progress.reused} unchanged"]
        if progress.errors:
            parts.append(f"{progress.errors} errors")
        return f"{progress.engine}: {', '.join(parts)}"
    count = f" {progress.done}/{progress.total}" if progress.total else ""
    errors = f", {progress.errors} errors" if progress.errors else ""
    note = f" ({progress.note})" if progress.note else ""
    return f"{progress.engine}: {progress.phase}{count}{errors}{note} ..."

"""Engines that are not there: each reason told once, however many tests ask for an answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.errors import EngineError

__all__ = ["Refusal", "Refusals"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """That ``engine`` (its label) could not be loaded; ``again`` is a command that tries it, ``look`` one
    that finds what can be known without loading.

    ``reason`` is what engines may have in common, ``where`` the rest of the message.
    """

    engine: str
    reason: str
    where: str = ""
    log: str = ""
    log_tail: str = ""
    again: str = ""
    look: str = ""

    @classmethod
    def of(cls, engine: str, error: EngineError, *, again: str, look: str = "") -> Refusal:
        """From the error that every case of the engine has."""
        return cls(
            engine=engine,
            reason=f"{error.kind}: {error.refused}",
            where=error.message.removesuffix(error.refused).rstrip(": "),
            log=error.log,
            log_tail=error.log_tail,
            again=again,
            look=look,
        )


@dataclass(slots=True)
class Refusals:
    """Those of one run, in pytest's main process, with the number of tests that each keeps from running."""

    _tests: dict[str, int] = field(default_factory=dict)  # by engine
    _told: dict[str, dict[str, Refusal]] = field(default_factory=dict)  # by reason, then engine

    def take(self, engine: str, refusal: Refusal | None, *, tests: int = 1) -> None:
        """Count tests that ``engine`` could not answer. The first of each process has the ``refusal``."""
        self._tests[engine] = self._tests.get(engine, 0) + tests
        if refusal is not None:
            self._told.setdefault(refusal.reason, {}).setdefault(engine, refusal)

    @property
    def reasons(self) -> dict[str, str]:
        """By engine, why it is not there, in a line."""
        return {
            engine: reason.splitlines()[0] for reason, engines in self._told.items() for engine in engines
        }

    def lines(self) -> list[str]:
        """Each reason, below it its engines; empty where every engine is there."""
        lines = []
        for reason, engines in self._told.items():
            lines.append(reason)
            for engine, refusal in engines.items():
                count = self._tests[engine]
                said = [refusal.where, f"{count} test{'s' * (count != 1)} without an answer"]
                said += [f"log: {refusal.log}"] if refusal.log else []
                lines.append(f"  {engine}: {'; '.join(filter(None, said))}")
                lines += [f"    | {line}" for line in refusal.log_tail.splitlines()]
            first = next(iter(engines.values()))
            lines += [f"  what its model, settings and environment lack: {first.look}"] if first.look else []
            lines.append(f"  run again: {first.again}")
        return lines

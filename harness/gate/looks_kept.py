"""Which looks a gate has spent, kept beside the recordings, so that a later call goes on and not anew.

``looks.jsonl`` is a journal with an entry for each look, written before its verdict is told. Looks belong
together where baseline and candidate have the same fingerprints, whatever they are called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.cases.problems import shown
from harness.engines.contract import Json
from harness.errors import GateError
from harness.recordings.journal import Journal
from harness.verdicts.evidence import share_of

__all__ = ["LooksKept"]

_ANEW = "--looks-anew"


class LooksKept:
    """The looks at one ``pair`` of sides (a hash of both), in the folder of recordings ``root``.

    ``cases`` are those looked at, by the hash of what they ask, in the order in which they were asked;
    ``forgotten`` is how many looks ``anew`` has left behind.
    """

    def __init__(self, root: Path, pair: str, rule: Mapping[str, str], *, anew: bool) -> None:
        """Reads what is kept; ``rule`` has what a verdict depends on beside the answers, in words by name.

        Raises `GateError` where another rule was kept, or the file is damaged, so that nobody knows what was
        spent, unless ``anew``; and `RecordingError` as `Journal` does.
        """
        self._journal, self._pair, self._rule, self._anew = _journal(root), pair, dict(rule), anew
        self._journal.refresh()
        if self._journal.damage:
            if not anew:
                raise GateError(
                    f"{self._journal.damage}: it is not known any more what share of the 1% of false alarms "
                    f"was spent\nallowed: a whole file; or {_ANEW}, which moves it aside: all sides in it "
                    "begin with another 1%"
                )
            self._journal.path.replace(f"{self._journal.path}.damaged")
            self._journal = _journal(root)
        entries = self._read()
        self.forgotten = len(entries) if anew else 0
        for entry in [] if anew else entries:
            self._require_rule(entry["rule"])
        self.cases = list(dict.fromkeys(case for entry in entries if not anew for case in entry["cases"]))

    def share(self, data: str, cases: Sequence[str], *, last: bool) -> float:
        """What the look at ``data`` (a hash of all that the judge sees) of ``cases`` is judged with.

        The very same data have the share that they had. Any other takes a new one, which is kept before this
        returns. Raises `RecordingError` where it cannot be.
        """
        with self._journal.locked():  # another call may look at the same sides meanwhile
            before = [] if self._anew else self._read()
            for former in before:
                if former["data"] == data:
                    return float(former["share"])
            share = share_of(sum(1 for one in before if one["last"] is last), last=last)
            known_cases = set(self.cases)
            new = [case for case in cases if case not in known_cases]
            entry: dict[str, Json] = {
                "rule": dict(self._rule),
                "cases": list(new),
                "data": data,
                "share": share,
                "last": last,
                "anew": self._anew,
            }
            self._journal.append(f"{self._pair} {len(self._names())}", entry)
            self._journal.sync()
        self._anew = False
        self.cases += new
        return share

    def _read(self) -> list[dict[str, Any]]:
        """What is kept of the pair since it was last begun."""
        entries: list[dict[str, Any]] = []
        for name in self._names():
            if (entry := self._journal.get(name)) is not None:
                entries = [entry] if entry["anew"] else [*entries, entry]
        return entries

    def _names(self) -> list[str]:
        every = self._journal.keys()
        return [name for name in every if name.startswith(f"{self._pair} ")]

    def _require_rule(self, then: Mapping[str, str]) -> None:
        found = [
            f"{name}: {then[name]} then, {now} now"
            for name, now in self._rule.items()
            if name in then and then[name] != now
        ]
        if found:
            raise GateError(
                f"{shown(self._journal.path)}: these sides were looked at by another rule\n"
                + "".join(f"  {line}\n" for line in found)
                + f"allowed: the same rule, with which the 1% of false alarms holds over all looks; or "
                f"{_ANEW}, which leaves those looks behind and begins with another 1%"
            )


def _journal(root: Path) -> Journal:
    return Journal(root / "looks.jsonl", format_name="vlm-harness looks", version=1)

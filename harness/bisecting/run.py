"""The whole bisection: the ends first, then releases, then the lock with the package held."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from harness.bisecting.judge import Judge, Step
from harness.bisecting.locks import Groups, groups_of, needs_of
from harness.bisecting.search import Judged, Span, next_of, span_of, usual_steps
from harness.bisecting.target import Candidate
from harness.cases.environment_request import EnvironmentRequest, pinned
from harness.errors import GateError
from harness.gate.side import few

__all__ = ["Bisection", "Found"]

_GB = 1e9
_MOST_NAMES = 3


class Found(NamedTuple):
    """The last that is good, what could not be judged behind it, and the first that is bad."""

    good: Candidate
    skipped: tuple[Step, ...]
    bad: Candidate

    def __str__(self) -> str:
        """A sentence."""
        if not self.skipped:
            return f"it was {self.bad.name} ({self.good.name} is good)"
        names = ", ".join((*(step.name for step in self.skipped), self.bad.name))
        why = "; ".join(f"{step.name}: {step.verdict}" for step in self.skipped)
        return f"it was one of {names} ({self.good.name} is good; could not be judged: {why})"


@dataclass(slots=True)
class Bisection:
    """What is bisected by ``judge``; each step and what it costs is said by ``tell``.

    ``releases`` gives those of a package between two versions, for a candidate's Python and day.
    """

    judge: Judge
    tell: Callable[[str], None]
    releases: Callable[[Candidate, str, tuple[str, str]], Sequence[str]]
    steps: list[Step] = field(default_factory=list)

    def over_releases(self, row: Sequence[Candidate]) -> Found:
        """Judge the ends, then what is between; raises `GateError` where an end is not as it is said."""
        cases = len(self.judge.subjects(row[0]))
        self._cost(row, f"{cases} cases, {len(row)} versions of {self.judge.target.package}")
        self._require(row[0], Judged.GOOD, "--good", "one that answers all cases, and twice the same")
        environments = self.judge.environments
        size = environments.folder.size(self._environment(row[0])[0].name)
        own = f"{size.whole / _GB:.1f} GB, of which {size.own / _GB:.1f} GB are shared with nothing else"
        self.tell(f"an environment is about as large as this one: {own}")
        allowed = "one that the gate fails (--strict fails a drift within the margin, too)"
        self._require(row[-1], Judged.BAD, "--bad", allowed)
        return self._searched(row)

    def over_lock(self, found: Found) -> tuple[str, bool]:
        """With ``found.bad`` held, which of the others it was: a sentence, and whether it names one."""
        held = found.bad.name
        (before, good), (after, bad) = (self._environment(one) for one in (found.good, found.bad))
        groups = groups_of(good, bad, self.judge.target.package, (needs_of(before), needs_of(after)))
        itself = f"it was {' or '.join((*(step.name for step in found.skipped), held))} itself"
        if bound := groups.bound:
            itself += f", or what it requires: {', '.join(bound)}"
        alone = not (bound or found.skipped)
        if not groups.moving:
            return f"{itself}; no other package differs that could be as with {found.good.name}", alone
        row = [found.good]
        row += [self._moved(found, groups, groups.moving[first:]) for first in range(len(groups.moving))]
        row += [found.bad]
        count = "1 group" if len(groups.moving) == 1 else f"{len(groups.moving)} groups"
        self._cost(row, f"{held} held, {count} of packages that differ")
        changed = [itself, *(f"it was {groups.told(group)}" for group in groups.moving)]
        inner = self._searched(row)
        places = Span(row.index(inner.good), row.index(inner.bad))
        if places.between:
            reasons = "; ".join(f"{step.name}: {step.verdict}" for step in inner.skipped)
            told = " or ".join(changed[places.good : places.bad])
            return f"{told}; could not be judged: {reasons}", False
        if places.good == 0:
            return f"{itself}: with other packages as with {found.good.name} it is bad as well", alone
        return self._over_group(found, groups, places, inner)

    def _over_group(self, found: Found, groups: Groups, places: Span, inner: Found) -> tuple[str, bool]:
        """Over the releases of what leads a group, in the company in which moving the group made it bad."""
        group, others = groups.moving[places.good - 1], groups.moving[places.good :]
        leader = group[0]
        ends = groups.good.get(leader), groups.bad.get(leader)
        told = f"it was {groups.told(group)}, with {found.bad.name} held"
        if ends[0] is None or ends[1] is None or "://" in "".join(filter(None, ends)):
            return told, True  # it came, it went, or it is no release
        company = self._moved(found, groups, others, free=group)
        between = self.releases(company, leader, (ends[0], ends[1]))
        inside = [_named(f"{leader} {v}", pinned(company.request, {leader: v})) for v in between]
        row = [
            inner.good._replace(name=f"{leader} {ends[0]}"),
            *inside,
            inner.bad._replace(name=f"{leader} {ends[1]}"),
        ]
        if inside:
            self._cost(row, f"{found.bad.name} held, {len(inside)} releases of {leader} between")
        company_of = f" and {', '.join(group[1:])} moving with it" if group[1:] else ""
        over = self._searched(row)
        return f"{over}, with {found.bad.name} held{company_of}", not over.skipped

    def _environment(self, candidate: Candidate) -> tuple[Path, Mapping[str, str]]:
        """Its environment, which is made again where it was removed, and the packages of its lock."""
        target = self.judge.target
        made = self.judge.environments.interpreter(target.name, target.spec(candidate), lambda *_: None)
        return Path(made.path).parents[1], {} if made.lock is None else made.lock.packages

    def _moved(
        self, found: Found, groups: Groups, moved: Sequence[Sequence[str]], *, free: Sequence[str] = ()
    ) -> Candidate:
        """The bad environment with these groups as the good one has them, and ``free`` as uv likes."""
        names = [name for group in moved for name in group]
        versions = {name: v for name, v in groups.bad.items() if name not in (*names, *free)}
        versions |= {name: groups.good[name] for name in names if name in groups.good}
        led = few([group[0] for group in moved], most=_MOST_NAMES)
        name = f"{found.bad.name} with {led} as with {found.good.name}"
        return _named(name, pinned(found.bad.request, versions))

    def _require(self, end: Candidate, wanted: Judged, option: str, allowed: str) -> None:
        step = self._step(end)
        if step.judged is not wanted:
            raise GateError(
                f"{option}: found {end.name}, which is not {wanted}: {step.verdict}: {step.told}\n"
                f"allowed: {allowed}\nnext: the same command with another {option}"
            )

    def _searched(self, row: Sequence[Candidate]) -> Found:
        judged: dict[int, Judged] = {}
        steps: dict[int, Step] = {}
        while (place := next_of(len(row), judged)) is not None:
            steps[place] = self._step(row[place])
            judged[place] = steps[place].judged
        span = span_of(len(row), judged)
        return Found(row[span.good], tuple(steps[place] for place in span.between), row[span.bad])

    def _step(self, candidate: Candidate) -> Step:
        step = self.judge.step(candidate)
        self.steps.append(step)
        self.tell(str(step))
        return step

    def _cost(self, row: Sequence[Candidate], what: str) -> None:
        """What is to come, before any of it is made."""
        made = sum(self.judge.is_made(candidate) for candidate in row)
        usual = usual_steps(len(row)) + 2
        more = f"about {usual} environments, {len(row)} at most where some cannot be judged; {made} are made"
        self.tell(f"{what}: {more}")


def _named(name: str, request: EnvironmentRequest) -> Candidate:
    """A candidate whose tag is its key, as its name would not do for one."""
    made = Candidate(name, request, "")
    return made._replace(tag=made.key)

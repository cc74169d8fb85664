"""Two locks: which packages differ, and which of them can only move together."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

__all__ = ["Groups", "Needs", "groups_of", "needs_of"]

Needs = Mapping[str, Sequence[Requirement]]
"""By package what it requires."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """The packages, but the one that is held as the bad lock has it, whose versions differ.

    ``good`` and ``bad`` have the locks' versions by normalised name. Each of ``moving`` is a group that can
    only move together, led by the package that requires most of the others. ``bound`` are those that cannot
    be as the good lock has them, as what is held requires others.
    """

    good: Mapping[str, str]
    bad: Mapping[str, str]
    moving: tuple[tuple[str, ...], ...]
    bound: tuple[str, ...]

    def told(self, group: Sequence[str]) -> str:
        """A group in words, such as 'transformers 4.53.2 -> 4.54.0 (and tokenizers)'."""
        first, *others = group
        change = f"{first} {self.good.get(first, 'absent')} -> {self.bad.get(first, 'absent')}"
        return change + (f" (and {', '.join(others)})" if others else "")


def needs_of(environment: Path) -> dict[str, list[Requirement]]:
    """What each package in an environment requires there, extras that no other asks for left out."""
    every: list[tuple[str, Requirement]] = []
    places = [str(place) for place in environment.glob("lib/python*/site-packages")]
    for distribution in importlib.metadata.distributions(path=places):
        for text in distribution.requires or ():
            with suppress(InvalidRequirement):
                every.append((canonicalize_name(distribution.metadata["Name"]), Requirement(text)))
    extras: dict[str, set[str]] = {name: {""} for name, _ in every}
    for _, requirement in every:
        extras.get(_name(requirement), set()).update(requirement.extras)
    found: dict[str, list[Requirement]] = {}
    for name, requirement in every:
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras[name]):
            found.setdefault(name, []).append(requirement)
    return found


def groups_of(
    good: Mapping[str, str], bad: Mapping[str, str], held: str, needs: tuple[Needs, Needs]
) -> Groups:
    """What differs between the packages of two locks but ``held``; ``needs`` are those of good and of bad."""
    before, after = ({str(canonicalize_name(name)): v for name, v in one.items()} for one in (good, bad))
    held = str(canonicalize_name(held))
    left = sorted(name for name in {*before, *after} - {held} if before.get(name) != after.get(name))
    ties = {name: {name} for name in left}  # what each has to move with
    for own in needs:
        for name, other in _tied(own, before, after):
            if name in ties and other in ties:
                ties[name].add(other)
                ties[other].add(name)
    bound = {other for name, other in _tied(needs[1], before, after) if name == held and other in ties}
    moving = []
    while left:
        group: set[str] = set()
        new = {left[0]}
        while new:
            group |= new
            new = set().union(*(ties[name] for name in new)) - group
        left = [name for name in left if name not in group]
        if group & bound:
            bound |= group
        else:
            inside = [n for own in needs for n in group for r in own.get(n, ()) if _name(r) in group]
            moving.append(tuple(sorted(group, key=lambda name: (-inside.count(name), name))))
    return Groups(good=before, bad=after, moving=tuple(moving), bound=tuple(sorted(bound)))


def _tied(needs: Needs, before: Mapping[str, str], after: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Pairs of a package and another of whose two versions it takes one only, or of which there is one."""
    for name, requirements in needs.items():
        for requirement in requirements:
            other = _name(requirement)
            versions = [lock[other] for lock in (before, after) if other in lock]
            # What one lock lacks comes and goes with those that require it.
            if len(versions) == 1 or not all(_takes(requirement, version) for version in versions):
                yield name, other


def _name(requirement: Requirement) -> str:
    return canonicalize_name(requirement.name)


def _takes(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:  # a URL: what is there was taken
        return True

"""What must hold of one engine whatever it is asked: relations between its answers to a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from harness.cases.profiles import Profile
from harness.drift.searching.distances import FAR, Judged, Result, apart
from harness.drift.searching.studio import Drawn, Picture, paint, requests_of
from harness.engines.contract import Answer, Request

__all__ = ["RELATIONS", "Asking", "judge"]

_DIFFERENT: Final = 0.01
"""The share of the limit by which answers differ that may not be equal."""

Pair = tuple[str, Result, Result, bool]
"""What two answers are to, both of them, and whether they must be the same."""


class Asking:
    """One engine: ``ask`` has a batch answered; ``folder`` is for pictures, ``limit`` in nats."""

    def __init__(
        self,
        ask: Callable[[Sequence[Request]], Sequence[Result]],
        profile: Profile,
        folder: Path,
        limit: float,
    ) -> None:
        """Asks nothing yet."""
        self.ask, self.folder, self.limit, self._profile = ask, folder, limit, profile

    def requests(self, *drawn: Drawn) -> list[Request]:
        """As `requests_of`."""
        return requests_of(drawn, self._profile, self.folder)

    def alone(self, request: Request) -> Result:
        """The answer to a batch of one."""
        return self.ask([request])[0]


def judge(name: str, asking: Asking, drawn: Sequence[Drawn]) -> Judged | None:
    """How far a batch is from the relation: beyond 1 it breaks it. None where nothing was answered."""
    found = []
    for what, one, other, same in RELATIONS[name](asking, drawn):
        far = apart(one, other, drawn[0].letters, asking.limit)
        if far is not None and not same and isinstance(one, Answer) and isinstance(other, Answer):
            equal = far.ratio < _DIFFERENT and one.generated_ids == other.generated_ids
            far = Judged(FAR if equal else 0.0, far.what)
        if far is not None:
            found.append(Judged(far.ratio, f"{what}: {'differ' if same else 'equal'}, {far.what}"))
    return max(found, default=None)


def _company(at: Asking, drawn: Sequence[Drawn]) -> Iterator[Pair]:
    requests = at.requests(*drawn)
    alone = at.alone(requests[0])
    yield "case-1 alone and first in company", alone, at.ask(requests)[0], True
    yield "case-1 alone and last in company", alone, at.ask(requests[::-1])[-1], True


def _behind_short(at: Asking, drawn: Sequence[Drawn]) -> Iterator[Pair]:
    """A case that generates one token, in front of one that generates eight."""
    short, long = drawn[-1]._replace(prefix="", new_tokens=1), drawn[0]._replace(new_tokens=8)
    requests = at.requests(short, long)
    behind = at.ask(requests)[1]
    yield "case-1 alone and behind one that ends at once", at.alone(requests[1]), behind, True


def _two(at: Asking, drawn: Drawn, name: str | None) -> Iterator[Pair]:
    """A case with two pictures, in company both under ``name`` if there is one."""
    one = drawn.picture or Picture(28, 28, 0, 0)
    pictures = one, one._replace(shapes=one.shapes + 1, seed=one.seed + 1000)
    own = at.requests(*(drawn._replace(picture=picture) for picture in pictures))
    alone = [at.alone(request) for request in own]
    named = own
    if name is not None:
        files = [paint(picture, at.folder / str(n) / name) for n, picture in enumerate(pictures)]
        named = [replace(request, images=(str(file),)) for request, file in zip(own, files, strict=True)]
    both = at.ask(named)
    for number in (0, 1):
        yield f"picture {number + 1} alone and in company", alone[number], both[number], True
    yield "two pictures, each alone", alone[0], alone[1], False


def _reencoded(at: Asking, drawn: Sequence[Drawn]) -> Iterator[Pair]:
    picture = drawn[0].picture or Picture(28, 28, 0, 0)
    (request,) = at.requests(drawn[0]._replace(picture=picture))
    png = at.alone(request)
    for kind in ("bmp", "webp"):
        file = paint(picture, at.folder / f"again.{kind}")
        yield f"one picture as png and {kind}", png, at.alone(replace(request, images=(str(file),))), True


def _permuted(at: Asking, drawn: Sequence[Drawn]) -> Iterator[Pair]:
    plain, other = at.requests(drawn[0], drawn[0]._replace(options=drawn[0].options[::-1]))
    answer, turned = at.alone(plain), at.alone(replace(plain, letters=plain.letters[::-1]))
    if isinstance(turned, Answer):
        back = [replace(reading, letter_logits=reading.letter_logits[::-1]) for reading in turned.readings]
        turned = replace(turned, readings=tuple(back))
    yield "letters on offer in two orders", answer, turned, True
    yield "options in two orders", answer, at.alone(other), False


RELATIONS: Final[Mapping[str, Callable[[Asking, Sequence[Drawn]], Iterator[Pair]]]] = MappingProxyType(
    {
        "company and order in the batch": _company,
        "behind one that ends at once": _behind_short,
        "one text with two images": lambda at, drawn: _two(at, drawn[0], None),
        "two images of one name": lambda at, drawn: _two(at, drawn[0], "same.png"),
        "lossless re-encoding": _reencoded,
        "permuted options": _permuted,
    }
)
"""What is asked for each, and what must be the same; each for the first case of a batch."""

"""Worlds in which nothing that matters changed: the law of noise is known, and floors and two runs are drawn.

A side strays from the truth by 0.024 a letter and 0.05 in the log-odds of what is not on the letters, unless
its law says otherwise. Truths are normal about 0 with a standard deviation of 3, the expected one 4 higher.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harness.checks.log_odds import RESOLUTION

__all__ = ["LAWS", "OWN", "RUNS", "SIGMA", "SIGMA_REST", "Drawn", "Law", "Measured", "Run", "World", "worlds"]

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Tail = Callable[[np.random.Generator, tuple[int, ...]], Floats]

SIGMA, SIGMA_REST = 0.024, 0.05
RUNS = (1, 2, 3, 9)
"""How many runs of a floor tell how loud noise is."""

_IMAGE, _CORRELATION = 5, 0.7  # cases to an image, and how noise correlates within one
_JITTER = 1 / 3  # of a kernel's rounding pattern
_LOGITS, _QUANTISED = 20.0, 0.003  # of quantised logits: their size, and their jitter before it is rounded
_FLOAT32 = 1e-3  # how loud float32 is beside bfloat16
_LITTLE = 1e-7  # outside the letters


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Answers of one run of n cases.

    ``logits`` [n, L] are the letters', NaN for one that is not on offer, ``rest`` [n] the log-odds of what is
    not on the letters, ``other`` [n] the logit of the best other token, -inf where it cannot be on top.
    """

    logits: Floats
    rest: Floats
    other: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A floor: the ``runs`` by name and the ``reference`` that they are measured from."""

    reference: Run
    runs: Mapping[str, Run]
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Both sides of a comparison, their floors, and the cluster [n] of each case."""

    before: Run
    after: Run
    floors: tuple[Measured, Measured]
    clusters: Index


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return rng.normal(size=shape)


def _student(freedom: float) -> Tail:
    scale = math.sqrt(freedom / (freedom - 2))
    return lambda rng, shape: np.asarray(rng.standard_t(freedom, shape)) / scale


def _laplace(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return rng.laplace(0, 1 / math.sqrt(2), shape)


def _skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return (rng.gamma(2.0, 1.0, shape) - 2.0) / math.sqrt(2)


def _contaminated(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """One number in twenty is five times as loud."""
    loud = np.where(rng.random(shape) < 0.05, 5.0, 1.0)
    return np.asarray(rng.normal(size=shape) * loud / math.sqrt(0.95 + 0.05 * 25))


def _alike(_: np.random.Generator, truth: Floats) -> Floats:
    return np.ones(len(truth))


def _log_normal(rng: np.random.Generator, truth: Floats) -> Floats:
    return np.exp(rng.normal(0, 0.8, len(truth)))


def _some_loud(rng: np.random.Generator, truth: Floats) -> Floats:
    """One case in twenty is ten times as loud."""
    return np.where(rng.random(len(truth)) < 0.05, 10.0, 1.0)


def _with_entropy(_: np.random.Generator, truth: Floats) -> Floats:
    """From 0.3 where the answer is certain to 3 where all letters are alike."""
    p = np.nan_to_num(np.exp(truth - _lse(truth)[:, None]))
    entropy = -(p * np.log(np.maximum(p, 1e-300))).sum(1)
    return np.asarray(0.3 + 2.7 * entropy / np.log((~np.isnan(truth)).sum(1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """How noise is distributed: the ``tail`` of single numbers, of variance 1, and how ``loud`` a case is.

    Whole runs differ by ``between``: the standard deviation of the logarithm of their loudness, and of a
    common shift of the expected letter in σ. ``images``: noise correlates within them. ``kernels``: each run
    has a rounding pattern of its own, and a third of it as jitter. ``near`` is the share of cases in which
    all letters are near-ties, ``others`` that in which another token is about as probable as the best letter.
    ``letters`` are how many are on offer, one of these numbers in each case. ``quantised``: logits of about
    20 are rounded to bfloat16. ``two``: the baseline is in float32, with a floor of its own. ``little``: what
    is not on the letters is about 1e-7, and known no better than a recording knows it.
    """

    name: str
    tail: Tail = _normal
    loud: Callable[[np.random.Generator, Floats], Floats] = _alike
    between: tuple[float, float] = (0.0, 0.0)
    images: bool = False
    kernels: bool = False
    near: float = 0.0
    others: float = 0.0
    letters: tuple[int, ...] = (4,)
    quantised: bool = False
    two: bool = False
    little: bool = False


LAWS = (
    Law(name="normal"),
    Law(name="t, 4 degrees", tail=_student(4)),
    Law(name="loudness differs between cases", loud=_log_normal),
    Law(name="runs differ", between=(0.07, 0.1)),
    Law(name="images", images=True),
    Law(name="kernels", kernels=True),
    *(
        Law(name=f"near-ties {share:.0%}, {letters} letters", near=share, letters=(letters,))
        for share in (0.1, 0.3, 1.0)
        for letters in (2, 4, 6)
    ),
)
"""Those that the judge's figures were chosen on, or near to."""

OWN = (
    Law(name="Laplace", tail=_laplace),
    Law(name="skewed (gamma)", tail=_skewed),
    Law(name="5% of numbers 5 times as loud", tail=_contaminated),
    Law(name="5% of cases 10 times as loud", loud=_some_loud),
    Law(name="t, 3 degrees", tail=_student(3)),
    Law(name="loudness grows with entropy", loud=_with_entropy),
    Law(name="quantised to bfloat16", quantised=True),
    Law(name="2, 4 and 6 letters together", letters=(2, 4, 6)),
    Law(name="float32 against bfloat16", two=True),
    Law(name="another token as probable, 20%", others=0.2),
    Law(name="next to nothing outside the letters", little=True),
)
"""Laws that no figure of the judge was chosen on."""


@dataclass(frozen=True, kw_only=True)
class World:
    """A ``law`` and floors of so many telling ``runs``, from a float32 ``reference`` or from the own run.

    With a reference the baseline is another run than those of the floor, as of an engine that is not
    deterministic; without one, and among kernels, it is the floor's undisturbed run.
    """

    law: Law
    runs: int
    reference: bool

    @property
    def name(self) -> str:
        """Such as ``normal, 2 runs, float32``."""
        plural = "s" * (self.runs != 1)
        return f"{self.law.name}, {self.runs} run{plural}, {'float32' if self.reference else 'own run'}"

    def drawn(self, rng: np.random.Generator, cases: int) -> Drawn:
        """A new world of so many cases."""
        return _Making(self, rng, cases).drawn()


def worlds(laws: tuple[Law, ...] = (*LAWS, *OWN)) -> list[World]:
    """Every law with every number of runs, with and without a reference."""
    return [
        World(law=law, runs=runs, reference=own) for law in laws for own in (True, False) for runs in RUNS
    ]


class _Making:
    def __init__(self, world: World, rng: np.random.Generator, cases: int) -> None:
        self.world, self.law, self.rng, self.cases = world, world.law, rng, cases
        self.width = max(self.law.letters)
        truth = self._truth()
        self.loud = self.law.loud(rng, truth)
        self.clusters = np.arange(cases) // (_IMAGE if self.law.images else 1)
        self.truth = self._true_run(truth)

    def drawn(self) -> Drawn:
        if self.law.kernels:
            return self._kernels()
        if self.law.two:
            quiet, loud = self._floor(_FLOAT32, "float32"), self._floor(1.0, "bfloat16")
            before = quiet.runs["undisturbed"] if self.world.reference else quiet.reference
            return self._pair(before, self._stray(self.truth), (quiet, loud))
        floor = self._floor(1.0, "bfloat16" if self.law.quantised else "float32")
        before = self._stray(self.truth) if self.world.reference else floor.reference
        return self._pair(before, self._stray(self.truth), (floor, floor))

    def _pair(self, before: Run, after: Run, floors: tuple[Measured, Measured]) -> Drawn:
        return Drawn(before=before, after=after, floors=floors, clusters=self.clusters)

    def _floor(self, loud: float, dtype: str) -> Measured:
        names = [f"attention-{number}" for number in range(self.world.runs)]
        reference = self.truth
        if self.world.reference:
            names[0] = "undisturbed"
        else:
            reference = self._stray(self.truth, loud)
        runs = {name: self._stray(self.truth, loud) for name in names}
        return Measured(reference=reference, runs=runs, dtype=dtype)

    def _kernels(self) -> Drawn:
        """Two runs of the first kernel beside the undisturbed one; the candidate's is new."""
        own, *others = [self._stray(self.truth) for _ in range(self.world.runs)]
        reference = undisturbed = self._stray(own, _JITTER)
        runs = {name: self._stray(own, _JITTER) for name in ("batch-1", "batch-2")}
        runs |= {f"attention-{k}": self._stray(pattern, _JITTER) for k, pattern in enumerate(others)}
        if self.world.reference:
            runs, reference = {"undisturbed": undisturbed, **runs}, self.truth
        floor = Measured(reference=reference, runs=runs, dtype="float32")
        return self._pair(undisturbed, self._stray(self._stray(self.truth), _JITTER), (floor, floor))

    def _truth(self) -> Floats:
        truth = self.rng.normal(0, 3, (self.cases, self.width))
        truth[:, 0] += 4
        if self.law.near:
            near = self.rng.random(self.cases) < self.law.near
            tied = truth.max(1, keepdims=True) + self.rng.normal(0, 0.5 * SIGMA, truth.shape)
            truth = np.where(near[:, None], tied, truth)
        if self.law.quantised:
            truth = truth + _LOGITS
        if len(self.law.letters) > 1:
            on_offer = self.rng.choice(self.law.letters, self.cases)
            truth = np.where(np.arange(self.width) < on_offer[:, None], truth, np.nan)
        return truth

    def _true_run(self, truth: Floats) -> Run:
        rest = math.log(_LITTLE if self.law.little else 0.01) + self.rng.normal(0, 1, self.cases)
        other = np.full(self.cases, -np.inf)
        if self.law.others:
            near = self.rng.random(self.cases) < self.law.others
            tied = np.nanmax(truth, 1) + self.rng.normal(0, 0.5 * SIGMA, self.cases)
            other = np.where(near, tied, -np.inf)
            # That token alone is what is not on the letters.
            rest = np.where(near, tied - _lse(truth), rest)
        return Run(logits=truth, rest=rest, other=other)

    def _stray(self, run: Run, loud: float = 1.0) -> Run:
        """``run`` with noise of the law, ``loud`` times as loud."""
        if self.law.quantised:
            return self._quantised(run)
        letters, rest = self._noise((self.cases, self.width)), self._noise((self.cases,))
        letters, rest = SIGMA * self.loud[:, None] * letters, SIGMA_REST * self.loud * rest
        differ, shift = self.law.between
        if differ or shift:
            letters, rest = (values * math.exp(differ * self.rng.normal()) for values in (letters, rest))
            # Centring takes a part of it.
            letters[:, 0] += shift * SIGMA * self.rng.normal() * self.width / (self.width - 1)
            rest = rest + shift * SIGMA_REST * self.rng.normal()
        logits, other, moved = run.logits + loud * letters, run.other, loud * rest
        if self.law.others:
            token, near = loud * SIGMA * self.rng.normal(size=self.cases), np.isfinite(run.other)
            other = run.other + token
            moved = np.where(near, token + _lse(run.logits) - _lse(logits), moved)
        rest = run.rest + moved
        return Run(logits=logits, rest=self._known(rest) if self.law.little else rest, other=other)

    def _known(self, rest: Floats) -> Floats:
        """What is left of 1 beside the letters, as `harness.checks.log_odds.rest_of` takes it."""
        share = 1 / (1 + np.exp(-rest)) + RESOLUTION * self.rng.uniform(-1, 1, self.cases)
        share = np.maximum(share, RESOLUTION / 100)
        return np.log(share) - np.log1p(-share)

    def _noise(self, shape: tuple[int, ...]) -> Floats:
        own = self.law.tail(self.rng, shape)
        if not self.law.images:
            return own
        common = self.law.tail(self.rng, (int(self.clusters[-1]) + 1, *shape[1:]))[self.clusters]
        return np.asarray(math.sqrt(1 - _CORRELATION) * own + math.sqrt(_CORRELATION) * common)

    def _quantised(self, run: Run) -> Run:
        """Logits are rounded; what is not on the letters is many tokens, whose sum is not."""
        logits = _bfloat16(run.logits + _QUANTISED * self.rng.normal(size=run.logits.shape))
        moved = _lse(run.logits) - _lse(logits) + _QUANTISED * self.rng.normal(size=self.cases)
        return replace(run, logits=logits, rest=run.rest + moved)


def _lse(logits: Floats) -> Floats:
    top = np.nanmax(logits, 1)
    found: Floats = np.log(np.nansum(np.exp(logits - top[:, None]), 1)) + top
    return found


def _bfloat16(logits: Floats) -> Floats:
    step = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(logits), 1e-30))) - 7)
    found: Floats = np.round(logits / step) * step
    return found

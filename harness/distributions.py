"""From logits to probabilities, and from two distributions to the distance between them.

NumPy only, because workers use it in an engine's own environment. All arithmetic is in float64, whatever
comes in: the rounding of the engines is what is measured, so none may be added here.

Shapes: V columns of the vocabulary, ``...`` any leading axes (a batch). Logits and log-probabilities are
natural logarithms; divergences are in nats. A logit of ``-inf`` is a token that cannot be drawn; NaN and
``+inf`` are never a distribution and raise ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "LOG_2",
    "TopK",
    "js_divergence",
    "kl_divergence",
    "log1mexp",
    "log_share",
    "log_softmax",
    "logsumexp",
    "softmax",
    "top_k",
    "total_variation",
]

Floats = npt.NDArray[np.float64]

LOG_2 = float(np.log(2.0))
"""The largest value that the Jensen-Shannon divergence can take, in nats."""


class TopK(NamedTuple):
    """The ``k`` largest values of a row: ``ids`` [k] and ``values`` [k], in descending order of value."""

    ids: npt.NDArray[np.int64]
    values: Floats


def logsumexp(logits: npt.ArrayLike, *, axis: int = -1) -> Floats:
    """``log(sum(exp(logits)))`` along ``axis``, which is dropped: [..., V] to [...].

    The maximum is taken out first, so that no exponential overflows (Blanchard, Higham and Higham,
    'Accurately computing the log-sum-exp and softmax functions', IMA J. Numer. Anal. 41(4), 2021).

    Raises ValueError for an empty axis, for NaN or ``+inf``, and where a whole row is ``-inf``.
    """
    values = _logits(logits, axis=axis)
    top = values.max(axis=axis, keepdims=True)
    total = np.log(np.exp(values - top).sum(axis=axis, keepdims=True)) + top
    return np.asarray(np.squeeze(total, axis=axis), dtype=np.float64)


def log_softmax(logits: npt.ArrayLike, *, axis: int = -1) -> Floats:
    """Log-probabilities of the same shape as ``logits``; ``-inf`` stays ``-inf``.

    Computed as ``(x - max) - log(sum(exp(x - max)))``, which stays exact where ``logsumexp`` itself would
    round away the second term (all logits near 1e4). Raises ValueError as `logsumexp` does.
    """
    values = _logits(logits, axis=axis)
    shifted = values - values.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)), dtype=np.float64)


def log1mexp(value: float) -> float:
    """``log(1 - exp(value))``, so that what is left of a probability near 0 or near 1 keeps its digits.

    Of 0 it is ``-inf``. (Maechler, 'Accurately computing log(1 - exp(-|a|))', 2012.) Raises ValueError for
    NaN and above 0.
    """
    if not value <= 0:
        raise ValueError(f"log1mexp: found {value}; allowed: a log-probability, which is 0 at most")
    if value == 0:
        return -math.inf
    return math.log(-math.expm1(value)) if value > -LOG_2 else math.log1p(-math.exp(value))


def log_share(row: npt.ArrayLike, ids: Sequence[int]) -> float:
    """The log of the probability that the tokens ``ids`` have together in the raw logits ``row`` [V].

    Taken from the sum over all others where that is the smaller one, so that digits near 0 are kept.
    Raises ValueError as `logsumexp` does, and IndexError for an id beyond V.
    """
    values = np.array(row, dtype=np.float64)
    own = float(logsumexp(values[list(ids)]))
    values[list(ids)] = -np.inf
    if not np.isfinite(values.max()):
        return 0.0
    above = float(logsumexp(values)) - own
    return -math.log1p(math.exp(above)) if above <= 0 else -above - math.log1p(math.exp(-above))


def softmax(logits: npt.ArrayLike, *, axis: int = -1) -> Floats:
    """Probabilities of the same shape as ``logits``, summing to 1 along ``axis``.

    Raises ValueError as `logsumexp` does.
    """
    values = _logits(logits, axis=axis)
    weights = np.exp(values - values.max(axis=axis, keepdims=True))
    return np.asarray(weights / weights.sum(axis=axis, keepdims=True), dtype=np.float64)


def top_k(row: npt.ArrayLike, k: int) -> TopK:
    """The ``min(k, V)`` largest of ``row`` [V] in descending order; of equal values the lowest id first.

    Membership follows the same rule, so the result for ``k`` begins the result for ``k + 1``.
    Raises ValueError if ``row`` is not one-dimensional, is empty or has NaN, and if ``k`` is negative.
    """
    values = np.asarray(row, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"top_k: found a row of shape {values.shape}; allowed: [V] with V >= 1")
    if k < 0:
        raise ValueError(f"top_k: found k = {k}; allowed: 0 or more")
    if np.isnan(values).any():
        raise ValueError("top_k: found NaN in the row; NaN has no order")
    k = min(k, values.size)
    if k == 0:
        return TopK(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64))
    # Sorting 150,000 columns costs ten times a partition. The candidates include every tie at the edge.
    edge = np.partition(values, values.size - k)[values.size - k]
    candidates = np.flatnonzero(values >= edge)
    ids = candidates[np.argsort(-values[candidates], kind="stable")][:k].astype(np.int64)
    return TopK(ids, values[ids])


def total_variation(p: npt.ArrayLike, q: npt.ArrayLike, *, axis: int = -1) -> Floats:
    """Half the sum of ``|p - q|``: the most by which the probability of any event differs; within [0, 1].

    ``p`` and ``q`` [..., V] are probabilities; [...] is returned. They need not sum to 1: where only the
    letters' probabilities are given, the result is the letters' share of the whole.
    (Levin and Peres, 'Markov Chains and Mixing Times', 2nd ed., proposition 4.2.)

    Raises ValueError if shapes differ or an entry is NaN or outside [0, 1].
    """
    left, right = _probabilities(p, "p", axis), _probabilities(q, "q", axis)
    _same_shape(left, right)
    return np.asarray(0.5 * np.abs(left - right).sum(axis=axis), dtype=np.float64)


def kl_divergence(log_p: npt.ArrayLike, log_q: npt.ArrayLike, *, axis: int = -1) -> Floats:
    """Kullback-Leibler divergence of q from p in nats, at least 0: ``sum(p * (log_p - log_q))``.

    ``log_p`` and ``log_q`` [..., V] are normalised log-probabilities (see `log_softmax`); [...] is returned.
    A term with p = 0 counts 0; where q is 0 and p is not, the result is ``+inf``.
    The sum is taken as ``p * (d + exp(-d) - 1)`` with ``d = log_p - log_q``, which is the same because both
    sides sum to 1: every term is then >= 0, so nearly equal distributions give a small number and not noise
    of either sign (Schulman, 'Approximating KL divergence', 2020, estimator k3).

    Raises ValueError if shapes differ, an entry is NaN or above 0, or a side does not sum to 1 (within 1e-6).
    """
    left, p = _log_probabilities(log_p, "log_p", axis)
    right, q = _log_probabilities(log_q, "log_q", axis)
    _same_shape(left, right)
    with np.errstate(invalid="ignore"):
        gap = left - right
        # Two ways to write one term: the first is exact for nearly equal p and q, the second cannot overflow.
        terms = np.where(gap > -1.0, p * (gap + np.expm1(-np.maximum(gap, -1.0))), p * (gap - 1.0) + q)
    odd = ~np.isfinite(gap)
    if odd.any():
        neither, only_p = np.isnan(gap[odd]), gap[odd] > 0
        terms[odd] = np.where(neither, 0.0, np.where(only_p, np.inf, q[odd]))
    return np.asarray(np.maximum(terms.sum(axis=axis), 0.0), dtype=np.float64)


def js_divergence(log_p: npt.ArrayLike, log_q: npt.ArrayLike, *, axis: int = -1) -> Floats:
    """Jensen-Shannon divergence in nats, symmetric and within [0, ln 2]; arguments as in `kl_divergence`.

    The mean of the divergences of both sides from their even mixture (Lin, 'Divergence measures based on the
    Shannon entropy', IEEE Trans. Inf. Theory 37(1), 1991). Accurate to about 1e-16 absolute.
    """
    left, p = _log_probabilities(log_p, "log_p", axis)
    right, q = _log_probabilities(log_q, "log_q", axis)
    _same_shape(left, right)
    with np.errstate(divide="ignore", invalid="ignore"):
        mixture = np.log(p + q) - LOG_2
        from_p = np.where(p > 0.0, p * (left - mixture), 0.0)
        from_q = np.where(q > 0.0, q * (right - mixture), 0.0)
    return np.asarray(np.clip(0.5 * (from_p + from_q).sum(axis=axis), 0.0, LOG_2), dtype=np.float64)


def _logits(logits: npt.ArrayLike, *, axis: int) -> Floats:
    values = np.asarray(logits, dtype=np.float64)
    _require_axis(values, "logits", axis)
    if np.isnan(values).any() or np.isposinf(values).any():
        raise ValueError("found NaN or +inf among the logits; allowed: finite values and -inf")
    if np.isneginf(values).all(axis=axis).any():
        raise ValueError("found a row of logits that is -inf throughout; at least one must be finite")
    return values


def _probabilities(values: npt.ArrayLike, name: str, axis: int) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    _require_axis(array, name, axis)
    # Written so that NaN is refused; a softmax may pass 1 by its last bit.
    if not bool(((array >= 0.0) & (array <= 1.0 + 1e-9)).all()):
        raise ValueError(f"{name}: found a value that is no probability; allowed: 0 to 1")
    return array


def _log_probabilities(values: npt.ArrayLike, name: str, axis: int) -> tuple[Floats, Floats]:
    """The values as float64 and their exponentials."""
    array = np.asarray(values, dtype=np.float64)
    _require_axis(array, name, axis)
    if not bool((array <= 1e-9).all()):
        raise ValueError(f"{name}: found a value that is no log-probability; allowed: -inf to 0")
    probabilities = np.exp(array)
    worst = float(np.abs(probabilities.sum(axis=axis) - 1.0).max(initial=0.0))
    if worst > 1e-6:
        raise ValueError(
            f"{name}: probabilities miss a sum of 1 by {worst:.3g}; allowed: 1e-6 (use log_softmax on logits)"
        )
    return array, probabilities


def _same_shape(left: Floats, right: Floats) -> None:
    if left.shape != right.shape:
        raise ValueError(f"found shapes {left.shape} and {right.shape}; allowed: two of the same shape")


def _require_axis(array: Floats, name: str, axis: int) -> None:
    if not -array.ndim <= axis < array.ndim or array.shape[axis] == 0:
        raise ValueError(f"{name}: found shape {array.shape}; allowed: at least one value along axis {axis}")

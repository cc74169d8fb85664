"""Limits of the checks: their names, and one table of defaults per dtype with its reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from types import MappingProxyType

__all__ = ["DEFAULTS", "NAMES", "NOISIEST", "Tolerances", "known_dtypes", "resolve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """How far apart two numbers may be and still count as the same; each an absolute difference.

    ``probability``: of one letter, as a share of the whole vocabulary. ``total_variation``: between the
    letters' probabilities of two engines. ``log_odds``: of one letter's logit less the mean over the letters,
    in nats. ``kl`` and ``js``: divergences over the full vocabulary, in nats. ``logprob``: of one
    log-probability within a single engine, in nats, as long as its logits are small: see `logprob_at`.
    ``snapshot``: of a letter's probability from the one in the committed snapshot. ``source`` says where the
    limits come from, '' where that is not told. ``step`` is what rounding may move a logit by that is between
    1 and 2, 0 where ``logprob`` holds for logits of any size.
    """

    probability: float
    total_variation: float
    log_odds: float
    kl: float
    js: float
    logprob: float
    snapshot: float
    source: str = ""
    step: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what would switch a check off or make it fail always."""
        for name in NAMES:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"tolerance {name}: found {value}; allowed: a finite number, 0 or more")

    @classmethod
    def for_dtypes(cls, *dtypes: str, overrides: Sequence[Mapping[str, float]] = ()) -> Tolerances:
        """Those of the table for engines that compute in ``dtypes``, such as ``bfloat16+float32``.

        A dtype that the table has not counts as `NOISIEST`; ``overrides`` and errors are those of `resolve`.
        """
        known = [each for dtype in dtypes for each in known_dtypes(dtype)]
        return resolve(*known, overrides=overrides)

    def logprob_at(self, size: float) -> float:
        """The limit ``logprob`` in a row whose largest logit is ``size``, in nats.

        Floating-point numbers stand twice as far apart at twice the size, and rounding moves them as far.
        """
        return max(self.logprob, self.step * 2.0 ** (math.frexp(size)[1] - 1))


NAMES = tuple(field.name for field in fields(Tolerances) if field.name not in ("source", "step"))
"""The tolerances' names, as a case, a suite or a profile may override them."""

# Where the numbers come from. 'Measured' is a tiny trained InternVL on a CPU, native PyTorch against LMDeploy
# 0.18.0 or against itself with another batch size or attention kernel; a limit is the measured worst with
# room for other machines and larger models.
#
# float32   Measured: logits within 9e-6 of one another, probabilities within 1e-7 to 4e-6, an engine's own
#           log-probabilities within 2.9e-6 of its full row. So 1e-5 on a probability, 2e-5 on a
#           log-probability, 3e-5 on the total variation, a sum over the letters.
#           KL is second order: 0.5 * variance of the logits' differences, 0.5 * (9e-6)**2 = 4e-11. The limit
#           of 1e-9 is what differences of 4.5e-5 in all logits would give. JS is a quarter of KL there.
# float16   Measured: probabilities within 1.5e-3, an engine's log-probabilities within 3e-3 of its full row.
#           Published mean KL of BF16 against FP16 (llama.cpp, Llama-3-8B): 2.5e-5, 99.9th percentile 8e-4.
# bfloat16  Measured: probabilities within 1.45e-2, log-probabilities within 0.025 of the full row. Between 16
#           and 32 neighbouring bfloat16 logits are 0.125 apart, so one rounding moves a log-probability by up
#           to 0.0625 and a probability near 1/2 by 1.6e-2; exact ties happen. Two engines round on their own.
#           Published: SGLang allows 5e-2 to 6e-2 on log-probabilities between prefill and decoding;
#           Transformers against vLLM differ by 0.008 (median) to 0.046 (mean).
#
# `step` lets `logprob` grow with the logits, in multiples of how far neighbouring numbers of the dtype stand
# apart at the largest one's size: 2**-23, 2**-10 and 2**-7 of its power of two. In float32 16 of them, for
# sums over hidden sizes and layers that are taken in another order. Measured with other batch sizes and
# kernels: the embedded model (3 layers, logits of 8 to 15) within 1.4e-5, 15 steps at 8; SmolLM2-135M (30
# layers, 33 to 36) within 3.4e-5, 9 steps. That depth costs so little is measured on these two only. In
# float16 and bfloat16 one: the logits themselves are rounded, on each side on its own.
#
# `log_odds` sees what a probability near 0 or 1 hides. Its limits leave room for logits larger than the tiny
# model's: float32 ten times the 9e-6 measured; float16 and bfloat16 about three steps between neighbouring
# logits of 16 to 32, 0.0156 and 0.125.
#
# `snapshot` equals `probability`: it is the same engine again, perhaps on another machine.
DEFAULTS: Mapping[str, Tolerances] = MappingProxyType(
    {
        "float32": Tolerances(
            probability=1e-5,
            total_variation=3e-5,
            log_odds=1e-4,
            kl=1e-9,
            js=2.5e-10,
            logprob=2e-5,
            snapshot=1e-5,
            step=16 * 2**-23,
        ),
        "float16": Tolerances(
            probability=3e-3,
            total_variation=6e-3,
            log_odds=5e-2,
            kl=1e-3,
            js=2.5e-4,
            logprob=1e-2,
            snapshot=3e-3,
            step=2**-10,
        ),
        "bfloat16": Tolerances(
            probability=3e-2,
            total_variation=6e-2,
            log_odds=0.4,
            kl=1e-2,
            js=2.5e-3,
            logprob=0.13,
            snapshot=3e-2,
            step=2**-7,
        ),
    }
)


NOISIEST = "bfloat16"
"""What an engine is taken for that does not say its dtype, or computes in none of the table."""


def known_dtypes(dtype: str) -> tuple[str, ...]:
    """Those of a dtype such as ``bfloat16+float32`` that the table has; the noisiest where it has none."""
    return tuple(each for each in dtype.split("+") if each in DEFAULTS) or (NOISIEST,)


def resolve(
    *dtypes: str,
    overrides: Sequence[Mapping[str, float]] = (),
    measured: Mapping[str, float] = MappingProxyType({}),
) -> Tolerances:
    """The limits for engines that compute in ``dtypes``: the loosest of each, then ``overrides`` in order.

    What a noise floor says (``measured``) takes the place of the table's, and overrides win over it, too.

    A later mapping wins over an earlier one, so they are given from general to special: profile, suite, case.
    One that loosens ``probability`` and is silent on ``log_odds`` loosens both in the same proportion, since
    one that was written to let a difference pass means that difference. A ``logprob`` that is said or
    measured holds for logits of any size.
    Raises ValueError for a dtype without defaults, for no dtype, and for an unknown name or a bad value.
    """
    loosest = _loosest(dtypes)
    if not measured and not any(overrides):
        return loosest
    values = {name: getattr(loosest, name) for name in NAMES}
    values.update(measured)
    for override in overrides:
        strange = sorted(set(override) - set(NAMES))
        if strange:
            raise ValueError(f"found tolerance {', '.join(strange)}; allowed: {', '.join(NAMES)}")
        if "probability" in override and values["probability"]:
            values["log_odds"] *= max(1.0, override["probability"] / values["probability"])
        values.update(override)
    said = "logprob" in measured or any("logprob" in override for override in overrides)
    return replace(loosest, **values, step=0.0 if said else loosest.step)


@cache
def _loosest(dtypes: tuple[str, ...]) -> Tolerances:
    unknown = sorted(set(dtypes) - set(DEFAULTS))
    if unknown or not dtypes:
        raise ValueError(f"found dtype {', '.join(unknown) or 'none'}; allowed: {', '.join(DEFAULTS)}")
    every = [DEFAULTS[dtype] for dtype in dtypes]
    values = {name: max(getattr(one, name) for one in every) for name in (*NAMES, "step")}
    return replace(every[0], **values)

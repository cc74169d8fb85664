"""Changes made of letter logits that a test chooses, and floors of normal noise."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.checks.agreement import compare
from harness.checks.log_odds import REST, centred
from harness.engines.contract import Answer, Entry, Reading
from harness.recordings.store import Recording
from harness.verdicts.noise_floor import UNDISTURBED, CaseNoise, NoiseFloor, ScalarNoise
from harness.verdicts.noise_model import Noise
from harness.verdicts.verdict import Change

Floats = npt.NDArray[np.float64]
LETTERS = ("A", "B", "C", "D")
TABLE = 1.0


def recording(
    logits: Sequence[float], *, engine: str = "p-a", other: float = -20.0, reached: bool = True
) -> Recording:
    """An answer whose row has ``logits`` for the letters (ids 0, 1, ...) and ``other`` for one more token."""
    count = len(logits)
    with np.errstate(invalid="ignore"):  # a test may ask for NaN
        log_z = float(np.logaddexp.reduce([*logits, other]))
    best = int(np.argmax([*logits, other]))
    entries = [Entry(i, value - log_z) for i, value in enumerate([*logits, other])]
    reading = Reading(
        path="forward",
        argmax=(best,),
        logprobs=(entries[best].logprob,),
        letter_logits=tuple(logits) if reached else (),
        log_z=log_z if reached else None,
        top=tuple(sorted(entries, key=lambda entry: -entry.logprob)) if reached else (),
        other_spellings=(0.0,) * count if reached else (),
    )
    return Recording(
        key=f"{engine}-0-0",
        case="s.c",
        engine=engine,
        answer=Answer(
            prompt_ids=(7,),
            generated_ids=(best,),
            text=f"{string.ascii_uppercase}?"[best],
            letter_ids=tuple(range(count)),
            answer_step=0 if reached else None,
            readings=(reading,),
        ),
        fingerprint={},
    )


def change(
    a: Recording | None,
    b: Recording | None,
    noise: Noise,
    *,
    case: str = "s.c",
    cluster: str | None = None,
    expect: str = "A",
    letters: Sequence[str] = LETTERS,
    errors: tuple[str, ...] = (),
) -> Change:
    """What the judge is given of two recordings."""
    agreement = None if a is None or b is None else compare(a, b, letters)
    return Change(
        case=case,
        suite=case.partition(".")[0],
        place=f"cases/{case.partition('.')[0]}.yaml:3:5",
        letters=tuple(letters),
        expect=expect,
        cluster=cluster or case,
        agreement=agreement,
        asked="asked",
        errors=errors,
    )


def floor_of(
    truth: Floats,
    runs: Sequence[Floats],
    *,
    suite: str = "s",
    engine: str = "a",
    dtype: str = "bfloat16",
    rest: tuple[Floats, Sequence[Floats]] | None = None,
) -> NoiseFloor:
    """A floor over cases ``c0``, ``c1``, ...: ``truth`` [N, L] and each of ``runs`` [N, L] are logits.

    ``rest`` is the same of the log of the rest against the letters: [N], and [N] for each run.
    """
    return NoiseFloor(
        profile="p",
        engine=engine,
        dtype=dtype,
        device="a test",
        made="2026-11-25",
        fingerprint={},
        cases={
            f"{suite}.c{i}": CaseNoise(
                asked="asked",
                reference=centred(row),
                runs={_run(n): centred(run[i]) for n, run in enumerate(runs)},
                scalars={}
                if rest is None
                else {
                    REST: ScalarNoise(
                        reference=float(rest[0][i]),
                        runs={_run(n): float(run[i]) for n, run in enumerate(rest[1])},
                    )
                },
            )
            for i, row in enumerate(truth)
        },
        full={},
    )


def _run(number: int) -> str:
    """The first is the undisturbed one, as where the reference is float32."""
    return f"run-{number}" if number else UNDISTURBED


def noise_of(floor: NoiseFloor | None) -> Noise:
    """The noise between two sides that both have ``floor``."""
    return Noise(floor, floor, dtypes=("bfloat16", "bfloat16"), table=TABLE)


def suite_changes(
    before: Floats, after: Floats, noise: Noise, *, suite: str = "s", clusters: Sequence[str] | None = None
) -> list[Change]:
    """A suite whose cases have the logits of the rows of ``before`` and ``after`` [N, 4]; A is expected."""
    return [
        change(
            recording([float(x) for x in old], engine="p-a"),
            recording([float(x) for x in new], engine="p-b"),
            noise,
            case=f"{suite}.c{i}",
            cluster=None if clusters is None else clusters[i],
        )
        for i, (old, new) in enumerate(zip(before, after, strict=True))
    ]


def is_close(a: float, b: float, *, within: float) -> bool:
    """Whether two numbers are at most ``within`` apart; NaN never is."""
    return not math.isnan(a - b) and abs(a - b) <= within

"""What was traced of a case on two engines, with all that is needed to judge it elsewhere: one file.

``FOLDER/A..B/CASE.npz`` beside the recordings, a megabyte for a small model and tens for a large one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from harness.drift.grafting import Graft
from harness.drift.stage_noise import StageNoise
from harness.engines.taps.sketches import Trace, read_traces, write_traces
from harness.errors import HarnessError

__all__ = ["FOLDER", "Kept", "pair_folder", "read_kept", "read_noise", "write_kept", "write_noise"]

FOLDER: Final = "traces"
_NOISE: Final = "noise.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One case's traces and what is known beside them.

    ``labels`` are the names of the two sides, ``keys`` those of their recordings ('' where a side could not
    answer), ``letters`` [L] those on offer. ``question`` says how the two were asked differently, each
    difference its cause, a title and a text. ``answers`` are a sentence for each side. ``wrote`` are the ids
    that each wrote, ``letter_ids`` those at which each reads, ``recorded`` [L] the letters' log-probabilities
    on record. ``about`` and ``lacking`` are of `gathering.Gathered`.
    """

    case: str
    labels: tuple[str, str]
    keys: tuple[str, str]
    letters: tuple[str, ...]
    dtype: str
    question: tuple[tuple[str, str, str], ...]
    answers: tuple[str, str]
    wrote: tuple[tuple[int, ...], tuple[int, ...]]
    letter_ids: tuple[tuple[int, ...], tuple[int, ...]]
    recorded: tuple[tuple[float, ...], tuple[float, ...]]
    about: Mapping[str, Mapping[str, Any]]
    lacking: Mapping[str, str]
    noise: StageNoise
    grafts: tuple[Graft, ...]
    traces: Mapping[str, Trace]


def pair_folder(root: Path, labels: Sequence[str]) -> Path:
    """Where traces of two sides lie below the folder of recordings."""
    return root / FOLDER / "..".join(label.replace("/", "-") for label in labels)


def write_kept(file: Path, kept: Kept) -> None:
    """Write everything to ``file``."""
    about = {
        name: getattr(kept, name)
        for name in (
            "case", "labels", "keys", "letters", "dtype", "question", "answers", "wrote", "letter_ids",
            "recorded", "about", "lacking",
        )
    }  # fmt: skip
    about["noise"], about["grafts"] = asdict(kept.noise), [asdict(one) for one in kept.grafts]
    write_traces(file, kept.traces, about)


def read_kept(file: Path) -> Kept:
    """The inverse of `write_kept`. Raises HarnessError, saying what is wrong, for a file that holds none."""
    try:
        traces, about = read_traces(file)
        return Kept(
            case=about["case"],
            labels=_pair(about["labels"]),
            keys=_pair(about["keys"]),
            letters=tuple(about["letters"]),
            dtype=about["dtype"],
            question=tuple((cause, title, text) for cause, title, text in about["question"]),
            answers=_pair(about["answers"]),
            wrote=_pair([tuple(each) for each in about["wrote"]]),
            letter_ids=_pair([tuple(each) for each in about["letter_ids"]]),
            recorded=_pair([tuple(each) for each in about["recorded"]]),
            about=about["about"],
            lacking=about["lacking"],
            noise=_noise(about["noise"]),
            grafts=tuple(Graft(**{**one, "stages": tuple(one["stages"])}) for one in about["grafts"]),
            traces=traces,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise HarnessError(f"{file}: {error}") from error


def write_noise(folder: Path, noise: StageNoise, of: Sequence[str]) -> None:
    """Keep the noise of two engines, measured on the recordings ``of``."""
    write_traces(folder / _NOISE, {}, {"noise": asdict(noise), "of": list(of)})


def read_noise(folder: Path, of: Sequence[str]) -> StageNoise | None:
    """The noise that was measured on the recordings ``of``, None where there is none, or of others."""
    try:
        _, about = read_traces(folder / _NOISE)
        return _noise(about["noise"]) if about["of"] == list(of) else None
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _noise(data: Mapping[str, Any]) -> StageNoise:
    plain, local = (
        {stage: (float(whole), float(worst)) for stage, (whole, worst) in data[name].items()}
        for name in ("plain", "local")
    )
    together = {stage: tuple(each) for stage, each in data.get("together", {}).items()}
    return StageNoise(**{**data, "plain": plain, "local": local, "together": together})


def _pair(values: Sequence[Any]) -> tuple[Any, Any]:
    first, second = values
    return first, second

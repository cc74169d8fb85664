"""A report of one case for the people who make an engine: a folder that explains and reproduces itself."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.bundles.container import BundleError
from harness.bundles.opening import Opened
from harness.bundles.reproduction import Half, half_of, script
from harness.cases.folder import Loaded
from harness.cases.kept import write_whole
from harness.cases.problems import nearest, shown
from harness.cases.suites import Case
from harness.checks.intervals import letter_intervals
from harness.drift.explaining import explain
from harness.drift.kept import pair_folder, read_kept
from harness.engines.contract import Request
from harness.gate.comparison import Comparison, Terms
from harness.gate.gating import Sides, gate
from harness.gate.side import GateSide
from harness.gate.side_floors import SideFloors
from harness.gate.sides import parse_pair
from harness.recordings.device import device_line
from harness.recordings.store import Recording
from harness.reports.bars import short
from harness.scoring.scoring import Scoring
from harness.scoring.subjects import request_for

__all__ = ["write_bug_report"]

_LIBRARIES = {"torch": "transformers", "lmdeploy": "lmdeploy", "api": "server"}


def write_bug_report(
    folder: Path, name: str, inside: Opened, *, engine: str | None = None, baseline: str | None = None
) -> None:
    """Write up the case ``name`` of a bundle in the new folder ``folder``.

    ``engine`` None is the one that is not its profile's reference; else ``PROFILE/ENGINE``, or ``ENGINE``.
    ``baseline`` None is that reference.
    Raises `BundleError` for an unknown case, several engines, a case without answers on both sides, and a
    folder with something in it; as `harness.gate.gating.gate`, and OSError.
    """
    loaded = inside.load()
    if (case := next((one for one in loaded.cases if one.name == name), None)) is None:
        raise BundleError(
            f"found the case {name!r}; allowed: {nearest(name, [c.name for c in loaded.cases])}"
        )
    if folder.exists() and any(folder.iterdir()):
        raise BundleError(f"--out: found {shown(folder)}, which is not empty; allowed: a new folder")
    comparison, request = _compared(case, loaded, inside, engine, baseline)
    both = [_answered(name, side) for side in (comparison.baseline, comparison.candidate)]
    kinds: list[Any] = [one.fingerprint["settings"] for one in both]
    names = [_LIBRARIES[kind["kind"]] for kind in kinds]
    if names[0] == names[1]:
        names[0] += "-baseline"
    images = _image_files(case)
    halves = [half_of(side, one, request, images) for side, one in zip(names, both, strict=True)]
    ids = {side: _ids(case, one) for side, one in zip(names, both, strict=True)}
    texts = {
        "prompt.txt": case.prompt,
        "ids.json": json.dumps(ids) + "\n",
        "versions.txt": "\n".join(_versions(comparison, inside)) + "\n",
        "reproduce.py": script(name, halves),
        "README.md": "\n".join(_readme(case, request, halves, both, comparison, inside)) + "\n",
    }
    for side, one in zip(names, both, strict=True):
        texts[f"rendered-{side}.txt"] = one.answer.question.text or "(its engine does not tell)\n"
    for file, text in texts.items():
        if text:
            write_whole(folder / file, text)
    for image, file in zip(case.images, images, strict=True):
        shutil.copyfile(image, folder / file)


def _image_files(case: Case) -> list[str]:
    """What the case's images are called in the report."""
    numbers = [""] if len(case.images) == 1 else [f"-{number}" for number in range(1, len(case.images) + 1)]
    return [
        f"image{number}{image.suffix.lower()}" for number, image in zip(numbers, case.images, strict=True)
    ]


def _answered(case: str, side: GateSide) -> Recording:
    if case not in side.recordings:
        why = side.errors.get(case, "it was not asked")
        raise BundleError(f"{case}: found no answer of {side.label} ({why}); allowed: a case with both")
    return side.recordings[case]


def _compared(
    case: Case, loaded: Loaded, inside: Opened, engine: str | None, baseline: str | None
) -> tuple[Comparison, Request]:
    """The two sides on all cases, and what their engines were asked in ``case``."""
    references = {f"{profile.name}/{profile.reference}" for profile in loaded.profiles}
    others = [label for label in inside.sides if label not in references and "@" not in label]
    if engine is None and len(others) != 1:
        raise BundleError(
            f"--engine: found none; allowed: {', '.join(others) or 'an engine beside a reference'}"
        )
    known = (label for label in others if engine in (None, label, label.partition("/")[2]))
    engine = next(known, engine or "")
    profile = loaded.profile(engine.partition("/")[0])
    pair = f"{baseline or f'{profile.name}/{profile.reference}'}..{engine}"
    names = parse_pair(pair, loaded.profiles, meant=(), snapshots=inside.snapshots)
    for name in names:
        if name.label not in inside.sides:
            raise BundleError(f"found the side {name.text!r}; allowed: one of {', '.join(inside.sides)}")
    root = inside.recordings
    scoring = Scoring(root, run_id=uuid.uuid4().hex, fresh=False, show=lambda _: None)
    terms = Terms(floors=SideFloors(root, loaded.profiles, snapshots=inside.snapshots))
    (found,) = gate([Sides(*map(inside.side, names))], loaded, scoring, terms, loaded.suites)
    return found, request_for(case, profile)


def _ids(case: Case, recording: Recording) -> dict[str, Any]:
    answer = recording.answer
    return {
        "prompt_ids": answer.prompt_ids,
        "written_ids": answer.generated_ids,
        "letter_ids": dict(zip(case.letters, answer.letter_ids or answer.target_ids[:1], strict=False)),
        "answer_step": answer.answer_step,
    }


def _readme(
    case: Case,
    request: Request,
    halves: Sequence[Half],
    both: Sequence[Recording],
    comparison: Comparison,
    inside: Opened,
) -> Iterator[str]:
    names = [half.side for half in halves]
    judged = next(one for one in comparison.verdict.cases if one.case == case.name)
    change = next(one for one in comparison.changes if one.case == case.name)
    files = " and ".join(f"`{file}`" for file in _image_files(case))
    image = f" about the {'image' if len(case.images) == 1 else 'images'} in {files}" if files else ""
    system = "no system message" if request.system is None else f"the system message {request.system!r}"
    behind = f", behind {case.answer_prefix!r}" if case.answer_prefix else ""
    shares = [letter_intervals(one.answer.readings[0]) if one.answer.readings else () for one in both]
    yield f"# {names[1]} against {names[0]} on `{case.name}`: {judged.verdict}\n"
    yield f"Both were asked what stands in `prompt.txt`{image}, by greedy decoding, with"
    text = case.kind == Request.TEXT
    what = "a text" if text else f"one of {', '.join(case.letters)}"
    yield f"{system}, to answer with {what}{behind}."
    yield f"Expected is {short(case.expect, limit=200)}. Probabilities are over the whole vocabulary:\n"
    rows = [
        ("", names),
        ("---", ["---"] * len(names)),
        ("ran on", [device_line(one.fingerprint) for one in both]),
        *(
            (short(x), [f"{own[n]}" if own else "not reached" for own in shares])
            for n, x in enumerate(case.letters)
        ),
        ("wrote", [f"`{one.answer.text!r}`" for one in both]),
        ("prompt tokens", [str(len(one.answer.prompt_ids) or "not told") for one in both]),
        ("tiles", [str(one.answer.question.tiles) for one in both]),
    ]
    yield from (f"| {title} | {' | '.join(values)} |" for title, values in rows)
    yield f"\n- This case: {judged.verdict}: {judged.reason}"
    yield f"- All cases: {comparison.verdict.sentence}"
    yield f"- Noise: {comparison.verdict.noise}\n\n## Where it begins\n"
    asked = [f"- {one.title}: {one.text}" for one in (change.agreement.question if change.agreement else ())]
    yield from asked or ["- Both were asked the same, as far as they tell: prompt, ids, tiles, pixels."]
    sides = (comparison.baseline.label, comparison.candidate.label)
    yield from _explained(inside.recordings, sides, case.name)
    yield "\n## How to see it\n"
    for half in halves:
        yield (
            f"    python reproduce.py {half.side} MODEL"
            if half.body
            else f"\n`reproduce.py` has no half for {half.side}: {half.lacks}.\n"
        )
    yield "\nMODEL is the model's folder. The script says whether the prompt's ids are those recorded, which"
    yield "stand in `ids.json`. What each was shown is in `rendered-*.txt`, with `<image>` for all places of"
    yield "the image; versions are in `versions.txt`."


def _explained(recordings: Path, labels: tuple[str, str], case: str) -> Iterator[str]:
    """The first stage that differs, where `harness explain` traced the case; nothing where it did not."""
    file = pair_folder(recordings, labels) / f"{case}.npz"
    if file.is_file():
        found = explain(read_kept(file))
        why = f": {found.start.why}" if found.start is not None else ""
        proof = "; borne out by a transplant" if found.proven else ""
        yield f"- First stage beyond noise: {found.stage or found.bracket or 'none'}{why}{proof}."


def _versions(comparison: Comparison, inside: Opened) -> Iterator[str]:
    for side in (comparison.baseline, comparison.candidate):
        yield f"{side.label}: {side.device}"
        yield (inside.folder / "locks" / f"{side.label.replace('/', '-')}.txt").read_text(encoding="utf-8")
    yield from ("what differs:", *comparison.changed.lines)

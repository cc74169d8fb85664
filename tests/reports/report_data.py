"""Comparisons as a report gets them: judged by the judge, of answers and images made here.

    python -m tests.reports.report_data FILE.html 60

writes the page on so many cases, to look at.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from harness.cases.budgets import Budgets
from harness.cases.problems import Location
from harness.cases.suites import Case
from harness.checks.agreement import compare
from harness.checks.full_vocabulary import FullVocabulary
from harness.checks.tolerances import DEFAULTS
from harness.engines.contract import Answer, Entry, Question, Reading
from harness.recordings.fingerprint import Difference
from harness.recordings.pace import Pace
from harness.recordings.store import Recording
from harness.reports.page.document import make_report
from harness.reports.page.page import render_page
from harness.reports.report_input import HistoryLine, HistoryPoint, ReportInput, ReportSide
from harness.reports.summary import CheckSummary, Status
from harness.verdicts.judging import judge
from harness.verdicts.noise_model import Noise
from harness.verdicts.verdict import Change, Estimate
from tests.verdicts.changes import Floats, floor_of

LETTERS = ("A", "B", "C", "D")
SUITES = ("charts", "documents", "scenes")
BASELINE, CANDIDATE = "internvl/lmdeploy-0.14", "internvl/lmdeploy-0.18"
QUESTIONS = (
    "Which of the four lines is highest in the last quarter?",
    "What is the total on the invoice, tax included?",
    "Which animal is nearest to the fence?",
    "How many of the bars are taller than the dashed line?",
)
_QUESTION = Question(text="<image>...", tokens=2, tiles=1, pixels="ab" * 32, pixel_means=(0.5,))
_HASHES = ("5f2c" * 16, "a9e1" * 16)


def answer_of(
    logits: Sequence[float], text: str, *, outside: int = 0, reported: int = 10, ranks: Sequence[int] = ()
) -> Answer:
    """An answer with these letters' logits, the lowest ``outside`` of them not seen, and one more token."""
    if not logits:
        reading = Reading(path="two-stage", argmax=(9,), logprobs=(-0.1,))
        return Answer(
            prompt_ids=(7, 8),
            generated_ids=(9,),
            text=text,
            letter_ids=(),
            answer_step=None,
            readings=(reading,),
            question=_QUESTION,
        )
    rest = min(logits) + 1.5
    log_z = float(np.logaddexp.reduce([*logits, rest]))
    seen = sorted(range(len(logits)), key=lambda i: -logits[i])[: len(logits) - outside]
    floor = min(logits[i] for i in seen) - log_z
    top = tuple(Entry(i, logits[i] - log_z) for i in seen)
    best = int(np.argmax(logits))
    partial = outside > 0
    reading = Reading(
        path="chat" if partial else "two-stage",
        argmax=(best,),
        logprobs=(logits[best] - log_z,),
        letter_logits=tuple((v - log_z if i in seen else -math.inf) for i, v in enumerate(logits))
        if partial
        else tuple(logits),
        log_z=0.0 if partial else log_z,
        top=top if partial else tuple(sorted((*top, Entry(9, rest - log_z)), key=lambda e: -e.logprob)),
        other_spellings=(0.0,) * len(logits),
        letter_ranks=() if partial else tuple(ranks or range(len(logits))),
        letter_ceilings=tuple(value - log_z if i in seen else floor for i, value in enumerate(logits))
        if partial
        else (),
    )
    return Answer(
        prompt_ids=(7, 8),
        generated_ids=(best,),
        text=text,
        letter_ids=tuple(range(len(logits))),
        answer_step=0,
        readings=(reading,),
        reported_top=() if partial else top[:reported],
        question=_QUESTION,
    )


def recording(case: str, engine: str, answer: Answer) -> Recording:
    """The answer as a recording."""
    return Recording(key=f"{engine}-0-{case}", case=case, engine=engine, answer=answer, fingerprint={})


def draw_image(path: Path, number: int) -> None:
    """A picture unlike all others, as heavy as a photograph for its size."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 255, (9, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((240, 180), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for _ in range(40):
        x, y, r = (int(v) for v in rng.integers(4, 170, 3))
        pen.ellipse((x, y, x + r // 4, y + r // 4), fill=tuple(int(v) for v in rng.integers(0, 255, 3)))
    picture.save(path, quality=80)


def make_input(
    count: int,
    folder: Path,
    *,
    seed: int = 5,
    regress: bool = True,
    images: bool = True,
    tagged: bool = True,
    spread: float = 0.035,
    name: str = f"{CANDIDATE} against {BASELINE}",
) -> ReportInput:
    """A comparison of ``count`` cases in three suites, each with its image under ``folder``.

    With ``regress``, the suite 'charts' loses right answers and 'documents' drifts; a few cases are without
    an answer, never reach the letter, or are known in part. Beside that log-odds move by ``spread``, whose
    default is what noise does.
    """
    rng = np.random.default_rng(seed)
    logits: Floats = rng.normal(0.0, 1.2, (count, 4))
    expected = rng.integers(0, 4, count)
    logits[np.arange(count), expected] += rng.normal(2.5, 1.6, count)
    logits += 14.0
    suites = [SUITES[i * len(SUITES) // count] for i in range(count)]
    names = [f"{suites[i]}.{['line', 'bar', 'total', 'fence'][i % 4]}-{i:04d}" for i in range(count)]
    noise = _noise(logits, names, rng)
    moved = logits + rng.normal(0, spread, logits.shape)
    if regress:
        drifting = np.array([suite == "documents" for suite in suites])
        moved += rng.normal(0, 0.09, logits.shape) * drifting[:, None]
        for i in range(2, count // 3, 19):
            moved[i, expected[i]] -= 4.5
    cases, changes, history = [], [], {}
    for i in range(count):
        path = folder / f"image-{i:04d}.jpg"
        if images and not path.exists():
            draw_image(path, i)
        expect = LETTERS[int(expected[i])]
        cases.append(
            Case(
                id=names[i].partition(".")[2],
                suite=suites[i],
                prompt=f"{QUESTIONS[i % 4]}\n" + "\n".join(f"{x}. option {x.lower()}{i}" for x in LETTERS),
                letters=LETTERS,
                expect=expect,
                location=Location(Path(f"/cases/{suites[i]}.yaml"), 4 + 6 * i, 5),
                images=(path,) if images and i % 41 != 13 else (),
                system="You are a careful reader." if i % 3 == 0 else None,
            )
        )
        change = _change(i, names[i], suites[i], expect, logits[i], moved[i], regress=regress, tagged=tagged)
        changes.append(change)
        history[names[i]] = _history(logits[i], int(expected[i]), rng)
    verdict = judge(
        changes,
        baseline=BASELINE,
        candidate=CANDIDATE,
        budgets={"scenes": Budgets(lost=1)},
        margin=0.1,
        noise=noise,
    )
    return ReportInput(
        name=name,
        baseline=_side(BASELINE, "0.14.0", "2.8.0", _HASHES[0]),
        candidate=_side(CANDIDATE, "0.18.0", "2.12.1", _HASHES[1], paced=True),
        verdict=verdict,
        changes=changes,
        texts={9: "Ġthe"},
        cases=cases,
        changed=differences(),
        notes=("1 case new, and so not judged: baseline was not asked: scenes.fence-new",) if regress else (),
        commands={one: f"harness gate {BASELINE}..{CANDIDATE} --case {one}" for one in names},
        limits=dict.fromkeys(names, DEFAULTS["bfloat16"]),
        checks=[
            CheckSummary(
                suite=suites[i],
                case=names[i],
                place="cases/s.yaml:1:1",
                profile="internvl",
                engine="lmdeploy",
                check=check,
                expected="A",
                status=Status.FAILED if i % 19 == 2 and check == "letter" else Status.PASSED,
            )
            for i in range(count)
            for check in ("letter", "question", "agree")
        ],
        histories=history,
        runs=[_line(number, names[1], shown=number == 2) for number in range(3)],
    )


def differences() -> list[Difference]:
    """What a new release of an engine changes."""
    return [
        Difference("harness", "1d" * 32, "2e" * 32),
        Difference("installed.environment.OMP_NUM_THREADS", "8", "(absent)"),
        Difference("installed.packages.lmdeploy", "0.14.0", "0.18.0"),
        Difference("installed.packages.torch", "2.8.0", "2.12.1"),
        Difference("installed.packages.transformers", "4.57.1", "5.23.0"),
        Difference("installed.sources.lmdeploy", *_HASHES),
        Difference("loaded.attention", "flash_attention_2", "paged"),
        Difference("settings.options", {"block": 64}, {"block": 128}),
        *(Difference(f"environment.packages.part-{n}", f"1.{n}", f"1.{n + 1}") for n in range(6)),
    ]


def _side(label: str, lmdeploy: str, torch: str, digest: str, *, paced: bool = False) -> ReportSide:
    return ReportSide(
        label=label,
        device=f"CPU device plug-in (EPYC 9R14), bfloat16, lmdeploy {lmdeploy}",
        dtype="bfloat16",
        made="2026-11-25",
        model="OpenGVLab/InternVL3-8B",
        fingerprint={
            "installed": {"packages": {"lmdeploy": lmdeploy, "torch": torch}},
            "model": {"hash": digest},
            "settings": {"kind": "lmdeploy"},
        },
        pace=Pace(loaded=1.0, host="ab", seconds=20.0, cases=60, tokens=48_000) if paced else None,
    )


def _noise(logits: Floats, names: Sequence[str], rng: np.random.Generator) -> Noise:
    runs = [logits + rng.normal(0, 0.025, logits.shape) for _ in range(6)]
    floor = floor_of(logits, runs, engine="lmdeploy")
    keyed = {name: floor.cases[f"s.c{i}"] for i, name in enumerate(names)}
    named = type(floor)(
        profile="internvl",
        engine="lmdeploy",
        dtype="bfloat16",
        device=floor.device,
        made=floor.made,
        fingerprint={},
        cases=keyed,
        full={},
    )
    return Noise(named, named, dtypes=("bfloat16", "bfloat16"), table=0.26)


def _change(
    i: int, name: str, suite: str, expect: str, before: Floats, after: Floats, *, regress: bool, tagged: bool
) -> Change:
    old, new = ([float(x) for x in row] for row in (before, after))
    ranks = [0, 1, 2, 3 + (i * 7) % 40 if i % 9 == 4 else 3]
    order = sorted(range(4), key=lambda j: -old[j])
    placed = [ranks[order.index(j)] for j in range(4)]
    a = recording(name, "internvl-lmdeploy-0.14", answer_of(old, LETTERS[int(np.argmax(old))], ranks=placed))
    answer = answer_of(new, LETTERS[int(np.argmax(new))], ranks=placed)
    errors: tuple[str, ...] = ()
    if regress and i % 53 == 31:
        answer = answer_of((), "I cannot see an image.")
    elif regress and i % 47 == 29:
        answer = answer_of(new, LETTERS[int(np.argmax(new))], outside=2)
    elif regress and i % 59 == 41:
        errors = (f"{CANDIDATE}: the engine died while it answered (signal 9)\nlog: .harness/logs/a.log",)
    b = recording(name, "internvl-lmdeploy-0.18", answer)
    full = FullVocabulary(
        kl=math.inf if i % 37 == 5 else 0.5 * float(np.var(after - before)),
        js=0.125 * float(np.var(after - before)),
        widths=(151_000, 151_000),
        surplus=0.0,
        masked=0,
        masked_mass=0.0,
    )
    return Change(
        case=name,
        suite=suite,
        place=f"cases/{suite}.yaml:{4 + 6 * i}:5",
        letters=LETTERS,
        expect=expect,
        cluster=f"image-{i // 2}",
        agreement=None if errors else compare(a, b, LETTERS, full=full),
        asked="asked",
        tags=("easy", "rare")[: 1 + (i % 5 == 0)] if tagged else (),
        errors=errors,
    )


def _line(number: int, case: str, *, shown: bool) -> HistoryLine:
    return HistoryLine(
        when=f"2026-0{number + 7}-04T02:00:00+02:00",
        until=f"2026-0{number + 7}-09T02:00:00+02:00",
        runs=number + 1,
        fingerprint=f"lmdeploy-01{number}abc",
        version=f"0.1{number}.0",
        cases=60,
        errors=number % 2,
        accuracy=Estimate(value=0.9, low=0.8, high=0.95),
        spread=0.02 * number or None,
        largest=0.1 * number or None,
        case=case if number else "",
        shown=shown,
    )


def _history(logits: Floats, expected: int, rng: np.random.Generator) -> list[HistoryPoint]:
    points = []
    for when, version in (("2026-08-04", "0.12.0"), ("2026-09-15", "0.13.1"), ("2026-10-25", "0.14.0")):
        own = logits + rng.normal(0, 0.05, 4)
        share = float(np.exp(own[expected] - np.logaddexp.reduce(own)))
        points.append(
            HistoryPoint(
                when=when,
                fingerprint=f"lmdeploy-{version.replace('.', '')}abc",
                version=version,
                probability=share,
                log_odds=float(own[expected] - own.mean()),
                right=bool(int(np.argmax(own)) == expected),
            )
        )
    return points


if __name__ == "__main__":
    file, number = Path(sys.argv[1]), int(sys.argv[2])
    pictures = file.parent / "images"
    pictures.mkdir(exist_ok=True)
    file.write_text(render_page(make_report([make_input(number, pictures)])), encoding="utf-8")

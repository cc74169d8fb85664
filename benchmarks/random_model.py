"""A workload on a model of about 100 million parameters drawn at random, made on the spot.

The embedded model is so small that what is around an engine counts for more than it does. Here the engine's
own work does.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final

import yaml

from benchmarks.workload import Workload
from harness.cases.suites import Case
from harness.engines.contract import Request

__all__ = ["EVERY", "NAME", "random_workload"]

NAME: Final = "random-100m"
"""Its name for ``--model``."""

EVERY: Final = 8
"""Of so many cases one is asked, since each takes many times as long."""


def random_workload(workload: Workload, *, every: int = EVERY) -> Workload:
    """``workload`` with a random InternVL in place of its model; one of ``every`` cases without a prefix.

    Suites and profile are written into the scratch folder. Such a model writes no prefix of an answer and
    knows none, so tests of answers, and of what was accepted, are left out of whole runs. Raises
    `HarnessError` as `Workload.command` does.
    """
    folder = workload.scratch / NAME
    (folder / "images").mkdir(parents=True)
    first = workload.profile.engines[0]
    workload.command([
        *(workload.python(first), "-m", "benchmarks.random_weights"),
        *(first.settings.model, str(folder / "model")),
    ])  # fmt: skip
    name = workload.profile.name
    profile = yaml.safe_load((workload.folder / "profiles.yaml").read_text(encoding="utf-8"))["profiles"][
        name
    ]
    _write(folder / "profiles.yaml", {"profiles": {name: {**profile, "model": "model"}}})
    suites: dict[str, list[dict[str, object]]] = {}
    plain = [case for case in workload.cases if not case.answer_prefix]
    for case in plain[::every]:
        suites.setdefault(case.suite, []).append(_entry(case, folder / "images"))
    for suite, cases in suites.items():
        _write(folder / f"{suite}.yaml", {"cases": cases})
    drawn = Workload.read(folder, profile=name, scratch=workload.scratch, repeats=workload.repeats)
    return replace(drawn, selected="not expected_letter and not snapshot")


def _entry(case: Case, images: Path) -> dict[str, object]:
    copies = [images / f"{case.name}-{at}{image.suffix}" for at, image in enumerate(case.images)]
    for image, copy in zip(case.images, copies, strict=True):
        shutil.copy(image, copy)
    return {
        "id": case.id,
        "prompt": case.prompt,
        "system": case.system,
        "answer_prefix": case.answer_prefix,
        "max_new_tokens": case.max_new_tokens,
        **({"images": [str(copy.relative_to(images.parent)) for copy in copies]} if copies else {}),
        **(
            {"expect_text": case.expect}
            if case.kind == Request.TEXT
            else {"letters": list(case.letters), "expect": case.expect}
        ),
    }


def _write(file: Path, data: object) -> None:
    file.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")

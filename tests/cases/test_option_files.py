"""Files and fields that options name: what is not there, or is none, is an error of profiles.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import CaseFileError
from tests.cases.test_engine_options import CUDA, profile

pytestmark = pytest.mark.usefixtures("folder")

TURBOMIND = CUDA + "kind: lmdeploy, options: {backend: turbomind, gemm_tuning: "


@pytest.mark.parametrize(
    ("entry", "content", "words"),
    [
        ("kind: lmdeploy, options: {chat_template_config: f.json}", "{nonsense", "holds a JSON object"),
        ("kind: lmdeploy, options: {chat_template_config: f.json}", "[1]", "holds a JSON object"),
        (TURBOMIND + "none.cache}", "", "a file that exists (looked for none.cache); TurboMind writes it"),
        (TURBOMIND + "./}", "", "a file that exists"),
        (
            "kind: lmdeploy, options: {vision_config: {max_bath_size: 8}}",
            "",
            "vision_config.max_bath_size: found 'max_bath_size'; allowed: max_batch_size (the nearest)",
        ),
    ],
    ids=["no JSON", "no object", "no tuning", "a folder", "no such field"],
)
def test_what_is_not_there_is_refused_at_its_place(entry: str, content: str, words: str) -> None:
    Path("f.json").write_text(content)
    with pytest.raises(CaseFileError) as error:
        profile(entry)
    (problem,) = error.value.problems
    assert words in str(problem)
    assert problem.place.startswith("profiles.yaml:2:")


@pytest.mark.parametrize(
    "entry",
    [
        "kind: lmdeploy, options: {chat_template_config: f.json}",
        "kind: lmdeploy, options: {chat_template_config: internvl2_5}",
        TURBOMIND + "f.json}",
        "kind: lmdeploy, options: {vision_config: {max_batch_size: 8, thread_safe: true}}",
    ],
)
def test_what_is_there_is_taken(entry: str) -> None:
    Path("f.json").write_text("{}")
    assert profile(entry).engines[0].settings.kind == "lmdeploy"

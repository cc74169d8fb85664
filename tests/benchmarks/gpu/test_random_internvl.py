"""The random model in its tiny size, made in a process of its own and loaded by both engines on a CPU."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.random_internvl import SIZES
from harness.checks.answers import letter_probabilities
from harness.engines.contract import Answer, EngineSettings, Request
from harness.recordings.fingerprint import model_fingerprint
from harness.workers import Failed, Job, Scored, run

ROOT = Path(__file__).parents[3]
IMAGE = ROOT / "cases" / "images" / "red-circle-top-left-112x56.png"  # wide, so of several tiles


def make(folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.gpu.random_internvl", str(folder), "--size", "tiny"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("random") / "model"
    assert make(folder)["parameters"] > 500_000
    return folder


def answers(model: Path, kind: str, paths: tuple[str, ...], log: Path) -> list[Answer]:
    settings = EngineSettings(
        kind=kind,
        model=str(model),
        dtype="float32",
        device="cpu",
        paths=paths,
        top_k=5,
        batch_size=2,
        options={"attention": "sdpa"} if kind == "torch" else {"stage_two": "one-pass"},
    )
    job = Job(python=sys.executable, settings=settings, load_seconds=300, case_seconds=120, log=log)
    letters = ("A", "B", "C", "D")
    requests = [
        (
            "k1",
            Request(case="s.image", prompt="Which? A. red B. blue", letters=letters, images=(str(IMAGE),)),
        ),
        ("k2", Request(case="s.text", prompt="Which? A. one B. two", letters=letters)),
    ]
    events = list(run(job, requests))
    assert [event.error for event in events if isinstance(event, Failed)] == []
    scored = {event.key: event.answer for event in events if isinstance(event, Scored)}
    assert set(scored) == {"k1", "k2"}, log.read_text()[-3000:]
    return [scored["k1"], scored["k2"]]


@pytest.mark.slow
def test_the_same_weights_each_time(model: Path, tmp_path: Path) -> None:
    make(tmp_path / "again")
    ours, theirs = (model_fingerprint(each, tmp_path / "cache") for each in (model, tmp_path / "again"))
    assert ours == theirs


@pytest.mark.slow
def test_finite_logits_in_both_engines_and_the_same(model: Path, tmp_path: Path) -> None:
    native = answers(model, "torch", ("forward",), tmp_path / "torch.log")
    served = answers(model, "lmdeploy", ("two-stage", "captured"), tmp_path / "lmdeploy.log")
    for ours, theirs in zip(native, served, strict=True):
        for reading in (*ours.readings, *theirs.readings):
            assert reading.log_z is not None
            assert all(math.isfinite(logit) for logit in reading.letter_logits)
            assert reading.letter_logits == pytest.approx(ours.readings[0].letter_logits, abs=1e-4)
        assert ours.generated_ids == theirs.generated_ids
        # The letters are in question, as they are in a real model.
        assert 0.1 < sum(letter_probabilities(ours.readings[0])) < 0.9


@pytest.mark.slow
def test_every_id_can_be_read(model: Path) -> None:
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    config = json.loads((model / "config.json").read_text())
    ids = {*tokenizer["model"]["vocab"].values(), *(token["id"] for token in tokenizer["added_tokens"])}
    assert ids == set(range(SIZES["tiny"].vocabulary))
    assert all(
        tokenizer["model"]["vocab"][token["content"]] == token["id"] for token in tokenizer["added_tokens"]
    )
    assert config["text_config"]["vocab_size"] == SIZES["tiny"].vocabulary


def test_the_large_one_is_of_hundreds_of_millions() -> None:
    size = SIZES["large"]
    embeddings = 2 * size.vocabulary * size.width
    language = size.layers * 3 * size.width * size.inner
    vision = size.vision_layers * 12 * size.vision_width**2
    assert 5e8 < embeddings + language + vision < 1.5e9
    assert size.tile_tokens == 256

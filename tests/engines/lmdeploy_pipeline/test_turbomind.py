"""TurboMind, on stand-ins written after LMDeploy's sources: nothing here ran on a GPU.

The stand-ins' model is a hash, so what an engine must answer is computed beside it and compared row for row.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.checks.stages import check_stages
from harness.checks.tolerances import resolve
from harness.engines.codec import request_digest
from harness.engines.contract import Answer, Engine, EngineSettings, Failure, Request
from harness.engines.lmdeploy_pipeline import engine as lmdeploy_pipeline
from harness.engines.lmdeploy_pipeline.engine import LmdeployPipeline
from harness.errors import EngineError, ErrorKind
from harness.recordings.store import Recording
from tests.engines.lmdeploy_pipeline.stand_ins import era_0_12
from tests.engines.lmdeploy_pipeline.stand_ins import tiny_model as tiny
from tests.engines.lmdeploy_pipeline.stand_ins.era_0_12 import Faults, Version

SOUND = Faults()
VERSIONS = {
    "0.12.3": Version(pixels=False, makes_requests=False),
    "0.16.0": Version(pixels=True, makes_requests=False),
    "0.18.0": Version(pixels=True, makes_requests=True),
}
BOTH = ("generation", "two-stage")


@dataclass
class Bench:
    """Loads engines on the stand-in of a version, and ends them."""

    patch: pytest.MonkeyPatch
    folder: Path
    loaded: list[Engine]

    def load(
        self,
        version: str = "0.18.0",
        *,
        faults: Faults = SOUND,
        **changes: Any,
    ) -> Any:
        for name, module in era_0_12.make(VERSIONS[version], faults).items():
            self.patch.setitem(sys.modules, name, module)
        settings = EngineSettings(
            kind="lmdeploy",
            model=str(self.folder),
            dtype="auto",
            device="cuda",
            paths=BOTH,
            top_k=20,
            batch_size=4,
            options={"backend": "turbomind"},
        )
        engine: Any = lmdeploy_pipeline.load(replace(settings, **changes))
        self.loaded.append(engine)
        return engine


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    """A machine that says it has a GPU: the stand-ins need none."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: ("stand-in", "another")[place])
    (tmp_path / "config.json").write_text(json.dumps({"torch_dtype": "float16"}))
    made = Bench(monkeypatch, tmp_path, [])
    yield made
    for engine in made.loaded:
        engine.close()


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("pictures") / "stripes.png"
    pixels = np.zeros((40, 70, 3), dtype=np.uint8)
    pixels[::3] = 200
    Image.fromarray(pixels).save(path)
    return str(path)


def requests(picture: str) -> list[Request]:
    plain = Request(case="plain", prompt="What is it?", letters=("A", "B"), max_new_tokens=3)
    return [
        plain,
        replace(plain, case="image", images=(picture,), system="Look."),
        replace(plain, case="one", images=(picture,), max_new_tokens=None),
        replace(plain, case="at-once", prompt="end at once", images=(picture,)),
        replace(plain, case="at-once-one", prompt="end at once", images=(picture,), max_new_tokens=1),
        replace(plain, case="later", prompt="end later", images=(picture,), max_new_tokens=5),
    ]


def expected(request: Request, version: str) -> tuple[list[int], tiny.Truth]:
    """The prompt's ids, and what follows."""
    tokenizer = tiny.HubTokenizer()
    key, content = None, request.prompt
    for shown in request.images:
        with Image.open(shown) as image:
            key, count = tiny.image_key(image), tiny.image_tokens(image)
        content = f"<img>{tiny.IMAGE_TOKEN}</img>\n{content}"
    system = [] if request.system is None else [{"role": "system", "content": request.system}]
    before, _, after = tiny.rendered([*system, {"role": "user", "content": content}]).partition(
        tiny.IMAGE_TOKEN
    )
    placeholder = tiny.VOCABULARY[tiny.IMAGE_CONTEXT] if VERSIONS[version].pixels else 0
    ids = tokenizer.encode(before)
    if key is not None:
        ids += [placeholder] * count + tokenizer.encode(after)
    return ids, tiny.truth(ids, key, request.max_new_tokens or 1)


def answers(engine: Engine, asked: list[Request]) -> dict[str, Answer]:
    outcomes = {outcome.case: outcome.result for outcome in engine.score(asked)}
    failed = [result.message for result in outcomes.values() if isinstance(result, Failure)]
    assert not failed
    return {case: result for case, result in outcomes.items() if isinstance(result, Answer)}


def recorded(answer: Answer) -> Recording:
    return Recording(key="0", case="image", engine="stand-in", answer=answer, fingerprint={})


@pytest.mark.parametrize("version", VERSIONS)
def test_every_path_gives_the_models_own_rows(bench: Bench, picture: str, version: str) -> None:
    asked = requests(picture)
    found = answers(bench.load(version), asked)

    assert found.keys() == {request.case for request in asked}
    for request in asked:
        prompt, truth = expected(request, version)
        answer = found[request.case]
        assert answer.request == request_digest(request)
        assert answer.prompt_ids == tuple(prompt)
        assert answer.generated_ids == truth.ids, request.case
        assert [reading.path for reading in answer.readings] == list(BOTH)
        assert answer.answer_step == 0
        for path in BOTH:
            np.testing.assert_array_equal(answer.rows[path], truth.rows[0])
        for reading in answer.readings:
            assert reading.argmax == truth.ids
            assert reading.letter_logits == tuple(float(truth.rows[0][i]) for i in answer.letter_ids)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_that_ends_at_once_keeps_its_row(bench: Bench, picture: str, version: str) -> None:
    """LMDeploy trims the stop token with its row, and leaves ids and logits empty."""
    found = answers(bench.load(version), requests(picture))

    assert found["at-once"].generated_ids == found["at-once-one"].generated_ids == (tiny.END_ID,)
    assert len(found["later"].generated_ids) == 3
    assert found["later"].generated_ids[-1] == tiny.END_ID


@pytest.mark.parametrize("version", VERSIONS)
def test_the_fingerprint_says_how_and_what_nobody_verified(bench: Bench, version: str) -> None:
    engine = bench.load(version)
    found = engine.fingerprint()

    assert json.loads(json.dumps(found)) == found
    assert found["backend"] == "turbomind"
    assert found["device"] == "stand-in"
    both = bench.load(version, options={"backend": "turbomind", "tp": 2}).fingerprint()
    assert both["device"] == "stand-in + another"
    assert list(found["paths"]) == list(BOTH)
    assert "not verified on a GPU" in str(found["verified"])
    assert found["dtype"] == "float16"
    assert found["logits"]["width"] == tiny.WIDTH
    assert "one token with 0.0" in str(found["reported_logprobs"])
    assert found["temperature_trap"] is False


@pytest.mark.parametrize("version", VERSIONS)
def test_paths_left_out_are_all_that_there_are(bench: Bench, version: str) -> None:
    engine = bench.load(version, paths=())

    assert set(engine.fingerprint()["paths"]) == set(BOTH)


def test_with_a_prefix_cache_generation_is_the_path_there_is(bench: Bench) -> None:
    options = {"backend": "turbomind", "prefix_cache": "warm"}
    engine = bench.load(paths=(), options=options)
    assert list(engine.fingerprint()["paths"]) == ["generation"]
    assert engine.fingerprint()["engine_config"]["enable_prefix_caching"] is True


def test_turbomind_reports_no_log_probabilities(bench: Bench, picture: str) -> None:
    found = answers(bench.load(), requests(picture))

    assert all(not (answer.reported_top or answer.reported_logprobs) for answer in found.values())


@pytest.mark.parametrize(("version", "dtype"), [("0.12.3", "auto"), ("0.16.0", "float16")])
def test_pixels_are_rounded_to_the_engines_dtype(
    bench: Bench, picture: str, version: str, dtype: str
) -> None:
    """As those of the other engines are; where there are embeddings of them only, they are not known."""
    asked = answers(bench.load(version, dtype=dtype), requests(picture)[1:2])["image"].question

    if not VERSIONS[version].pixels:
        assert (asked.tiles, asked.pixels) == (None, None)
        return
    with Image.open(picture) as image:
        values = (np.asarray(image) / 255.0).astype(np.float32)
    rounded = values.astype(np.float16).astype("<f4")
    assert rounded.tobytes() != values.tobytes()
    assert asked.pixels == hashlib.sha256(rounded.tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("asked", "told", "dtype"),
    [("auto", "bfloat16", "bfloat16"), ("auto", "", "float16"), ("bfloat16", "", "bfloat16")],
)
def test_the_dtype_is_the_one_that_turbomind_took(bench: Bench, asked: str, told: str, dtype: str) -> None:
    """LMDeploy writes it into its configuration; its rule stands in where that still says auto."""
    assert bench.load(dtype=asked, faults=Faults(dtype=told)).fingerprint()["dtype"] == dtype


def test_another_dtype_than_was_asked_for_is_refused(bench: Bench) -> None:
    """As on a card whose kernels lack bfloat16, where LMDeploy only logs it."""
    with pytest.raises(EngineError, match="asked for bfloat16, but LMDeploy loaded float16") as caught:
        bench.load(dtype="bfloat16", faults=Faults(dtype="float16"))

    assert caught.value.kind is ErrorKind.LOAD


@pytest.mark.parametrize("stage_two", ["one-pass", "stepwise"])
@pytest.mark.parametrize("version", VERSIONS)
def test_stage_two_alone(bench: Bench, picture: str, version: str, stage_two: str) -> None:
    engine = bench.load(
        version, paths=("two-stage",), options={"backend": "turbomind", "stage_two": stage_two}
    )
    for request in requests(picture):
        _, truth = expected(request, version)
        answer = answers(engine, [request])[request.case]
        assert answer.generated_ids == truth.ids
        np.testing.assert_array_equal(answer.rows["two-stage"], truth.rows[0])


def plant_in_stage_two(monkeypatch: pytest.MonkeyPatch, engine: LmdeployPipeline, faults: Faults) -> None:
    turbomind = engine._engine.engine
    sound = turbomind.answer

    def answer(input_ids: list[int], image: int | None, config: Any) -> Any:
        turbomind.faults = faults if config.output_logits == "all" else SOUND
        return sound(input_ids, image, config)

    monkeypatch.setattr(turbomind, "answer", answer)


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(loses_image=True), "'generation' and 'two-stage'"),
        (Faults(shifted=1), "most probable of path"),
    ],
)
def test_a_second_pass_that_is_wrong_is_found(
    bench: Bench, picture: str, faults: Faults, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = bench.load()
    request = requests(picture)[1]
    assert not check_stages(recorded(answers(engine, [request])["image"]), "AB", resolve("float32")).findings
    plant_in_stage_two(monkeypatch, engine, faults)
    result = check_stages(recorded(answers(engine, [request])["image"]), "AB", resolve("float32"))

    assert words in " ".join(f"{finding.metric} {finding.text}" for finding in result.findings)


def test_logits_divided_by_a_temperature_are_named(
    bench: Bench, picture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = bench.load()
    plant_in_stage_two(monkeypatch, engine, Faults(temperature=0.8))
    result = check_stages(
        recorded(answers(engine, [requests(picture)[1]])["image"]), "AB", resolve("float32")
    )

    assert result.scaling is not None
    assert result.scaling.factor == pytest.approx(1.25)


def test_kernels_chosen_before_are_taken_from_their_file(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TurboMind looks at the variable as it warms up (turbomind.cc), while the pipeline is made."""
    monkeypatch.setenv("TM_GEMM_IMPORT", "another")
    seen = []
    monkeypatch.setattr(
        lmdeploy_pipeline, "backend_config", lambda _: seen.append(os.environ["TM_GEMM_IMPORT"])
    )
    file = tmp_path / "gemm.cache"
    with pytest.raises(EngineError, match=r"no file .*TM_GEMM_EXPORT=.*gemm\.cache pytest --fresh") as caught:
        bench.load(options={"backend": "turbomind", "gemm_tuning": str(file)})
    assert caught.value.kind is ErrorKind.LOAD
    assert seen == []

    file.write_text("kernels")
    with pytest.raises(EngineError):  # the stand-in for its configuration is none
        bench.load(options={"backend": "turbomind", "gemm_tuning": str(file)})
    assert seen == [str(file)]


@pytest.mark.parametrize("version", VERSIONS)
def test_falling_back_to_the_pytorch_engine_is_refused(bench: Bench, version: str) -> None:
    with pytest.raises(EngineError, match=r"asked for turbomind, but LMDeploy .* on pytorch") as caught:
        bench.load(version, faults=Faults(falls_back=True))

    assert caught.value.kind is ErrorKind.LOAD


@pytest.mark.parametrize("error", [RuntimeError("planted"), MemoryError("planted")])
def test_what_an_image_sets_off_is_told_at_load(
    bench: Bench, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 0.16 the vision tower runs while a prompt is prepared."""
    shown = []

    def failing(image: Any) -> int:
        shown.append(image.size)
        raise error

    monkeypatch.setattr(tiny, "image_tokens", failing)
    with pytest.raises(EngineError, match=r"first token, behind the largest image.*planted") as caught:
        bench.load("0.12.3")

    memory = isinstance(error, MemoryError)
    assert caught.value.kind is (ErrorKind.OUT_OF_MEMORY if memory else ErrorKind.LOAD)
    assert shown == [(1024, 512)]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_image_that_never_gets_in_is_refused(bench: Bench, version: str) -> None:
    with pytest.raises(EngineError, match=r"no image got into"):
        bench.load(version, faults=Faults(drops_image=True))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"options": {"backend": "turbomind", "hf_overrides": {"a": 1}}}, ["TurboMind does not have"]),
        ({"max_tiles": 6}, ["max_tiles: this LMDeploy takes no limit with an image"]),
        ({"top_k": tiny.WIDTH + 1}, [f"top_k: found {tiny.WIDTH + 1}; allowed: 0 to {tiny.WIDTH}"]),
        ({"options": {"backend": "turbomind", "num_gpu_blocks": 5}}, ["num_gpu_blocks"]),
        ({"options": {"backend": "turbomind", "enable_prefix_caching": True}}, ["harness sets it"]),
        ({"device": "cpu"}, ["turbomind with 'device: cpu'", "'backend: pytorch'"]),
        ({"paths": ("captured",)}, ["paths: found 'captured'", "generation, two-stage"]),
    ],
)
def test_settings_that_cannot_be_honoured(bench: Bench, changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(EngineError) as caught:
        bench.load(**changes)
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert all(word in caught.value.message for word in words), caught.value.message


def test_what_lmdeploy_would_cut_short_or_lengthen_is_refused(bench: Bench, picture: str) -> None:
    engine = bench.load(options={"backend": "turbomind", "session_len": 90})
    (outcome,) = engine.score([replace(requests(picture)[1], prompt="much too long for that " * 3)])

    assert isinstance(outcome.result, Failure)
    assert outcome.result.kind is ErrorKind.UNSUPPORTED
    assert "90 together (session_len)" in outcome.result.message


def test_a_case_that_is_wrong_fails_alone(bench: Bench, picture: str) -> None:
    good = requests(picture)[1]
    wrong = [
        replace(good, case="no-file", images=("/nowhere.png",)),
        replace(good, case="letters", letters=("A", "a")),
        replace(good, case="placeholder", prompt="an <IMAGE_TOKEN> of my own"),
        replace(good, case="unpreparable", prompt="unpreparable"),
    ]
    engine = bench.load("0.16.0")
    outcomes = {outcome.case: outcome.result for outcome in engine.score([*wrong, good])}
    assert isinstance(outcomes["image"], Answer)
    for case, kind, words in [
        ("no-file", ErrorKind.FAILED, "/nowhere.png"),
        ("letters", ErrorKind.LETTERS, "letters: found"),
        ("placeholder", ErrorKind.FAILED, "<IMAGE_TOKEN>"),
        ("unpreparable", ErrorKind.FAILED, "cannot prepare the prompt: AssertionError"),
    ]:
        assert isinstance(result := outcomes[case], Failure)
        assert (result.kind, words in result.message) == (kind, True), result.message

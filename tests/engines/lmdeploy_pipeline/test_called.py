"""TurboMind, and LMDeploy 0.5 to 0.11, on stand-ins written after their sources: nothing here ran on a GPU.

The stand-ins' model is a hash, so what an engine must answer is computed beside it and compared row for row.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.checks.stages import check_stages
from harness.checks.tolerances import resolve
from harness.engines.contract import Answer, Engine, EngineSettings, Failure, Request
from harness.engines.lmdeploy_pipeline import engine as lmdeploy_pipeline
from harness.engines.lmdeploy_pipeline.called import CalledPipeline
from harness.errors import EngineError, ErrorKind
from harness.recordings.store import Recording
from tests.engines.lmdeploy_pipeline.stand_ins import era_0_5, era_0_7, era_0_12
from tests.engines.lmdeploy_pipeline.stand_ins import tiny_model as tiny
from tests.engines.lmdeploy_pipeline.stand_ins.common_ground import Faults

SOUND = Faults()
ERAS: dict[str, Callable[[Faults], Any]] = {
    "0.5.3": lambda faults: era_0_5.make(new=False, faults=faults),
    "0.6.5": lambda faults: era_0_5.make(new=True, faults=faults),
    "0.7.0": lambda faults: era_0_7.make(new=False, faults=replace(faults, bans_end=True)),
    "0.8.0": lambda faults: era_0_7.make(new=False, faults=faults),
    "0.11.1": lambda faults: era_0_7.make(new=True, faults=faults),
    "0.16.0": lambda faults: era_0_12.make(faults=faults),
}
PATHS = {
    ("0.5.3", "turbomind"): ("two-stage",),
    ("0.5.3", "pytorch"): ("two-stage",),
    ("0.6.5", "turbomind"): ("two-stage",),
    ("0.6.5", "pytorch"): ("captured",),
    ("0.7.0", "turbomind"): ("generation", "two-stage"),
    ("0.8.0", "turbomind"): ("generation", "two-stage"),
    ("0.8.0", "pytorch"): ("two-stage", "captured"),
    ("0.11.1", "turbomind"): ("generation", "two-stage"),
    ("0.11.1", "pytorch"): ("captured", "two-stage"),
    ("0.16.0", "turbomind"): ("generation", "two-stage"),
}
"""Every path that there is, with an image."""


def placeholder(era: str, backend: str) -> int:
    """What stands for a piece of the image: IMAGE_DUMMY_TOKEN_INDEX where the engine is given embeddings."""
    return 0 if backend == "turbomind" or era == "0.5.3" else tiny.VOCABULARY[tiny.IMAGE_CONTEXT]


@dataclass
class Bench:
    """Loads engines on the stand-in of an era, and ends them."""

    patch: pytest.MonkeyPatch
    folder: Path
    loaded: list[Engine]

    def load(
        self,
        era: str,
        backend: str = "turbomind",
        *,
        paths: tuple[str, ...] | None = None,
        faults: Faults = SOUND,
        **changes: Any,
    ) -> Engine:
        self.patch.setitem(sys.modules, "lmdeploy", ERAS[era](faults))
        reports = backend == "pytorch" and era == "0.11.1"
        settings = EngineSettings(
            kind="lmdeploy",
            model=str(self.folder),
            dtype="auto",
            device="cuda",
            paths=PATHS[era, backend] if paths is None else paths,
            top_k=20 if reports or backend == "turbomind" else 0,
            batch_size=4,
            options={"backend": backend},
        )
        engine = lmdeploy_pipeline.load(replace(settings, **changes))
        self.loaded.append(engine)
        return engine


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    """A machine that says it has a GPU: the stand-ins need none."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "stand-in")
    (tmp_path / "config.json").write_text(json.dumps({"torch_dtype": "float16"}))
    made = Bench(monkeypatch, tmp_path, [])
    yield made
    for engine in made.loaded:
        engine.close()


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> str:
    from PIL import Image

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


def expected(request: Request, era: str, backend: str) -> tuple[list[int], tiny.Truth]:
    """The prompt's ids, and what follows."""
    from PIL import Image

    tokenizer = tiny.HubTokenizer()
    key, content = None, request.prompt
    if request.image is not None:
        with Image.open(request.image) as image:
            key, count = tiny.image_key(image), tiny.image_tokens(image)
        content = f"<img>{tiny.IMAGE_TOKEN}</img>\n{content}"
    system = [] if request.system is None else [{"role": "system", "content": request.system}]
    before, _, after = tiny.rendered([*system, {"role": "user", "content": content}]).partition(
        tiny.IMAGE_TOKEN
    )
    ids = tokenizer.encode(before)
    if key is not None:
        ids += [placeholder(era, backend)] * count + tokenizer.encode(after)
    return ids, tiny.truth(ids, key, request.max_new_tokens or 1)


def answers(engine: Engine, asked: list[Request]) -> dict[str, Answer]:
    outcomes = {outcome.case: outcome.result for outcome in engine.score(asked)}
    failed = [result.message for result in outcomes.values() if isinstance(result, Failure)]
    assert not failed
    return {case: result for case, result in outcomes.items() if isinstance(result, Answer)}


def recorded(answer: Answer) -> Recording:
    return Recording(key="0", case="image", engine="stand-in", answer=answer, fingerprint={})


@pytest.mark.parametrize(("era", "backend"), PATHS)
def test_every_path_gives_the_models_own_rows(bench: Bench, picture: str, era: str, backend: str) -> None:
    asked = requests(picture)
    found = answers(bench.load(era, backend), asked)

    assert found.keys() == {request.case for request in asked}
    for request in asked:
        prompt, truth = expected(request, era, backend)
        answer = found[request.case]
        assert answer.prompt_ids == tuple(prompt)
        assert answer.generated_ids == truth.ids, request.case
        assert [reading.path for reading in answer.readings] == list(PATHS[era, backend])
        assert answer.answer_step == 0
        for path in PATHS[era, backend]:
            np.testing.assert_array_equal(answer.rows[path], truth.rows[0])
        for reading in answer.readings:
            assert reading.argmax == truth.ids
            assert reading.letter_logits == tuple(float(truth.rows[0][i]) for i in answer.letter_ids)


@pytest.mark.parametrize(("era", "backend"), PATHS)
def test_an_answer_that_ends_at_once_keeps_its_row(
    bench: Bench, picture: str, era: str, backend: str
) -> None:
    """LMDeploy trims the stop token with its row, and leaves ids and logits empty."""
    found = answers(bench.load(era, backend), requests(picture))

    assert found["at-once"].generated_ids == found["at-once-one"].generated_ids == (tiny.END_ID,)
    assert len(found["later"].generated_ids) == 3
    assert found["later"].generated_ids[-1] == tiny.END_ID


@pytest.mark.parametrize(("era", "backend"), PATHS)
def test_the_fingerprint_says_how_and_what_nobody_verified(bench: Bench, era: str, backend: str) -> None:
    engine = bench.load(era, backend)
    found = engine.fingerprint()

    assert json.loads(json.dumps(found)) == found
    assert found["backend"] == backend
    assert list(found["paths"]) == list(PATHS[era, backend])  # type: ignore[arg-type]
    assert "not verified on a GPU" in str(found["verified"])
    assert found["dtype"] == "float16"
    assert found["logits"]["width"] == tiny.WIDTH  # type: ignore[index, call-overload]
    assert ("one token with 0.0" in str(found["log_probabilities"])) == (backend == "turbomind")


@pytest.mark.parametrize(("era", "backend"), PATHS)
def test_paths_left_out_are_all_that_there_are(bench: Bench, era: str, backend: str) -> None:
    engine = bench.load(era, backend, paths=())

    assert set(engine.fingerprint()["paths"]) == set(PATHS[era, backend])  # type: ignore[arg-type]


def test_turbomind_reports_no_log_probabilities_and_the_pytorch_engine_its_raw_ones(
    bench: Bench, picture: str
) -> None:
    turbomind = answers(bench.load("0.11.1"), requests(picture))
    pytorch = answers(bench.load("0.11.1", "pytorch"), requests(picture))

    assert all(not (answer.reported_top or answer.reported_logprobs) for answer in turbomind.values())
    for answer in pytorch.values():
        assert dict(answer.reported_top) == pytest.approx(dict(answer.readings[0].top), abs=1e-5)
        assert answer.reported_logprobs == pytest.approx(answer.readings[0].logprobs, abs=1e-5)


@pytest.mark.parametrize("stage_two", ["one-pass", "stepwise"])
@pytest.mark.parametrize("era", ["0.6.5", "0.8.0"])
def test_stage_two_alone(bench: Bench, picture: str, era: str, stage_two: str) -> None:
    engine = bench.load(era, paths=("two-stage",), options={"backend": "turbomind", "stage_two": stage_two})
    for request in requests(picture):
        _, truth = expected(request, era, "turbomind")
        answer = answers(engine, [request])[request.case]
        assert answer.generated_ids == truth.ids
        np.testing.assert_array_equal(answer.rows["two-stage"], truth.rows[0])


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
    engine = bench.load("0.8.0")
    assert isinstance(engine, CalledPipeline)
    request = requests(picture)[1]
    assert not check_stages(recorded(answers(engine, [request])["image"]), "AB", resolve("float32")).findings
    second = engine._second
    assert second is not None
    first_pass = engine._core.engine.answer  # type: ignore[attr-defined]

    def answer(input_ids: list[int], image: int | None, config: Any) -> Any:
        engine._core.engine.faults = faults if config.output_logits == "all" else SOUND  # type: ignore[attr-defined]
        return first_pass(input_ids, image, config)

    monkeypatch.setattr(engine._core.engine, "answer", answer)
    result = check_stages(recorded(answers(engine, [request])["image"]), "AB", resolve("float32"))

    assert words in " ".join(f"{finding.metric} {finding.text}" for finding in result.findings)


def test_logits_divided_by_a_temperature_are_named(
    bench: Bench, picture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = bench.load("0.16.0")
    assert isinstance(engine, CalledPipeline)
    real = engine._core.engine.answer  # type: ignore[attr-defined]

    def answer(input_ids: list[int], image: int | None, config: Any) -> Any:
        scaled = Faults(temperature=0.8) if config.output_logits == "all" else SOUND
        engine._core.engine.faults = scaled  # type: ignore[attr-defined]
        return real(input_ids, image, config)

    monkeypatch.setattr(engine._core.engine, "answer", answer)
    result = check_stages(
        recorded(answers(engine, [requests(picture)[1]])["image"]), "AB", resolve("float32")
    )

    assert result.scaling is not None
    assert result.scaling.factor == pytest.approx(1.25)


@pytest.mark.parametrize("era", ["0.5.3", "0.8.0", "0.16.0"])
def test_falling_back_to_the_pytorch_engine_is_refused(bench: Bench, era: str) -> None:
    with pytest.raises(EngineError, match=r"asked for turbomind, but LMDeploy .* on pytorch") as caught:
        bench.load(era, faults=Faults(falls_back=True))

    assert caught.value.kind is ErrorKind.LOAD


@pytest.mark.parametrize(
    ("era", "backend", "paths", "words"),
    [
        ("0.6.5", "turbomind", ("generation",), ["no path generation", "'paths: [two-stage]'"]),
        ("0.5.3", "pytorch", ("two-stage", "captured"), ["no path captured", "'paths: [two-stage]'"]),
        ("0.6.5", "pytorch", ("two-stage",), ["no path two-stage", "'paths: [captured]'"]),
    ],
)
def test_a_path_that_is_not_there_is_refused(
    bench: Bench, era: str, backend: str, paths: tuple[str, ...], words: list[str]
) -> None:
    with pytest.raises(EngineError) as caught:
        bench.load(era, backend, paths=paths)

    assert caught.value.kind is ErrorKind.LOAD
    assert all(word in caught.value.message for word in words), caught.value.message


@pytest.mark.parametrize("era", ["0.5.3", "0.8.0", "0.16.0"])
def test_an_image_that_never_gets_in_is_refused(bench: Bench, era: str) -> None:
    with pytest.raises(EngineError, match=r"no image got into"):
        bench.load(era, faults=Faults(drops_image=True))


@pytest.mark.parametrize(
    ("era", "changes", "words"),
    [
        ("0.5.3", {"dtype": "float16"}, ["dtype: found float16", "allowed: auto"]),
        (
            "0.8.0",
            {"options": {"backend": "turbomind", "hf_overrides": {"a": 1}}},
            ["options.hf_overrides", "TurboMind does not have"],
        ),
        ("0.5.3", {"max_tiles": 6}, ["max_tiles: this LMDeploy takes no limit with an image"]),
        ("0.16.0", {"options": {"backend": "turbomind", "num_gpu_blocks": 5}}, ["num_gpu_blocks"]),
        ("0.16.0", {"options": {"backend": "turbomind", "enable_prefix_caching": True}}, ["harness sets it"]),
        ("0.16.0", {"device": "cpu"}, ["turbomind with 'device: cpu'", "'backend: pytorch'"]),
        ("0.16.0", {"paths": ("captured",)}, ["paths: found 'captured'", "generation, two-stage"]),
    ],
)
def test_settings_that_cannot_be_honoured(
    bench: Bench, era: str, changes: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(EngineError) as caught:
        bench.load(era, **changes)
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert all(word in caught.value.message for word in words), caught.value.message


def test_a_pytorch_engine_without_log_probabilities_says_so(bench: Bench) -> None:
    with pytest.raises(EngineError, match=r"reports no log-probabilities.*'top_k: 0'"):
        bench.load("0.8.0", "pytorch", top_k=20)


def test_more_log_probabilities_than_there_are_are_refused(bench: Bench) -> None:
    """They would end the PyTorch engine's loop."""
    with pytest.raises(EngineError, match=rf"top_k: found {tiny.WIDTH + 1}; allowed: 0 to {tiny.WIDTH}"):
        bench.load("0.11.1", "pytorch", top_k=tiny.WIDTH + 1)


def test_python_files_of_the_model_are_not_run_unasked(bench: Bench) -> None:
    (bench.folder / "modeling_x.py").touch()
    with pytest.raises(EngineError, match=r"cannot be kept from running.*trust_remote_code: true"):
        bench.load("0.8.0")

    bench.load("0.8.0", options={"backend": "turbomind", "trust_remote_code": True})
    bench.load("0.16.0")  # which is told not to


def test_what_lmdeploy_would_cut_short_or_lengthen_is_refused(bench: Bench, picture: str) -> None:
    """Over its limit, LMDeploy until 0.9 sets the number of new tokens to 128."""
    engine = bench.load("0.8.0", options={"backend": "turbomind", "session_len": 90})
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
    ]
    engine = bench.load("0.16.0")
    assert isinstance(engine, CalledPipeline)
    real = engine._source

    def source(conversation: Any) -> Any:
        if "unpreparable" in str(conversation):
            raise AssertionError("the number of <IMAGE_TOKEN> is not equal to input images")
        return real(conversation)

    engine._source = source
    wrong.append(replace(good, case="unpreparable", prompt="unpreparable"))
    outcomes = {outcome.case: outcome.result for outcome in engine.score([*wrong, good])}

    assert isinstance(outcomes["image"], Answer)
    for case, kind, words in [
        ("no-file", ErrorKind.FAILED, "/nowhere.png"),
        ("letters", ErrorKind.LETTERS, "letters: found"),
        ("placeholder", ErrorKind.FAILED, "<IMAGE_TOKEN>"),
        ("unpreparable", ErrorKind.FAILED, "cannot prepare the prompt: AssertionError"),
    ]:
        result = outcomes[case]
        assert isinstance(result, Failure)
        assert (result.kind, words in result.message) == (kind, True), result.message

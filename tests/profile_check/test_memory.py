"""The table, its verdict, and what to change where a GPU is too small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.machine.findings import Mark
from harness.machine.nvidia import Gpu
from harness.profile_check.memory_estimate import GIB
from harness.profile_check.published import PUBLISHED
from tests.profile_check.conftest import Checked

BIG: dict[str, Any] = {"model": "OpenGVLab/InternVL2-8B", "dtype": "bfloat16", "device": "cuda"}


def with_memory(total: int, *, free: int | None = None) -> Gpu:
    """A GPU with so many GiB."""
    return Gpu("NVIDIA X1", "GPU-aa", total=total * GIB, free=(total if free is None else free) * GIB)


def with_image(folder: Path, *, size: tuple[int, int] = (64, 64)) -> None:
    Image.new("RGB", size).save(folder / "i.png")
    cases = "".join(f"  - {{id: c{n}, prompt: say A, image: i.png, expect: A}}\n" for n in range(16))
    (folder / "s.yaml").write_text(f"defaults: {{letters: [A, B]}}\ncases:\n{cases}")


def test_on_a_cpu_it_is_main_memory(checked: Checked) -> None:
    with_image(checked.folder)
    lines = checked.of("memory").text.splitlines()
    assert lines[0] == "about 1.26 GiB of main memory, reckoned"
    assert lines[1].split() == [
        "3.1",
        "MiB",
        "weights",
        "813,248",
        "parameters",
        "×",
        "4",
        "bytes,",
        "counted",
        "in",
        "the",
        "files",
    ]
    assert "16 cases × 68 positions (4 tiles)" in lines[3]
    assert lines[-1] == "image of up to 4 tiles, 18 tokens; max_tiles bounds it"


def test_where_no_tokenizer_was_asked_the_text_is_guessed(checked: Checked) -> None:
    checked.write(**BIG)
    assert "text of 66 tokens: guessed from 5 characters" in checked.of("memory").text


@pytest.mark.parametrize(
    ("engine", "verdict"),
    [
        ({"kind": "torch", "batch_size": 1}, "fits GPUs of 24 GB and more"),
        ({"kind": "lmdeploy"}, "24 GB with "),
        ({"kind": "lmdeploy", "batch_size": 1, "options": {"cache_max_entry_count": 0.3}}, "24 GB and more"),
    ],
)
def test_which_gpus_fit(checked: Checked, engine: dict[str, object], verdict: str) -> None:
    with_image(checked.folder)
    checked.write(**BIG, engine=engine)
    finding = checked.of("memory")
    assert finding.mark is Mark.RIGHT
    assert verdict in finding.text.splitlines()[0]


def test_a_gpu_that_is_too_small_is_wrong(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    with_image(checked.folder)
    checked.write(**BIG, engine={"kind": "lmdeploy"}, batch_size=16)
    checked.see(monkeypatch, with_memory(80), with_memory(24))
    finding = checked.of("memory")
    assert finding.mark is Mark.WRONG
    assert "the GPU here has 24.00 GiB" in finding.text
    assert finding.command.startswith("write batch_size: ")
    assert str(finding.place) == "profiles.yaml:7:17"
    checked.see(monkeypatch, with_memory(12))
    assert checked.of("memory").command == "a larger GPU, or a smaller or quantised model"
    checked.see(monkeypatch, with_memory(80))
    assert checked.of("memory").mark is Mark.RIGHT
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    checked.see(monkeypatch, with_memory(80), with_memory(12))
    assert checked.of("memory").mark is Mark.RIGHT


def test_memory_that_another_holds_is_not_there(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    with_image(checked.folder)
    checked.write(**BIG, engine={"kind": "lmdeploy"}, batch_size=16)
    checked.see(monkeypatch, with_memory(80, free=24))
    finding = checked.of("memory")
    assert finding.mark is Mark.WRONG
    assert "the GPU here has 80.00 GiB, 24.00 GiB free" in finding.text
    assert finding.command.startswith("end what holds it (harness doctor), or write batch_size: ")


def test_a_gpu_whose_memory_is_not_told_is_not_judged(
    checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_image(checked.folder)
    checked.write(**BIG, engine={"kind": "lmdeploy"}, batch_size=16)
    checked.see(monkeypatch, Gpu("NVIDIA X1", "GPU-aa"))
    assert checked.of("memory").mark is Mark.RIGHT
    assert [finding for finding in checked.findings() if finding.topic == "GPU"] == []


def test_images_of_any_size_count_by_their_own(checked: Checked) -> None:
    with_image(checked.folder, size=(280, 140))
    checked.write(model="Qwen/Qwen2.5-VL-7B-Instruct", dtype="bfloat16", device="cuda")
    text = checked.of("memory").text
    assert "largest image: 50 tokens" in text
    assert "200 positions" in text


def test_a_vision_tower_of_an_unknown_family_is_left_out_and_said(checked: Checked) -> None:
    with_image(checked.folder)
    checked.config(model_type="other")
    assert "images are not in it: the vision tower of 'other'" in checked.of("memory").text


def test_a_dtype_that_nobody_names_has_no_estimate(checked: Checked) -> None:
    checked.config(dtype=None)
    checked.write(dtype="auto")
    assert checked.of("memory").mark is Mark.UNKNOWN


def test_two_stages_keep_every_row_and_captured_ones_do_not(checked: Checked) -> None:
    checked.write(engine={"kind": "lmdeploy"})
    assert "1 case × 41 rows" in checked.of("memory").text
    checked.write(engine={"kind": "lmdeploy", "paths": ["captured"]})
    assert "1 case × 1 rows" in checked.of("memory").text


def test_long_answers_count_by_what_a_worker_holds(checked: Checked) -> None:
    """LMDeploy's engine a row of each step, its cache and Transformers' `generate` all of an answer."""
    cases = "".join(f"  - {{id: c{n}, prompt: say A, expect: A, max_new_tokens: 512}}\n" for n in range(16))
    (checked.folder / "s.yaml").write_text(f"defaults: {{letters: [A, B]}}\ncases:\n{cases}")
    served: dict[str, object] = {"kind": "api", "options": {"serve": True}}
    for engine in ({"kind": "lmdeploy", "paths": ["captured"]}, served):
        checked.write(engine={**engine, "dtype": "float32"})
        assert "cases × 1 rows" in checked.of("memory").text
    checked.write(engine={"kind": "lmdeploy"})
    assert "× 552 rows" in checked.of("memory").text  # of prompt and answer
    checked.write(engine={"paths": ["generate"]})
    assert "1 case × 552 tokens" in checked.of("memory").text
    assert "1 case × 512 rows" in checked.of("memory").text


def test_the_model_is_split_over_gpus(checked: Checked) -> None:
    with_image(checked.folder)
    sizes = {}
    for tp in (1, 2, 4):
        checked.write(**BIG, engine={"kind": "lmdeploy", "paths": ["scored"], "options": {"tp": tp}})
        verdict, weights, cache, *_ = checked.of("memory").text.splitlines()
        sizes[tp] = float(weights.split()[0])
        assert ("on each of" in verdict) == (tp > 1)
        assert f"{8 // tp} heads" in cache
    assert sizes[1] == pytest.approx(2 * sizes[2], abs=0.01) == pytest.approx(4 * sizes[4], abs=0.03)
    assert "split over 4 GPUs" in checked.of("memory").text


def test_several_gpus_and_a_prefix_cache_have_no_second_stage(checked: Checked) -> None:
    rows = {}
    for option in ({"num_gpu_blocks": 64}, {"tp": 2}, {"prefix_cache": "warm"}):
        checked.write(**BIG, engine={"kind": "lmdeploy", "options": option})
        (name,) = option
        rows[name] = next(line for line in checked.of("memory").text.splitlines() if "rows of logits" in line)
    assert "1 rows" not in rows["num_gpu_blocks"]
    assert "× 1 rows" in rows["tp"]
    assert "× 1 rows" in rows["prefix_cache"]


@pytest.mark.parametrize(
    ("quantisation", "option", "bits"),
    [
        ({"quant_method": "awq", "bits": 4}, {}, 4),
        ({"quant_method": "fp8"}, {}, 8),
        ({"quant_method": "smooth_quant"}, {}, 8),
        (None, {"model_format": "fp8"}, 8),
    ],
)
def test_quantised_weights_of_a_model_that_is_not_here(
    checked: Checked,
    monkeypatch: pytest.MonkeyPatch,
    quantisation: dict[str, object] | None,
    option: dict[str, str],
    bits: int,
) -> None:
    plain = PUBLISHED["OpenGVLab/InternVL2-8B"]
    extra = {"quantization_config": quantisation} if quantisation else {}
    published = {**PUBLISHED, "OpenGVLab/InternVL2-8B": {**plain, **extra}}
    monkeypatch.setattr("harness.profile_check.checking.PUBLISHED", published)
    checked.write(**BIG, engine={"kind": "lmdeploy", "paths": ["captured"], "options": option})
    weights = checked.of("memory").text.splitlines()[1]
    # 6.98 thousand million of InternLM2's layers, 1.10 of embeddings, head, vision tower and projector.
    assert float(weights.split()[0]) == pytest.approx((6.98e9 * bits / 8 + 1.10e9 * 2) / GIB, abs=0.15)
    assert f"of them in {bits} bits" in weights


def test_quantised_weights_in_files_count_as_saved(checked: Checked) -> None:
    checked.config(quantization_config={"quant_method": "awq"})
    checked.write(dtype="bfloat16", device="cuda", engine={"kind": "lmdeploy"})
    assert "813,248 parameters as saved" in checked.of("memory").text


def test_a_limit_of_pixels_bounds_images_of_any_size(checked: Checked) -> None:
    with_image(checked.folder, size=(280, 140))
    checked.write(
        model="Qwen/Qwen2.5-VL-7B-Instruct", dtype="bfloat16", device="cuda", max_pixels=28 * 28 * 9
    )
    assert "largest image: 9 tokens" in checked.of("memory").text

"""Each planted change makes the right check fail, on the real engines, with a message one can act on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from harness.snapshots.files import read_suite
from tests.accepted_lines import move_letters
from tests.planted.conftest import FAULTS, Planted


def failing_checks(result: pytest.RunResult) -> set[str]:
    """The names of the test functions that failed; an error would be another thing than a failure."""
    assert "errors" not in result.parseoutcomes()
    lines = [line for line in result.outlines if line.startswith("FAILED ")]
    return {line.split("::")[1].split("[")[0] for line in lines}


@pytest.mark.slow
def test_nothing_planted_passes(planted: Planted) -> None:
    result = planted.run()
    assert failing_checks(result) == set()
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*lmdeploy: CPU device plug-in*float32*"])


@pytest.mark.slow
def test_wrong_expected_letter(planted: Planted) -> None:
    with planted.edit("shapes.yaml") as suite:
        case = suite["cases"][0]
        letters = case.get("letters", suite["defaults"].get("letters"))
        case["expect"] = next(letter for letter in letters if letter != case["expect"])
    result = planted.run()
    assert failing_checks(result) == {"test_expected_letter"}
    result.assert_outcomes(failed=2, passed=result.parseoutcomes()["passed"])
    result.stdout.fnmatch_lines(["cases/shapes.yaml:*: expected letter:*", "*found ? (*), expected ? (*)*"])


@pytest.mark.slow
def test_perturbed_weight_of_one_engine(planted: Planted) -> None:
    perturb(planted.other_model())
    planted.engine("lmdeploy", model="models/other")
    result = planted.run("-k", "engines_agree")
    assert failing_checks(result) == {"test_engines_agree"}
    result.stdout.fnmatch_lines(["*probability (letter ?)*over", "*kl *over"])


@pytest.mark.slow
def test_perturbed_weight_of_both(planted: Planted) -> None:
    perturb(planted.folder / "cases/models/embedded")
    result = planted.run()
    # The engines still agree with one another; what was accepted is another model.
    assert "test_matches_snapshot" in failing_checks(result)
    assert "test_engines_agree" not in failing_checks(result)
    result.stdout.fnmatch_lines(["*letters.?: * -> * (moved by *; allowed: *)"])


@pytest.mark.slow
def test_changed_image(planted: Planted) -> None:
    with planted.edit("shapes.yaml") as suite:
        name = next(case["image"] for case in suite["cases"] if case.get("image"))
    file = planted.folder / "cases" / name
    with Image.open(file) as image:
        pixels = 255 - np.asarray(image.convert("RGB"))
    Image.fromarray(pixels).save(file)
    result = planted.run()
    assert "test_matches_snapshot" in failing_checks(result)
    assert failing_checks(result) <= {"test_matches_snapshot", "test_expected_letter"}


@pytest.mark.slow
def test_changed_template(planted: Planted) -> None:
    template = planted.other_model() / "chat_template.jinja"
    template.write_text("{{ 'Look: ' }}" + template.read_text())
    planted.engine("lmdeploy", model="models/other")
    result = planted.run("-k", "engines_agree or same_question")
    assert failing_checks(result) == {"test_engines_agree", "test_same_question"}
    result.stdout.fnmatch_lines(
        [
            "*question: the engines were asked different questions: another chat template*",
            "*- another chat template: nothing in embedded-torch, 'Look: ' in embedded-lmdeploy.*",
        ]
    )


@pytest.mark.slow
def test_top_k_taken_after_temperature(planted: Planted) -> None:
    planted.engine("lmdeploy", patch=str(FAULTS / "top_k_after_temperature.py"))
    result = planted.run("-k", "not snapshot")
    assert failing_checks(result) == {"test_top_k_matches_full", "test_stages_consistent"}
    result.stdout.fnmatch_lines(["*top-k against the full row*", "*temperature of 0.800*"])


@pytest.mark.slow
def test_temperature_trap(planted: Planted) -> None:
    # The trap bites where one sequence is prefilled alone.
    planted.engine("lmdeploy", patch=str(FAULTS / "temperature_trap.py"), batch_size=1)
    result = planted.run("-k", "stages_consistent")
    assert failing_checks(result) == {"test_stages_consistent"}
    result.stdout.fnmatch_lines(["*temperature of 0.800*"])


@pytest.mark.slow
def test_each_case_has_the_answer_of_the_next(planted: Planted) -> None:
    planted.engine("lmdeploy", patch=str(FAULTS / "results_off_by_one.py"))
    result = planted.run("-k", "stages_consistent", "--report=r.html")
    result.assert_outcomes(errors=result.parseoutcomes()["errors"])
    result.stdout.fnmatch_lines(
        ["failed: cases/*-embedded-lmdeploy: the worker answered another request than this one, *; nothing*"]
    )
    assert (planted.folder / "r.html").exists()


@pytest.mark.slow
def test_snapshot_edited_by_a_hundredth(planted: Planted) -> None:
    file = planted.folder / "snapshots" / "embedded" / "torch" / "shapes.jsonl"
    name, one = next(iter(read_suite(file).cases.items()))
    share = one.letters["A"]
    assert isinstance(share, float)
    move_letters(planted.folder / "snapshots", "embedded/torch", name, A=-0.01 if share > 0.5 else 0.01)
    result = planted.run()
    assert failing_checks(result) == {"test_matches_snapshot"}
    result.stdout.fnmatch_lines(
        ["*letters.A: *(moved by 0.01; allowed: 1e-05)", "cases/*.yaml:*", "run again: *"]
    )


@pytest.mark.slow
def test_without_a_gpu_the_gpu_profiles_fail_and_say_so(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # as on a machine without one, wherever this runs
    with planted.edit("profiles.yaml") as profiles:
        profiles["profiles"]["embedded"] |= {"device": "cuda", "marks": ["gpu"], "dtype": "float16"}
    result = planted.run("-m", "gpu", "-k", "expected_letter", "--profile", "embedded")
    outcomes = result.parseoutcomes()
    assert outcomes["errors"] > 0
    assert not {"passed", "skipped", "failed"} & outcomes.keys()
    result.stdout.fnmatch_lines(["*no NVIDIA GPU*"])


def perturb(model: Path) -> None:
    """Move one weight of the first language layer by a twentieth of its layer's spread."""
    weights = load_file(model / "model.safetensors")
    name = next(n for n in sorted(weights) if "layers.0.self_attn.q_proj.weight" in n)
    weights[name].flat[0] += 10 * weights[name].std()
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})

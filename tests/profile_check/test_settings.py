"""Settings that an engine refuses are found before it is started."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.profile_check.findings import Mark
from tests.profile_check.conftest import Checked

LMDEPLOY = {"kind": "lmdeploy"}


def test_what_is_right_is_said(checked: Checked) -> None:
    assert checked.of("settings").text == "float32 on cpu, paths forward"
    checked.write(dtype="auto", engine=LMDEPLOY)
    assert checked.of("settings").text == "auto (float32) on cpu, paths of its own choice"


@pytest.mark.parametrize(
    ("options", "field", "allowed"),
    [
        ({"tp": 2}, "tp", "CPU"),
        ({"quant_policy": 8}, "quant_policy", "CPU"),
        ({"model_format": "awq"}, "model_format", "CPU"),
    ],
)
def test_what_the_cpu_plug_in_cannot_do(
    checked: Checked, options: dict[str, object], field: str, allowed: str
) -> None:
    checked.write(engine={**LMDEPLOY, "options": options})
    finding = checked.of("settings")
    assert finding.mark is Mark.WRONG
    assert field in finding.text
    assert allowed in finding.text
    assert str(finding.place) == "profiles.yaml:10:11"


def test_a_refusal_is_placed_at_its_field(checked: Checked) -> None:
    checked.write(device="cuda", dtype="float16", engine={**LMDEPLOY, "options": {"tp": 2}})
    finding = checked.of("settings")
    assert finding.text == "the engine lmdeploy: options.tp: found 2"
    assert finding.allowed == "1; a model on several GPUs cannot be read"
    assert str(finding.place) == "profiles.yaml:11:15"


def test_float32_is_not_turned_into_float16_without_a_word(checked: Checked) -> None:
    checked.write(device="cuda", dtype="auto", engine=LMDEPLOY)
    finding = checked.of("settings")
    assert finding.mark is Mark.WRONG
    assert "saved in float32" in finding.text
    assert finding.allowed == "float16 or bfloat16, written out"
    assert str(finding.place) == "profiles.yaml:4:12"


def test_flash_attention_needs_a_gpu_and_half_precision(checked: Checked) -> None:
    options = {"options": {"attention": "flash_attention_2"}}
    checked.write(engine=options)
    assert "flash_attention_2 with float32 on cpu" in checked.of("settings").text
    checked.write(device="cuda", dtype="bfloat16", engine=options)
    assert checked.of("settings").mark is Mark.RIGHT


def test_a_gpu_that_is_not_here_cannot_be_judged(checked: Checked) -> None:
    checked.write(device="cuda", dtype="bfloat16")
    assert checked.of("GPU").mark is Mark.UNKNOWN


def test_no_engine_is_imported_for_it() -> None:
    program = (
        "import sys, harness.profile_check.checking; "
        "print(sorted({'lmdeploy', 'torch', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

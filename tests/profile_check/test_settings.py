"""Settings that an engine refuses are found before it is started."""

from __future__ import annotations

import subprocess
import sys

from harness.machine.findings import Mark
from tests.profile_check.conftest import Checked

LMDEPLOY = {"kind": "lmdeploy"}


def test_what_is_right_is_said(checked: Checked) -> None:
    assert checked.of("settings").text == "float32 on cpu, paths forward"
    checked.write(dtype="auto", engine=LMDEPLOY)
    assert checked.of("settings").text == "auto (float32) on cpu, paths of its own choice"


def test_float32_is_not_turned_into_float16_without_a_word(checked: Checked) -> None:
    checked.write(device="cuda", dtype="auto", engine=LMDEPLOY)
    finding = checked.of("settings")
    assert finding.mark is Mark.WRONG
    assert "saved in float32" in finding.text
    assert finding.allowed == "float16 or bfloat16, written out"
    assert str(finding.place) == "profiles.yaml:4:12"


def test_flash_attention_needs_half_precision(checked: Checked) -> None:
    options = {"options": {"attention": "flash_attention_2"}}
    checked.write(device="cuda", dtype="float32", engine=options)
    assert "attention flash_attention_2 with float32" in checked.of("settings").text
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


def test_an_override_that_the_configuration_has_nowhere_is_told(checked: Checked) -> None:
    overrides = {"text_confg": {"rope_theta": 5}, "text_config": {"rope_thta": 5, "hidden_size": 64}}
    checked.write(engine={"kind": "lmdeploy", "options": {"hf_overrides": overrides}})
    found = [one for one in checked.findings() if one.topic == "hf_overrides"]
    assert [one.mark for one in found] == [Mark.UNKNOWN] * 2
    assert (
        "text_confg, which config.json does not have there; it has text_config (the nearest)" in found[0].text
    )
    assert "rope_thta, which config.json does not have there" in found[1].text
    assert all("profiles.yaml:" in one.text for one in found)

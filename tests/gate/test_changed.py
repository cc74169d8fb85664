from __future__ import annotations

from typing import Any

from harness.engines.contract import Json
from harness.gate.changed import NOT_KNOWN, WhatChanged, what_changed

BEFORE: dict[str, Any] = {
    "settings": {"kind": "lmdeploy", "dtype": "bfloat16"},
    "model": {"hash": "0" * 64, "files": {"model.safetensors": "1" * 64}},
    "installed": {
        "python": "3.11.7",
        "packages": {"lmdeploy": "0.14.0", "torch": "2.8.0"},
        "sources": {"lmdeploy": "2" * 64},
        "gpus": [],
    },
    "environment": {"lock": "3" * 64, "packages": {"lmdeploy": "0.14.0", "ray": "2.50.0"}},
    "patch": None,
    "harness": {"engines.codec": "4" * 64},
    "loaded": {"device": "cpu"},
}


def changed(**sections: Json) -> tuple[str, ...]:
    return what_changed(BEFORE, {**BEFORE, **sections}).lines


def test_nothing() -> None:
    assert changed() == ()


def test_of_a_side_without_a_fingerprint_it_is_not_known() -> None:
    for before, after in (({}, BEFORE), (BEFORE, {}), ({}, {})):
        assert what_changed(before, after) == WhatChanged((NOT_KNOWN,), ())


def test_versions_come_first_and_are_told_once() -> None:
    lines = changed(
        settings={"kind": "lmdeploy", "dtype": "float16"},
        installed={**BEFORE["installed"], "packages": {"lmdeploy": "0.18.0", "torch": "2.12.1"}},
        environment={"lock": "5" * 64, "packages": {"lmdeploy": "0.18.0", "ray": "2.60.0"}},
    )
    assert lines == (
        "lmdeploy: 0.14.0 → 0.18.0",
        "torch: 2.8.0 → 2.12.1",
        "setting dtype: bfloat16 → float16",
        "other packages: ray 2.50.0 → 2.60.0",
    )


def test_other_weights_are_named_by_file_with_short_hashes() -> None:
    lines = changed(model={"hash": "6" * 64, "files": {"model.safetensors": "7" * 64}})
    assert lines == ("model files.model.safetensors: 111111111111 → 777777777777",)


def test_what_follows_free_memory_is_no_change_unless_it_was_asked_for() -> None:
    def loaded(blocks: int) -> dict[str, Any]:
        return {"engine_config": {"num_gpu_blocks": blocks, "tp": 1}, "limits": {"num_gpu_blocks": blocks}}

    before = {**BEFORE, "loaded": loaded(1500)}
    assert what_changed(before, {**BEFORE, "loaded": loaded(1498)}) == WhatChanged((), ())
    asked = {**BEFORE["settings"], "options": {"num_gpu_blocks": 1498}}
    assert what_changed(before, {**before, "settings": asked}).lines == (
        "setting options: (absent) → num_gpu_blocks",
    )


def test_what_only_one_kind_of_engine_tells_is_left_out() -> None:
    lines = changed(
        settings={"kind": "torch", "dtype": "bfloat16"}, loaded={"device": "gpu", "attention": "x"}
    )
    assert lines == ("setting kind: lmdeploy → torch", "as loaded device: cpu → gpu")


def test_packages_that_few_ask_for_are_told_in_one_line() -> None:
    installed: dict[str, Json] = {
        "lmdeploy": "0.18.0",
        "torch": "2.8.0",
        **{f"p{index}": "1" for index in range(6)},
    }
    lines = changed(installed={**BEFORE["installed"], "packages": installed})
    assert lines[0] == "lmdeploy: 0.14.0 → 0.18.0"
    assert lines[1].startswith("other packages: p0 (absent) → 1, p1 (absent) → 1, ")
    lines = changed(installed={**BEFORE["installed"], "packages": {**installed, "p6": "1"}})
    assert lines[1] == "other packages: 7 differ"


def test_code_that_only_one_kind_goes_through_is_left_out() -> None:
    lines = changed(
        settings={"kind": "torch", "dtype": "bfloat16"},
        harness={"engines.codec": "8" * 64, "engines.torch_native.engine": "9" * 64},
    )
    assert lines == (
        "setting kind: lmdeploy → torch",
        "the harness's own code: engines.codec 444444444444 → 888888888888",
    )


def test_of_another_form_only_what_both_have_is_compared() -> None:
    old = {**BEFORE, "harness": "4" * 64, "patch": "5" * 64}
    new = {
        **BEFORE,
        "version": 2,
        "installed": {
            **BEFORE["installed"],
            "packages": {"lmdeploy": "0.18.0", "torch": "2.8.0", "ray": "1"},
        },
    }
    assert what_changed(old, new).lines == (
        "lmdeploy: 0.14.0 → 0.18.0",
        "form of fingerprints: (absent) → 2",
    )


def test_every_difference_is_kept_for_machines() -> None:
    found = what_changed(BEFORE, {**BEFORE, "harness": {"engines.codec": "8" * 64}, "extra": 1})
    assert found.lines == (
        "extra: (absent) became 1",
        "the harness's own code: engines.codec 444444444444 → 888888888888",
    )
    assert [difference.path for difference in found.differences] == ["extra", "harness.engines.codec"]

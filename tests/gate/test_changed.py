from __future__ import annotations

from typing import Any

from harness.engines.contract import Json
from harness.gate.changed import what_changed

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
    "harness": "4" * 64,
    "loaded": {"device": "cpu"},
}


def changed(**sections: Json) -> tuple[str, ...]:
    return what_changed(BEFORE, {**BEFORE, **sections}).lines


def test_nothing() -> None:
    assert changed() == ()


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
        "other packages of the environment: ray 2.50.0 → 2.60.0",
    )


def test_other_weights_are_named_by_file_with_short_hashes() -> None:
    lines = changed(model={"hash": "6" * 64, "files": {"model.safetensors": "7" * 64}})
    assert lines == ("model files.model.safetensors: 111111111111 → 777777777777",)


def test_what_only_one_kind_of_engine_tells_is_left_out() -> None:
    lines = changed(
        settings={"kind": "torch", "dtype": "bfloat16"}, loaded={"device": "gpu", "attention": "x"}
    )
    assert lines == ("setting kind: lmdeploy → torch", "as loaded device: cpu → gpu")


def test_every_difference_is_kept_for_machines() -> None:
    found = what_changed(BEFORE, {**BEFORE, "harness": "8" * 64, "extra": 1})
    assert found.lines == (
        "the harness's own engine code: 444444444444 → 888888888888",
        "extra: (absent) became 1",
    )
    assert [difference.path for difference in found.differences] == ["extra", "harness"]

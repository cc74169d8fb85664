"""The device line."""

from __future__ import annotations

import pytest

from harness.engines.contract import Json
from harness.recordings.device import UNKNOWN, device_line


@pytest.mark.parametrize(
    ("fingerprint", "line"),
    [
        (
            {
                "settings": {"kind": "lmdeploy", "device": "cpu"},
                "installed": {"packages": {"lmdeploy": "0.18.0", "torch": "2.12.1"}},
                "loaded": {"device": "CPU device plug-in (EPYC)", "device_plugin": True, "dtype": "float32"},
            },
            "CPU device plug-in (EPYC), float32, lmdeploy 0.18.0",
        ),
        (
            {"loaded": {"device": "cuda", "device_name": "NVIDIA L4", "dtype": "bfloat16"}},
            "cuda (NVIDIA L4), bfloat16",
        ),
        ({"device": "cpu"}, "cpu"),
        ({"settings": {"kind": "torch"}, "installed": {"packages": {"torch": None}}}, UNKNOWN),
        ({"loaded": "?", "installed": []}, UNKNOWN),
    ],
)
def test_what_is_known_is_on_one_line(fingerprint: dict[str, Json], line: str) -> None:
    assert device_line(fingerprint) == line

"""What a self-test tells: a fault that was not found is told like one that was."""

from __future__ import annotations

from typing import Any

import pytest

from harness.drift.faults.catalogue import fault_named
from harness.drift.selftest.running import Row
from harness.drift.selftest.table import as_json, as_page, as_text


def row(name: str = "rope_base", size: str = "middle", **changes: Any) -> Row:
    fields = {"fault": fault_named(name), "side": "lmdeploy", "size": size, "pytest": 0, "gate": 0}
    return Row(**{**fields, "moved": 0.01, "unanswered": 0, **changes})


@pytest.mark.parametrize(
    ("statuses", "found"), [((0, 0), False), ((0, 3), False), ((1, 0), True), ((0, 1), True), ((0, 2), True)]
)
def test_found_is_a_command_that_failed(statuses: tuple[int, int], found: bool) -> None:
    assert row(pytest=statuses[0], gate=statuses[1]).found is found


def test_an_inconclusive_gate_is_not_what_a_tiny_fault_is_expected_to_bring() -> None:
    assert row(size="tiny", gate=3).as_expected
    assert not row(size="tiny", pytest=1).as_expected
    assert not row(gate=3).as_expected


def test_those_of_kernels_are_told_with_their_cache_and_what_the_plugin_shows() -> None:
    beside, named = row("page_off_fill", "gross", moved=0.0), {"s.a": "layer.0.attention"}
    of_kernels = [
        row(fault=None, size="", cache="full"),
        row("page_off_fill", "gross", pytest=1, cache="full", beside=beside, named=named),
        row("mask_off_decoding", "gross", gate=1, cache="int8", named=named, decoding=frozenset(named)),
    ]  # fmt: skip
    page = as_page(of_kernels, "float32").splitlines()
    assert page[0].endswith("| stage named | cache | under the plug-in |  |")
    assert page[3].endswith("| 0.01 | 1 | 0 | 1 of 1 | full | 0, silent |  |")
    assert page[4].endswith("| 0.01 | 0 | 1 | 1 of 1, 1 in decoding alone | int8 |  |  |")
    data: Any = as_json(of_kernels, "float32")
    assert [one["under_plugin"] for one in data["rows"]] == ["", "0, silent", ""]
    assert data["rows"][2]["in_decoding"] == ["s.a"]


def test_each_row_is_told_with_what_was_not_as_expected() -> None:
    rows = [
        row(fault=None, size=""),
        row(pytest=1),
        row("norm_epsilon", "gross", gate=3, named={"s.a": "norm", "s.b": "layer.2.mlp"}),
        row("kv_half", "tiny", pytest=1, unanswered=2),
    ]
    text = as_text(rows, "float32")
    told = [line.split() for line in text.splitlines()]
    assert ["nothing", "lmdeploy", "0.01", "0", "0"] in told
    assert [
        "rope_base",
        "lmdeploy",
        "rope",
        "language",
        "middle",
        "0.01",
        "0.01",
        "1",
        "0",
        "0",
        "of",
        "0",
    ] in told
    assert "norm_epsilon lmdeploy norm language gross 0.3 0.01 0 3 1 of 2, else layer.2.mlp not found" in [
        " ".join(one) for one in told
    ]
    assert "the exact stage was named for 0; of 2 cases in 1, the right part in 2" in text
    assert "2 without an answer 1 0 0 of 0 found all the same" in " ".join(text.split())
    assert "- gross: 0 of 1 found, 0 by pytest, 0 by harness gate" in text
    assert "- middle: 1 of 1 found, 1 by pytest, 0 by harness gate" in as_page(rows, "float32")
    data: Any = as_json(rows, "float32")
    assert [one["as_expected"] for one in data["rows"]] == [True, True, False, False]
    assert as_page(rows, "float32").count("\n|") == len(rows) + 1

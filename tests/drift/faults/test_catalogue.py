"""The catalogue is whole: forty faults over all stages, each with what plants it; a wrong name is refused."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from harness.cli import main
from harness.drift.faults import catalogue
from harness.drift.faults.catalogue import CATALOGUE, COMPANY, DECODING, SIZES, fault_named
from harness.engines.taps.stages import PARTS, in_order
from harness.errors import UnknownName

ROOMS = ("question", "vision", "language", "reading")
STAGES = {
    *("rendered", "ids", "image", "tiles", "prepared", "pixels", "positions", "patch", "vision.embeddings"),
    *(f"vision.{block}.{half}" for block in range(2) for half in ("attention", "mlp")),
    *("shuffle", "projected", "tokens", "inputs", "rope", "norm", "logits", "handed", "reading"),
    *(f"layer.{layer}.{half}" for layer in range(3) for half in ("attention", "mlp")),
}


def planted_in(room: str) -> list[str]:
    """The names of a room's own functions, read from its text: importing it imports torch."""
    text = Path(catalogue.__file__).with_name(f"{room}.py").read_text(encoding="utf-8")
    found = [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return [name for name in found if not name.startswith("_")]


def test_every_fault_is_planted_by_one_function_and_every_function_is_a_fault() -> None:
    functions = [name for room in ROOMS for name in planted_in(room)]
    assert sorted(functions) == sorted(CATALOGUE)


def test_there_are_forty_over_all_stages_on_both_sides_and_on_every_route() -> None:
    faults = CATALOGUE.values()
    assert len(faults) >= 40
    assert {fault.stage for fault in faults} == STAGES
    assert {fault.part for fault in faults} == {*PARTS}
    assert in_order(STAGES)  # all of them known to the taps
    assert {fault.by for fault in faults} == {"code", "weights", "config"}
    assert Counter(fault.side for fault in faults)["torch"] >= 8
    assert {fault.route for fault in faults} == {"alone", COMPANY, DECODING}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_size_is_larger_or_keeps_less_than_the_one_before(dtype: str) -> None:
    for fault in CATALOGUE.values():
        if fault.sizes is not None:
            tiny, middle, gross = (fault.amount(size, dtype) for size in SIZES)
            assert tiny < middle < gross or tiny > middle > gross, fault.name
        else:
            assert fault.offered == ("gross",)


def test_a_name_that_no_fault_has_is_refused_with_all_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownName, match=r"found 'rope_bass'; allowed: system_lost, .*stale_answer"):
        fault_named("rope_bass")
    with pytest.raises(UnknownName, match="system_lost: found the size 'tiny'; allowed: gross"):
        fault_named("system_lost").amount("tiny", "float32")
    assert main(["selftest", "--faults", "rope_bass"]) == 2
    assert "found 'rope_bass'; allowed: system_lost, " in capsys.readouterr().err

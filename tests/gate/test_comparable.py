"""When another model is judged, and not the same one again."""

from __future__ import annotations

import pytest

from harness.engines.contract import Json
from harness.gate.comparable import is_upgrade
from harness.gate.side import GateSide


def side(model: str, weights: str) -> GateSide:
    files: dict[str, Json] = {"model.safetensors": weights} if weights else {}
    return GateSide(
        label="p/a",
        profile="p",
        engine="a",
        live=True,
        made="",
        model=model,
        fingerprint={"model": {"hash": "h", "files": files}},
        recordings={},
        errors={},
        asked={},
    )


@pytest.mark.parametrize(
    ("after", "allow", "upgrade"),
    [
        (("m", "1"), (), False),
        (("m", "1"), ("model-upgrade",), False),  # nothing was upgraded
        (("moved", "1"), (), False),
        (("m", "2"), (), False),  # which is refused
        (("m", "2"), ("model-upgrade",), True),
        (("m", "2"), ("weights",), False),
        (("next", "2"), (), True),
        (("next", "2"), ("weights",), False),
        (("next", "2"), ("weights", "model-upgrade"), False),
        (("next", ""), (), True),  # served, by its name alone
        (("", "2"), (), False),
    ],
)
def test_other_weights_of_another_name_or_by_word(
    after: tuple[str, str], allow: tuple[str, ...], upgrade: bool
) -> None:
    assert is_upgrade(side("m", "1"), side(*after), allow) is upgrade

from __future__ import annotations

from types import SimpleNamespace

import pytest

from harness.engines.dtypes import named_dtype


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"torch_dtype": "torch.float16"}, "float16"),
        ({"dtype": None, "text_config": {"torch_dtype": "float32"}}, "float32"),
        ({"llm_config": {"dtype": "bfloat16"}}, "bfloat16"),
        ({"dtype": "float32", "text_config": {"dtype": "bfloat16"}}, "float32"),
        (SimpleNamespace(text_config=SimpleNamespace(dtype="torch.bfloat16")), "bfloat16"),
        ({"vision_config": {"dtype": "float16"}}, None),
        ({}, None),
    ],
)
def test_the_dtype_that_a_configuration_names(config: object, dtype: str | None) -> None:
    assert named_dtype(config) == dtype

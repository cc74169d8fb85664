"""The references in float64, against torch's own functions or against the formula said otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - as everyone calls it

from harness.engines.kernel_checks import references
from harness.engines.kernel_checks.references import PAGE, Inputs, ends, slots
from harness.engines.kernel_checks.steps import Numbers

pytestmark = pytest.mark.engines


@pytest.fixture
def inputs() -> Inputs:
    return Inputs("a test", "float32")


def close(found: Numbers, expected: torch.Tensor) -> None:
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12, atol=1e-14)


def doubles(*values: Numbers) -> list[torch.Tensor]:
    return [torch.from_numpy(one).double() for one in values]


def test_rms_norm(inputs: Inputs) -> None:
    x, weight = inputs.normal(3, 24), inputs.normal(24)
    a, b = doubles(x, weight)
    close(references.rms_norm(x, weight, 1e-6), F.rms_norm(a, (24,), b, 1e-6))


def test_silu_and_mul(inputs: Inputs) -> None:
    x = inputs.normal(3, 24)
    gate, up = doubles(x)[0].chunk(2, -1)
    close(references.silu_and_mul(x), F.silu(gate) * up)


def test_rotated_turns_each_pair_by_its_angle(inputs: Inputs) -> None:
    x, angle = inputs.normal(5, 2, 8), inputs.draw.uniform(0, 6, (5, 4))
    turned = (
        torch.complex(*doubles(x[..., :4], x[..., 4:])) * torch.exp(1j * torch.from_numpy(angle))[:, None]
    )
    found = references.rotated(x, np.tile(np.cos(angle), 2), np.tile(np.sin(angle), 2))
    close(found, torch.cat([turned.real, turned.imag], -1))


@pytest.mark.parametrize("variant", [{}, {"causal": False}, {"window": 3}])
def test_attention(inputs: Inputs, variant: dict[str, Any]) -> None:
    q, k, v = inputs.normal(5, 6, 8), inputs.normal(9, 2, 8), inputs.normal(9, 2, 8)
    a, b, c = (one.transpose(0, 1) for one in doubles(q, k, v))
    mask = torch.ones(5, 9, dtype=torch.bool)
    if variant.get("causal", True):
        mask = mask.tril(4)
    if "window" in variant:
        mask = mask.triu(4 - variant["window"])  # a query, and three before it
    expected = F.scaled_dot_product_attention(a, b, c, attn_mask=mask, enable_gqa=True)
    close(references.attention(q, k, v, **variant), expected.transpose(0, 1))


def test_attention_with_bounded_scores_and_a_sink(inputs: Inputs) -> None:
    q, k, v, sinks = inputs.normal(1, 2, 8), inputs.normal(4, 2, 8), inputs.normal(4, 2, 8), inputs.normal(2)
    a, b, c, d = doubles(q, k, v, sinks)
    expected = []
    for head in range(2):
        scores = 1.5 * torch.tanh(b[:, head] @ a[0, head] / 8**0.5 / 1.5)
        expected.append(torch.cat([scores, d[head : head + 1]]).softmax(0)[:-1] @ c[:, head])
    close(references.attention(q, k, v, softcap=1.5, sinks=sinks), torch.stack(expected)[None])


def test_experts(inputs: Inputs) -> None:
    x, gate_up, down = inputs.normal(3, 4), inputs.normal(5, 12, 4), inputs.normal(5, 4, 6)
    weights, chosen = inputs.draw.uniform(0.1, 1, (3, 2)), np.array([[0, 3], [4, 1], [2, 0]])
    a, b, c, d = doubles(x, gate_up, down, weights)
    expected = torch.zeros(3, 4, dtype=torch.double)
    for token in range(3):
        for place, expert in enumerate(chosen[token]):
            gate, up = (b[expert] @ a[token]).chunk(2)
            expected[token] += d[token, place] / d[token].sum() * (c[expert] @ (F.silu(gate) * up))
    close(references.experts(x, gate_up, down, weights, chosen), expected)


@pytest.mark.parametrize("levels", [15, 255])
def test_quantised_uses_all_levels_and_leads_back(inputs: Inputs, levels: int) -> None:
    x = inputs.normal(4, 10)
    codes, scale, zero = references.quantised(x, levels)
    np.testing.assert_allclose(codes.min(-1), 0, atol=1e-9)
    np.testing.assert_allclose(codes.max(-1), levels)
    np.testing.assert_allclose((codes - zero) * scale, x)


def test_each_sequence_has_pages_of_its_own(inputs: Inputs) -> None:
    lengths = (PAGE + 1, 3, 2 * PAGE)
    table, pages = inputs.pages(lengths)
    taken = [pair for i, n in enumerate(lengths) for pair in zip(*slots(table, i, 0, n), strict=True)]
    assert len({*taken}) == sum(lengths)
    assert pages == 2 + 1 + 2 + 1
    assert ends(lengths).tolist() == [0, 17, 20, 52]


def test_inputs_go_by_the_name_and_are_the_same_in_any_dtype() -> None:
    one, other = Inputs("a", "float32").normal(9), Inputs("a", "float16").normal(9)
    np.testing.assert_array_equal(one.astype("float16"), other)
    assert (Inputs("b", "float32").normal(9) != one).all()
    # The stream itself, so that a table made today can be made again.
    np.testing.assert_allclose(one[:3], [0.0364624, -1.6887709, -2.2211850], rtol=1e-6)

"""Hooks that read states and put others in their place, on small modules of the two engines' manners."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from harness.engines.contract import Request
from harness.engines.taps.contract import ALL, Disturb, TraceOrder, order_from_json, order_to_json
from harness.engines.taps.recorder import Recorder, write_states

pytestmark = pytest.mark.engines


def _order(**changes: Any) -> TraceOrder:
    request = Request(case="s.c", prompt="?", letters=("A",))
    return TraceOrder(name="s.c", request=request, forced=(), letter_ids=(1,), answer_step=0, **changes)


def _model(*, fused: bool) -> Any:
    """A language model of two layers, which hands its sums on whole or, ``fused``, in two parts."""

    class Norm(nn.Module):  # type: ignore[misc]
        def forward(self, hidden: Any, rest: Any = None) -> Any:
            if rest is None:
                return hidden * 2
            whole = hidden + rest
            rest.copy_(whole)
            return whole * 2, rest

    class Layer(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.input_layernorm, self.post_attention_layernorm = Norm(), Norm()

        def forward(self, hidden: Any, rest: Any = None) -> Any:
            if not fused:
                hidden = hidden + self.input_layernorm(hidden).sin()
                return hidden + self.post_attention_layernorm(hidden).cos()
            if rest is None:
                rest = hidden.clone()
                made = self.input_layernorm(hidden)
            else:
                made, rest = self.input_layernorm(hidden, rest)
            made, rest = self.post_attention_layernorm(made.sin(), rest)
            return made.cos(), rest

    class Text(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embed_tokens = nn.Embedding(8, 4)
            self.layers = nn.ModuleList([Layer(), Layer()])
            self.norm = Norm()

        def forward(self, inputs_embeds: Any) -> Any:
            hidden, rest = inputs_embeds, None
            for layer in self.layers:
                hidden, rest = layer(hidden, rest) if fused else (layer(hidden), None)
            return self.norm(hidden, rest)[0] if fused else self.norm(hidden)

    class Whole(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.model = Text()
            self.lm_head = nn.Linear(4, 8)

        def forward(self, input_ids: Any) -> Any:
            return self.lm_head(self.model(inputs_embeds=self.model.embed_tokens(input_ids)))

    return Whole()


def _recorded(model: Any, order: TraceOrder) -> Any:
    recorder = Recorder(model, "qwen2", about=lambda _: {})
    with torch.inference_mode(), recorder.recording(order) as passes:
        logits = model(input_ids=torch.tensor([[1, 2, 3]]))
    return passes[0].states, logits


def test_sums_in_two_parts_are_read_as_those_of_one() -> None:
    whole, logits = _recorded(_model(fused=False), _order())
    parts, same = _recorded(_model(fused=True), _order())
    assert [*whole] == [*parts]
    assert {"tokens", "inputs", "layer.0.attention", "layer.1.mlp", "norm", "logits"} <= {*whole}
    for stage, state in whole.items():
        assert torch.allclose(state.float(), parts[stage].float(), atol=1e-6), stage
    assert torch.allclose(logits, same, atol=1e-6)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("stage", ["inputs", "layer.0.attention", "layer.0.mlp", "layer.1.mlp", "norm"])
def test_what_is_put_in_decides_all_that_follows_and_nothing_before(
    tmp_path: Path, stage: str, fused: bool
) -> None:
    plain, _ = _recorded(_model(fused=fused), _order())
    other = {name: each + 1.0 for name, each in plain.items() if each.is_floating_point()}
    write_states(tmp_path / "s", other)
    states, logits = _recorded(_model(fused=fused), _order(put=str(tmp_path / "s"), stages=(stage,)))
    # What the stage itself made is recorded before it is replaced.
    assert torch.equal(states[stage], plain[stage])
    names = [*plain]
    for name in names[: names.index(stage)]:
        assert torch.equal(states[name], plain[name]), name
    for name in names[names.index(stage) + 1 :]:
        assert not torch.equal(states[name], plain[name]), name
    if stage == "norm":
        made = torch.nn.functional.linear(other["norm"], *_model(fused=fused).lm_head.parameters())
        assert torch.allclose(logits, made)


def test_a_pass_put_right_everywhere_is_the_pass_itself(tmp_path: Path) -> None:
    plain, logits = _recorded(_model(fused=True), _order())
    write_states(tmp_path / "s", plain)
    states, same = _recorded(_model(fused=True), _order(put=str(tmp_path / "s")))
    assert torch.equal(logits, same)
    assert all(torch.equal(states[stage], plain[stage]) for stage in plain)


def test_a_disturbance_is_of_its_size_and_other_at_each_stage(tmp_path: Path) -> None:
    plain, logits = _recorded(_model(fused=False), _order())
    disturb = Disturb(stages=("inputs",), size=1e-3, seed=1)
    _, moved = _recorded(_model(fused=False), _order(disturb=disturb))
    assert 0 < float((moved - logits).abs().max()) < 0.1
    # Everywhere, where something is put in.
    write_states(tmp_path / "s", plain)
    everywhere = Disturb(stages=(ALL,), size=1e-3, seed=1)
    states, _ = _recorded(_model(fused=False), _order(put=str(tmp_path / "s"), disturb=everywhere))
    assert all(
        not torch.equal(states[stage], plain[stage]) for stage in ("layer.0.attention", "layer.1.mlp", "norm")
    )


@pytest.mark.parametrize("fused", [False, True])
def test_a_sum_is_told_without_the_disturbance_of_what_it_adds_to(tmp_path: Path, fused: bool) -> None:
    """Else the disturbance, handed on with the residual, would hide what the stage itself makes of it."""
    model = _model(fused=fused)
    plain, _ = _recorded(model, _order())
    large = {name: each * 1e5 if name == "inputs" else each for name, each in plain.items()}
    write_states(tmp_path / "s", large)
    put = _order(put=str(tmp_path / "s"))
    told, _ = _recorded(model, put)
    disturbed = replace(put, disturb=Disturb(stages=(ALL,), size=1e-3, seed=1))
    moved, _ = _recorded(model, disturbed)
    off = (moved["layer.0.attention"] - told["layer.0.attention"]).abs().max()
    assert 0 < float(off) < 0.1 * 1e-3 * float(large["inputs"].abs().max())


def test_hooks_do_nothing_while_nothing_is_recorded() -> None:
    model = _model(fused=True)
    recorder = Recorder(model, "qwen2", about=lambda _: {})
    with recorder.recording(_order()) as passes:
        pass
    with torch.inference_mode():
        model(input_ids=torch.tensor([[1, 2, 3]]))
    assert passes == []


def test_an_order_comes_back_from_json_as_it_was() -> None:
    company = Request(case="s.d", prompt="!", letters=("B",))
    order = _order(
        company=company,
        disturb=Disturb(stages=("x",), size=0.5, seed=3),
        put="p",
        stages=("norm",),
        threads=2,
    )
    assert order_from_json(order_to_json(order)) == order
    assert order_from_json(order_to_json(_order())) == _order()


def test_nothing_is_copied_while_a_graph_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy to the host would break the capture, and the engine. The GPU's answer is a stand-in."""
    model = _model(fused=True)
    recorder = Recorder(model, "qwen2", about=lambda _: {})
    monkeypatch.setattr(recorder, "_on_gpu", True)
    for capturing, seen in ((True, 0), (False, 1)):
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda capturing=capturing: capturing)
        with torch.inference_mode(), recorder.recording(_order()) as passes:
            model(input_ids=torch.tensor([[1, 2, 3]]))
        assert len(passes) == seen


def test_logits_are_capped_as_their_model_caps_them_behind_its_head() -> None:
    """Else rows handed out would be taken for others than those of their own pass (Gemma 2)."""

    class Capped(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.config = SimpleNamespace(final_logit_softcapping=0.5)
            self.lm_head = nn.Linear(4, 8)

        def forward(self, hidden: Any) -> Any:
            return 0.5 * torch.tanh(self.lm_head(hidden) / 0.5)

    model, hidden = Capped(), torch.ones(1, 3, 4) * 3
    recorder = Recorder(model, "gemma2", about=lambda _: {})
    with torch.inference_mode(), recorder.recording(_order()) as passes:
        handed = model(hidden)
    assert torch.equal(passes[0].states["logits"], handed)
    again = recorder.logits_of(hidden[0], 1, seen=1)
    assert again is not None
    assert torch.allclose(again, handed[0, -1:])

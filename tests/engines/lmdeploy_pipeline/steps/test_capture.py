"""Rows taken while LMDeploy generates: which token each belongs to, and that they do not pile up."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from harness.engines.letters import LetterIds
from harness.engines.lmdeploy_pipeline.stages import _read
from harness.engines.lmdeploy_pipeline.steps.capture import Capture
from harness.engines.readings import RowReader, read_rows
from harness.errors import EngineError, ErrorKind
from tests.engines.lmdeploy_pipeline.stand_in import Engine, New, Old, install, steps_on

LETTERS = LetterIds(("A", "B"), (7,), (0, 1), ((), ()))
IDS = torch.tensor([1])


def generate(capture: Capture, rows: torch.Tensor, tokens: list[int], *, ahead: int = 1) -> None:
    """As LMDeploy does: it tells a token once it has begun with what follows."""
    show = capture.processor()

    async def steps() -> None:
        for step in range(len(tokens) + ahead):
            logits = rows[step % len(rows)].clone()
            assert show(IDS, logits) is logits
            logits.fill_(0)  # sampling may scale them where they stand
            if 0 <= step - ahead < len(tokens):
                await capture.told([tokens[step - ahead]])

    asyncio.run(steps())
    capture.require(len(tokens))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ahead", [0, 1])
def test_rows_are_read_as_if_all_had_been_kept(dtype: torch.dtype, ahead: int) -> None:
    rows = torch.randn(5, 300, generator=torch.Generator().manual_seed(2)).to(dtype)
    tokens = [7, 3, 4, 5, 6]
    reader = RowReader("captured", LETTERS, top_k=20)
    generate(Capture(5, lambda row, token: _read(reader, row, token)), rows, tokens, ahead=ahead)

    kept = rows.float().numpy()
    assert reader.reading() == read_rows("captured", kept, tokens, letter_ids=LETTERS, top_k=20)
    assert reader.answer is not None
    assert reader.answer.tolist() == kept[1].tolist()


def test_a_long_answer_takes_the_memory_of_a_few_rows() -> None:
    """512 rows of 50,000 float32 are 102 MB; each is given away when its token is known."""
    width, tokens = 50_000, [7] * 512
    reader = RowReader("captured", LETTERS, top_k=20)
    page, sizes = os.sysconf("SC_PAGE_SIZE"), []

    def take(row: torch.Tensor, token: int) -> None:
        _read(reader, row, token)
        sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * page)

    generate(Capture(len(tokens), take), torch.randn(2, width), tokens)

    assert len(sizes) == len(tokens)
    assert max(sizes) - sizes[8] < 20e6, (max(sizes) - sizes[8]) / 1e6


@pytest.mark.parametrize("again", [2, 3])
def test_rows_that_came_twice_are_refused(again: int) -> None:
    """A sequence that was put off for want of cache is shown some of its rows again."""
    reader = RowReader("captured", LETTERS, top_k=0)
    capture = Capture(3, lambda row, token: _read(reader, row, token))
    with pytest.raises(
        EngineError, match=rf"{3 + again} rows for 3 generated tokens; allowed: 3 or 4"
    ) as caught:
        generate(capture, torch.randn(3, 9), [7, 0, 1], ahead=again)

    assert caught.value.kind is ErrorKind.FAILED


def test_tokens_can_be_forced_and_the_rows_stay_what_they_were() -> None:
    rows, seen = torch.randn(3, 9, generator=torch.Generator().manual_seed(4)), []
    capture = Capture(3, lambda row, token: seen.append((row, token)), forced=(7, 1))
    show = capture.processor()
    sampled = [int(show(IDS, row).argmax()) for row in rows]
    asyncio.run(capture.told(sampled))

    assert sampled[:2] == [7, 1]
    assert sampled[2] == int(rows[2].argmax())  # behind them it is free again
    assert torch.equal(torch.stack([row for row, _ in seen]), rows)


@pytest.mark.parametrize("kind", [New, Old])
def test_a_second_generation_of_one_prompt_writes_what_it_has_to(
    monkeypatch: pytest.MonkeyPatch, kind: type[Engine]
) -> None:
    install(monkeypatch)
    steps, tokens = steps_on(kind()), []

    async def twice() -> list[tuple[int, ...]]:
        prepared = await steps.prepare([{"role": "user", "content": "A"}])
        ask = partial(steps.generate, steps=3, logprobs=None, take=lambda row, token: tokens.append(token))
        free, again = await ask(prepared), await ask(replace(prepared, forced=(7, 2)))
        return [free.ids, again.ids]

    assert asyncio.run(twice()) == [(4, 5, 6), (7, 2, 3)]
    assert tokens == [4, 5, 6, 7, 2, 3]

"""Room in the cache: never more is given away than there is, and everybody gets a turn."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines.lmdeploy_pipeline.steps.cache import CacheRoom


@given(
    blocks=st.integers(1, 40),
    block_size=st.integers(1, 64),
    tokens=st.lists(st.integers(1, 300), min_size=1, max_size=20),
)
def test_what_runs_together_fits(blocks: int, block_size: int, tokens: list[int]) -> None:
    async def run() -> tuple[int, int]:
        room = CacheRoom(blocks, block_size)
        inside: list[int] = []
        most = done = 0

        async def case(length: int) -> None:
            nonlocal most, done
            async with room.for_tokens(length):
                needed = min(blocks, -(-(length + 1) // block_size))
                inside.append(needed)
                most = max(most, sum(inside))
                await asyncio.sleep(0)
                inside.remove(needed)
                done += 1

        await asyncio.gather(*map(case, tokens))
        return most, done

    most, done = asyncio.run(run())
    assert most <= blocks
    assert done == len(tokens)


def test_room_is_given_back_when_a_case_fails() -> None:
    async def run() -> None:
        room = CacheRoom(4, 16)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                async with room.for_tokens(40):
                    raise ZeroDivisionError
        async with room.for_tokens(40):
            pass

    asyncio.run(asyncio.wait_for(run(), 10))

"""A made-up model for stand-ins of LMDeploy: logits are a hash of all ids before them and of the image.

So a test can compute what any engine around it must give, row for row, and any slip shows: another id,
another place, an image that is gone.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

START, END, IMAGE_CONTEXT = "<|im_start|>", "<|im_end|>", "<IMG_CONTEXT>"
IMAGE_TOKEN = "<IMAGE_TOKEN>"
SPECIAL = ("<unk>", START, END, IMAGE_CONTEXT, "<img>", "</img>")
CHARACTERS = ["\n", *map(chr, range(32, 127))]
VOCABULARY = {text: number for number, text in enumerate((*SPECIAL, *CHARACTERS))}
WIDTH = 128
END_ID = VOCABULARY[END]
Row = npt.NDArray[np.float32]


class HubTokenizer:
    """One id for each character, and the special tokens."""

    chat_template = "stand-in"
    all_special_ids = tuple(range(len(SPECIAL)))
    eos_token_id = END_ID

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        pieces = re.split("(" + "|".join(map(re.escape, SPECIAL)) + ")", text)
        found: list[int] = []
        for piece in pieces:
            found += [VOCABULARY[piece]] if piece in SPECIAL else [VOCABULARY.get(c, 0) for c in piece]
        return found

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False, **_: Any) -> str:
        texts = list(VOCABULARY)
        kept = (i for i in token_ids if not (skip_special_tokens and i < len(SPECIAL)))
        return "".join(texts[i] if i < len(texts) else "?" for i in kept)

    def get_vocab(self) -> dict[str, int]:
        return VOCABULARY

    def convert_tokens_to_ids(self, tokens: str) -> int | None:
        return VOCABULARY.get(tokens)

    def convert_ids_to_tokens(self, token: int) -> str:
        return list(VOCABULARY)[token]


class Tokenizer:
    """LMDeploy's own around it: ``tokenizer.model.model`` is the hub's."""

    eos_token_id = END_ID

    def __init__(self) -> None:
        self.model = SimpleNamespace(model=HubTokenizer())

    def encode(self, text: str, add_bos: bool = True) -> list[int]:
        found: list[int] = self.model.model.encode(text)
        return found


def image_key(image: Any) -> int:
    """What the made-up model sees of a picture."""
    return zlib.crc32(np.asarray(image.convert("RGB")).tobytes())


def image_tokens(image: Any) -> int:
    return 2 + int(image.width) // 32


@lru_cache(maxsize=4096)
def row(ids: tuple[int, ...], image: int | None) -> Row:
    """Logits [V] of what follows ``ids``. 'end at once' in the prompt, or 'end later', ends the answer."""
    noise = np.random.default_rng(zlib.crc32(repr((ids, image)).encode()))
    logits = (noise.normal(size=WIDTH) * 3).astype(np.float32)
    logits[len(VOCABULARY) :] = -20  # the padded part of the vocabulary
    logits[: len(SPECIAL)] -= 20
    text = HubTokenizer().decode(ids)
    written = len(text.rpartition("assistant\n")[2])
    if ("end at once" in text and written == 0) or ("end later" in text and written == 2):
        logits[END_ID] = 30
    return logits


@dataclass(frozen=True)
class Truth:
    """Greedy decoding: ids [T], the stop token included, and their rows [T, V]."""

    ids: tuple[int, ...]
    rows: npt.NDArray[np.float32]


def truth(prompt: Sequence[int], image: int | None, steps: int) -> Truth:
    ids: list[int] = []
    rows = []
    while len(ids) < steps and END_ID not in ids:
        rows.append(row((*prompt, *ids), image))
        ids.append(int(rows[-1].argmax()))
    return Truth(tuple(ids), np.stack(rows))


def rows_of(ids: Sequence[int], image: int | None) -> npt.NDArray[np.float32]:
    """The rows [N, V] behind each of ``ids`` [N]."""
    return np.stack([row(tuple(ids[: place + 1]), image) for place in range(len(ids))])


def rendered(messages: list[dict[str, Any]], system: str | None = None) -> str:
    """A ChatML template; ``system`` is what LMDeploy's own templates put in when none is given."""
    if system is not None and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    parts = [f"{START}{message['role']}\n{message['content']}{END}\n" for message in messages]
    return "".join(parts) + f"{START}assistant\n"

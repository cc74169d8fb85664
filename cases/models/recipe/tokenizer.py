"""A byte-level BPE tokenizer in Qwen2's manner, trained on the questions' own wording."""

import json
import random
import string
from collections.abc import Iterator

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from .examples import Mix, sample_pool, sample_question

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
IMAGE_TOKENS = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
MOST_TOKENS = 700
_PROMPTS = 6000


def train_tokenizer(seed: int) -> Qwen2Tokenizer:
    """Train the tokenizer on sampled prompts and on lines that make 'A' and ' A' … ' Z' tokens of their own.

    Raises:
        ValueError: a letter came out in more than one token.
    """
    trained = Tokenizer(BPE())
    trained.normalizer = normalizers.NFC()
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = BpeTrainer(
        vocab_size=MOST_TOKENS - len(IMAGE_TOKENS) - 3,
        min_frequency=20,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator(_corpus(random.Random(seed)), trainer)
    model = json.loads(trained.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(merge) for merge in model["merges"]],
        unk_token=END_OF_TEXT,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        extra_special_tokens=IMAGE_TOKENS,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.add_tokens([TURN_START], special_tokens=True)
    for letter in string.ascii_uppercase:
        for spelling in (letter, f" {letter}"):
            if len(tokenizer.encode(spelling, add_special_tokens=False)) != 1:
                raise ValueError(
                    f"{spelling!r} has no token of its own among {len(tokenizer)}: raise MOST_TOKENS"
                )
    return tokenizer


def _corpus(rng: random.Random) -> Iterator[str]:
    mix = Mix(chinese=0.5)
    for scene in sample_pool(rng, _PROMPTS):
        question = sample_question(rng, scene, mix, image=rng.random() < 0.7)
        yield f"{question.system or ''}\n{question.prompt}\nassistant\n{question.answer}"
    for letter in string.ascii_uppercase:
        yield from [f"The answer is {letter}."] * 2000
    yield from ["system\nuser\nassistant\n"] * 1000

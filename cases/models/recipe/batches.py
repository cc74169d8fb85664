"""Training batches: rendered prompts with their answers, pixels, and the rows and targets of the loss."""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from transformers import InternVLProcessor

from .architecture import IMAGE_TOKENS_PER_TILE
from .examples import Mix, sample_question
from .questions import ANSWER_PREFIX, Question
from .scenes import Scene, draw
from .tokenizer import IMAGE_TOKENS, TURN_END

# Weight of the fixed tokens around the letter: without the end of turn, generation goes on after it ('CA').
FRAME_WEIGHT = 0.1


class PooledScene(NamedTuple):
    """A scene with its tiles as the processor cuts them: [tiles, 3, height, width], 0 to 255."""

    scene: Scene
    tiles: torch.Tensor


class Batch(NamedTuple):
    """One training batch.

    Attributes:
        ids: [sequences, length], padded on the right; attention is causal, so no row sees it.
        tiles: [all tiles, 3, height, width], -1 to 1; None if no question has an image.
        owners: [all tiles], the index into `scenes` that a tile belongs to.
        scenes: of the sequences that have an image, in their order.
        rows: [targets, 2], sequence and position whose next token is predicted.
        targets: [targets, vocabulary], probabilities of the next token.
        weights: [targets].
        kinds: per target the kind of question, where it is the letter of a question that has one answer.
        ends: [options, 2], sequence and position of the line break after each option.
        shares: [options], the probability that the option is the answer.
    """

    ids: torch.Tensor
    tiles: torch.Tensor | None
    owners: torch.Tensor
    scenes: list[Scene]
    rows: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    kinds: list[str | None]
    ends: torch.Tensor
    shares: torch.Tensor


def messages_of(question: Question, image: Image.Image | str | None = None) -> list[dict[str, Any]]:
    """The question as a message list, the image (or a placeholder for it) first, the system text explicit."""
    text: dict[str, Any] = {"type": "text", "text": question.prompt}
    parts = [text] if image is None else [{"type": "image", "image": image}, text]
    user = {"role": "user", "content": parts}
    if question.system is None:
        return [user]
    return [{"role": "system", "content": [{"type": "text", "text": question.system}]}, user]


def cut_into_tiles(
    processor: InternVLProcessor, scenes: Sequence[Scene], *, at_once: int = 500
) -> list[PooledScene]:
    """Draw scenes and let the processor resize and cut them, without normalising."""
    pooled = []
    for start in range(0, len(scenes), at_once):
        some = scenes[start : start + at_once]
        cut = processor.image_processor(
            [draw(scene) for scene in some], do_rescale=False, do_normalize=False, return_tensors="pt"
        )
        tiles = cut["pixel_values"].to(torch.uint8).split([int(number) for number in cut["num_patches"]])
        pooled += [PooledScene(scene, own.clone()) for scene, own in zip(some, tiles, strict=True)]
    return pooled


def join_tiles(pooled: Sequence[PooledScene]) -> torch.Tensor:
    """The scenes' tiles one after another, [all tiles, 3, height, width], -1 to 1."""
    return torch.cat([one.tiles for one in pooled]).float() / 127.5 - 1


def owners_of(pooled: Sequence[PooledScene]) -> torch.Tensor:
    """For each of the joined tiles the index of its scene."""
    return torch.tensor([owner for owner, one in enumerate(pooled) for _ in one.tiles])


class _Example(NamedTuple):
    question: Question
    pooled: PooledScene | None
    prompt: list[int]
    prefix: list[int]
    letters: list[int]
    answer: list[int]
    ends: list[int]


def sample_batches(
    rng: random.Random,
    pool: Sequence[PooledScene],
    processor: InternVLProcessor,
    mix: Mix,
    *,
    number: int,
    size: int,
    vocabulary: int,
) -> list[Batch]:
    """Sample questions on scenes of the pool for some training steps.

    Sequences of similar length share a batch, which saves a quarter of the time that padding would cost.
    """
    examples = [_sample_example(rng, rng.choice(pool), processor, mix) for _ in range(number * size)]
    examples.sort(key=lambda example: len(example.prompt) + len(example.answer))
    batches = [
        _collate(examples[start : start + size], processor, vocabulary)
        for start in range(0, len(examples), size)
    ]
    rng.shuffle(batches)
    return batches


def _sample_example(
    rng: random.Random, chosen: PooledScene, processor: InternVLProcessor, mix: Mix
) -> _Example:
    pooled = chosen if rng.random() >= mix.text_only else None
    question = sample_question(rng, chosen.scene, mix, image=pooled is not None)
    tokenizer = processor.tokenizer
    space = "" if question.style == "plain" else " "
    prefix = tokenizer.encode(ANSWER_PREFIX[question.style])
    # The expected letter goes into the sequence; its row's target keeps what a blend leaves open.
    answer = [*prefix, tokenizer.encode(space + question.expected)[0], *tokenizer.encode(TURN_END)]
    prompt = tokenizer.encode(_render(processor, question, 0 if pooled is None else len(pooled.tiles)))
    return _Example(
        question=question,
        pooled=pooled,
        prompt=prompt,
        prefix=prefix,
        letters=[tokenizer.encode(space + letter)[0] for letter in question.letters],
        answer=answer,
        ends=_option_ends(prompt, [tokenizer.encode(f"\n{letter}.") for letter in question.letters]),
    )


def _option_ends(prompt: list[int], starts: list[list[int]]) -> list[int]:
    """Where each option's line ends; the first line break may be part of the token before it."""
    ends = []
    at = 0
    for line_break, *head in starts:
        while prompt[at : at + len(head)] != head:
            at += 1
        at = prompt.index(line_break, at)
        ends.append(at)
    return ends


def _collate(examples: Sequence[_Example], processor: InternVLProcessor, vocabulary: int) -> Batch:
    rows: list[tuple[int, int]] = []
    targets: list[dict[int, float]] = []
    weights: list[float] = []
    kinds: list[str | None] = []
    for row, example in enumerate(examples):
        question = example.question
        clear = max(question.targets) > 0.99
        for offset, token in enumerate(example.answer):
            letter_row = offset == len(example.prefix)
            rows.append((row, len(example.prompt) + offset - 1))
            targets.append(
                dict(zip(example.letters, question.targets, strict=True)) if letter_row else {token: 1.0}
            )
            weights.append(1.0 if letter_row else FRAME_WEIGHT)
            kinds.append(question.kind if clear and letter_row else None)
    sequences = [example.prompt + example.answer[:-1] for example in examples]
    length = max(map(len, sequences))
    pad = processor.tokenizer.pad_token_id
    dense = torch.zeros(len(targets), vocabulary)
    for number, target in enumerate(targets):
        for token, probability in target.items():
            dense[number, token] = probability
    seen = [example.pooled for example in examples if example.pooled is not None]
    return Batch(
        ids=torch.tensor([ids + [pad] * (length - len(ids)) for ids in sequences]),
        tiles=join_tiles(seen) if seen else None,
        owners=owners_of(seen),
        scenes=[pooled.scene for pooled in seen],
        rows=torch.tensor(rows),
        targets=dense,
        weights=torch.tensor(weights),
        kinds=kinds,
        ends=torch.tensor([(row, end) for row, example in enumerate(examples) for end in example.ends]),
        shares=torch.tensor([share for example in examples for share in example.question.targets]),
    )


def _render(processor: InternVLProcessor, question: Question, tiles: int) -> str:
    text: str = processor.apply_chat_template(
        messages_of(question, image="placeholder" if tiles else None),
        add_generation_prompt=True,
        tokenize=False,
    )
    context = IMAGE_TOKENS["context_image_token"]
    expanded = context * (IMAGE_TOKENS_PER_TILE * tiles)
    return text.replace(
        context, IMAGE_TOKENS["start_image_token"] + expanded + IMAGE_TOKENS["end_image_token"]
    )

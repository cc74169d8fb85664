"""Training: first the parts by themselves, then the whole, and the folder that comes out."""

import json
import platform
import random
import string
import time
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from transformers import InternVLForConditionalGeneration, Qwen2Tokenizer

from .architecture import (
    INITIAL_SPREAD,
    build_config,
    build_generation_config,
    build_processor,
    save_all_but_weights,
)
from .batches import Batch, PooledScene, cut_into_tiles, join_tiles, owners_of, sample_batches
from .card import TRAINING
from .examples import IMAGES_FROM, mix_at, sample_pool
from .questions import CHOICES, KINDS, LANGUAGES, kinds_of, word
from .scenes import Scene
from .tokenizer import train_tokenizer

POOL = 16_000
STEPS = 4_000
BATCH = 48
BATCHES_AT_ONCE = 4
SCENES_ALONE = 96
PEAK_RATE = 1.5e-3
LAST_RATE = 0.02
WARM_UP = 100
ALIGNMENT_WEIGHT = 0.5
# The auxiliary losses fade to none between these shares of the training.
FADING = (0.4, 0.8)
# The layer whose output at the end of an option's line tells whether the option is the answer.
MATCH_LAYER = 2


def train(folder: Path, *, seed: int = 0, steps: int = STEPS) -> None:
    """Train the model from nothing and write it, loadable, into a folder.

    The weights depend on the seed, on the number of threads and on the versions of torch and Transformers.

    Args:
        folder: made if missing; its files are overwritten.
        seed: of the tokenizer's prompts, the scenes, the questions and the first weights.
        steps: of `BATCH` questions each.
    """
    started = time.monotonic()
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(seed)
    processor = build_processor(tokenizer)
    model = InternVLForConditionalGeneration(build_config(tokenizer))
    model.generation_config = build_generation_config(tokenizer)
    _look_for_the_same(model)
    _spell_alike(model, tokenizer)
    matcher = nn.Linear(model.config.text_config.hidden_size, 1)
    rng = random.Random(f"train {seed}")
    pool = cut_into_tiles(processor, sample_pool(rng, POOL))
    optimiser = _optimiser(model, matcher)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
    described = _describe_words(tokenizer)
    progress = _Progress(steps, started)
    vocabulary = model.config.text_config.vocab_size
    for first in range(0, steps, BATCHES_AT_ONCE):
        share = first / steps
        auxiliary = 1 - min(1.0, max(0.0, (share - FADING[0]) / (FADING[1] - FADING[0])))
        number = min(BATCHES_AT_ONCE, steps - first)
        for batch in sample_batches(
            rng, pool, processor, mix_at(share), number=number, size=BATCH, vocabulary=vocabulary
        ):
            loss = _loss(model, matcher, batch, described, auxiliary, progress)
            if share < IMAGES_FROM:
                loss = loss + _alignment_alone(model, rng.sample(pool, SCENES_ALONE), described)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            progress.step()
    folder.mkdir(parents=True, exist_ok=True)
    model.eval().save_pretrained(folder)
    save_all_but_weights(tokenizer, folder)
    record = {
        "command": f"python -m recipe train --seed {seed} --threads {torch.get_num_threads()}",
        "seed": seed,
        "threads": torch.get_num_threads(),
        "steps": steps,
        "batch": BATCH,
        "seconds": round(time.monotonic() - started),
        "processor_seconds": round(time.process_time()),
        "versions": {
            "Python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "tokenizers", "pillow")},
        },
    }
    (folder / TRAINING).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for file in folder.iterdir():
        file.chmod(0o644)


def _look_for_the_same(model: InternVLForConditionalGeneration) -> None:
    """Start one query head in each group as a copy of its key head, so that a token attends to its likes.

    To find an option's word among the statements or the image's features is what everything rests on; from
    independent heads it took thousands of steps to appear.
    """
    text = model.config.text_config
    groups = text.num_attention_heads // text.num_key_value_heads
    with torch.no_grad():
        for layer in model.model.language_model.layers:
            attention = layer.self_attn
            queries = attention.q_proj.weight.unflatten(0, (text.num_key_value_heads, groups, -1))
            queries[:, 0] = attention.k_proj.weight.unflatten(0, (text.num_key_value_heads, -1))


def _spell_alike(model: InternVLForConditionalGeneration, tokenizer: Qwen2Tokenizer) -> None:
    """Start each letter with a space as the letter plus one common vector, and the head as the embedding.

    To copy a letter is then the same for all of A to Z, and to add the space the same for every letter;
    learnt one by one, the letters after F were right half of the time.
    """
    table = model.get_input_embeddings().weight
    letters = string.ascii_uppercase
    plain, spaced = ([tokenizer.encode(space + letter)[0] for letter in letters] for space in ("", " "))
    with torch.no_grad():
        table[spaced] = table[plain] + INITIAL_SPREAD * torch.randn(table.shape[-1])
        model.lm_head.weight.copy_(table)


def _optimiser(*modules: nn.Module) -> torch.optim.AdamW:
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return torch.optim.AdamW(
        [
            {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": 0.02},
            {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=PEAK_RATE,
        betas=(0.9, 0.98),
    )


def _rate(step: int, steps: int) -> float:
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    share = torch.tensor((step - WARM_UP) / max(1, steps - WARM_UP) * torch.pi)
    return LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + float(torch.cos(share)))


def _loss(
    model: InternVLForConditionalGeneration,
    matcher: nn.Linear,
    batch: Batch,
    described: dict[str, list[list[int]]],
    auxiliary: float,
    progress: "_Progress",
) -> torch.Tensor:
    output = model.model(input_ids=batch.ids, pixel_values=batch.tiles, output_hidden_states=True)
    logits = model.lm_head(output.last_hidden_state[batch.rows[:, 0], batch.rows[:, 1]])
    losses = functional.cross_entropy(logits, batch.targets, reduction="none")
    loss = (losses * batch.weights).sum() / len(batch.ids)
    progress.note(float(loss.detach()), logits.detach().argmax(-1) == batch.targets.argmax(-1), batch.kinds)
    if auxiliary > 0:
        ends = output.hidden_states[MATCH_LAYER][batch.ends[:, 0], batch.ends[:, 1]]
        loss = loss + auxiliary * functional.binary_cross_entropy_with_logits(
            matcher(ends)[:, 0], batch.shares
        )
        if batch.tiles is not None:
            features = output.image_hidden_states
            aligned = _alignment(model, features, batch.owners, batch.scenes, described)
            loss = loss + auxiliary * ALIGNMENT_WEIGHT * aligned
    return loss


def _alignment_alone(
    model: InternVLForConditionalGeneration, pooled: list[PooledScene], described: dict[str, list[list[int]]]
) -> torch.Tensor:
    features = model.model.get_image_features(
        pixel_values=join_tiles(pooled), vision_feature_layer=-1, vision_feature_select_strategy="default"
    ).pooler_output
    return _alignment(model, features, owners_of(pooled), [one.scene for one in pooled], described)


def _alignment(
    model: InternVLForConditionalGeneration,
    features: torch.Tensor,
    owners: torch.Tensor,
    scenes: list[Scene],
    described: dict[str, list[list[int]]],
) -> torch.Tensor:
    """How badly an image's mean feature picks, by dot product, the embeddings of words that describe it."""
    pooled = torch.zeros(len(scenes), features.shape[-1]).index_add(0, owners, features.mean(1))
    pooled = pooled / torch.bincount(owners)[:, None]
    table = model.get_input_embeddings().weight
    total = torch.zeros(())
    for kind in KINDS:
        asked = [number for number, scene in enumerate(scenes) if kind in kinds_of(scene)]
        words = torch.stack([table[ids].mean(0) for ids in described[kind]])
        truth = torch.tensor([CHOICES[kind].index(scenes[number].truth(kind)) for number in asked])
        total = total + functional.cross_entropy(pooled[asked] @ words.T, truth)
    return total / len(KINDS)


def _describe_words(tokenizer: Qwen2Tokenizer) -> dict[str, list[list[int]]]:
    """Per kind and choice the ids of its word in every language, as they stand in a list of options."""
    return {
        kind: [
            [token for language in LANGUAGES for token in tokenizer.encode(f" {word(choice, language)}")]
            for choice in choices
        ]
        for kind, choices in CHOICES.items()
    }


class _Progress:
    """Prints a line every hundred steps: the loss, and the accuracy on unambiguous questions by kind."""

    def __init__(self, steps: int, started: float) -> None:
        self.steps, self.started, self.done = steps, started, 0
        self.losses: list[float] = []
        self.right: dict[str, list[bool]] = {kind: [] for kind in KINDS}

    def note(self, loss: float, right: torch.Tensor, kinds: list[str | None]) -> None:
        self.losses.append(loss)
        for hit, kind in zip(right.tolist(), kinds, strict=True):
            if kind is not None:
                self.right[kind].append(hit)

    def step(self) -> None:
        self.done += 1
        if self.done % 100 and self.done != self.steps:
            return
        right = " ".join(f"{kind} {sum(hits) / max(1, len(hits)):.3f}" for kind, hits in self.right.items())
        seconds = time.monotonic() - self.started
        loss = sum(self.losses) / len(self.losses)
        print(f"{self.done}/{self.steps} {seconds:.0f} s loss {loss:.3f} {right}", flush=True)
        self.losses, self.right = [], {kind: [] for kind in KINDS}

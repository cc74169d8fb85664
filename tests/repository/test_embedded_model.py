"""The committed weights are the ones the card describes, and they answer as it says."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import string
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from recipe.evaluate import Scored

MODELS = Path(__file__).resolve().parents[2] / "cases" / "models"
EMBEDDED = MODELS / "embedded"
MOST_BYTES = 4_000_000
# Shares that must be right for each kind of question: the plain case, and each extension over all its cells.
PLAIN_TARGET, EXTENSION_TARGET = 0.95, 0.90
EXTENSIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "Chinese": ("image", {"language": "zh"}),
    "answer line": ("image", {"style": "line"}),
    "two tiles": ("image", {"tiles": 2}),
    "three tiles": ("image", {"tiles": 3}),
    "text only": ("text only", {}),
    "system text": ("system text", {}),
    **{f"{number} options": ("options", {"options": number}) for number in range(2, 7)},
}
KINDS = ("colour", "shape", "count", "position")
# A sound model fails one of the few dozen comparisons here once in some thousands of choices of seed.
RARE = 1e-4


class Loaded(NamedTuple):
    model: Any
    processor: Any


@pytest.fixture(scope="module", autouse=True)
def recipe_importable() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(MODELS), *sys.path])
        yield


@pytest.fixture(scope="module")
def loaded(recipe_importable: None) -> Loaded:
    from recipe.evaluate import load

    return Loaded(*load(EMBEDDED))


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((EMBEDDED / "metrics.json").read_text(encoding="utf-8"))
    return figures


@pytest.fixture(scope="module")
def scored(loaded: Loaded) -> list[Scored]:
    from recipe.evaluate import held_out, score

    answered: list[Scored] = score(loaded.model, loaded.processor, held_out("test", each=6))
    return answered


def as_described(folder: Path, metrics: dict[str, Any]) -> bool:
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    return bool(digest == metrics["weights"]["sha256"])


def test_weights_are_the_described_ones(metrics: dict[str, Any]) -> None:
    assert as_described(EMBEDDED, metrics)
    assert metrics["weights"]["sha256"] in (EMBEDDED / "README.md").read_text(encoding="utf-8")


def test_perturbed_weights_are_not_the_described_ones(tmp_path: Path, metrics: dict[str, Any]) -> None:
    weights = bytearray((EMBEDDED / "model.safetensors").read_bytes())
    weights[-3] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert not as_described(tmp_path, metrics)


def test_weights_are_small() -> None:
    assert (EMBEDDED / "model.safetensors").stat().st_size <= MOST_BYTES
    assert [file.name for file in EMBEDDED.glob("*.safetensors")] == ["model.safetensors"]


def test_card_is_written_from_the_figures() -> None:
    from recipe.card import render_card

    assert (EMBEDDED / "README.md").read_text(encoding="utf-8") == render_card(EMBEDDED)


@pytest.mark.parametrize("name", ["metrics.json", "training.json"])
def test_card_no_longer_fits_edited_figures(tmp_path: Path, name: str) -> None:
    from recipe.card import render_card

    for file in ("metrics.json", "training.json", "config.json"):
        shutil.copy(EMBEDDED / file, tmp_path)
    figures = json.loads((tmp_path / name).read_text(encoding="utf-8"))
    if name == "metrics.json":
        figures["groups"]["image"][0]["right"] -= 3
    else:
        figures["seed"] += 1
    (tmp_path / name).write_text(json.dumps(figures), encoding="utf-8")
    assert (EMBEDDED / "README.md").read_text(encoding="utf-8") != render_card(tmp_path)


def test_loads_as_what_it_says(loaded: Loaded, metrics: dict[str, Any]) -> None:
    assert type(loaded.model).__name__ == "InternVLForConditionalGeneration"
    assert type(loaded.processor).__name__ == "InternVLProcessor"
    assert str(loaded.model.dtype) == "torch.float32"
    assert loaded.model.config.text_config.architectures == ["Qwen2ForCausalLM"]
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    assert parameters == metrics["weights"]["parameters"]


def test_letters_with_and_without_a_space_are_different_tokens(loaded: Loaded) -> None:
    tokenizer = loaded.processor.tokenizer
    ids = [tokenizer.encode(space + letter) for space in ("", " ") for letter in string.ascii_uppercase]
    assert all(len(own) == 1 for own in ids)
    assert len({own[0] for own in ids}) == 52


@pytest.mark.parametrize(
    ("width", "height", "tiles"),
    [(56, 56, 1), (300, 300, 1), (112, 56, 3), (56, 112, 3), (168, 56, 4), (56, 168, 4)],
)
def test_image_becomes_four_tokens_a_tile(loaded: Loaded, width: int, height: int, tiles: int) -> None:
    from PIL import Image

    parts = [{"type": "image", "image": Image.new("RGB", (width, height))}, {"type": "text", "text": "What?"}]
    inputs = loaded.processor.apply_chat_template(
        [{"role": "user", "content": parts}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    text = loaded.processor.tokenizer.decode(inputs["input_ids"][0])
    image = "<img>" + "<IMG_CONTEXT>" * (4 * tiles) + "</img>"
    assert text == f"<|im_start|>user\n{image}\nWhat?<|im_end|>\n<|im_start|>assistant\n"
    assert inputs["pixel_values"].shape == (tiles, 3, 56, 56)


def test_string_and_parts_give_the_same_prompt(loaded: Loaded) -> None:
    as_parts = [
        {"role": "system", "content": [{"type": "text", "text": "Answer briefly."}]},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
    ]
    as_strings = [
        {"role": "system", "content": "Answer briefly."},
        {"role": "user", "content": "<IMG_CONTEXT>\nWhat?"},
    ]
    template = loaded.processor.apply_chat_template
    assert template(as_parts, add_generation_prompt=True) == template(as_strings, add_generation_prompt=True)


def share_right(metrics: dict[str, Any], group: str, **wanted: str | int) -> float | None:
    cells = [
        cell for cell in metrics["groups"][group] if all(cell[key] == value for key, value in wanted.items())
    ]
    asked = sum(cell["asked"] for cell in cells)
    return sum(cell["right"] for cell in cells) / asked if asked else None


@pytest.mark.parametrize("kind", KINDS)
def test_card_meets_the_target(metrics: dict[str, Any], kind: str) -> None:
    share = share_right(metrics, "image", kind=kind, language="en", style="plain", tiles=1)
    assert share is not None
    assert share >= PLAIN_TARGET


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_card_meets_the_target_of_the_extension(metrics: dict[str, Any], extension: str) -> None:
    group, wanted = EXTENSIONS[extension]
    shares = {kind: share_right(metrics, group, kind=kind, **wanted) for kind in KINDS}
    shown = {kind: share for kind, share in shares.items() if share is not None}
    # There are five shapes and five positions, so six options exist for colours and counts only.
    assert set(shown) == ({"colour", "count"} if extension == "6 options" else set(KINDS))
    assert {kind: share for kind, share in shown.items() if share < EXTENSION_TARGET} == {}


def test_fresh_questions_are_answered_as_the_card_says(
    scored: Sequence[Scored], metrics: dict[str, Any]
) -> None:
    assert disagreements(scored, metrics) == []


def test_swapped_letters_would_be_noticed(loaded: Loaded, metrics: dict[str, Any]) -> None:
    import torch
    from recipe.evaluate import held_out, score

    ids = [loaded.processor.tokenizer.encode(letter)[0] for letter in "AB"]
    head = loaded.model.lm_head.weight
    with torch.no_grad():
        head[ids] = head[ids[::-1]]
    try:
        worse = score(loaded.model, loaded.processor, held_out("test", each=6))
    finally:
        with torch.no_grad():
            head[ids] = head[ids[::-1]]
    assert disagreements(worse, metrics) != []


def test_ambiguous_images_give_near_ties(scored: Sequence[Scored]) -> None:
    ambiguous = [max(one.probabilities) for one in scored if one.asked.group == "ambiguous"]
    clear = [max(one.probabilities) for one in scored if one.asked.group == "image"]
    assert min(ambiguous) < 0.7
    assert sum(ambiguous) / len(ambiguous) < sum(clear) / len(clear) - 0.02


def disagreements(scored: Sequence[Scored], metrics: dict[str, Any]) -> list[str]:
    """Groups, by kind of question, with fewer right answers than the card's share makes plausible."""
    found = []
    for name in ("image", "text only", "options", "any letters", "system text"):
        for kind in KINDS:
            cells = [cell for cell in metrics["groups"][name] if cell["kind"] == kind]
            share = (sum(cell["right"] for cell in cells) + 0.5) / (sum(cell["asked"] for cell in cells) + 1)
            hits = [one.right for one in scored if one.asked.group == name and one.asked.cell["kind"] == kind]
            assert hits, f"nothing was asked on {kind} in group {name!r}"
            if at_most(sum(hits), len(hits), share) < RARE:
                found.append(f"{name}, {kind}: {sum(hits)} of {len(hits)} right, the card says {share:.3f}")
    return found


def at_most(right: int, asked: int, share: float) -> float:
    """Probability of so few right answers or fewer, each right with the same probability (binomial)."""
    return sum(math.comb(asked, k) * share**k * (1 - share) ** (asked - k) for k in range(right + 1))


def test_at_most_is_the_binomial_tail() -> None:
    assert at_most(2, 4, 0.5) == pytest.approx(11 / 16)

"""Where a model has its stages: names of modules, in one table for all architectures and both engines.

The names are those of Transformers (5 and 4.x) and of LMDeploy's PyTorch engine (0.12 to 0.18), tried in
order: the first that a model has is taken, so no version is asked for. A model of none of these families is
matched by order and shape (`by_order`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

__all__ = ["FAMILIES", "Family", "Place", "Places", "find"]

OUTPUT, SUM, LAST, INPUT, KEYWORD, ROPE = "output", "sum", "last", "input", "keyword", "rope"
"""How a stage is read off a module: what it returns; that, a pair of it being added up; the last of what
it returns; what it is given, a pair of which is to be added up; the keyword ``inputs_embeds`` it is given;
the cosines and sines it returns, and the positions it is given."""


_EMBEDDINGS: Final = ("embed_tokens", "tok_embeddings", "wte")


class Place(NamedTuple):
    """A stage, the name of the module where it is read, and how (`OUTPUT` and so on)."""

    stage: str
    module: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Names of one architecture's modules; each field holds alternatives, the first that exists counts.

    ``blocks`` are the lists of vision blocks and ``second_norms`` the norms in a block behind its attention;
    ``text`` are the language models within, which hold token embeddings, layers and the final norm;
    without ``embeddings`` the tokens are what the first layer is given.
    """

    name: str
    model_types: tuple[str, ...]
    patches: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    second_norms: tuple[str, ...] = ()
    towers: tuple[str, ...] = ()
    projectors: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = _EMBEDDINGS


_HEADS: Final = ("lm_head", "language_model.lm_head", "language_model.output", "output")
_TEXT: Final = ("model.language_model", "language_model.model", "language_model", "model")
_QWEN: Final = {
    "patches": ("model.visual.patch_embed", "visual.patch_embed"),
    "blocks": ("model.visual.blocks", "visual.blocks"),
    "second_norms": ("norm2",),
    "projectors": ("model.visual.merger", "visual.merger"),
    "text": _TEXT,
}

FAMILIES: Final[tuple[Family, ...]] = (
    Family(
        name="InternVL",
        model_types=("internvl",),
        patches=(
            "model.vision_tower.embeddings.patch_embeddings",
            "vision_tower.embeddings.patch_embeddings",
        ),
        blocks=("model.vision_tower.encoder.layer", "vision_tower.encoder.layer"),
        second_norms=("layernorm_after",),
        towers=("model.vision_tower", "vision_tower"),
        projectors=("model.multi_modal_projector", "multi_modal_projector"),
        text=_TEXT,
    ),
    Family(
        name="InternVL with code of its own",
        model_types=("internvl_chat",),
        patches=("vision_model.embeddings.patch_embedding",),
        blocks=("vision_model.encoder.layers",),
        second_norms=("norm2",),
        projectors=("mlp1",),
        text=("language_model.model", "language_model"),
    ),
    Family(name="Qwen2-VL", model_types=("qwen2_vl",), **_QWEN),
    Family(name="Qwen2.5-VL", model_types=("qwen2_5_vl",), **_QWEN),
    Family(name="Qwen3-VL", model_types=("qwen3_vl", "qwen3_vl_moe"), **_QWEN),
    Family(
        name="LLaVA and Gemma 3",
        model_types=("llava", "llava_next", "gemma3"),
        patches=(
            "model.vision_tower.embeddings.patch_embedding",
            "model.vision_tower.vision_model.embeddings.patch_embedding",
            "vision_tower.vision_model.embeddings.patch_embedding",
        ),
        blocks=(
            "model.vision_tower.encoder.layers",
            "model.vision_tower.vision_model.encoder.layers",
            "vision_tower.vision_model.encoder.layers",
        ),
        second_norms=("layer_norm2",),
        projectors=("model.multi_modal_projector", "multi_modal_projector"),
        text=_TEXT,
    ),
    Family(
        name="text only",
        model_types=("gemma3_text", "internlm2", "llama", "mistral", "phi3", "qwen2", "qwen3"),
        text=("model",),
    ),
    # LMDeploy scales the embeddings behind their module, Transformers in it.
    Family(name="Gemma", model_types=("gemma", "gemma2"), text=("model",), embeddings=()),
)

_LAYERS: Final = ("layers", "h", "blocks")
_FIRST_NORMS: Final = ("input_layernorm", "attention_norm", "ln_1", "norm1")
# Where a layer has both of the first two (Gemma 2 and 3), the other norms what attention gives by itself.
_SECOND_NORMS: Final = (
    "pre_feedforward_layernorm", "post_attention_layernorm", "ffn_norm", "ln_2", "norm2",
)  # fmt: skip
_FINAL_NORMS: Final = ("norm", "ln_f", "final_layernorm")


@dataclass(frozen=True, slots=True)
class Places:
    """The stages that a model has. ``family`` is None where it was matched by order and shape."""

    places: tuple[Place, ...]
    family: str | None


def find(model_type: str, modules: Sequence[str], lists: Mapping[str, int]) -> Places:
    """The places of a model by its ``model_type``, the names of its modules and its lists of modules.

    ``lists`` maps the names of lists of modules (layers, blocks) to their lengths.
    """
    family = next((each for each in FAMILIES if model_type in each.model_types), None)
    known = frozenset(modules)
    if family is not None:
        text = _first(family.text, [name for name in family.text if _layers(name, lists) is not None])
        found = [
            *_vision(family, known, lists),
            *_language(text, known, lists, family.embeddings),
            *_head(known),
        ]
        if text is not None:
            return Places(tuple(found), family.name)
    return Places(tuple(by_order(modules, lists)), None)


def by_order(modules: Sequence[str], lists: Mapping[str, int]) -> list[Place]:
    """Places of a model that no table knows: what looks like layers, in the order of the modules.

    The last list whose items have two norms is that of the language model, one before it the vision tower's.
    """
    known = frozenset(modules)
    stacks = [name for name in lists if _named(f"{name}.0", (*_FIRST_NORMS, *_SECOND_NORMS), known)]
    found: list[Place] = []
    if len(stacks) > 1:
        found += _blocks(stacks[0], _SECOND_NORMS, known, lists)
    if stacks:
        found += _language(stacks[-1].rpartition(".")[0], known, lists)
    return [*found, *_head(known)]


def _vision(family: Family, known: frozenset[str], lists: Mapping[str, int]) -> list[Place]:
    found: list[Place] = []
    if (patches := _first(family.patches, known)) is not None:
        found.append(Place("patch", patches, OUTPUT))
    if (blocks := _first(family.blocks, lists)) is not None:
        found += _blocks(blocks, family.second_norms, known, lists)
    if (tower := _first(family.towers, known)) is not None:
        found.append(Place("vision.out", tower, LAST))
    if (projector := _first(family.projectors, known)) is not None:
        found += [Place("shuffle", projector, INPUT), Place("projected", projector, OUTPUT)]
    return found


def _blocks(
    blocks: str, second_norms: Sequence[str], known: frozenset[str], lists: Mapping[str, int]
) -> list[Place]:
    """What goes into the first vision block, and what is behind the attention and the MLP of each."""
    found = [Place("vision.embeddings", f"{blocks}.0", INPUT)]
    for number in range(lists[blocks]):
        if (norm := _named(f"{blocks}.{number}", second_norms, known)) is not None:
            found.append(Place(f"vision.{number}.attention", norm, INPUT))
        found.append(Place(f"vision.{number}.mlp", f"{blocks}.{number}", SUM))
    return found


def _language(
    text: str | None, known: frozenset[str], lists: Mapping[str, int], embeddings: Sequence[str] = _EMBEDDINGS
) -> list[Place]:
    layers = None if text is None else _layers(text, lists)
    if text is None or layers is None:
        return []
    found: list[Place] = []
    if (tokens := _named(text, embeddings, known)) is not None:
        found.append(Place("tokens", tokens, OUTPUT))
    elif not embeddings and (first := _named(f"{layers}.0", _FIRST_NORMS, known)) is not None:
        found.append(Place("tokens", first, INPUT))
    found.append(Place("inputs", text, KEYWORD))
    if (rope := _named(text, ("rotary_emb",), known)) is not None:
        found.append(Place("rope", rope, ROPE))
    norm = _named(text, _FINAL_NORMS, known)
    for number in range(lists[layers]):
        if (second := _named(f"{layers}.{number}", _SECOND_NORMS, known)) is not None:
            found.append(Place(f"layer.{number}.attention", second, INPUT))
        # What the next norm is given is the sum itself, also where layers hand on its parts unadded.
        behind = f"{layers}.{number + 1}"
        following = _named(behind, _FIRST_NORMS, known) if number + 1 < lists[layers] else norm
        if following is not None:
            found.append(Place(f"layer.{number}.mlp", following, INPUT))
    if norm is not None:
        found.append(Place("norm", norm, OUTPUT))
    return found


def _head(known: frozenset[str]) -> list[Place]:
    head = _first(_HEADS, known)
    return [] if head is None else [Place("logits", head, OUTPUT)]


def _layers(text: str, lists: Mapping[str, int]) -> str | None:
    return _first((f"{text}.{name}" for name in _LAYERS), lists)


def _named(parent: str, names: Iterable[str], known: frozenset[str]) -> str | None:
    return _first((f"{parent}.{name}" for name in names), known)


def _first(names: Iterable[str], known: Iterable[str]) -> str | None:
    there = known if isinstance(known, frozenset | dict) else frozenset(known)
    return next((name for name in names if name in there), None)

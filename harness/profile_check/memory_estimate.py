"""How much GPU memory an engine will need, reckoned from shapes; nobody measured it.

Pure functions. Bytes are integers; GiB are 2**30 of them. Every part carries its formula in words, so that a
reader can see what to make smaller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor

from harness.profile_check.model_shapes import ModelShapes

__all__ = [
    "BYTES",
    "CARDS",
    "Estimate",
    "Part",
    "Serving",
    "Workload",
    "estimate_memory",
    "fitting_cards",
    "gib",
    "share_that_fits",
    "usable",
]

GIB = 2**30

BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of one number, by dtype."""

CARDS = (8, 12, 16, 24, 32, 40, 48, 80, 96, 141)
"""Nominal memory of GPUs in common use, in GB as sold."""

_USABLE = 0.93  # of the nominal size: error correction and the driver keep some
_MARGIN = GIB + GIB // 4  # CUDA context, libraries' workspaces, fragmentation: an assumption
# Numbers of one position alive at a time in a layer: residual, normed, queries, keys, values, output.
_ALIVE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is in the GPU at once: ``cases``, each of ``text_tokens`` and an image cut into ``tiles``.

    ``image_tokens`` and ``vision_positions`` are those of one case's image; 0 without images. ``rows`` is the
    number of rows of logits of one case that exist at a time, and ``row_bytes`` the size of one entry.
    """

    cases: int
    text_tokens: int
    image_tokens: int = 0
    tiles: int = 0
    vision_positions: int = 0
    rows: int = 1
    row_bytes: int = 4

    @property
    def tokens(self) -> int:
        """Tokens of one case."""
        return self.text_tokens + self.image_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How an engine holds the model.

    ``dtype`` is a key of `BYTES`; ``cache_bits`` of one number in the key/value cache. ``cache_share`` is
    the part of the memory left beside the weights that the engine takes for its cache, None for an engine
    that takes what it needs; ``cache_tokens`` a fixed size of the cache in its place. ``prefill_tokens`` is
    the most tokens in one pass. ``gpu`` False means the machine's own memory. The model is split over
    ``gpus``, on each of which the estimate is.
    """

    dtype: str
    cache_bits: int
    gpu: bool = True
    cache_share: float | None = None
    cache_tokens: int | None = None
    prefill_tokens: int | None = None
    gpus: int = 1


@dataclass(frozen=True, slots=True)
class Part:
    """One use of memory and the formula in words."""

    name: str
    size: int
    formula: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """All parts, and the share of the free memory that the cache takes (see `Serving`)."""

    weights: Part
    cache: Part
    others: tuple[Part, ...]
    margin: Part
    cache_share: float | None

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every part, the largest of its kind first as they are allocated."""
        return (self.weights, self.cache, *self.others, self.margin)

    @property
    def total(self) -> int:
        """Bytes that are needed."""
        return sum(part.size for part in self.parts)

    @property
    def passing(self) -> int:
        """Bytes that come and go: what must be left beside weights, cache and margin."""
        return sum(part.size for part in self.others)

    def fits(self, memory: int) -> bool:
        """Whether a GPU with ``memory`` usable bytes holds it, with the cache's share as it is."""
        free = memory - self.weights.size - self.margin.size
        if self.cache_share is None:
            return self.cache.size + self.passing <= free
        return self.cache.size <= self.cache_share * free and self.passing <= (1 - self.cache_share) * free


def estimate_memory(
    shapes: ModelShapes, work: Workload, serving: Serving, *, weight_bytes: int, weights_from: str
) -> Estimate:
    """Reckon the parts.

    ``weight_bytes`` are the bytes of all weights as they are held; ``weights_from`` says in words how
    they were found.
    """
    language, width = shapes.language, BYTES[serving.dtype]
    # Each GPU has its own heads; of fewer heads than GPUs, one.
    heads = ceil(language.kv_heads / serving.gpus)
    per_token = language.cache_entries * heads // language.kv_heads * serving.cache_bits // 8
    tokens = work.cases * work.tokens if serving.cache_tokens is None else serving.cache_tokens
    who = f"{_cases(work.cases)} × {work.tokens:,} tokens"
    if serving.cache_tokens is not None:
        who = f"{serving.cache_tokens:,} tokens in fixed blocks"
    cache = Part(
        "key/value cache",
        per_token * tokens,
        f"2 × {language.layers} layers × {heads} heads × {language.head_size} × "
        f"{serving.cache_bits} bits × {who}",
    )
    at_once = min(work.cases * work.tokens, serving.prefill_tokens or work.cases * work.tokens)
    together = max(1, at_once // work.tokens)  # cases in one pass
    others = []
    if shapes.vision is not None and work.vision_positions:
        vision = shapes.vision
        positions = together * work.vision_positions
        alive = _ALIVE * vision.hidden + 2 * vision.intermediate
        pieces = f"{_cases(together)} × {work.vision_positions:,} positions"
        if work.tiles:
            pieces += f" ({work.tiles} tiles)"
        others.append(
            Part("vision tower", positions * alive * width, f"{pieces} × {alive:,} numbers × {width} bytes")
        )
    alive = _ALIVE * language.hidden + 3 * language.intermediate
    others.append(
        Part(
            "language layers",
            at_once * alive * width,
            f"{at_once:,} tokens × {alive:,} numbers × {width} bytes",
        )
    )
    rows = together * work.rows
    others.append(
        Part(
            "rows of logits",
            rows * language.vocabulary * work.row_bytes,
            f"{_cases(together)} × {work.rows:,} rows × {language.vocabulary:,} columns × "
            f"{work.row_bytes} bytes",
        )
    )
    return Estimate(
        weights=Part(
            "weights",
            ceil(weight_bytes / serving.gpus),
            weights_from + (f", split over {serving.gpus} GPUs" if serving.gpus > 1 else ""),
        ),
        cache=cache,
        others=tuple(others),
        margin=Part(
            "margin",
            _MARGIN,
            f"{'CUDA context' if serving.gpu else 'Python'}, libraries, fragmentation: assumed",
        ),
        cache_share=None if serving.cache_tokens is not None else serving.cache_share,
    )


def usable(card: int) -> int:
    """Bytes that a GPU sold with ``card`` GB really offers to a program."""
    return int(card * GIB * _USABLE)


def fitting_cards(estimate: Estimate) -> tuple[int, ...]:
    """Those of `CARDS` that hold the estimate."""
    return tuple(card for card in CARDS if estimate.fits(usable(card)))


def share_that_fits(estimate: Estimate, memory: int) -> float | None:
    """A share for the cache, in hundredths, with which a GPU of ``memory`` usable bytes would hold it.

    In the middle of those that would, rounded down; None where none does or the engine takes no share.
    """
    free = memory - estimate.weights.size - estimate.margin.size
    if estimate.cache_share is None or free <= 0:
        return None
    least = ceil(100 * estimate.cache.size / free)
    most = floor(100 * (1 - estimate.passing / free))
    least, most = max(least, 1), min(most, 99)
    return (least + most) // 2 / 100 if least <= most else None


def gib(size: int) -> str:
    """A size for people: ``15.04 GiB``, or in MiB below a tenth of one."""
    return f"{size / GIB:.2f} GiB" if size >= GIB / 10 else f"{size / 2**20:.1f} MiB"


def _cases(number: int) -> str:
    return "1 case" if number == 1 else f"{number} cases"

"""The faults by name: where each sits, on which side, how large, and why it is one. Plain data.

A fault that has a size has three, fixed before they were first measured. Those for float32 go by its step of
1e-7 and by noise of some 1e-6 in log-odds; those for dtypes of 16 bits by bfloat16's step of 8e-3 and noise
of some 5e-2, which hides what float32 shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from harness.drift.faults.kernels import PATCHES
from harness.engines.taps.stages import part_of
from harness.errors import UnknownName

__all__ = ["ALONE", "CATALOGUE", "COMPANY", "DECODING", "KERNELS", "SIZES", "Fault", "Sizes", "fault_named"]

SIZES: Final = ("tiny", "middle", "gross")
"""Tiny is expected to be silent, the others to be found."""
ALONE, COMPANY, DECODING = "alone", "company", "decoding"


class Sizes(NamedTuple):
    """How large a fault is; what the number means stands in its ``why``."""

    tiny: float
    middle: float
    gross: float


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    ``side`` is the kind of engine it is planted in, ``stage`` where it sits, ``route`` how a case must be
    scored for it to show: `ALONE`, in `COMPANY` or in `DECODING` only. ``sizes`` are those of float32,
    ``coarse`` those of dtypes of 16 bits; None for one without a size, which is gross. ``by`` says what is
    changed: ``code``, ``weights`` or ``config``, as they are loaded, or a ``kernel`` of LMDeploy's own.
    """

    name: str
    side: str
    stage: str
    why: str
    sizes: Sizes | None = None
    coarse: Sizes | None = None
    route: str = ALONE
    by: str = "code"

    @property
    def part(self) -> str:
        """The part of the model that ``stage`` belongs to."""
        return part_of(self.stage)

    @property
    def offered(self) -> Sequence[str]:
        """The sizes it has, by name."""
        return SIZES if self.sizes is not None else SIZES[-1:]

    def amount(self, size: str, dtype: str) -> float:
        """The number behind ``size`` for a model of ``dtype``; 0 for a fault without a size.

        Raises UnknownName for a size that the fault does not have.
        """
        if size not in self.offered:
            raise UnknownName(f"{self.name}: found the size {size!r}; allowed: {', '.join(self.offered)}")
        sizes = self.sizes if dtype == "float32" else self.coarse or self.sizes
        return 0.0 if sizes is None else float(sizes[SIZES.index(size)])


def fault_named(name: str, *, among: Mapping[str, Fault] | None = None) -> Fault:
    """Raises UnknownName, with all names there are, for one that no fault has; ``among`` all if left out."""
    known = {**CATALOGUE, **KERNELS} if among is None else among
    if name not in known:
        raise UnknownName(f"fault: found {name!r}; allowed: {', '.join(known)}")
    return known[name]


_L, _T = "lmdeploy", "torch"
_SHARE = Sizes(1e-7, 1e-3, 0.1), Sizes(1e-3, 0.2, 0.7)
"""Of what scales everything at a stage: 1e-7 is a step of float32 and 1e-3 a fraction of one of bfloat16."""
_OF_A_PART = Sizes(1e-7, 3e-2, 1.0), Sizes(1e-3, 0.5, 1.0)
"""Of what touches a part of a stage, up to all of it."""
_BITS = Sizes(22, 10, 4), Sizes(7, 4, 2)
"""Bits of the mantissa kept: float32 has 23, float16 has 10, bfloat16 has 7."""
_LEVELS = Sizes(2**22, 127, 7), Sizes(2**15, 20, 3)
"""Levels to each side of zero: 127 is int8, 7 is int4."""
_EPSILON = Sizes(1.0001e-6, 1e-3, 0.3), Sizes(1.0001e-6, 0.1, 3.0)
"""In place of 1e-6."""

_FAULTS: Final = (
    # The question
    Fault("system_lost", _L, "rendered", "the system message is not sent"),
    Fault("image_behind_question", _L, "rendered", "the image stands behind the text"),
    Fault("old_template", _L, "rendered", "a turn ends without its line break, as in older templates"),
    Fault("begin_of_text_doubled", _L, "ids", "the first id of a prompt stands there twice"),
    Fault("begin_of_text_dropped", _L, "ids", "the first id of a prompt is missing"),
    Fault("tokenised_in_pieces", _L, "ids", "the text is cut within words before it is tokenised"),
    Fault("prompt_truncated", _L, "ids", "six ids are cut off the front of a long text"),
    Fault("positions_behind_20", _L, "positions", "positions behind the 20th are one too high"),
    # Pixels
    Fault("channels_swapped", _L, "image", "red and blue are exchanged when a picture is opened"),
    Fault("thumbnail_lost", _L, "tiles", "pictures of several tiles have no thumbnail behind them"),
    Fault("tiles_reversed", _L, "tiles", "the tiles of a picture, its thumbnail aside, are in reverse order"),
    Fault("one_tile_only", _T, "tiles", "no picture is cut into tiles", by="config"),
    Fault(
        "mean_off", _L, "prepared", "size: added to the mean of 0.5 that is taken off pixels",
        Sizes(3e-8, 1e-3, 0.1), Sizes(1e-4, 0.1, 0.4), by="config",
    ),
    Fault(
        "deviation_off", _T, "prepared", "size: share by which the deviation of 0.5 is too large",
        Sizes(1e-7, 3e-3, 0.3), Sizes(1e-3, 0.2, 1.0), by="config",
    ),
    Fault("filter_bilinear", _L, "prepared", "pictures are resized by a bilinear filter", by="config"),
    Fault(
        "pixels_half", _L, "pixels", "pixels enter with fewer bits; size: of the mantissa", *_BITS,
    ),
    # Vision
    Fault(
        "patch_weights_scaled", _L, "patch", "size: share by which weights of patch embeddings are too large",
        *_SHARE, by="weights",
    ),
    Fault(
        "vision_positions_rolled", _L, "vision.embeddings", "each patch has another's place", by="weights"
    ),
    Fault(
        "vision_half", _L, "vision.0.attention",
        "the blocks compute in half precision; size: bits of the mantissa kept", *_BITS,
    ),
    Fault(
        "vision_activation", _L, "vision.0.mlp", "size: share of the quick GELU in the place of the exact",
        Sizes(1e-7, 0.05, 1.0), Sizes(1e-3, 0.5, 3.0),
    ),
    Fault(
        "vision_epsilon", _L, "vision.1.attention", "size: the epsilon of a norm", *_EPSILON, by="config"
    ),
    Fault(
        "vision_head_lost", _L, "vision.1.attention", "size: share that is missing of an attention head",
        *_OF_A_PART, by="weights",
    ),
    Fault(
        "vision_int8", _T, "vision.1.mlp", "weights rounded to a grid; size: its levels to each side of zero",
        *_LEVELS, by="weights",
    ),
    # The projector
    Fault("shuffle_transposed", _L, "shuffle", "pixel shuffle gives columns for rows"),
    Fault(
        "projector_bias", _L, "projected", "size: share that is missing of the last bias",
        *_OF_A_PART, by="weights",
    ),
    Fault(
        "projector_activation", _T, "projected", "size: share of the quick GELU in the place of the exact",
        Sizes(1e-7, 0.05, 1.0), Sizes(1e-3, 0.5, 3.0),
    ),
    # Language
    Fault(
        "embeddings_scaled", _L, "tokens", "size: share by which token embeddings are too large",
        *_SHARE, by="weights",
    ),
    Fault("features_scaled", _L, "inputs", "size: share by which image features are too large", *_SHARE),
    Fault("feature_lost", _L, "inputs", "the first feature of the first tile is zero"),
    Fault(
        "rope_base", _L, "rope", "size: share by which the base of 10000 is too large",
        Sizes(1e-6, 1e-2, 10.0), Sizes(1e-4, 1.0, 1000.0), by="config",
    ),
    Fault(
        "rope_scaled", _T, "rope", "size: share by which positions are stretched",
        Sizes(1e-8, 1e-3, 0.1), Sizes(1e-6, 0.1, 0.5), by="config",
    ),
    Fault(
        "rope_offset", _T, "rope", "size: added to positions behind the 20th as they become angles",
        Sizes(1e-6, 1e-2, 1.0), Sizes(1e-3, 1.0, 4.0),
    ),
    Fault(
        "mask_in_prefill", _L, "layer.0.attention", "a token of a prompt sees the one behind it"
    ),
    Fault(
        "decoding_scaled", _L, "layer.0.attention",
        "size: share by which the queries of a decoding step are too large", *_SHARE, route=DECODING,
    ),
    Fault(
        "padding_attended", _T, "layer.0.attention", "padding of a batch is attended to", route=COMPANY
    ),
    Fault(
        "kv_page_off", _L, "layer.1.attention", "in the place of its first page a sequence reads its second"
    ),
    Fault(
        "mask_in_decoding", _L, "layer.1.attention", "a decoding step does not see its own token",
        route=DECODING,
    ),
    Fault(
        "softmax_scale", _L, "layer.1.attention", "size: share by which the scale of softmax is too large",
        Sizes(1e-7, 1e-2, 0.5), Sizes(1e-3, 0.5, 2.0),
    ),
    Fault(
        "neighbours_cache", _L, "layer.1.attention", "size: share of the first sequence in the last",
        Sizes(1e-7, 3e-3, 0.5), Sizes(1e-3, 0.3, 0.7), route=COMPANY,
    ),
    Fault(
        "layer_twice", _L, "layer.1.attention", "size: share of layer 0's weights in layer 1's",
        Sizes(1e-8, 1e-3, 1.0), Sizes(1e-4, 0.3, 1.0), by="weights",
    ),
    Fault(
        "head_lost", _L, "layer.2.attention", "size: share that is missing of an attention head",
        *_OF_A_PART, by="weights",
    ),
    Fault(
        "kv_half", _L, "layer.2.attention", "keys and values are kept with fewer bits; size: of the mantissa",
        *_BITS,
    ),
    Fault("mlp_half", _L, "layer.0.mlp", "an MLP gives fewer bits; size: of the mantissa", *_BITS),
    Fault(
        "down_int8", _L, "layer.1.mlp", "weights rounded to a grid; size: its levels to each side of zero",
        *_LEVELS, by="weights",
    ),
    Fault(
        "mlp_epsilon", _T, "layer.1.mlp", "size: the epsilon of a norm", *_EPSILON, by="config"
    ),
    Fault(
        "mlp_activation", _L, "layer.2.mlp", "size: share of GELU in the place of SiLU",
        Sizes(1e-7, 1e-2, 1.0), Sizes(1e-3, 0.5, 3.0),
    ),
    Fault("norm_epsilon", _L, "norm", "size: the epsilon of the last norm", *_EPSILON, by="config"),
    # The head, and what is read of its rows
    Fault(
        "tied_head", _L, "logits", "size: share of the token embeddings in the head's weights",
        Sizes(1e-8, 1e-3, 1.0), Sizes(1e-4, 0.3, 1.0), by="weights",
    ),
    Fault(
        "logits_half", _L, "handed", "logits are handed on with fewer bits; size: of the mantissa",
        Sizes(22, 7, 3), Sizes(15, 3, 1),
    ),
    Fault(
        "temperature", _L, "handed", "size: share by which logits are divided by too much",
        Sizes(1e-8, 1e-2, 0.25), Sizes(1e-4, 0.2, 1.0),
    ),
    Fault(
        "noise_per_call", _L, "handed", "size: deviation of noise that is added to logits at each call",
        Sizes(1e-8, 2e-3, 0.3), Sizes(1e-4, 0.5, 3.0),
    ),
    Fault("wrong_row", _L, "handed", "the rows of a second pass are those of the tokens before"),
    Fault(
        "top_k_renormalised", _L, "reading",
        "reported log-probabilities are made to sum up to one over the most probable; size: how many",
        Sizes(1 << 20, 8, 2), Sizes(1 << 20, 4, 2),
    ),
    Fault("letters_of_another_spelling", _L, "reading", "letters are looked up by their next spelling"),
    Fault("early_stop", _L, "reading", "a generation of several tokens ends early", route=DECODING),
    Fault("answers_off_by_one", _L, "reading", "in a batch a case gets the next one's answer", route=COMPANY),
    Fault("stale_answer", _L, "reading", "a case gets the answer of an earlier one with the same letters"),
)  # fmt: skip

CATALOGUE: Final[Mapping[str, Fault]] = MappingProxyType({fault.name: fault for fault in _FAULTS})
"""All faults by name, in the order of their stages."""

KERNELS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        name: Fault(
            name, _L, "layer.0.attention", patch.why, route=DECODING if patch.decoding else ALONE, by="kernel"
        )
        for name, patch in PATCHES.items()
    }
)
"""Those of LMDeploy's own kernels, which run with ``kernels: interpreted`` or on a GPU only."""

"""Faults of LMDeploy's own Triton kernels, each as a change of one function's text. Plain data.

``old`` stands exactly once in the function as LMDeploy 0.18.0 ships it; `planting` plants. All stay within
their tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

__all__ = ["CACHES", "PATCHES", "Patch"]

CACHES: Final = MappingProxyType({"full": 0, "int8": 8, "int4": 4})
"""What keys and values are kept in, each with the engine's option ``quant_policy``."""


class Patch(NamedTuple):
    """``old`` becomes ``new`` in ``function`` of ``module``, below LMDeploy's kernels for CUDA.

    ``cache`` is that of `CACHES` whose kernels have the fault; ``decoding``: it shows in decoding alone.
    """

    why: str
    module: str
    function: str
    old: str
    new: str
    cache: str = "full"
    decoding: bool = False


_FILL, _FLAT, _FLASH, _PAGED = "fill_kv_cache", "flatten_kv_cache", "flashattention", "pagedattention"
_ROPE, _NORM, _ROTATING = "apply_rotary_pos_emb", "rms_norm", "apply_rotary_pos_emb_qk_kernel"
_FILLING, _DECODING = "_fill_kv_cache_kernel", "_fwd_grouped_split_kernel"
_FILLING_QUANT, _DECODING_QUANT = "_fill_kv_cache_quant_kernel", "_fwd_grouped_split_quant_kernel"

_FIRST = "kv_mask = (kv_offs >= history_seqlen)", "kv_mask = (kv_offs > history_seqlen)"
_PAGE = "* stride_boff + kv_block_id)", "* stride_boff + tl.maximum(kv_block_id - 1, 0))"
_SEEN = "qk_mask = history_len >= (start_n + offs_n)", "qk_mask = history_len > (start_n + offs_n)"
_TURN = "        ke_l, ke_h = _apply_rotary_impl(k_l, k_h, cos_l, cos_h, sin_l, sin_h)\n"
_EARLIER = "".join(
    f"        {what}_{half} = tl.load({what.upper()} + tl.where(pos_offset[:, None] > 0, cs_offset_{half} - "
    f"cs_stride, cs_offset_{half})).to(q_elem_type)\n"
    for what in ("cos", "sin") for half in "lh"
)  # fmt: skip

PATCHES: Final[Mapping[str, Patch]] = MappingProxyType({
    "page_off_prefill": Patch("a prompt reads the page before its own", _FLAT, "_flatten_kv_cache",
        "b_off = tl.load(block_offsets_ptr + batch_id * stride_boff + page_id)",
        "b_off = tl.load(block_offsets_ptr + batch_id * stride_boff + tl.maximum(page_id - 1, 0))"),
    "page_off_fill": Patch("keys and values are written a page too early", _FILL, _FILLING, *_PAGE),
    "page_off_decoding": Patch("a decoding step starts a page before its split's own", _PAGED, _DECODING,
        "block_offset_ptrs += start_block_id", "block_offset_ptrs += tl.maximum(start_block_id - 1, 0)",
        decoding=True),
    "first_new_token_not_filled": Patch("what is new lacks its first token", _FILL, _FILLING, *_FIRST),
    "mask_off_prefill": Patch("a token of a prompt sees the one behind it", _FLASH, "_prefill_fwd_inner",
        "qk_mask = (history_mask[:, None]) >= (start_n + offs_n[None, :])",
        "qk_mask = (history_mask[:, None] + 1) >= (start_n + offs_n[None, :])"),
    "mask_off_decoding": Patch(
        "a decoding step does not see its own token", _PAGED, _DECODING, *_SEEN, decoding=True),
    "tail_not_masked_decoding": Patch("a decoding step sees what is left in its last page", _PAGED, _DECODING,
        "if start_n + BLOCK_N > history_len or window_size > 0:",
        "if start_n + BLOCK_N > history_len + BLOCK_N or window_size > 0:", decoding=True),
    "split_merge_without_maxima": Patch(
        "parts of a decoding step are added up without their maxima", _PAGED, "_reduce_split_kernel",
        "alpha = tl_exp2(m_k - m_max)", "alpha = tl.where(m_k > -float('inf'), 1.0, 0.0)", decoding=True),
    "rope_sign": Patch("queries and keys are turned the other way", _ROPE, "_apply_rotary_impl",
        "return x_l_new0 - x_l_new1, x_h_new0 + x_h_new1", "return x_l_new0 + x_l_new1, x_h_new0 - x_h_new1"),
    "rope_offset_of_keys": Patch(
        "keys of a prompt are turned for the place before theirs", _ROPE, _ROTATING, _TURN, _EARLIER + _TURN),
    "rms_norm_epsilon": Patch("the epsilon of 1e-6 is 1e-3", _NORM, "_compute_rms_norm",
        "out = xf * tl.math.rsqrt(var + eps)", "out = xf * tl.math.rsqrt(var + 1000.0 * eps)"),
    "rms_norm_width": Patch("the mean of squares is over one more than there are", _NORM, "_compute_rms_norm",
        "float(1.0 / N_COLS)", "float(1.0 / (N_COLS + 1))"),
    # heads 0, 1, 2, 3 read key heads 0, 1, 0, 1 where 0, 0, 1, 1 are theirs
    "gqa_head_prefill": Patch(
        "heads of a prompt read other heads' keys and values", _FLASH, "_flash_prefill_fwd_kernel",
        "head_id // kv_group_num", "head_id % (tl.num_programs(1) // kv_group_num)"),
    "gqa_head_decoding": Patch("heads of a decoding step read the next head's keys", _PAGED, _DECODING,
        "off_k = (cur_kv_head * stride_kh",
        "off_k = ((cur_kv_head + 1) % (num_heads_q // kv_group_num) * stride_kh", decoding=True),
    "quant_first_new_token_not_filled": Patch(
        "as first_new_token_not_filled, in int8", _FILL, _FILLING_QUANT, *_FIRST, "int8"),
    "quant_page_off_fill": Patch("as page_off_fill, in int8", _FILL, _FILLING_QUANT, *_PAGE, "int8"),
    "quant_mask_off_decoding": Patch(
        "as mask_off_decoding, in int8", _PAGED, _DECODING_QUANT, *_SEEN, "int8", decoding=True),
    "quant_int8_scale": Patch("half of int8's levels are left out", _FILL, "_quant_int8",
        "scales = (val_max - val_min) / 255", "scales = (val_max - val_min) / 127", "int8"),
    "quant_int4_scale": Patch("the largest value of int4 runs over", _FILL, "_quant_int4",
        "scales = (val_max - val_min) / 15", "scales = (val_max - val_min) / 16", "int4"),
    "quant_int4_nibbles": Patch(
        "a decoding step takes low for high halves of a byte of keys", _PAGED, _DECODING_QUANT,
        "shift_kd = (raw_offs_dk // packed_k_dim * 4)[:, None]", "shift_kd = (raw_offs_dk % 2 * 4)[:, None]",
        "int4", decoding=True),
    # LMDeploy's own, by the pull request that has to do with each: docs/kernels.md.
    "pr4140_int8_range_holds_zero": Patch(
        "until 0.10.2: zero is within each range of int8, where the head's size is no power of two",
        _FILL, "_fill_page_quant_int8", "state = tl.load(state_ptrs, mask=kv_mask[:, None])",
        "state = tl.load(state_ptrs, mask=mask_kc, other=0.0)", "int8"),
    # of head 0 only, or memory behind the tensor would be read
    "pr4229_int8_range_of_next_head": Patch(
        "in 0.11.0: values of the next head are within each range of int8, of such heads",
        _FILL, "_fill_page_quant_int8", "d_off = d_off % head_dim",
        "d_off = tl.where(head_id == 0, d_off, d_off % head_dim)", "int8"),
    "pr4850_int4_range_holds_zero": Patch(
        "until 0.15.0: zero is within each range of int4, where half the head's size is no power of two",
        _FILL, "_fill_page_quant_int4",
        "0_ptrs, mask=kv_mask[:, None])\n    state1 = tl.load(state1_ptrs, mask=kv_mask[:, None])",
        "0_ptrs, mask=mask_kc, other=0.0)\n    state1 = tl.load(state1_ptrs, mask=mask_kc, other=0.0)",
        "int4"),
    # The last, as what it leaves in pages that are used again is not a number.
    "split_merge_nan": Patch(
        "parts of a decoding step that saw nothing are not left out", _PAGED, "_reduce_split_kernel",
        "alpha = tl_exp2(m_k - m_max)", "alpha = tl_exp2(m_k - m_k)", decoding=True),
})  # fmt: skip
"""All faults by name, in the order in which they are planted."""

"""The estimate of GPU memory for one engine, as a table, and what to change where it does not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from PIL import Image

from harness.cases.profiles import EngineSpec, paths_of
from harness.cases.suites import Case
from harness.engines.pixel_limits import pixel_limits
from harness.machine.findings import Finding, right, unknown, wrong
from harness.machine.nvidia import Gpu
from harness.profile_check.letters import Letters
from harness.profile_check.memory_estimate import (
    BYTES,
    CARDS,
    Estimate,
    Serving,
    Workload,
    estimate_memory,
    fitting_cards,
    gib,
    share_that_fits,
    usable,
)
from harness.profile_check.model_files import ModelFiles
from harness.profile_check.model_shapes import ModelShapes
from harness.profile_check.places import Places

__all__ = ["look_at_memory"]

# LMDeploy's own defaults
_CACHE_SHARE = 0.8
_BLOCK_TOKENS = 64
_PREFILL_TOKENS = 8192
_BLOCKS_ON_CPU = 64  # see lmdeploy_options
_BITS = {"awq": 4, "gptq": 4, "mxfp4": 4, "fp8": 8, "smooth_quant": 8, "w8a8": 8}  # scales not counted
_CACHE_BITS = {4: 4, 8: 8, 16: 8, 17: 8}
# Where no tokenizer could be asked: few languages take more than a token for two characters.
_CHARACTERS_A_TOKEN = 2
_TEMPLATE_TOKENS = 64
_LEAST_ANY_SIZE, _MOST_ANY_SIZE = 4, 16384


@dataclass(frozen=True, slots=True)
class _Case:
    """The largest case: what a batch is made of."""

    work: Workload
    remarks: tuple[str, ...]


def look_at_memory(
    engine: EngineSpec,
    places: Places,
    *,
    shapes: ModelShapes,
    files: ModelFiles | None,
    cases: Sequence[Case],
    letters: Letters,
    gpu: Gpu | None,
) -> Finding:
    """The finding on memory; ``gpu`` is the visible one here with the least free memory."""
    settings = engine.settings
    serving = _serving(engine, shapes)
    if serving is None:
        return unknown("memory", f"no estimate for dtype {settings.dtype}: config.json does not name its own")
    packed = settings.options.get("model_format", shapes.quantised)
    as_saved = settings.dtype == "auto" or packed is not None
    if files is not None and files.parameters:
        weights = files.weight_bytes(None if as_saved else BYTES[serving.dtype])
        each = "as saved" if as_saved else f"× {BYTES[serving.dtype]} bytes"
        source = f"{files.parameters:,} parameters {each}, counted in the files"
        if shapes.quantised:
            source = f"{gib(files.packed_bytes)} quantised and {source}"
    elif shapes.parameters is not None:
        weights = shapes.parameters * BYTES[serving.dtype]
        source = f"{shapes.parameters:,} parameters × {BYTES[serving.dtype]} bytes, from the model's shapes"
        if (bits := _BITS.get(str(packed))) is not None:
            linear = shapes.language.linear
            weights -= linear * (8 * BYTES[serving.dtype] - bits) // 8
            source += f", {linear:,} of them in {bits} bits ({packed})"
    else:
        return unknown("memory", "no estimate: neither weights nor all shapes of the model are known here")
    case = _largest(engine, shapes, serving, files, cases, letters)

    def reckon(at_once: int) -> Estimate:
        work = replace(case.work, cases=at_once)
        return estimate_memory(shapes, work, serving, weight_bytes=weights, weights_from=source)

    estimate = reckon(case.work.cases)
    lines = [*_table(estimate), *case.remarks]
    if settings.device != "cuda":
        return right("memory", "\n".join([f"about {gib(estimate.total)} of main memory, reckoned", *lines]))
    on = f" on each of {serving.gpus} GPUs" if serving.gpus > 1 else ""
    verdict = f"needs about {gib(estimate.total)}{on}, reckoned: {_verdict(reckon, case.work.cases)}"
    if gpu is not None and gpu.total and gpu.free is not None and not estimate.fits(gpu.free):
        change = _change(reckon, case.work.cases, gpu.free)
        other = f"write {change}" if change else "a larger GPU, or a smaller or quantised model"
        held = "end what holds it (harness doctor), or " if estimate.fits(gpu.total) else ""
        return wrong(
            "memory",
            "\n".join([f"{verdict}; the GPU here has {gib(gpu.total)}, {gib(gpu.free)} free", *lines]),
            places.of(engine, "batch_size", "options"),
            allowed=f"what fits {gib(gpu.free)}",
            command=f"{held}{other}",
        )
    return right("memory", "\n".join([verdict, *lines]))


def _serving(engine: EngineSpec, shapes: ModelShapes) -> Serving | None:
    settings = engine.settings
    dtype = (shapes.dtype or "") if settings.dtype == "auto" else settings.dtype
    on_gpu = settings.device == "cuda"
    if dtype not in BYTES:
        return None
    if settings.kind == "torch":
        return Serving(dtype=dtype, cache_bits=8 * BYTES[dtype], gpu=on_gpu)
    if on_gpu and dtype == "float32":
        dtype = "float16"  # LMDeploy's own rule
    options = settings.options
    blocks = options.get("num_gpu_blocks", None if on_gpu else _BLOCKS_ON_CPU)
    block = options.get("block_size", _BLOCK_TOKENS)
    share = options.get("cache_max_entry_count", _CACHE_SHARE)
    prefill = options.get("max_prefill_token_num", _PREFILL_TOKENS)
    policy, gpus = options.get("quant_policy", 0), options.get("tp", 1)
    return Serving(
        dtype=dtype,
        cache_bits=_CACHE_BITS.get(policy, 8 * BYTES[dtype]) if isinstance(policy, int) else 8 * BYTES[dtype],
        gpu=on_gpu,
        cache_share=float(share) if isinstance(share, int | float) else _CACHE_SHARE,
        cache_tokens=blocks * block if isinstance(blocks, int) and isinstance(block, int) else None,
        prefill_tokens=prefill if isinstance(prefill, int) else _PREFILL_TOKENS,
        gpus=gpus if isinstance(gpus, int) else 1,
    )


def _largest(
    engine: EngineSpec,
    shapes: ModelShapes,
    serving: Serving,
    files: ModelFiles | None,
    cases: Sequence[Case],
    letters: Letters,
) -> _Case:
    settings, remarks = engine.settings, []
    text = letters.prompt_tokens
    if text is None:
        characters = max((len(case.prompt) + len(case.system or "") for case in cases), default=0)
        text = characters // _CHARACTERS_A_TOKEN + _TEMPLATE_TOKENS
        remarks.append(f"text of {text} tokens: guessed from {characters} characters")
    tiles = tokens = positions = 0
    pictured = [case.images for case in cases if case.images]
    if pictured and shapes.vision is not None:
        vision = shapes.vision
        if vision.tile:
            most = settings.max_tiles or (files and files.most_patches) or vision.most_tiles
            count = max(map(len, pictured))
            tiles = count * (most + 1 if most > 1 else 1)  # the thumbnail
            tokens, positions = tiles * vision.tokens + 2 * count, tiles * vision.positions
            what = "image" if count == 1 else f"{count} images"
            remarks.append(f"{what} of up to {tiles} tiles, {tokens:,} tokens; max_tiles bounds it")
        else:
            limits = pixel_limits(settings)
            tokens = max(
                sum(_tokens_of(image, vision.token_pixels, limits) for image in images) for images in pictured
            )
            positions = tokens * vision.positions
            remarks.append(f"largest {'image' if len(pictured[0]) == 1 else 'images'}: {tokens:,} tokens")
    elif pictured and shapes.sees:
        remarks.append(f"images are not in it: the vision tower of {shapes.family!r} is not known here")
    answer = max(letters.answer_tokens or 1, *(case.max_new_tokens or 1 for case in cases), 1)
    at_once, rows, row_bytes = settings.batch_size, answer, BYTES[serving.dtype] + BYTES["float32"]
    if settings.kind == "torch":
        if "forward" not in settings.paths:
            at_once = 1
    else:
        given = settings.options.get("max_batch_size", settings.batch_size)
        at_once = given if isinstance(given, int) else settings.batch_size
        if "two-stage" in (settings.paths or paths_of(settings)):
            rows, row_bytes = text + tokens + answer, BYTES[serving.dtype]
        else:
            rows = 1  # of a step; each goes to the host as it comes
    work = Workload(
        cases=max(1, min(at_once, len(cases))),
        text_tokens=text + answer,
        image_tokens=tokens,
        tiles=tiles,
        vision_positions=positions,
        rows=rows,
        row_bytes=row_bytes,
    )
    return _Case(work, tuple(remarks))


def _tokens_of(image: Path, pixels: int, limits: Mapping[str, int]) -> int:
    with Image.open(image) as opened:
        width, height = opened.size
    least = limits.get("min_pixels", _LEAST_ANY_SIZE * pixels**2) // pixels**2
    most = limits.get("max_pixels", _MOST_ANY_SIZE * pixels**2) // pixels**2
    return max(1, min(max(ceil(width / pixels) * ceil(height / pixels), least), most))


def _table(estimate: Estimate) -> list[str]:
    return [f"{gib(part.size):>11}  {part.name:<15}  {part.formula}" for part in estimate.parts]


def _verdict(reckon: Callable[[int], Estimate], at_once: int) -> str:
    fitting = fitting_cards(reckon(at_once))
    said = f"fits GPUs of {fitting[0]} GB and more" if fitting else f"fits none of up to {CARDS[-1]} GB"
    smaller = [card for card in CARDS if not fitting or card < fitting[0]]
    for card in smaller:
        if change := _change(reckon, at_once, usable(card)):
            return f"{said}; {card} GB with {change}"
    return said


def _change(reckon: Callable[[int], Estimate], at_once: int, memory: int) -> str:
    """What to write so that ``memory`` bytes suffice; '' where nothing helps."""
    number = at_once
    while number >= 1:
        estimate = reckon(number)
        batch = "" if number == at_once else f"batch_size: {number}"
        if estimate.fits(memory):
            return batch
        if (share := share_that_fits(estimate, memory)) is not None:
            return " and ".join(filter(None, (batch, f"cache_max_entry_count: {share}")))
        number //= 2
    return ""

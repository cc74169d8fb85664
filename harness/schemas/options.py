"""The one table of what only some kinds of engine take: options, paths, and what is pinned.

The schema of profiles, the refusals with their places (`harness.cases.engine_options`) and docs/options.md
come from it. Only pytest's own process reads it: a worker gets names and values in
``EngineSettings.options``, so that words that change here make no other engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field

from harness.schemas.fields import NonBlank

__all__ = ["OPTIONS", "PATHS", "PINNED", "Only", "Option", "Path", "Side", "side_of", "taken_by", "takers"]

_RUNNING: Final = "api with url"
_STARTED: Final = "api with serve"
_LMDEPLOY: Final = ("lmdeploy", _STARTED)
_LOADED: Final = ("torch", *_LMDEPLOY)
_API: Final = (_STARTED, _RUNNING)
_INTERPRETED: Final = "interpreted"
_PLUG_IN: Final = "plug-in"
_Count = Annotated[int, Field(ge=1)]
_QUANTISED: Final = (0, 4, 8, 16, 17)  # a Literal would take false for 0
_Share = Annotated[float, Field(gt=0, lt=1)]
_Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]


class Side(NamedTuple):
    """What decides what an engine takes: its kind, backend (``pytorch``, ``turbomind``), device and kernels.

    ``kernels`` says what stands in for LMDeploy's on a CPU, '' on a GPU.
    """

    kind: str
    backend: str
    device: str
    kernels: str

    def __str__(self) -> str:
        """Such as ``lmdeploy (turbomind, cuda)``; without a backend where there is none to choose."""
        return f"{self.kind} ({f'{self.backend}, ' * (self.kind == 'lmdeploy')}{self.device})"


class Only(NamedTuple):
    """The ``values`` that an option may have where all traits ``on`` of a side hold, and why."""

    on: tuple[str, ...]
    values: tuple[Any, ...]
    why: str

    def __str__(self) -> str:
        """Values and reason."""
        return f"{' or '.join(map(str, self.values))}; {self.why}"


@dataclass(frozen=True, slots=True)
class Option:
    """An option: ``type`` is what pydantic checks, ``words`` a sentence without its full stop.

    Engines of one of ``kinds`` on whose side all traits ``on`` hold take it, some of its values ``only``. A
    ``field`` is passed to LMDeploy's engine config under its own name; all else is the harness's own.
    """

    name: str
    type: Any
    words: str
    _: KW_ONLY
    kinds: tuple[str, ...] = _LMDEPLOY
    on: tuple[str, ...] = ()
    only: tuple[Only, ...] = ()
    field: bool = False
    default: Any = None
    not_run: str = ""

    def narrowed(self, side: Side) -> Only | None:
        """The narrower values of that side; None where all of the type are taken."""
        return next((only for only in self.only if {*only.on} <= {*side}), None)


class Path(NamedTuple):
    """A way to the logits, who has it, and whether it is taken where a profile names none."""

    name: str
    words: str
    kinds: tuple[str, ...]
    on: tuple[str, ...] = ()
    default: bool = False


_field: Final = partial(Option, field=True)


def side_of(kind: str, options: Mapping[str, Any], device: str) -> Side:
    """The side of an engine with these options, whatever else is wrong with them."""
    backend = "turbomind" if kind == "lmdeploy" and options.get("backend") == "turbomind" else "pytorch"
    kernels = "" if device == "cuda" else _INTERPRETED if options.get("kernels") == _INTERPRETED else _PLUG_IN
    kind = (_RUNNING if "url" in options else _STARTED) if kind == "api" else kind
    return Side(kind, backend, device, kernels)


OPTIONS: Final = (
    Option(
        "attention",
        Literal["sdpa", "eager", "flash_attention_2"],
        "attention kernel; sdpa if left out, its own choice for a model with code of its own",
        kinds=("torch",),
        only=(Only(("cpu",), ("sdpa", "eager"), "flash_attention_2 needs device: cuda"),),
        default="sdpa",
        not_run="flash_attention_2",
    ),
    Option(
        "template",
        Literal["own", "tokenizer"],
        "whose words surround a case for a model with code of its own: those that its `chat` sends (own), or "
        "its tokenizer's chat template, as servers use it (tokenizer); own where there is one, if left out",
        kinds=("torch",),
    ),
    Option("threads", _Count, "number of CPU threads; PyTorch's own choice if left out", kinds=_LOADED),
    Option(
        "trust_remote_code",
        bool,
        "true to run Python files that come with the model, in this engine's worker; a hub id then needs a "
        "full commit as its revision",
        kinds=_LOADED,
    ),
    Option(
        "url",
        NonBlank,
        "where a server is running already, without /v1, such as http://localhost:23333; see docs/api.md",
        kinds=(_RUNNING,),
    ),
    Option(
        "serve",
        Literal[True],
        "true to have LMDeploy's api_server started with the model, in the engine's interpreter",
        kinds=(_STARTED,),
    ),
    Option(
        "served_model",
        NonBlank,
        "name of the model on the server; if left out, the profile's `model` if it is served, else the first",
        kinds=_API,
    ),
    Option(
        "key_env",
        Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")],
        "name of the environment variable that holds the server's key, never the key itself",
        kinds=(_RUNNING,),
    ),
    Option(
        "timeout",
        _Seconds,
        "seconds that one request may take, retries included; 9/10 of the case deadline if left out",
        kinds=_API,
    ),
    Option(
        "backend",
        Literal["pytorch", "turbomind"],
        "LMDeploy's engine; pytorch if left out",
        only=(
            Only((_STARTED,), ("pytorch",), "a server is started with LMDeploy's PyTorch engine"),
            Only(("cpu",), ("pytorch",), "turbomind needs device: cuda"),
        ),
        not_run="turbomind",
    ),
    Option(
        "kernels",
        Literal["interpreted"],
        "interpreted to run LMDeploy's own Triton kernels through Triton's interpreter, in float32 or "
        "float16, 30 to 80 times slower; the CPU device plug-in's if left out; see docs/kernels.md",
        kinds=("lmdeploy",),
        on=("pytorch", "cpu"),
    ),
    Option(
        "card",
        Literal["sm80", "sm90"],
        "the GPU that interpreted kernels are told of, which chooses their branches; sm80 if left out",
        kinds=("lmdeploy",),
        on=(_INTERPRETED,),
    ),
    Option(
        "processors",
        _Count,
        "its number of multiprocessors, by which decoding is split; 108 of sm80 and 132 of sm90 if left out",
        kinds=("lmdeploy",),
        on=(_INTERPRETED,),
    ),
    Option(
        "stage_two",
        Literal["one-pass", "stepwise"],
        "full logits of the two-stage path in one pass over prompt and answer, or token by token; one-pass "
        "if left out",
        kinds=("lmdeploy",),
        default="one-pass",
    ),
    Option(
        "gemm_tuning",
        NonBlank,
        "file of matrix kernels that TurboMind chose once (TM_GEMM_EXPORT), to start with the same again; "
        "relative to this file's folder, it counts by its content; not run by us; see docs/noise.md",
        kinds=("lmdeploy",),
        on=("turbomind",),
    ),
    Option(
        "prefix_cache",
        Literal["cold", "warm"],
        "LMDeploy's prefix caching: each case is asked once (cold), or once before so that its prompt comes "
        "from the cache (warm); off if left out. Not with the path two-stage; docs/lmdeploy.md",
        not_run="turbomind",
    ),
    Option(
        "chat_template_config",
        NonBlank,
        "chat template as `lmdeploy serve --chat-template` takes it: a JSON file (NAME.json), relative to "
        "this file's folder, which counts by its content; or the name of one of LMDeploy's own",
    ),
    Option(
        "vision_config",
        dict[str, Any],
        "fields of LMDeploy's VisionConfig, such as {max_batch_size: 8}",
        not_run="that it matters: only TurboMind before 0.16 looks at it",
    ),
    _field("session_len", _Count, "most tokens of prompt and answer together"),
    _field("max_batch_size", _Count, "most cases it runs at once; batch_size if left out"),
    _field("max_prefill_token_num", _Count, "most tokens of prompts in one pass"),
    _field(
        "cache_max_entry_count",
        _Share,
        "share, 0 to 1, of the free memory for the key/value cache",
        not_run="on a GPU; the CPU device plug-in has a fixed number of blocks",
    ),
    _field("num_gpu_blocks", _Count, "blocks of the key/value cache, not a share", on=("pytorch",)),
    _field("block_size", _Count, "tokens in a block of the key/value cache", on=("pytorch",)),
    _field("cache_block_seq_len", _Count, "as block_size", kinds=("lmdeploy",), on=("turbomind",)),
    _field("eager_mode", bool, "true to run without CUDA graphs", on=("pytorch",), not_run="false"),
    _field(
        "tp",
        _Count,
        "GPUs to split the model over; 1 if left out. On the PyTorch engine the paths are then scored and "
        "top-k, since rows cannot be read in the processes that it starts",
        only=(Only(("cpu",), (1,), "the CPU device plug-in is one device"),),
        not_run="2 or more; the same paths were run with the model in one process of its own",
    ),
    _field(
        "model_format",
        Literal["hf", "awq", "gptq", "compressed-tensors", "fp8", "mxfp4"],
        "format of quantised weights; what the checkpoint says if left out",
        on=("cuda",),
        only=(Only(("pytorch",), ("fp8",), "LMDeploy's PyTorch engine can be told no other"),),
        not_run="any",
    ),
    _field(
        "quant_policy",
        Annotated[int, Field(json_schema_extra={"enum": [*_QUANTISED]})],
        "key/value cache in int4 (4), int8 (8), fp8 (16) or fp8_e5m2 (17); 0, not quantised, if left out",
        only=(
            Only((_PLUG_IN,), (0,), "the CPU device plug-in has no quantised cache"),
            Only((_INTERPRETED,), (0, 4, 8), "fp8 was not run interpreted"),
            Only(("turbomind",), (0, 4, 8), "TurboMind has no fp8 cache"),
            Only((), _QUANTISED, "LMDeploy's numbers"),
        ),
        not_run="any but 0 on a GPU",
    ),
    _field("hf_overrides", dict[str, Any], "entries of the model's config.json to replace"),
)

PINNED: Final[Mapping[str, str]] = {
    "device_type": "`device:` of the engine",
    "dtype": "`dtype:` of the engine",
    "enable_metrics": "nothing: false in every profile",
    "enable_prefix_caching": "`prefix_cache:` under `options:`, cold or warm; false without it",
    "logprobs_mode": "nothing: raw_logprobs in every profile",
    "revision": "`revision:` of the engine",
}
"""Fields of LMDeploy's engine config that are never set by name, and what to write instead."""

PATHS: Final = (
    Path("forward", "full rows of one forward pass", ("torch",), default=True),
    Path("generate", "full rows of generate()", ("torch",)),
    Path("chat", "the top_k of chat completions", _API, default=True),
    Path("generation", "full rows while generating", ("lmdeploy",), ("turbomind",)),
    Path("two-stage", "full rows of a second pass over prompt and answer", ("lmdeploy",)),
    Path("captured", "full rows while generating", ("lmdeploy",), ("pytorch",)),
    Path("scored", "each letter behind the prompt, no rows", _LMDEPLOY, ("pytorch",)),
    Path("top-k", "the top_k that the pipeline reports", ("lmdeploy",), ("pytorch",)),
)
"""Best first. An engine of a kind without a default takes the best that its version has."""


def taken_by(entry: Option | Path, side: Side) -> bool:
    """Whether an engine of that side takes an option, or has a path."""
    return side.kind in entry.kinds and {*entry.on} <= {*side}


def takers(entry: Option | Path) -> str:
    """Who takes it: ``lmdeploy, api with serve; turbomind only``."""
    return ", ".join(entry.kinds) + (f"; {' '.join(entry.on)} only" if entry.on else "")

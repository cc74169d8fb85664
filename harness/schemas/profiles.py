"""What profiles.yaml may hold. The models check it, and the committed JSON Schema is made from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from harness.schemas.fields import (
    Day,
    EngineName,
    FileModel,
    Mark,
    NonBlank,
    ProfileName,
    PythonVersion,
    SuiteName,
    Tolerances,
    optional,
)

__all__ = ["Deadlines", "EngineEntry", "Options", "ProfileEntry", "ProfilesFile"]

_Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1)]


class Deadlines(FileModel):
    """How long an engine may be silent before its worker is ended."""

    load: _Seconds = optional("Seconds to load the engine; 600 if left out.")
    case: _Seconds = optional("Seconds for one case; 120 if left out.")


class Options(FileModel):
    """What only some kinds of engine know; each description begins with them."""

    attention: Literal["sdpa", "eager", "flash_attention_2"] = optional(
        "torch: attention kernel; sdpa if left out."
    )
    url: NonBlank = optional(
        "api: where a server is running already, without /v1, such as http://localhost:23333; see "
        "docs/api.md."
    )
    serve: Literal[True] = optional(
        "api: true to have LMDeploy's api_server started with the model, in the engine's interpreter; it "
        "takes "
        "the options of lmdeploy too."
    )
    served_model: NonBlank = optional(
        "api: name of the model on the server; if left out, the profile's `model` if it is served, else "
        "the first."
    )
    key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = optional(
        "api: name of the environment variable that holds the server's key. Never the key itself."
    )
    timeout: _Seconds = optional(
        "api: seconds that one request may take, retries included; 9/10 of the case deadline if left out."
    )
    threads: _Count = optional("torch: number of CPU threads; PyTorch's own choice if left out.")
    trust_remote_code: bool = optional(
        "torch, lmdeploy: true to run Python files that come with the model, in this engine's worker; a hub "
        "id then needs a full commit as its revision."
    )
    template: Literal["own", "tokenizer"] = optional(
        "torch: whose words surround a case for a model with code of its own: those that its own `chat` "
        "sends (own), or its tokenizer's chat template, as servers use it (tokenizer); own where "
        "there is one, if left out."
    )
    backend: Literal["pytorch", "turbomind"] = optional(
        "lmdeploy: its engine; pytorch if left out. turbomind needs device: cuda."
    )
    stage_two: Literal["one-pass", "stepwise"] = optional(
        "lmdeploy: full logits of the two-stage path in one pass over prompt and answer, or token by token; "
        "one-pass if left out."
    )
    session_len: _Count = optional("lmdeploy: most tokens of prompt and answer together.")
    max_batch_size: _Count = optional("lmdeploy: most cases it runs at once; batch_size if left out.")
    max_prefill_token_num: _Count = optional("lmdeploy: most tokens of prompts in one pass.")
    cache_max_entry_count: Annotated[float, Field(gt=0, lt=1)] = optional(
        "lmdeploy: share of the free memory to use for the key/value cache."
    )
    num_gpu_blocks: _Count = optional(
        "lmdeploy: blocks of the key/value cache, in place of a share of memory."
    )
    block_size: _Count = optional("lmdeploy: tokens in one block of the key/value cache.")
    cache_block_seq_len: _Count = optional("lmdeploy: what block_size is, for backend turbomind.")
    eager_mode: bool = optional("lmdeploy: true to run without CUDA graphs.")
    tp: _Count = optional("lmdeploy: GPUs to split the model over; 1 if left out.")
    model_format: NonBlank = optional("lmdeploy: format of quantised weights, such as awq.")
    quant_policy: Annotated[int, Field(ge=0)] = optional(
        "lmdeploy: quantisation of the key/value cache, such as 8; 0, none, if left out."
    )
    hf_overrides: dict[str, Any] = optional("lmdeploy: entries of the model's config.json to replace.")


class _EngineDefaults(FileModel):
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = optional(
        "Type of the weights; auto, the one the model was saved in, if left out."
    )
    device: Literal["cpu", "cuda"] = optional("Where the model runs; cpu if left out.")
    max_tiles: Annotated[int, Field(ge=1, le=1024)] = optional(
        "Most tiles that an image is cut into, its thumbnail not counted; the model's own limit, which may "
        "differ between engines, if left out."
    )
    batch_size: Annotated[int, Field(ge=1, le=4096)] = optional("Most cases scored together; 16 if left out.")
    deadlines: Deadlines = optional("How long an engine may be silent before its worker is ended.")


class EngineEntry(_EngineDefaults):
    """An engine of a profile; {} for all defaults. What the profile says on the same key is its default."""

    kind: Literal["torch", "lmdeploy", "api"] = optional("What the engine is; its name, if left out.")
    model: NonBlank = optional(
        "Model of this engine where it is not the profile's, such as the one to upgrade to: a folder, "
        "relative to this file's folder, or a hub id."
    )
    revision: NonBlank = optional("Commit, tag or branch of this engine's hub id. Not for folders.")
    python: NonBlank = optional(
        "Interpreter to run the engine in: a path, relative to this file's folder, or the name of a command; "
        "that of pytest if left out."
    )
    requirements: Annotated[list[NonBlank], Field(min_length=1)] = optional(
        "What to install in an environment that is made for the engine, in place of `python`: requirements "
        "such as lmdeploy==0.12.3, NAME @ LOCATION, URLs, or paths relative to this file's folder."
    )
    as_of: Day = optional(
        "Day, such as 2026-06-01: `requirements` are resolved as on that day; as on the day on which it is "
        "first made if left out."
    )
    python_version: PythonVersion = optional(
        "Python of the environment, such as '3.11' (in quotes); that of pytest if left out."
    )
    patch: NonBlank = optional(
        "Python file, relative to this file's folder, executed in the worker before the engine is imported."
    )
    paths: Annotated[
        list[
            Literal["forward", "generate", "two-stage", "captured", "scored", "top-k", "generation", "chat"]
        ],
        Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    ] = optional(
        "Ways to the full logits; the first gives the answer. torch: forward, generate ([forward] if "
        "left out); lmdeploy: two-stage, captured (full rows), scored (each letter), top-k (what the "
        "pipeline reports), with backend turbomind generation, two-stage; the best that its version has if "
        "left out, the first two where it has both. api: chat (the top_k), scored (each letter, on a server "
        "started with serve); [chat] if left out."
    )
    top_k: Annotated[int, Field(ge=0, le=1024)] = optional(
        "Number of the most probable tokens to ask for and keep; 0 for none, 20 if left out."
    )
    options: Options = optional("What only this kind of engine knows.")


class ProfileEntry(_EngineDefaults):
    """A model and the engines to run it on, one of them the reference."""

    description: NonBlank = optional("What the profile is for, for people.")
    model: NonBlank = Field(
        description="Folder of the model, relative to this file's folder, or a hub id such as org/name."
    )
    revision: NonBlank = optional("Commit, tag or branch of a hub id. Not for folders.")
    system: NonBlank = optional(
        "Text of the system message for every case that has none of its own, sent to all engines in place of "
        "a default of theirs."
    )
    reference: EngineName = Field(description="The engine that the others are compared with.")
    suites: Annotated[list[SuiteName], Field(min_length=1)] = optional(
        "Names of the suites to run; all if left out."
    )
    marks: list[Mark] = optional("Marks of pytest for all tests of the profile, such as [gpu].")
    by_name_only: bool = optional(
        "true to run the profile only when it is named, as in `pytest --profile NAME`; false if left out."
    )
    tolerance: Literal["noise", "table"] = optional(
        "Where the limits come from that nothing here names: the noise floor that `harness noise` measured "
        "(an error where there is none), or the table of the dtype. Left out, the noise floor where there is "
        "a fresh one, else the table."
    )
    tolerances: Tolerances = optional("Limits of the checks, where they differ from the dtype's own.")
    engines: Annotated[
        dict[EngineName, EngineEntry],
        Field(min_length=1, description="The engines by name, with letters, digits and _."),
    ]


class ProfilesFile(FileModel):
    """The profiles of the harness: models, and the engines to run them on."""

    profiles: Annotated[
        dict[ProfileName, ProfileEntry],
        Field(
            min_length=1, description="The profiles by name, with letters, digits, _ and single - between."
        ),
    ]

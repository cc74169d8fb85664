"""What profiles.yaml may hold. The models check it, and the committed JSON Schema is made from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model

from harness.schemas.budgets import BudgetsEntry
from harness.schemas.fields import (
    Day,
    EngineName,
    FileModel,
    Mark,
    NonBlank,
    ProfileName,
    PythonVersion,
    SuiteName,
    Tag,
    Tolerances,
    optional,
)
from harness.schemas.options import OPTIONS, PATHS, takers

__all__ = ["Deadlines", "EngineEntry", "Options", "ProfileEntry", "ProfilesFile"]

_Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
_Pixels = Annotated[int, Field(ge=1, le=10**9)]


class Deadlines(FileModel):
    """How long an engine may be silent before its worker is ended."""

    load: _Seconds = optional("Seconds to load the engine; 600 if left out.")
    case: _Seconds = optional("Seconds for one case; 120 if left out.")


if TYPE_CHECKING:
    Options = FileModel
    PathName = str
else:
    Options = create_model(
        "Options",
        __base__=FileModel,
        __doc__="What only some kinds of engine know; each description begins with them.",
        **{each.name: (each.type, optional(f"{takers(each)}: {each.words}.")) for each in OPTIONS},
    )
    PathName = Literal[tuple(path.name for path in PATHS)]


class _EngineDefaults(FileModel):
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = optional(
        "Type of the weights; auto, the one the model was saved in, if left out."
    )
    device: Literal["cpu", "cuda"] = optional("Where the model runs; cpu if left out.")
    max_tiles: Annotated[int, Field(ge=1, le=1024)] = optional(
        "Most tiles that an image is cut into, its thumbnail not counted; the model's own limit, which may "
        "differ between engines, if left out."
    )
    min_pixels: _Pixels = optional(
        "Fewest pixels of an image, for models that take images as they are, such as Qwen2.5-VL; as "
        "max_pixels."
    )
    max_pixels: _Pixels = optional(
        "Most pixels of an image, for such models (LMDeploy's mm_processor_kwargs); the model's own, which "
        "may differ between engines, if left out."
    )
    template_date: Day = optional(
        "Day, such as 2026-01-31, that a chat template which writes a date (strftime_now) writes; that of "
        "the run if left out."
    )
    batch_size: Annotated[int, Field(ge=1, le=4096)] = optional("Most cases scored together; 16 if left out.")
    deadlines: Deadlines = optional("How long an engine may be silent before its worker is ended.")
    nondeterminism: Literal["refuse", "allow"] = optional(
        "What becomes of the noise floor of an engine whose answers to the same question twice differ by "
        "more than the dtype's own step: not used (refuse), or used (allow); refuse if left out."
    )


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
        list[PathName],
        Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    ] = optional(
        "Ways to the logits; the first gives the answer. "
        + "; ".join(f"{path.name} ({takers(path)}): {path.words}" for path in PATHS)
        + ". If left out: torch forward, api chat, lmdeploy the best that its version has."
    )
    top_k: Annotated[int, Field(ge=0, le=1024)] = optional(
        "Number of the most probable tokens to ask for and keep; 0 for none, 20 if left out."
    )
    options: Options = optional("What only this kind of engine knows.")
    engine_config: Annotated[dict[NonBlank, Any], Field(min_length=1)] = optional(
        "Further fields of LMDeploy's engine config by name, for lmdeploy and for api with serve; "
        "docs/options.md."
    )


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
    tags: Annotated[list[Tag], Field(min_length=1)] = optional(
        "Tags of cases: only cases of these suites that bear one of them run; all if left out."
    )
    marks: list[Mark] = optional("Marks of pytest for all tests of the profile, such as [gpu].")
    by_name_only: bool = optional(
        "true to run the profile only when it is named, as in `pytest --profile NAME`; false if left out."
    )
    budgets: BudgetsEntry = optional("What a gate lets pass of a comparison with an engine of the profile.")
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

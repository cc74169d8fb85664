"""Letters in the context in which they will be written, by the tokenizer alone, before weights are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.cases.profiles import EngineSpec, Profile
from harness.cases.suites import Case
from harness.errors import EngineError
from harness.machine.findings import Finding, right, unknown, wrong
from harness.profile_check.model_files import ModelFiles
from harness.profile_check.places import Places
from harness.scoring.subjects import request_for
from harness.workers import ask_tokenizer

__all__ = ["Letters", "look_at_letters"]

Combination = tuple[tuple[str, ...], str, str | None]

# What an answer's error is about: what is allowed, and what to do.
_REMEDIES = {
    "letters": (
        "letters that have a token of their own there",
        "change answer_prefix, letters or system of the suite, as said above",
    ),
    "text": (
        "a text that the model may write before it ends its turn",
        "change expect_text, answer_prefix or system of the suite, as said above",
    ),
    "template": (
        "a chat template that renders the case",
        "mend the template in the model's folder, or take out of the suite what it refuses, such as system",
    ),
    "tokenizer": ("a prompt that ends as its chat template ends", "change the files of the tokenizer"),
}


@dataclass(frozen=True, slots=True)
class Letters:
    """Findings, and the most tokens of a prompt's text and of its answer (None where nobody could tell)."""

    findings: tuple[Finding, ...]
    prompt_tokens: int | None = None
    answer_tokens: int | None = None


def look_at_letters(
    engine: EngineSpec,
    places: Places,
    files: ModelFiles,
    cases: Sequence[Case],
    *,
    profile: Profile,
    python: str,
) -> Letters:
    """Resolve each different combination of letters, answer_prefix and system text once, in ``python``.

    The prompt is rendered with the tokenizer's own chat template and without its image, which stands before
    the text. Of the cases with one combination, the one with the longest prompt is asked.
    """
    asked = _longest_of_each(cases, profile)
    trust = engine.settings.options.get("trust_remote_code") is True
    try:
        report = ask_tokenizer(
            python,
            str(files.folder),
            [
                {
                    "prompt": request.prompt,
                    "system": request.system,
                    "letters": list(request.letters),
                    "answer_prefix": request.answer_prefix,
                    "target": request.target,
                }
                for request in (request_for(case, profile) for case in asked)
            ],
            trust_remote_code=trust,
            # LMDeploy brings a configuration of its own for what Transformers does not know.
            configuration=engine.settings.kind == "torch",
            # Of the engine torch only a processor does, which a model of text has none of.
            adds_special_tokens=engine.settings.kind == "lmdeploy" or files.takes_images,
        )
    except EngineError as error:
        return Letters((_not_loaded(engine, places, error, trust=trust),))
    answers = report["answers"]
    if not isinstance(answers, list):
        return Letters((unknown("letters", "the model's own code renders its prompts; a run will tell"),))
    found = tuple(
        _wrong_case(case, str(answer["error"]), about=str(answer["about"]))
        for case, answer in zip(asked, answers, strict=True)
        if isinstance(answer, dict) and answer["error"] is not None
    )
    lengths = [int(str(a["tokens"])) for a in answers if isinstance(a, dict) and a["tokens"] is not None]
    prefixes = [int(str(a["prefix"])) for a in answers if isinstance(a, dict) and "prefix" in a]
    if not found:
        count = len(asked)
        kinds = "combination" if count == 1 else "combinations"
        found = (
            right(
                "letters",
                f"all resolve: {count} {kinds} of letters, answer_prefix and system in {len(cases)} cases",
            ),
        )
    return Letters(found, max(lengths, default=None), max(prefixes, default=0) + 1)


def _wrong_case(case: Case, error: str, *, about: str) -> Finding:
    allowed, command = _REMEDIES[about]
    return wrong(about, f"{case.name}: {error}", case.location, allowed=allowed, command=command)


def _longest_of_each(cases: Sequence[Case], profile: Profile) -> list[Case]:
    longest: dict[Combination, Case] = {}
    for case in cases:
        key = (case.letters, case.answer_prefix, request_for(case, profile).system)
        if key not in longest or len(case.prompt) > len(longest[key].prompt):
            longest[key] = case
    return list(longest.values())


def _not_loaded(engine: EngineSpec, places: Places, error: EngineError, *, trust: bool) -> Finding:
    message = error.message
    if "trust_remote_code" in message and not trust:
        return wrong(
            "remote code",
            message.partition("\n")[0],
            places.of(engine, "options.trust_remote_code", "options", "model"),
            allowed="options: {trust_remote_code: true} for this engine, once you have read that code",
            command="add the option, and pin `revision:` to a commit where the model is a hub id",
        )
    return wrong(
        "tokenizer",
        message if not error.log_tail else f"{message}\n{error.log_tail}",
        places.of(engine, "model"),
        allowed="a tokenizer and configuration that this engine's Transformers can load",
        command="fetch the model again, or name an environment whose Transformers knows it (`requirements:`)",
    )

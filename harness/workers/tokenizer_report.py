"""The script behind `ask_tokenizer`: letters in context, by a model's tokenizer alone, without its weights.

Run as ``python tokenizer_report.py ORDER`` in the engine's interpreter, with ORDER a JSON object that names a
``file`` with another; prints one, as its last line, with ``error`` where tokenizer or configuration cannot be
loaded. Nothing is downloaded.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

importlib.import_module("worker")  # beside this file: makes `harness` importable, as in any worker

from harness.engines.chat_template import chat_prompt  # noqa: E402
from harness.engines.letters import LetterResolver  # noqa: E402
from harness.errors import EngineError, LettersError  # noqa: E402

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def report(
    model: str, *, trust: bool, configuration: bool, adds: bool, questions: list[dict[str, Any]]
) -> dict[str, Any]:
    """See `harness.workers.ask_tokenizer`."""
    import transformers

    try:
        if configuration:
            transformers.AutoConfig.from_pretrained(model, trust_remote_code=trust)
        tokenizer = transformers.AutoTokenizer.from_pretrained(model, trust_remote_code=trust)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the report has to say
        return {"error": f"{type(error).__name__}: {error}"}
    template = tokenizer.chat_template or _template_beside(Path(model))
    answers = None
    if template is not None:
        tokenizer.chat_template = template
        resolver = LetterResolver(tokenizer)
        answers = [_answer(tokenizer, resolver, question, adds=adds) for question in questions]
    return {"answers": answers, "transformers": transformers.__version__}


def _template_beside(folder: Path) -> str | None:
    """The template in the files that only processors read."""
    plain = folder / "chat_template.jinja"
    if plain.is_file():
        return plain.read_text(encoding="utf-8")
    for name in ("chat_template.json", "processor_config.json"):
        try:
            found = json.loads((folder / name).read_text(encoding="utf-8")).get("chat_template")
        except (OSError, ValueError):
            continue
        if isinstance(found, str):
            return found
    return None


def _answer(
    tokenizer: PreTrainedTokenizerBase, resolver: LetterResolver, question: dict[str, Any], *, adds: bool
) -> dict[str, Any]:
    try:
        context = _render(tokenizer, question)
        ids = tokenizer.encode(context, add_special_tokens=False)
    except Exception as error:  # noqa: BLE001 - the template's own word is what the report has to say
        text = f"the chat template fails: {type(error).__name__}: {error}"
        return {"error": text, "about": "template", "tokens": None}
    try:
        if adds:
            resolver.require_end(context, tokenizer.encode(context))
    except EngineError as error:
        return {"error": error.message, "about": "tokenizer", "tokens": len(ids)}
    try:
        if target := question.get("target"):  # a run knows every stop token; the tokenizer's own end is one
            end = getattr(tokenizer, "eos_token_id", None)
            stops = [-1 if end is None else end]
            return {
                "error": None,
                "tokens": len(ids),
                "prefix": len(resolver.target(context, target, stops).target),
            }
        found = resolver.resolve(context, question["letters"], answer_prefix=question["answer_prefix"])
    except LettersError as error:
        about = "text" if question.get("target") else "letters"
        return {"error": str(error), "about": about, "tokens": len(ids)}
    return {"error": None, "tokens": len(ids), "prefix": len(found.prefix_ids)}


def _render(tokenizer: PreTrainedTokenizerBase, question: dict[str, Any]) -> str:
    """The prompt up to the assistant's header; an image is left out, which changes nothing behind it."""
    # Some templates take content in parts, some as one text, most take both.
    for parts in (True, False):
        try:
            rendered = chat_prompt(tokenizer, [question["prompt"]], question["system"], parts=parts)
        except Exception:
            if not parts:
                raise
            continue
        if question["prompt"].strip() in rendered:
            break
    return rendered


if __name__ == "__main__":
    _order = json.loads(Path(json.loads(sys.argv[1])["file"]).read_text(encoding="utf-8"))
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as _modules:
        # Copies of a model's own code: not among those of other models, and gone afterwards.
        os.environ["HF_MODULES_CACHE"] = _modules
        print(json.dumps(report(**_order)))  # noqa: T201

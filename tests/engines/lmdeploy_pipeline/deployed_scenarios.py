"""Runs the real LMDeploy with settings of deployments: ``python deployed_scenarios.py FOLDER``.

As scenarios.py does, in one process of its own, and leaves ``deployed.json`` in FOLDER.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.engines.lmdeploy_on_cpu.plugin import install

install(dtype="float32")

from harness.engines.contract import Answer, Engine, EngineSettings, Request  # noqa: E402
from harness.engines.lmdeploy_pipeline import engine as lmdeploy_pipeline  # noqa: E402
from harness.errors import EngineError  # noqa: E402

ROOT = Path(__file__).parents[3]
EMBEDDED = ROOT / "cases" / "models" / "embedded"
PICTURE = str(ROOT / "cases" / "images" / "two-green-cross-112x56.png")
FEW_PIXELS = 2 * 28 * 28
TEMPLATE = {"model_name": "of-a-deployment", "user": "USER: ", "eoh": "\n", "assistant": "BOT:"}
SMALL_BLOCKS: dict[str, Any] = {"block_size": 16, "num_gpu_blocks": 256}
SAID: dict[str, Any] = {"session_len": 512, "max_prefill_token_num": 2048, "cache_max_entry_count": 0.5}
UNEQUAL_HEADS = {"text_config": {"num_attention_heads": 5}}

made: dict[str, Any] = {}


def settings(model: Path, *paths: str, kind: str = "lmdeploy", **options: Any) -> EngineSettings:
    return EngineSettings(
        kind=kind,
        model=str(model),
        dtype="float32",
        device="cpu",
        paths=paths,
        top_k=5,
        batch_size=4,
        options={"threads": 1, **options},
    )


def requests() -> list[Request]:
    """Three that begin alike, with blocks between the end of the image and that of the prompt."""
    return [
        Request(
            case=f"c{number}",
            prompt=f"{'Which of these is it? ' * 4}{number}",
            letters=("A", "B", "C"),
            images=(PICTURE,),
            max_new_tokens=3,
        )
        for number in range(3)
    ]


def told(answer: object) -> dict[str, Any]:
    assert isinstance(answer, Answer), answer
    return {
        "ids": list(answer.generated_ids),
        "prompt": list(answer.prompt_ids),
        "question": asdict(answer.question),
        "readings": {
            each.path: {"logprobs": list(each.logprobs), "letters": list(each.letter_logits)}
            for each in answer.readings
        },
    }


def by_case(engine: Engine) -> dict[str, Any]:
    outcomes = sorted(engine.score(requests()), key=lambda outcome: outcome.case)
    return {outcome.case: told(outcome.result) for outcome in outcomes}


def run(name: str, asked: EngineSettings, *, times: int = 1) -> None:
    """Leave the answers of the last time, or the refusal, and what LMDeploy itself tells of its engine."""
    try:
        engine = lmdeploy_pipeline.load(asked)
    except EngineError as error:
        made[name] = {"kind": error.kind.value, "refused": error.message}
        return
    assert isinstance(engine, lmdeploy_pipeline.LmdeployPipeline)
    answers: dict[str, Any] = {}
    try:
        for _ in range(times):
            before = answers
            answers = by_case(engine)
        pytorch = engine._engine.engine
        encoder = getattr(engine._engine.prompt_processor, "vl_encoder", None)
        made[name] = {
            "answers": answers,
            "same_again": times > 1 and [each["ids"] for each in before.values()],
            "hits": pytorch.scheduler.block_trie.stats.num_hit_tokens,
            "executor": type(pytorch.executor).__name__,
            "vision_batch": getattr(encoder, "max_batch_size", None),
            "fingerprint": engine.fingerprint(),
        }
    finally:
        engine.close()


def run_refused(name: str, folder: Path, **files: Any) -> None:
    """Leave why the cases of a copy of the embedded model fail, in ``folder``; None removes a file of it."""
    shutil.copytree(EMBEDDED, folder)
    for file, changes in ((name.replace("__", "."), changes) for name, changes in files.items()):
        if changes is None:
            (folder / file).unlink()
        else:
            before = json.loads((folder / file).read_text())
            (folder / file).write_text(json.dumps({**before, **changes}))
    engine = lmdeploy_pipeline.load(settings(folder, "captured"))
    made[name] = [getattr(outcome.result, "message", "answered") for outcome in engine.score(requests())]
    engine.close()


def main(folder: Path) -> None:
    import torch

    from harness.engines.torch_native import engine as torch_native
    from tests.engines.torch_native.tiny_families import hub_names, make

    torch.set_num_threads(1)
    newer = folder / "qwen3_vl"
    make("qwen3_vl", newer)
    template = folder / "template.json"
    template.write_text(json.dumps(TEMPLATE))

    run("plain", settings(newer, "captured"))
    for kind in ("cold", "warm"):
        run(kind, settings(newer, "captured", prefix_cache=kind, **SMALL_BLOCKS))
    run("warm without paths", settings(newer, prefix_cache="warm", **SMALL_BLOCKS))
    run("few pixels", settings(newer, "captured", max_pixels=FEW_PIXELS))
    native = torch_native.load(settings(newer, "forward", kind="torch", max_pixels=FEW_PIXELS))
    made["few pixels natively"] = {"answers": by_case(native)}

    older = folder / "qwen2_vl"
    make("qwen2_vl", older)
    config = json.loads((older / "config.json").read_text())
    config["text_config"]["architectures"] = ["Qwen2ForCausalLM"]  # else LMDeploy finds no language model
    (older / "config.json").write_text(json.dumps(config))
    run("few pixels of Qwen2-VL", settings(older, "captured", max_pixels=FEW_PIXELS))
    native = torch_native.load(settings(older, "forward", kind="torch", max_pixels=FEW_PIXELS))
    made["few pixels of Qwen2-VL natively"] = {"answers": by_case(native)}

    llava = folder / "llava"
    make("llava", llava)
    hub_names(llava / "model.safetensors")
    run("LLaVA", settings(llava, "captured"))
    native = torch_native.load(settings(llava, "forward", kind="torch"))
    made["LLaVA natively"] = {"answers": by_case(native)}

    run_refused("no chat template", folder / "bare", chat_template__jinja=None)
    end, text = "<|endoftext|>", {"Sequence": {"id": "A", "type_id": 0}}
    adding = {
        "type": "TemplateProcessing",
        "single": [text, {"SpecialToken": {"id": end, "type_id": 0}}],
        "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {end: {"id": end, "ids": [694], "tokens": [end]}},
    }
    run_refused(
        "an end of text",
        folder / "adding",
        tokenizer__json={"post_processor": adding},
        tokenizer_config__json={"tokenizer_class": "PreTrainedTokenizerFast"},
    )

    run("prefix cache of an InternVL", settings(EMBEDDED, "captured", prefix_cache="warm"))
    run("pixels of an InternVL", settings(EMBEDDED, "captured", min_pixels=FEW_PIXELS))
    run("said", settings(EMBEDDED, "captured", **SAID, vision_config={"max_batch_size": 8}))
    run("template", settings(EMBEDDED, "captured", chat_template_config=str(template)))
    run("no such template", settings(EMBEDDED, "captured", chat_template_config="nobodys"))
    run("no such vision", settings(EMBEDDED, "captured", vision_config={"max_batch": 8}))
    run("overridden", settings(EMBEDDED, "captured", hf_overrides=UNEQUAL_HEADS))

    run("here", settings(EMBEDDED, "scored", "top-k"))
    (folder / "deployed.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

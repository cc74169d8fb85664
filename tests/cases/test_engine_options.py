"""What an engine takes, by the table of options: every refusal with its place, and what else comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cases.engine_options import default_options, default_paths
from harness.cases.profiles import Profile, paths_of
from harness.engines.pixel_limits import pixel_limits
from harness.errors import CaseFileError
from harness.recordings.fingerprint import engine_fingerprint
from harness.schemas.options import side_of
from tests.cases.profile_texts import SUITES
from tests.cases.writing import load_profiles

CUDA = "device: cuda, dtype: float16, "

pytestmark = pytest.mark.usefixtures("folder")


def profile(entry: str) -> Profile:
    text = f"profiles:\n  p: {{model: m, reference: e, engines: {{e: {{{entry}}}}}}}\n"
    Path("profiles.yaml").write_text(text)
    return load_profiles(Path("profiles.yaml"), SUITES)[0]


REFUSED = {
    # kinds
    "of another kind": (
        "kind: lmdeploy, options: {§attention: sdpa}",
        "the option 'attention'",
        "an option of lmdeploy (pytorch, cpu): threads, trust_remote_code, backend, kernels, stage_two",
    ),
    "said of whom": ("kind: torch, options: {§tp: 1}", "'tp'", "tp is for lmdeploy, api with serve"),
    "path of another kind": (
        "kind: torch, paths: [§captured]",
        "'captured'",
        "a path of torch (cpu): forward, generate",
    ),
    # backends
    "block_size for turbomind": (
        CUDA + "kind: lmdeploy, options: {backend: turbomind, §block_size: 64}",
        "the option 'block_size'",
        "block_size is for lmdeploy, api with serve; pytorch only",
    ),
    "cache_block_seq_len for pytorch": (
        CUDA + "kind: lmdeploy, options: {§cache_block_seq_len: 64}",
        "the option 'cache_block_seq_len'",
        "cache_block_seq_len is for lmdeploy; turbomind only",
    ),
    "eager_mode for turbomind": (
        CUDA + "kind: lmdeploy, options: {backend: turbomind, §eager_mode: true}",
        "the option 'eager_mode'",
        "pytorch only",
    ),
    "path of the other backend": (
        CUDA + "kind: lmdeploy, options: {backend: turbomind}, paths: [two-stage, §captured]",
        "'captured'",
        "a path of lmdeploy (turbomind, cuda): generation, two-stage",
    ),
    "path of turbomind": (
        "kind: lmdeploy, paths: [§generation]",
        "'generation'",
        "a path of lmdeploy (pytorch, cpu): two-stage, captured, scored, top-k",
    ),
    "awq for pytorch": (
        CUDA + "kind: lmdeploy, options: {model_format: §awq}",
        "'awq' for lmdeploy (pytorch, cuda)",
        "fp8; LMDeploy's PyTorch engine can be told no other",
    ),
    "rows of several GPUs": (
        CUDA + "kind: lmdeploy, options: {tp: 2}, paths: [scored, §captured]",
        "'captured' with tp: 2",
        "scored, top-k; LMDeploy gives no such rows then",
    ),
    "second stage on several GPUs": (
        CUDA + "kind: lmdeploy, options: {tp: 4}, paths: [§two-stage]",
        "'two-stage' with tp: 4",
        "scored, top-k",
    ),
    "second stage with a prefix cache": (
        "kind: lmdeploy, options: {prefix_cache: cold}, paths: [captured, §two-stage]",
        "'two-stage' with prefix_cache: ",
        "captured, scored, top-k; LMDeploy gives no such rows then",
    ),
    "second stage of turbomind with a prefix cache": (
        CUDA + "kind: lmdeploy, options: {backend: turbomind, prefix_cache: warm}, paths: [§two-stage]",
        "'two-stage' with prefix_cache: ",
        "generation; LMDeploy gives no such rows",
    ),
    "lukewarm": ("kind: lmdeploy, options: {prefix_cache: §true}", "true", "'cold' or 'warm'"),
    "prefix cache of torch": (
        "kind: torch, options: {§prefix_cache: warm}",
        "'prefix_cache'",
        "api with serve",
    ),
    "no such template": (
        "kind: lmdeploy, options: {chat_template_config: §none.json}",
        "'none.json'",
        "a file that holds a JSON object (looked for none.json), or a template's name",
    ),
    "template of torch": (
        "kind: torch, options: {§chat_template_config: a}",
        "'chat_template_config'",
        "chat_template_config is for lmdeploy, api with serve",
    ),
    "template in place of its file": (
        "kind: lmdeploy, options: {chat_template_config: §{user: a}}",
        "a mapping",
        "text",
    ),
    "vision of a name": ("kind: lmdeploy, options: {vision_config: §a}", "'a'", "a mapping"),
    "fewest pixels above the most": (
        "kind: torch, min_pixels: 3000, max_pixels: §2000",
        "max_pixels: 2000",
        "3000 or more, which is min_pixels",
    ),
    "no pixels": ("kind: torch, max_pixels: §0", "0", "1 or more"),
    "pixels of a server": (
        "kind: api, options: {serve: true}, max_pixels: §2000",
        "max_pixels: 2000",
        "no max_pixels for e, a server, which keeps to its model's own limit",
    ),
    "tiles of a server": (
        "kind: api, dtype: float32, options: {url: 'http://h'}, max_tiles: §2",
        "max_tiles: 2",
        "no max_tiles for e, a server",
    ),
    "fp8 cache for turbomind": (
        CUDA + "kind: lmdeploy, options: {backend: turbomind, quant_policy: §16}",
        "the number 16 for lmdeploy (turbomind, cuda)",
        "0 or 4 or 8; TurboMind has no fp8 cache",
    ),
    # devices
    "turbomind on a CPU": (
        "kind: lmdeploy, options: {backend: §turbomind}",
        "'turbomind' for lmdeploy (turbomind, cpu)",
        "pytorch; turbomind needs device: cuda",
    ),
    "tp on a CPU": ("kind: lmdeploy, options: {tp: §2}", "the number 2", "1; the CPU device plug-in"),
    "quantised cache on a CPU": (
        "kind: lmdeploy, options: {quant_policy: §8}",
        "the number 8 for lmdeploy (pytorch, cpu)",
        "0; the CPU device plug-in has no quantised cache",
    ),
    "quantised cache in fp8, interpreted": (
        "kind: lmdeploy, options: {kernels: interpreted, quant_policy: §16}",
        "the number 16 for lmdeploy (pytorch, cpu)",
        "0 or 4 or 8; fp8 was not run interpreted",
    ),
    "interpreted kernels on a GPU": (
        CUDA + "kind: lmdeploy, options: {§kernels: interpreted}",
        "the option 'kernels'",
        "kernels is for lmdeploy; pytorch cpu only",
    ),
    "a card for none": (
        "kind: lmdeploy, options: {§card: sm90}",
        "the option 'card'",
        "card is for lmdeploy; interpreted only",
    ),
    "no such card": (
        "kind: lmdeploy, options: {kernels: interpreted, card: §sm75}",
        "'sm75'",
        "'sm80' or 'sm90'",
    ),
    "a server's interpreted kernels": (
        "kind: api, options: {serve: true, §kernels: interpreted}",
        "the option 'kernels'",
        "kernels is for lmdeploy",
    ),
    "quantised weights on a CPU": (
        "kind: lmdeploy, options: {§model_format: fp8}",
        "the option 'model_format'",
        "cuda only",
    ),
    "flash attention on a CPU": (
        "kind: torch, options: {attention: §flash_attention_2}",
        "'flash_attention_2' for torch (cpu)",
        "sdpa or eager; flash_attention_2 needs device: cuda",
    ),
    # servers
    "turbomind is not served": (
        CUDA + "kind: api, options: {serve: true, backend: §turbomind}",
        "'turbomind' for api with serve (cuda)",
        "pytorch; a server is started with LMDeploy's PyTorch engine",
    ),
    "turbomind's option is not served": (
        CUDA + "kind: api, options: {serve: true, §cache_block_seq_len: 64}",
        "the option 'cache_block_seq_len'",
        "cache_block_seq_len is for lmdeploy; turbomind only",
    ),
    "awq is not served": (CUDA + "kind: api, options: {serve: true, model_format: §awq}", "'awq'", "fp8"),
    "tp on a server's CPU": ("kind: api, options: {serve: true, tp: §2}", "the number 2", "1"),
    # values of any engine
    "no such quant_policy": (
        CUDA + "kind: lmdeploy, options: {quant_policy: §3}",
        "the number 3",
        "0 or 4 or 8 or 16 or 17",
    ),
    "no such model_format": (CUDA + "kind: lmdeploy, options: {model_format: §awk}", "'awk'", "'awq'"),
    "no such kernel": ("kind: torch, options: {attention: §fast}", "'fast'", "'sdpa'"),
    "no such stage two": (
        "kind: lmdeploy, options: {stage_two: §both}",
        "'both'",
        "'one-pass' or 'stepwise'",
    ),
    "wrong type": ("kind: torch, options: {threads: §two}", "'two'", "a whole number"),
    "a boolean is no number": ("kind: lmdeploy, options: {quant_policy: §false}", "false", "a whole number"),
    "share of memory": ("kind: lmdeploy, options: {cache_max_entry_count: §1}", "1", "less than 1"),
    "top-k of nothing": ("kind: lmdeploy, paths: [top-k], top_k: §0", "0 for the path top-k", "1 or more"),
    # engine_config
    "engine_config of torch": (
        "kind: torch, §engine_config: {a: 1}",
        "engine_config for torch (cpu)",
        "engine_config of lmdeploy, api with serve",
    ),
    "engine_config of a running server": (
        "kind: api, dtype: float32, options: {url: 'http://h'}, §engine_config: {a: 1}",
        "engine_config for api with url (cpu)",
        "engine_config of lmdeploy, api with serve",
    ),
    "an option by name": (
        "kind: lmdeploy, engine_config: {§session_len: 9}",
        "the field 'session_len'",
        "session_len under `options:`",
    ),
    "pinned": (
        "kind: lmdeploy, engine_config: {a: 1, §enable_prefix_caching: true}",
        "the field 'enable_prefix_caching'",
        "`prefix_cache:` under `options:`, cold or warm; false without it",
    ),
    "metrics": (
        "kind: lmdeploy, engine_config: {§enable_metrics: true}",
        "'enable_metrics'",
        "nothing: false",
    ),
    "logprobs": ("kind: lmdeploy, engine_config: {§logprobs_mode: x}", "'logprobs_mode'", "raw_logprobs"),
    "dtype": (
        "kind: lmdeploy, engine_config: {§dtype: float16}",
        "the field 'dtype'",
        "`dtype:` of the engine",
    ),
    "device": (
        "kind: api, options: {serve: true}, engine_config: {§device_type: cuda}",
        "'device_type'",
        "`device:` of the engine",
    ),
    "nothing in it": ("kind: lmdeploy, engine_config: §{}", "a mapping", "at least 1"),
}


@pytest.mark.parametrize(("entry", "found", "allowed"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_at_its_place(entry: str, found: str, allowed: str) -> None:
    before, _, after = entry.partition("§")
    with pytest.raises(CaseFileError) as caught:
        profile(before + after)
    (problem,) = caught.value.problems
    column = len("  p: {model: m, reference: e, engines: {e: {") + len(before) + 1
    assert problem.place == f"profiles.yaml:2:{column}"
    assert found in problem.found
    assert allowed in problem.allowed


@pytest.mark.parametrize(
    "entry",
    [
        "kind: lmdeploy, options: {threads: 2, tp: 1, quant_policy: 0, backend: pytorch, block_size: 64}",
        "kind: lmdeploy, options: {kernels: interpreted, card: sm90, processors: 8, quant_policy: 4}",
        CUDA + "kind: lmdeploy, options: {quant_policy: 17, model_format: fp8, eager_mode: true}",
        CUDA + "kind: lmdeploy, options: {backend: turbomind, tp: 2, model_format: awq, quant_policy: 4}",
        CUDA + "kind: lmdeploy, options: {backend: turbomind, cache_block_seq_len: 128}, paths: [generation]",
        CUDA + "kind: api, options: {serve: true, tp: 2, backend: pytorch}, paths: [chat, scored]",
        CUDA + "kind: torch, options: {attention: flash_attention_2}",
        CUDA + "kind: lmdeploy, options: {tp: 2, prefix_cache: warm}, paths: [scored, top-k]",
        CUDA + "kind: lmdeploy, options: {tp: 2}",
        CUDA + "kind: lmdeploy, options: {backend: turbomind, prefix_cache: warm}, paths: [generation]",
        "kind: lmdeploy, options: {prefix_cache: cold, vision_config: {max_batch_size: 8}}",
        "kind: api, options: {serve: true, prefix_cache: warm, chat_template_config: qwen}, paths: [chat]",
        "kind: torch, min_pixels: 2000, max_pixels: 2000",
        "kind: lmdeploy, options: {session_len: 9, cache_max_entry_count: 0.5, max_prefill_token_num: 9}",
    ],
)
def test_what_is_taken(entry: str) -> None:
    profile(entry)


def test_engine_config_is_among_the_settings_and_the_key_only_where_it_is_written() -> None:
    (plain,) = profile("kind: lmdeploy").engines
    assert plain.settings.options == {"stage_two": "one-pass"}
    (more,) = profile("kind: api, options: {serve: true}, engine_config: {prefill_interval: 8}").engines
    assert more.settings.options["engine_config"] == {"prefill_interval": 8}
    (other,) = profile("kind: api, options: {serve: true}, engine_config: {prefill_interval: 9}").engines
    first, second = (
        engine_fingerprint(each.settings, {}, patch=None, cache=Path("cache")) for each in (more, other)
    )
    assert first != second


def key_of(entry: str) -> dict[str, object]:
    (engine,) = profile(entry).engines
    return dict(engine_fingerprint(engine.settings, {}, patch=None, cache=Path("cache")))


@pytest.mark.parametrize(
    ("plain", "other"),
    [
        ("prefix_cache: cold", "prefix_cache: warm"),
        ("vision_config: {max_batch_size: 1}", "vision_config: {max_batch_size: 2}"),
        ("chat_template_config: qwen", "chat_template_config: internlm2"),
        ("session_len: 8", "session_len: 9"),
    ],
)
def test_two_values_are_two_engines(plain: str, other: str) -> None:
    first, second = (key_of(f"kind: lmdeploy, options: {{{each}}}") for each in (plain, other))
    assert first != second


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        ("tp: 1", ("two-stage", "captured", "scored", "top-k")),
        ("tp: 2", ("scored", "top-k")),
        ("prefix_cache: warm", ("captured", "scored", "top-k")),
        ("prefix_cache: cold, tp: 2", ("scored", "top-k")),
        ("backend: turbomind, tp: 2", ("generation", "two-stage")),
    ],
)
def test_an_engine_has_no_paths_that_its_options_take_from_it(options: str, paths: tuple[str, ...]) -> None:
    (engine,) = profile(CUDA + f"kind: lmdeploy, options: {{{options}}}").engines
    assert paths_of(engine.settings) == paths


def test_limits_of_pixels_are_among_the_settings_of_every_engine_and_in_its_key() -> None:
    text = (
        "profiles:\n  p: {model: m, reference: torch, max_pixels: 2000, min_pixels: 800, "
        "engines: {torch: {}, lmdeploy: {}, fewer: {kind: torch, max_pixels: 1000}}}\n"
    )
    Path("profiles.yaml").write_text(text)
    engines = load_profiles(Path("profiles.yaml"), SUITES)[0].engines
    found = [pixel_limits(each.settings) for each in engines]
    assert found == [{"min_pixels": 800, "max_pixels": most} for most in (2000, 2000, 1000)]
    keys = [engine_fingerprint(each.settings, {}, patch=None, cache=Path("cache")) for each in engines]
    assert keys[0]["settings"] != keys[2]["settings"]


@pytest.mark.parametrize(
    "entry",
    [
        "kind: lmdeploy, options: {chat_template_config: said.json}",
        "kind: lmdeploy, options: {chat_template_config: ./said.json}",
        "kind: lmdeploy, engine_config: {some_file: ./said.json}",
        "kind: api, options: {serve: true}, engine_config: {some: {file: ./said.json}}",
    ],
)
def test_a_file_that_an_option_names_counts_by_its_content(entry: str) -> None:
    file = Path("said.json")
    file.write_text("{}")
    before = key_of(entry)
    assert before == key_of(entry)
    assert str(Path.cwd()) not in str(before["settings"])
    (engine,) = profile(entry).engines
    assert str(file.absolute()) in str(engine.settings.options)  # a worker finds it wherever it runs
    file.write_text('{"user": "U:"}')
    assert key_of(entry) != before


def test_a_kernel_for_a_model_with_code_of_its_own_is_one_that_is_written() -> None:
    (own,) = profile("kind: torch, options: {trust_remote_code: true}").engines
    assert "attention" not in own.settings.options
    (asked,) = profile("kind: torch, options: {trust_remote_code: true, attention: eager}").engines
    assert asked.settings.options["attention"] == "eager"


def test_defaults_and_paths_of_each_kind() -> None:
    torch, served, running = (
        side_of(kind, options, "cpu") for kind, options in (("torch", {}), ("api", {}), ("api", {"url": "u"}))
    )
    assert (default_options(torch, {}), default_paths(torch)) == ({"attention": "sdpa"}, ("forward",))
    assert (default_options(served, {}), default_paths(served)) == ({}, ("chat",))
    assert default_paths(running) == ("chat",)
    (engine,) = profile(CUDA + "kind: lmdeploy, options: {backend: turbomind}").engines
    assert (engine.settings.paths, paths_of(engine.settings)) == ((), ("generation", "two-stage"))


def test_a_file_of_kernels_counts_by_its_content_wherever_it_is() -> None:
    entry = CUDA + "kind: lmdeploy, options: {backend: turbomind, gemm_tuning: gemm.cache}"
    file = Path("gemm.cache")
    keys = []
    for content in ("one", "two"):
        file.write_text(content)
        settings = profile(entry).engines[0].settings
        assert settings.options["gemm_tuning"] == str(file.absolute())
        found = engine_fingerprint(settings, {}, patch=None, cache=Path("cache"))["settings"]
        assert isinstance(found, dict)
        keys.append(found["options"])
    assert keys[0] != keys[1]
    assert str(file.absolute()) not in str(keys)

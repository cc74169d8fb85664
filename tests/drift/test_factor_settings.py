"""Which factors two engines have, to what they go, on which side, and why an engine has none of one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cases.problems import Location
from harness.cases.profiles import EngineSpec, Profile
from harness.cases.suites import Case
from harness.drift.factor_settings import Factor, factors_of
from harness.drift.run import Pair
from harness.engines.contract import EngineSettings
from harness.scoring.subjects import Subject

HERE = Location(Path("f.yaml"), 1, 1)
TORCH = EngineSettings(
    kind="torch",
    model="m",
    dtype="float32",
    device="cpu",
    paths=("forward",),
    top_k=20,
    batch_size=16,
    options={"attention": "sdpa"},
)
LMDEPLOY = replace(TORCH, kind="lmdeploy", paths=(), options={})
GPU = {"device": "cuda", "dtype": "bfloat16"}
TURBOMIND = {**GPU, "options": {"backend": "turbomind"}}


def pair(a: EngineSettings, b: EngineSettings, system: str | None = None) -> Pair:
    case = Case(id="c", suite="s", prompt="?", letters=("A", "B"), expect="A", location=HERE, system=system)
    specs = [EngineSpec(name=name, settings=each, location=HERE) for name, each in (("a", a), ("b", b))]
    profile = Profile(name="p", reference="a", engines=tuple(specs), suites=("s",), location=HERE)
    return Pair(*(Subject(case, profile, spec) for spec in specs))


def factors(of: Pair, *, images: bool = True) -> dict[str, Factor]:
    dtypes = (of.a.engine.settings.dtype, of.b.engine.settings.dtype)
    return {each.name: each for each in factors_of(of, dtypes, images=images)}


def changed(of: Pair, name: str) -> tuple[Subject | None, Subject | None]:
    a, b = factors(of)[name].changes
    return a and a(of.a), b and b(of.b)


def on_gpu(settings: EngineSettings, **changes: Any) -> EngineSettings:
    return replace(settings, **{**GPU, **changes})


@pytest.mark.parametrize(
    ("b", "had"),
    [
        (TORCH, "dtype, batch size, attention kernel, system text, tile limit, threads"),
        (LMDEPLOY, "dtype, batch size, prefix caching, system text, tile limit, threads"),
        (replace(LMDEPLOY, paths=("two-stage",)), "dtype, batch size, system text, tile limit, threads"),
        (on_gpu(LMDEPLOY), "dtype, batch size, prefix caching, system text, tile limit, eager mode"),
        (
            on_gpu(LMDEPLOY, options={"backend": "turbomind", "chat_template_config": "internvl2_5"}),
            "dtype, batch size, prefix caching, chunked prefill, template, system text, tile limit",
        ),
        (
            replace(TORCH, options={"trust_remote_code": True}),
            "dtype, batch size, template, system text, tile limit, threads",
        ),
        (replace(TORCH, kind="api", options={"url": "http://x"}), "batch size, system text"),
        (
            replace(TORCH, kind="api", options={"serve": True}),
            "dtype, batch size, prefix caching, system text",
        ),
    ],
)
def test_an_engine_has_the_factors_that_it_takes_and_a_reason_for_each_other(
    b: EngineSettings, had: str
) -> None:
    found = factors(pair(replace(TORCH, device=b.device), b))
    assert len(found) == 10
    assert ", ".join(name for name, each in found.items() if not each.why) == had
    assert all((each.changes == (None, None)) <= bool(each.why) for each in found.values())


@pytest.mark.parametrize(
    ("a", "b", "told", "becomes"),
    [
        (TORCH, replace(LMDEPLOY, dtype="bfloat16"), ("bfloat16", "float32"), (None, "float32")),
        (TORCH, LMDEPLOY, ("float32", "bfloat16"), ("bfloat16", "bfloat16")),
        (replace(TORCH, dtype="bfloat16"),) * 2 + (("bfloat16", "float32"), ("float32", "float32")),
        # LMDeploy has no float32 on a GPU.
        (on_gpu(TORCH, dtype="float32"), on_gpu(LMDEPLOY), ("float32", "bfloat16"), ("bfloat16", None)),
        (on_gpu(TORCH), on_gpu(LMDEPLOY), ("bfloat16", "float16"), ("float16", "float16")),
    ],
)
def test_b_takes_the_dtype_of_a_or_both_another(
    a: EngineSettings, b: EngineSettings, told: tuple[str, str], becomes: tuple[str | None, str | None]
) -> None:
    of = pair(a, b)
    one = factors(of)["dtype"]
    assert (one.was, one.becomes) == told
    assert tuple(each and each.engine.settings.dtype for each in changed(of, "dtype")) == becomes


def test_what_is_of_the_question_changes_on_both_sides_where_they_are_asked_alike() -> None:
    a, b = changed(pair(TORCH, LMDEPLOY, system="S"), "system text")
    assert a is not None
    assert b is not None
    assert (a.case.system, a.profile.system, b.case.system) == (None, None, None)
    a, b = changed(pair(TORCH, LMDEPLOY), "tile limit")
    assert [each and each.engine.settings.max_tiles for each in (a, b)] == [1, 1]
    a, b = changed(pair(replace(TORCH, max_tiles=6), LMDEPLOY), "tile limit")
    assert (a, b and b.engine.settings.max_tiles) == (None, 6)
    assert factors(pair(TORCH, LMDEPLOY), images=False)["tile limit"].why


def test_a_setting_of_b_becomes_that_of_a_where_it_is_one_that_is_varied() -> None:
    eager = replace(TORCH, options={"attention": "eager", "threads": 3})
    found = factors(pair(eager, TORCH))
    assert (found["attention kernel"].becomes, found["threads"].becomes) == ("eager", "3")
    _, b = changed(pair(eager, TORCH), "threads")
    assert b is not None
    assert b.engine.settings.options == {"attention": "sdpa", "threads": 3}

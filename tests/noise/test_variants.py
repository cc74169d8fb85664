"""Which runs an engine is jittered by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.cases.problems import Location
from harness.cases.profiles import EngineSpec, Profile
from harness.engines.contract import EngineSettings, Json
from harness.errors import UnknownName
from harness.noise.measuring import native_engine
from harness.noise.variants import chosen, ordered, require_known, variants_for


def settings(
    kind: str, *, device: str = "cpu", batch_size: int = 16, paths: tuple[str, ...] = (), **options: Json
) -> EngineSettings:
    return EngineSettings(
        kind=kind,
        model="m",
        dtype="bfloat16",
        device=device,
        paths=paths,
        top_k=0,
        batch_size=batch_size,
        options=options,
    )


@pytest.mark.parametrize(
    ("own", "names"),
    [
        (
            settings("torch", paths=("forward",), attention="sdpa"),
            "repeat batch-1 batch-4 reversed shuffled attention-eager path-generate threads-1 threads-3",
        ),
        (
            settings("torch", device="cuda", paths=("generate", "forward"), attention="eager", batch_size=1),
            "repeat batch-2 reversed shuffled attention-sdpa",
        ),
        (
            settings("torch", paths=("generate",), trust_remote_code=True, threads=1, batch_size=2),
            "repeat batch-1 batch-4 reversed shuffled path-forward threads-3",
        ),
        (
            settings("lmdeploy", device="cuda"),
            "repeat batch-1 batch-4 reversed shuffled eager",
        ),
        (
            settings("lmdeploy", device="cuda", eager_mode=True, batch_size=4),
            "repeat batch-1 batch-2 reversed shuffled graphs",
        ),
        (
            settings("lmdeploy", device="cuda", backend="turbomind"),
            "repeat batch-1 batch-4 reversed shuffled",
        ),
        (settings("lmdeploy"), "repeat batch-1 batch-4 reversed shuffled threads-1 threads-3"),
        (settings("api", device="cuda", url="u"), "repeat batch-1 batch-4 reversed shuffled"),
    ],
)
def test_variants_of_each_kind(own: EngineSettings, names: str) -> None:
    found = variants_for(own)
    assert [variant.name for variant in found] == names.split()
    changed = [variant for variant in found if variant.name not in ("repeat", "reversed", "shuffled")]
    assert all(variant.settings != own for variant in changed)
    assert all(variant.settings.dtype == own.dtype for variant in found)


def test_what_a_variant_changes() -> None:
    by_name = {variant.name: variant for variant in variants_for(settings("torch", paths=("forward",)))}
    assert by_name["batch-1"].settings.batch_size == 1
    assert by_name["attention-eager"].settings.options["attention"] == "eager"
    assert by_name["path-generate"].settings.paths == ("generate",)
    assert by_name["threads-3"].settings.options["threads"] == 3
    assert by_name["reversed"].order == "reversed"


def test_orders() -> None:
    items = list(range(10))
    assert ordered(items, "given") == items
    assert ordered(items, "reversed") == items[::-1]
    shuffled = ordered(items, "shuffled")
    assert sorted(shuffled) == items
    assert shuffled not in (items, items[::-1])
    assert shuffled == ordered(items, "shuffled")


def test_choosing() -> None:
    variants = variants_for(settings("api"))
    assert chosen(variants, None) == variants
    assert [one.name for one in chosen(variants, ["shuffled", "eager", "repeat"])] == ["repeat", "shuffled"]
    require_known("--variants", ["repeat"], ["repeat", "eager"])
    with pytest.raises(UnknownName, match=r"^--variants: found x; allowed: repeat, eager$"):
        require_known("--variants", ["repeat", "x"], ["repeat", "eager", "repeat"])


NINE: dict[str, Any] = {"max_pixels": 9}


@pytest.mark.parametrize(
    ("limits", "found"), [({}, None), ({"max_pixels": 9}, "torch"), ({"max_pixels": 8}, None)]
)
def test_a_reference_is_shown_images_of_the_same_size(limits: dict[str, Any], found: str | None) -> None:
    place = Location(Path("profiles.yaml"), 1, 1)
    engines = tuple(
        EngineSpec(name=kind, settings=settings(kind, **options), location=place)
        for kind, options in (("torch", NINE), ("lmdeploy", limits))
    )
    profile = Profile(name="p", reference="torch", engines=engines, suites=(), location=place)
    native = native_engine(profile, engines[1])
    assert (native and native.name) == found

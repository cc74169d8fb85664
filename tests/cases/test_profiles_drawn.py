"""Profiles drawn at random come back as they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cases.profile_texts import SUITES
from tests.cases.writing import Dumper, load_profiles

NAMES = st.from_regex(r"[a-z0-9_]{1,6}", fullmatch=True)
PATHS = {"torch": ["forward", "generate"], "lmdeploy": ["two-stage", "captured", "scored", "top-k"]}
SHARED: dict[str, st.SearchStrategy[Any]] = {
    "dtype": st.sampled_from(["auto", "float16", "bfloat16"]),
    "device": st.sampled_from(["cpu", "cuda"]),
    "batch_size": st.integers(1, 64),
    "deadlines": st.fixed_dictionaries(
        {}, optional={"load": st.floats(0.1, 9e3), "case": st.integers(1, 600)}
    ),
}


@st.composite
def engines_of(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(list(PATHS)))
    paths = st.lists(st.sampled_from(PATHS[kind]), min_size=1, max_size=2, unique=True)
    return draw(
        st.fixed_dictionaries(
            {"kind": st.just(kind)}, optional={**SHARED, "paths": paths, "top_k": st.integers(1, 1024)}
        )
    )


@given(
    st.dictionaries(
        NAMES,
        st.tuples(
            st.fixed_dictionaries(
                {}, optional={**SHARED, "suites": st.just(["signs"]), "marks": st.just(["gpu"])}
            ),
            st.dictionaries(NAMES, engines_of(), min_size=1, max_size=3),
        ),
        min_size=1,
        max_size=3,
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_dumped_is_loaded_again(folder: Path, drawn: dict[str, Any]) -> None:
    data = {
        name: {**shared, "model": "m", "reference": next(iter(engines)), "engines": engines}
        for name, (shared, engines) in drawn.items()
    }
    (folder / "profiles.yaml").write_text(yaml.dump({"profiles": data}, Dumper=Dumper, sort_keys=False))
    for (name, written), loaded in zip(
        data.items(), load_profiles(folder / "profiles.yaml", SUITES), strict=True
    ):
        assert (loaded.name, loaded.reference) == (name, written["reference"])
        assert list(loaded.suites) == written.get("suites", ["shapes", "signs"])
        assert list(loaded.marks) == written.get("marks", [])
        for (engine_name, engine), spec in zip(written["engines"].items(), loaded.engines, strict=True):
            either = {"dtype": "auto", "device": "cpu", "batch_size": 16, "top_k": 20, **written, **engine}
            either["deadlines"] = {"load": 600, "case": 120}
            either["deadlines"] |= written.get("deadlines", {}) | engine.get("deadlines", {})
            default = {"torch": ["forward"], "lmdeploy": []}[engine["kind"]]
            assert spec.name == engine_name
            assert list(spec.settings.paths) == engine.get("paths", default)
            for field in ("kind", "dtype", "device", "batch_size", "top_k"):
                assert getattr(spec.settings, field) == either[field]
            assert (spec.load_seconds, spec.case_seconds) == tuple(either["deadlines"].values())

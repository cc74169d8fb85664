"""The legs of a run: their order, what they need and what they ask."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.legs import ROOT, Leg
from benchmarks.gpu.plan import Options, first_legs, other_legs, picked
from benchmarks.gpu.prepared_cases import prepare
from benchmarks.gpu.random_internvl import EMBEDDED
from harness.noise.variants import LEAST, require_known, variants_for


def options(folder: Path, device: str = "cuda") -> Options:
    return Options(device=device, work=folder, files=folder / "files", rounds=2, author="Ann Lee")


@pytest.fixture
def legs(tmp_path: Path) -> dict[str, Leg]:
    return {leg.name: leg for leg in other_legs(options(tmp_path))}


def test_the_machine_is_looked_over_first(tmp_path: Path) -> None:
    found = first_legs(options(tmp_path))
    assert [leg.name for leg in found] == ["doctor", "machine", "cases"]
    own = "harness.cli doctor --profile embedded-gpu --json"
    assert own in " ".join(found[0].command)


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_the_best_evidence_first_and_nothing_before_what_it_needs(device: str, tmp_path: Path) -> None:
    found = [leg.name for leg in other_legs(options(tmp_path, device))]
    assert found[0] == "checks embedded-float16"
    assert found[1] == "gate embedded-float16/torch..embedded-float16/lmdeploy"
    assert len(set(found)) == len(found)
    for leg in other_legs(options(tmp_path, device)):
        for need in leg.needs:
            assert found.index(need) < found.index(leg.name)
    # What rests on the embedded model's first dtype is there before anything is spent on ratios.
    assert found.index("floor embedded-gpu/lmdeploy") < found.index("costs random bfloat16")


def test_ten_minutes_less_some_hold_both_models_in_both_dtypes_and_a_floor(tmp_path: Path) -> None:
    left, held = 9.5 * 60, set[str]()
    for leg in [*first_legs(options(tmp_path)), *other_legs(options(tmp_path))]:
        if leg.seconds <= left and leg.name != "checks embedded-turbomind":  # a bare image lacks its library
            left -= leg.seconds
            held.add(leg.name)
    checks = {
        f"checks {model}-{dtype}" for model in ("embedded", "random") for dtype in ("float16", "bfloat16")
    }
    assert {*checks, "checks embedded-float16-eager", "floor embedded-gpu/lmdeploy"} <= held


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_profiles_engines_and_variants_that_legs_name_are_there(device: str, tmp_path: Path) -> None:
    models = {"embedded": EMBEDDED, "random": EMBEDDED}
    suites = {"embedded": ["words"], "random": ["words"]}
    made = prepare(tmp_path / "cases", models, device=device, suites=suites)
    named: set[str] = set()
    for leg in other_legs(options(tmp_path, device)):
        words = list(leg.command)
        assert "{folder}" not in leg.shown
        if "--profile" in words:
            named.add(words[words.index("--profile") + 1])
        if "--gate" in words:
            named |= {side.partition("/")[0] for side in words[words.index("--gate") + 1].split("..")}
        if "--variants" in words:
            chosen = words[words.index("--variants") + 1].split(",")
            engine = words[words.index("--engine") + 1]
            profile = made.profiles["embedded-gpu"]
            settings = next(one.settings for one in profile.engines if one.name == engine)
            require_known("--variants", chosen, [variant.name for variant in variants_for(settings)])
            assert len(chosen) >= LEAST
    missing = named - set(made.profiles)
    assert missing == ({"embedded-turbomind"} if device == "cpu" else set())
    assert len(named) == 9


def test_every_leg_has_a_folder_of_its_own(legs: dict[str, Leg]) -> None:
    assert len({leg.folder for leg in legs.values()}) == len(legs)


def test_picked_ones_with_what_they_need(legs: dict[str, Leg]) -> None:
    found = [leg.name for leg in picked(legs.values(), ["checks random-float16-eager", "floor *"])]
    assert set(found) == {
        "random model",
        "checks random-float16",
        "checks random-float16-eager",
        "floor embedded-gpu/torch",
        "floor embedded-gpu/lmdeploy",
    }
    assert found == [name for name in legs if name in found]
    assert [leg.name for leg in picked(legs.values(), [])] == list(legs)


def test_turbomind_is_absent_where_its_library_does_not_load(
    tmp_path: Path, legs: dict[str, Leg], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "checks embedded-turbomind"
    rehearsed = next(leg for leg in other_legs(options(tmp_path, "cpu")) if leg.name == name)
    assert rehearsed.absent() == "TurboMind needs a GPU"

    def stand_in(status: int, said: str) -> Any:
        return lambda *_, **__: subprocess.CompletedProcess([], status, "", said)

    monkeypatch.setattr(subprocess, "run", stand_in(1, "warning\nlibcublas.so.12: not there\n"))
    assert legs[name].absent() == "no TurboMind library here: libcublas.so.12: not there"
    monkeypatch.setattr(subprocess, "run", stand_in(0, ""))
    assert legs[name].absent() is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("usage: x\n  PROFILE   judge all its engines\n", None),
        ("usage: x\nA side is PROFILE/ENGINE\n", "`harness gate` of this tree takes no PROFILE"),
    ],
)
def test_a_gate_of_all_engines_where_the_command_takes_a_profile(
    said: str, why: str | None, legs: dict[str, Leg], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, said, ""))
    assert legs["gate embedded-gpu"].absent() == why


def test_floors_come_back_among_the_files(tmp_path: Path, legs: dict[str, Leg]) -> None:
    command = " ".join(legs["floor embedded-gpu/lmdeploy"].command)
    assert re.search(r"noise embedded-gpu --engine lmdeploy .* --keep --author Ann Lee", command)
    assert f"--snapshots {tmp_path / 'files' / 'snapshots'} " in command


def test_the_readme_tells_what_is_reckoned(legs: dict[str, Leg]) -> None:
    page = (ROOT / "benchmarks" / "gpu" / "README.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `([^`…]+)` \| (\d+) s \|", page, re.MULTILINE)
    assert len(told) >= 8
    assert told == [(name, str(round(leg.seconds))) for name, leg in legs.items() if name in dict(told)]
    assert "None of this has run on a GPU yet" in page

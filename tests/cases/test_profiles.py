"""Profiles: what they become, and one pass over a whole folder."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cases.folder import load
from harness.cases.profiles import EngineSpec, Profile
from harness.engines.contract import EngineSettings
from harness.errors import CaseFileError
from harness.scoring.subjects import subjects
from tests.cases.profile_texts import MODEL, SUITES, problems_of, profile, suite
from tests.cases.writing import load_profiles


def test_a_profile_with_all_defaults(folder: Path) -> None:
    (folder / "profiles.yaml").write_text(
        "profiles:\n  p:\n    model: m\n    reference: torch\n    engines:\n"
        "      torch: {}\n      lmdeploy: {}\n"
    )
    (profile,) = load_profiles(folder / "profiles.yaml", SUITES)
    model = str(folder / "m")
    torch, lmdeploy = profile.engines
    assert profile == Profile(
        name="p",
        reference="torch",
        engines=(torch, lmdeploy),
        suites=("shapes", "signs"),
        location=profile.location,
    )
    assert (profile.description, profile.marks, dict(profile.tolerances)) == ("", (), {})
    assert torch == EngineSpec(
        name="torch",
        settings=EngineSettings(
            kind="torch",
            model=model,
            dtype="auto",
            device="cpu",
            paths=("forward",),
            top_k=20,
            batch_size=16,
            options={"attention": "sdpa"},
        ),
        location=torch.location,
        python=sys.executable,
        patch=None,
        load_seconds=600,
        case_seconds=120,
    )
    assert lmdeploy.settings.kind == "lmdeploy"
    assert lmdeploy.settings.paths == ()  # the best that its version has
    assert lmdeploy.settings.options == {"stage_two": "one-pass"}
    assert [str(place) for place in (profile.location, torch.location, lmdeploy.location)] == [
        "profiles.yaml:2:3",
        "profiles.yaml:6:7",
        "profiles.yaml:7:7",
    ]


def test_an_engine_may_have_a_model_of_its_own(folder: Path) -> None:
    (folder / "profiles.yaml").write_text(
        "profiles:\n  p:\n    model: org/name\n    revision: old\n    reference: torch\n    engines:\n"
        "      torch: {}\n      new: {kind: torch, revision: new}\n      local: {kind: torch, model: m}\n"
    )
    (profile,) = load_profiles(folder / "profiles.yaml", SUITES)
    assert [(engine.settings.model, engine.revision) for engine in profile.engines] == [
        ("org/name", "old"),
        ("org/name", "new"),
        (str(folder / "m"), None),
    ]


def test_a_profile_with_everything_said(folder: Path) -> None:
    (folder / "profiles.yaml").write_text(
        """\
profiles:
  big-model:
    description: An upgrade
    model: OpenGVLab/InternVL3-8B-hf
    revision: abc123
    dtype: bfloat16
    device: cuda
    batch_size: 4
    system: Be brief.
    max_tiles: 6
    deadlines: {load: 900, case: 30}
    reference: old
    suites: [signs]
    marks: [gpu, nightly, gpu]
    tolerances: {kl: 0.1}
    engines:
      old:
        kind: lmdeploy
        python: bin/python
        patch: patch.py
        paths: [captured]
        top_k: 0
        deadlines: {case: 7.5}
        options: {stage_two: stepwise, tp: 1, eager_mode: true, hf_overrides: {fp32_lm_head: true}}
        engine_config: {prefill_interval: 8}
      new:
        kind: torch
        dtype: float32
        device: cpu
        batch_size: 1
        max_tiles: 12
        template_date: 2026-01-31
        paths: [generate, forward]
        options: {attention: eager, threads: 2}
"""
    )
    (profile,) = load_profiles(folder / "profiles.yaml", SUITES)
    assert (profile.name, profile.description) == ("big-model", "An upgrade")
    assert (profile.reference, profile.suites, profile.marks) == ("old", ("signs",), ("gpu", "nightly"))
    assert profile.tolerances == {"kl": 0.1}
    assert profile.system == "Be brief."
    old, new = profile.engines
    assert (old.revision, new.revision) == ("abc123", "abc123")
    assert old.settings == EngineSettings(
        kind="lmdeploy",
        model="OpenGVLab/InternVL3-8B-hf",
        dtype="bfloat16",
        device="cuda",
        paths=("captured",),
        top_k=0,
        batch_size=4,
        max_tiles=6,
        options={
            "stage_two": "stepwise",
            "tp": 1,
            "eager_mode": True,
            "hf_overrides": {"fp32_lm_head": True},
            "engine_config": {"prefill_interval": 8},
        },
    )
    # The link is not followed: it is what tells the environment.
    assert old.python == str(folder / "bin" / "python")
    assert old.patch == folder / "patch.py"
    assert (old.load_seconds, old.case_seconds) == (900, 7.5)
    assert (new.settings.dtype, new.settings.device, new.settings.batch_size) == ("float32", "cpu", 1)
    assert new.settings.max_tiles == 12
    assert new.settings.paths == ("generate", "forward")
    assert new.settings.options == {"attention": "eager", "threads": 2, "template_date": "2026-01-31"}
    assert (new.python, new.load_seconds, new.case_seconds) == (sys.executable, 900, 30)


def test_interpreter_by_the_name_of_a_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder / "bin"))
    (folder / "profiles.yaml").write_text(profile("engines: {torch: {python: python}}"))
    assert load_profiles(folder / "profiles.yaml", SUITES)[0].engines[0].python == str(
        folder / "bin" / "python"
    )


def test_profiles_that_would_share_a_test_id(folder: Path) -> None:
    engines = "{" + MODEL + ", engines: {torch: {}}}"
    (folder / "profiles.yaml").write_text(f"profiles:\n  gpu: {engines}\n  big-gpu: {engines}\n")
    assert (
        len(
            load_profiles(
                folder / "profiles.yaml", (suite("shapes", "x", "x-small"), suite("signs", "x-big"))
            )
        )
        == 2
    )
    (problem,) = problems_of(folder, (suite("shapes", "x", "x-big"),))
    assert problem.place == "profiles.yaml:3:3"
    assert "x of shapes gets the test id that x-big gets with the profile gpu" in problem.found


def test_a_whole_folder(folder: Path) -> None:
    (folder / "shapes.yaml").write_text("cases:\n  - {id: a, prompt: x, letters: [A, B], expect: A}\n")
    (folder / "profiles.yaml").write_text(profile("engines: {torch: {}}"))
    loaded = load(Path())
    assert loaded.folder == folder
    assert [suite.name for suite in loaded.suites] == ["shapes"]
    assert [profile.name for profile in loaded.profiles] == ["p"]
    assert loaded.profiles[0].suites == ("shapes",)


def test_a_folder_without_profiles(folder: Path) -> None:
    (folder / "shapes.yaml").write_text("cases:\n  - {id: a, prompt: x, letters: [A, B], expect: A}\n")
    with pytest.raises(CaseFileError, match=r"profiles\.yaml: found no such file"):
        load(folder)


def test_a_suite_with_problems_is_still_known_to_profiles(folder: Path) -> None:
    (folder / "shapes.yaml").write_text("cases: [\n")
    (folder / "profiles.yaml").write_text(profile("suites: [shapes], engines: {torch: {}}"))
    with pytest.raises(CaseFileError) as caught:
        load(folder)
    assert [problem.place.split(":")[0] for problem in caught.value.problems] == ["shapes.yaml"]


def test_tags_choose_cases_of_the_suites(folder: Path) -> None:
    engines = "model: m, reference: torch, engines: {torch: {}}"
    (folder / "profiles.yaml").write_text(
        f"profiles:\n  all: {{{engines}}}\n  some: {{{engines}, suites: [shapes], tags: [colour]}}\n"
    )
    everything, some = load_profiles(folder / "profiles.yaml", SUITES)
    (shape,), (sign,) = (suite.cases for suite in SUITES)

    assert [everything.takes(case) for case in (shape, sign)] == [True, True]
    assert [some.takes(case) for case in (shape, sign)] == [True, False]
    assert not some.takes(replace(shape, tags=("shape",)))
    assert [each.case for each in subjects([shape, sign], [some], selection="every")] == [shape]

"""Profiles: what they become, every rule with its exact place, and one pass over a whole folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cases.folder import load
from harness.cases.profiles import EngineSpec, Profile, load_profiles
from harness.cases.suites import Case, Location, Suite
from harness.engines.contract import EngineSettings
from harness.errors import CaseFileError, Problem

MODEL = "model: m, reference: torch"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model, an interpreter and a patch; places are shown by file name."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "patch.py").write_text("")
    (tmp_path / "note.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def suite(name: str, *ids: str) -> Suite:
    place = Location(Path("/x.yaml"), 1, 1)
    cases = (
        Case(id=i, suite=name, prompt="x", letters=("A", "B"), expect="A", location=place)
        for i in ids or ("good",)
    )
    return Suite(name=name, path=Path(f"/{name}.yaml"), cases=tuple(cases))


SUITES = (suite("shapes"), suite("signs"))


def problems_of(folder: Path, suites: tuple[Suite, ...] = SUITES) -> tuple[Problem, ...]:
    with pytest.raises(CaseFileError) as caught:
        load_profiles(folder / "profiles.yaml", suites)
    return caught.value.problems


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
    assert new.settings.options == {"attention": "eager", "threads": 2}
    assert (new.python, new.load_seconds, new.case_seconds) == (sys.executable, 900, 30)


def test_interpreter_by_the_name_of_a_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder / "bin"))
    (folder / "profiles.yaml").write_text(profile("engines: {torch: {python: python}}"))
    assert load_profiles(folder / "profiles.yaml", SUITES)[0].engines[0].python == str(
        folder / "bin" / "python"
    )


def profile(fields: str, *, model: str = MODEL) -> str:
    return f"profiles:\n  p: {{{model}, {fields}}}\n"


def engine(fields: str, *, kind: str = "torch", rest: str = "") -> str:
    return profile(f"{rest}engines: {{torch: {{}}, e: {{kind: {kind}, {fields}}}}}")


# name: (text, field, found, allowed); § marks the place.
RULES = {
    "no profiles": ("profiles: §{}", "profiles", "a mapping", "at least 1"),
    "empty file": ("§", "", "nothing", "a mapping"),
    "unknown key at the top": (
        "§profile: 1\n" + profile("engines: {torch: {}}"),
        "profile",
        "unknown",
        "profiles (the nearest)",
    ),
    "unknown key": (
        profile("§engine: 1, engines: {torch: {}}"),
        "profiles.p.engine",
        "'engine'",
        "engines (the nearest)",
    ),
    "unknown key of an engine": (
        engine("§dtyp: x"),
        "profiles.p.engines.e.dtyp",
        "'dtyp'",
        "dtype (the nearest)",
    ),
    "unknown option": (
        engine("options: {§attentoin: sdpa}"),
        "profiles.p.engines.e.options.attentoin",
        "the unknown key 'attentoin'",
        "attention (the nearest)",
    ),
    "profile as text": ("profiles:\n  p: §x", "profiles.p", "'x'", "a mapping"),
    "engine as nothing": (
        profile("engines: {torch: {}, e: §~}"),
        "profiles.p.engines.e",
        "nothing",
        "a mapping",
    ),
    "profile's name": (
        "profiles:\n  §p.q: {" + MODEL + ", engines: {torch: {}}}",
        "profiles.p.q",
        "'p.q'",
        "single -",
    ),
    "profile's name ends": (
        "profiles:\n  §p-: {" + MODEL + ", engines: {torch: {}}}",
        "profiles.p-",
        "'p-'",
        "single -",
    ),
    "engine's name": (
        profile("engines: {torch: {}, §a-b: {kind: torch}}"),
        "profiles.p.engines.a-b",
        "'a-b'",
        "digits and _",
    ),
    "no model": (
        "profiles:\n  p: §{reference: torch, engines: {torch: {}}}",
        "profiles.p.model",
        "nothing",
        "Folder",
    ),
    "no reference": (
        "profiles:\n  p: §{model: m, engines: {torch: {}}}",
        "profiles.p.reference",
        "nothing",
        "compared",
    ),
    "no engines": (profile("engines: §{}"), "profiles.p.engines", "a mapping", "at least 1"),
    "reference that is no engine": (
        profile("engines: {torch: {}}", model="model: m, reference: §torhc"),
        "profiles.p.reference",
        "'torhc'",
        "an engine of this profile: torch (the nearest)",
    ),
    "kind unknown": (
        profile("engines: {torch: {kind: §vllm}}"),
        "profiles.p.engines.torch.kind",
        "'vllm'",
        "'torch', 'lmdeploy' or 'api'",
    ),
    "kind missing": (
        profile("engines: {torch: {}, e: §{}}"),
        "profiles.p.engines.e.kind",
        "nothing",
        "torch or lmdeploy",
    ),
    "dtype unknown": (engine("dtype: §fp16"), "profiles.p.engines.e.dtype", "'fp16'", "'float16'"),
    "dtype of the profile": (
        profile("dtype: §half, engines: {torch: {}}"),
        "profiles.p.dtype",
        "'half'",
        "'float16'",
    ),
    "device unknown": (engine("device: §gpu"), "profiles.p.engines.e.device", "'gpu'", "'cpu' or 'cuda'"),
    "float32 of LMDeploy on a GPU": (
        engine("dtype: §float32", kind="lmdeploy", rest="device: cuda, "),
        "profiles.p.engines.e.dtype",
        "float32 for lmdeploy on cuda",
        "float16, bfloat16",
    ),
    "float32 of the profile": (
        engine("device: cuda", kind="lmdeploy", rest="dtype: §float32, "),
        "profiles.p.dtype",
        "float32 for lmdeploy on cuda",
        "float16, bfloat16",
    ),
    "no paths": (engine("paths: §[]"), "profiles.p.engines.e.paths", "a list of 0", "at least 1"),
    "path unknown": (engine("paths: [§backward]"), "profiles.p.engines.e.paths.0", "'backward'", "'forward'"),
    "path of the other kind": (
        engine("paths: [forward, §captured]"),
        "profiles.p.engines.e.paths.1",
        "'captured'",
        "a path of torch (cpu): forward, generate",
    ),
    "path twice": (
        engine("paths: [forward, §forward]"),
        "profiles.p.engines.e.paths.1",
        "'forward' a second",
        "once",
    ),
    "top-k below": (engine("top_k: §-1"), "profiles.p.engines.e.top_k", "-1", "0 or more"),
    "top-k above": (engine("top_k: §1025"), "profiles.p.engines.e.top_k", "1025", "1024 or less"),
    "batch of none": (engine("batch_size: §0"), "profiles.p.engines.e.batch_size", "0", "1 or more"),
    "no tile": (engine("max_tiles: §0"), "profiles.p.engines.e.max_tiles", "0", "1 or more"),
    "no system text": (profile("system: §'  ', engines: {torch: {}}"), "profiles.p.system", "'  '", "text"),
    "deadline of zero": (
        engine("deadlines: {load: §0}"),
        "profiles.p.engines.e.deadlines.load",
        "0",
        "greater than 0",
    ),
    "deadline as text": (
        engine("deadlines: {case: §1m}"),
        "profiles.p.engines.e.deadlines.case",
        "'1m'",
        "a number",
    ),
    "deadline as one number": (engine("deadlines: §60"), "profiles.p.engines.e.deadlines", "60", "a mapping"),
    "interpreter missing": (
        engine("python: §bin/python9"),
        "profiles.p.engines.e.python",
        "executed",
        "an executable",
    ),
    "interpreter not executable": (
        engine("python: §./note.txt"),
        "profiles.p.engines.e.python",
        "executed",
        "an executable",
    ),
    "interpreter not on PATH": (
        engine("python: §python-9.9"),
        "profiles.p.engines.e.python",
        "executed",
        "on PATH",
    ),
    "interpreter of nobody": (
        engine("python: §~nobody9/python"),
        "profiles.p.engines.e.python",
        "executed",
        "an executable",
    ),
    "patch missing": (
        engine("patch: §pitch.py"),
        "profiles.p.engines.e.patch",
        "'pitch.py'",
        "looked for pitch.py",
    ),
    "patch not Python": (
        engine("patch: §note.txt"),
        "profiles.p.engines.e.patch",
        "'note.txt'",
        "a Python file",
    ),
    "model missing": (
        profile("engines: {torch: {}}", model="model: §./n, reference: torch"),
        "profiles.p.model",
        "'./n', which does not exist",
        "a folder (looked for n), or a hub id",
    ),
    "model missing in a folder that exists": (
        profile("engines: {torch: {}}", model="model: §m/embeded, reference: torch"),
        "profiles.p.model",
        "'m/embeded', which does not exist",
        "looked for m/embeded",
    ),
    "model without config": (
        profile("engines: {torch: {}}", model="model: §empty, reference: torch"),
        "profiles.p.model",
        "'empty', a folder without config.json",
        "a saved model",
    ),
    "revision of a folder": (
        profile("revision: §main, engines: {torch: {}}"),
        "profiles.p.revision",
        "a folder",
        "a hub id only",
    ),
    "revision of an engine's folder": (
        profile("engines: {torch: {revision: §main}}"),
        "profiles.p.engines.torch.revision",
        "a folder",
        "a hub id only",
    ),
    "code from a hub without a revision": (
        profile(
            "engines: {torch: {options: {trust_remote_code: §true}}}", model="model: a/b, reference: torch"
        ),
        "profiles.p.engines.torch.options.trust_remote_code",
        "true without a revision",
        "a full commit of a/b (40 digits) as `revision`",
    ),
    "code from a hub at a branch": (
        profile(
            "revision: §main, engines: {torch: {options: {trust_remote_code: true}}}",
            model="model: a/b, reference: torch",
        ),
        "profiles.p.revision",
        "'main'",
        "a full commit of a/b (40 digits)",
    ),
    "code of an engine's own hub id": (
        profile("engines: {torch: {model: a/b, revision: §v1, options: {trust_remote_code: true}}}"),
        "profiles.p.engines.torch.revision",
        "'v1'",
        "a full commit of a/b (40 digits)",
    ),
    "model of an engine missing": (
        profile("engines: {torch: {model: §nowhere}}"),
        "profiles.p.engines.torch.model",
        "'nowhere', which does not exist",
        "a hub id such as org/name",
    ),
    "suite unknown": (
        profile("suites: [§shape], engines: {torch: {}}"),
        "profiles.p.suites.0",
        "'shape'",
        "shapes (the nearest)",
    ),
    "no suites": (
        profile("suites: §[], engines: {torch: {}}"),
        "profiles.p.suites",
        "a list of 0",
        "at least 1",
    ),
    "mark with a hyphen": (
        profile("marks: [§a-b], engines: {torch: {}}"),
        "profiles.p.marks.0",
        "'a-b'",
        "digits and _",
    ),
    "mark of pytest": (
        profile("marks: [§skip], engines: {torch: {}}"),
        "profiles.p.marks.0",
        "the mark 'skip'",
        "your own",
    ),
    "tolerance unknown": (
        profile("tolerances: {§k: 1}, engines: {torch: {}}"),
        "profiles.p.tolerances.k",
        "the unknown key 'k'",
        "kl",
    ),
    "alias": (
        profile("engines: {torch: {}, e: §*x}"),
        "profiles.p.engines.e",
        "the alias '*x'",
        "`defaults:`",
    ),
    "duplicate profile": (
        profile("engines: {torch: {}}") + "  §p: {" + MODEL + ", engines: {torch: {}}}",
        "profiles.p",
        "the key 'p' a second time",
        "profiles.yaml:2:3",
    ),
}


@pytest.mark.parametrize(("text", "field", "found", "allowed"), RULES.values(), ids=RULES.keys())
def test_rule_at_its_place(folder: Path, text: str, field: str, found: str, allowed: str) -> None:
    before, _, after = text.partition("§")
    (folder / "profiles.yaml").write_text(before + after)
    (problem,) = problems_of(folder)
    lines = before.split("\n")
    assert problem.place == f"profiles.yaml:{len(lines)}:{len(lines[-1]) + 1}"
    assert problem.field == field
    assert found in problem.found
    assert allowed in problem.allowed


def test_problems_of_one_engine_do_not_hide_each_other(folder: Path) -> None:
    (folder / "profiles.yaml").write_text(
        profile(
            "suites: [no], marks: [if], engines: {torch: {dtype: x, paths: [captured], python: /no, "
            "patch: no.py, top_k: x, options: {tp: 1, attention: 1}, zz: 1}, lmdeploy: 5}",
            model="model: nowhere, reference: other",
        )
    )
    engine = "profiles.p.engines.torch"
    assert {problem.field for problem in problems_of(folder)} == {
        *(f"profiles.p.{name}" for name in ("suites.0", "marks.0", "model", "reference", "engines.lmdeploy")),
        *(f"{engine}.{name}" for name in ("dtype", "paths.0", "python", "patch", "top_k", "zz")),
        *(f"{engine}.options.{name}" for name in ("tp", "attention")),
    }


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


class Dumper(yaml.SafeDumper):
    """Writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


# PyYAML leaves unquoted some text that YAML 1.2 reads as a number.
Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)

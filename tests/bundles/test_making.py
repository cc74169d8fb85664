"""A run bundled in one folder and judged in another, where neither its model nor its cases are."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.bundles import opened
from harness.bundles.making import _profiles
from harness.cases.folder import load
from harness.checks.log_odds import centred
from harness.cli import main
from harness.drift.kept import read_kept
from harness.noise.store import NoiseStore
from harness.recordings.fingerprint import digest
from harness.recordings.store import RecordingStore
from harness.verdicts.noise_floor import CaseNoise, NoiseFloor
from tests.bundles.conftest import bundle
from tests.bundles.traces import keep_trace
from tests.cases.writing import load_profiles
from tests.gate_folder import Folder

ROOT = Path(__file__).parents[2]
SECRET = "hf_do_not_tell_anybody"


def away(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another folder to stand in, with the bundle alone; what it was made of is gone."""
    here = folder.path.parent / "here"
    here.mkdir()
    shutil.move(folder.path / "run.zip", here / "run.zip")
    shutil.rmtree(folder.path)
    monkeypatch.chdir(here)
    return here


def judged(file: str) -> Any:
    """A report's data without when and where it was made, and without what an engine's error adds to why.

    Nor does a bundle hold the earlier runs that are stored beside its own.
    """
    document = json.loads(Path(file).read_text(encoding="utf-8"))
    del document["made"]
    for image in document["images"].values():
        del image["file"]
    for comparison in document["comparisons"]:
        assert [line["cases"] for line in comparison.pop("runs")] == [13]
        for side in (comparison["baseline"], comparison["candidate"]):
            del side["made"]
        for case in comparison["cases"]:
            del case["command"]
            if case["verdict"] == "ERROR":
                del case["reason"], case["errors"]
    return document


def measure(folder: Folder) -> None:
    """Keep a noise floor of p/torch, as it was asked last."""
    store = RecordingStore(folder.path / ".harness")
    random = np.random.default_rng(1)
    cases = {}
    for name, key in folder.runs.of("p", "torch")[-1].keys.items():
        recording = store.get(key)
        assert recording is not None
        odds = np.array(recording.answer.readings[0].letter_logits)
        runs = {f"run {n}": centred((odds + random.normal(0, 1e-2, odds.size)).tolist()) for n in range(5)}
        asked = digest(dict(recording.asked or {}))
        cases[name] = CaseNoise(asked=asked, reference=centred(odds.tolist()), runs=runs)
        fingerprint = {field: value for field, value in recording.fingerprint.items() if field != "loaded"}
    floor = NoiseFloor(
        profile="p",
        engine="torch",
        dtype="float32",
        device="a test",
        made="2026-11-25",
        fingerprint=fingerprint,
        cases=cases,
        full={},
    )
    NoiseStore(folder.path / ".harness", "p", "torch").put_floor(floor)


def test_profiles_of_every_kind_open_elsewhere(tmp_path: Path) -> None:
    loaded = load(ROOT / "cases")
    names = [profile.name for profile in loaded.profiles]
    (tmp_path / "profiles.yaml").write_text(_profiles(loaded, names), encoding="utf-8")
    read = load_profiles(tmp_path / "profiles.yaml", loaded.suites)
    for before, after in zip(loaded.profiles, read, strict=True):
        engines = [[(e.name, e.settings.kind, e.nondeterminism) for e in p.engines] for p in (before, after)]
        assert engines[0] == engines[1]
        for field in ("name", "reference", "suites", "system", "tolerance", "tolerances", "budgets"):
            assert getattr(after, field) == getattr(before, field)
        assert {(e.environment, e.patch, e.python) for e in after.engines} == {(None, None, sys.executable)}


def test_the_verdict_travels(gate_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (8, 8), "red").save(gate_folder.cases / "red.png")
    cases = [{"prompt": f"say A {n} wobble lmdeploy: wobble", "image": "red.png"} for n in range(12)]
    gate_folder.write_suite(*cases, "lmdeploy: say B", "lmdeploy: nan")
    gate_folder.gate()
    measure(gate_folder)
    status = gate_folder.gate("p/torch", "p/lmdeploy", "--json", "there.json")
    there = judged("there.json")
    assert bundle() == 0
    away(gate_folder, monkeypatch)
    assert main(["gate", "p/torch..p/lmdeploy", "--from", "run.zip", "--json", "here.json"]) == status
    assert judged("here.json") == there
    assert len(there["comparisons"][0]["cases"]) == len(cases) + 2
    assert "the noise floor of p/torch" in there["comparisons"][0]["noise"]


@pytest.mark.slow
def test_what_an_engine_was_before_goes_along(
    gate_folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.clean(8)
    gate_folder.gate()
    capsys.readouterr()
    gate_folder.patch('"A") - 60] += 8', '"A") - 60] += 9')
    gate_folder.gate("p/lmdeploy@previous", "p/lmdeploy")
    told = capsys.readouterr().out.partition("\nbaseline:")[0]
    assert bundle() == 0
    away(gate_folder, monkeypatch)
    capsys.readouterr()
    main(["gate", "p/lmdeploy@previous..p/lmdeploy", "--from", "run.zip"])
    assert capsys.readouterr().out.partition("\nbaseline:")[0] == told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["q"], "profile: found 'q'; allowed: p"),
        (
            ["p/torch..p/lmdeploy@previous"],
            "found no answers of p/lmdeploy@previous, and no engine is asked; ",
        ),
        (["p/torch..p/lmdeploy@previous"], "allowed: p/torch, p/lmdeploy\n"),
        (["p/torch..p/lmdeploy@2001-01-01"], "no such stored run"),
        (["p/torch..p/lmdeploy", "--fresh"], "--from: found --fresh or --set"),
        (["p", "--set", "p/lmdeploy=lmdeploy==1"], "--from: found --fresh or --set"),
    ],
)
def test_what_would_need_an_engine_is_refused_by_name(
    bundled: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert main(["gate", *words, "--from", "run.zip"]) == 2
    assert told in capsys.readouterr().err


def test_a_profile_is_judged_and_a_case_shown(bundled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "p", "--from", "run.zip", "--case", "s.c2"]) == 1
    told = capsys.readouterr().out
    assert "\ncases/s.yaml:13:3: s.c2" in told  # where it stands in the repository
    assert "harness-bundle-" not in told
    assert "harness gate --baseline p/torch --candidate p/lmdeploy --from run.zip --case s.c2" in told
    assert [path.name for path in bundled.iterdir()] == ["run.zip"]


@pytest.mark.parametrize(
    ("runs", "told"), [([], "found no answers of p/lmdeploy"), (["0" * 32], "no such stored run")]
)
def test_a_bundle_that_names_no_run_starts_no_engine(
    bundled: Path, capsys: pytest.CaptureFixture[str], runs: list[str], told: str
) -> None:
    """It would be one of somebody else's choice."""
    with zipfile.ZipFile("run.zip") as source:
        members = {name: source.read(name) for name in source.namelist()}
    manifest = json.loads(members["manifest.json"])
    manifest["sides"]["p/lmdeploy"] = runs
    members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile("run.zip", "w") as target:
        for name, content in members.items():
            target.writestr(name, content)
    assert main(["gate", "p", "--from", "run.zip"]) == 2
    said = capsys.readouterr()
    assert told in said.err
    assert "loading" not in said.err


@pytest.mark.slow
def test_it_holds_no_place_and_no_secret(
    gate_folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", SECRET)
    model = tmp_path / "models" / "mine"
    shutil.copytree(gate_folder.cases / "m", model)
    gate_folder.write_profiles(q={"model": str(model)})
    gate_folder.patch('"device": "stand-in"', f'"device": "stand-in", "at": "{model}"')
    gate_folder.clean(3)
    gate_folder.gate("q/torch", "q/lmdeploy")
    run = gate_folder.runs.of("q", "lmdeploy")[-1]
    why = f"{model}/x and {tmp_path}/y and /srv/deep/z, {SECRET}, https://ann:pw@host"
    gate_folder.runs.add(replace(run, errors={"s.gone": why}))
    trace = keep_trace(
        gate_folder.path / ".harness", "q/torch", "q/lmdeploy", "s.c0", error=f"{model}: {SECRET}"
    )
    keep_trace(gate_folder.path / ".harness", "q/torch", "q/lmdeploy", "s.c1", keys=("of", "another run"))
    assert bundle() == 0
    with opened(Path("run.zip")) as inside:
        files = {path.relative_to(inside.folder).as_posix(): path for path in inside.folder.rglob("*.*")}
        everything = b"".join(path.read_bytes() for path in files.values() if path.is_file())
        errors = [each.errors for each in gate_folder.runs.__class__(inside.recordings).of("q", "lmdeploy")]
        traces = inside.recordings / "traces" / "q-torch..q-lmdeploy"
        assert {path.name for path in traces.iterdir()} == {"s.c0.npz"}
        before, after = read_kept(trace), read_kept(traces / "s.c0.npz")
    assert after.traces["A"].error == "<model-2>: <HF_TOKEN>"
    assert (after.case, after.keys, after.noise) == (before.case, before.keys, before.noise)
    for name, sketch in before.traces["B"].stages.items():
        assert np.array_equal(sketch.sums, after.traces["B"].stages[name].sums)
    for word in (str(tmp_path), SECRET, "ann:pw", "/srv/deep"):
        assert word.encode() not in everything
    assert errors == [{"s.gone": "<model-2>/x and ~/y and <path>/z, <HF_TOKEN>, https://host"}]
    assert not any(name.endswith((".lock", ".safetensors", ".py")) for name in files)
    assert {"locks/q-torch.txt", "cases/profiles.yaml", "cases/s.yaml", "kept/runs.jsonl"} <= set(files)


def test_what_is_accepted_goes_along(
    there: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert there.accept(engine="p/lmdeploy") == 0
    capsys.readouterr()
    status = main(["gate", "accepted..p/lmdeploy"])
    told = capsys.readouterr().out.partition("\nbaseline:")[0]
    assert told.startswith("SAME: p/lmdeploy against accepted p/lmdeploy")
    assert bundle(out=str(tmp_path / "run.zip")) == 0
    capsys.readouterr()
    shutil.rmtree(there.path)
    monkeypatch.chdir(tmp_path)
    assert main(["gate", "accepted..p/lmdeploy", "--from", "run.zip"]) == status
    assert capsys.readouterr().out.partition("\nbaseline:")[0] == told


@pytest.mark.parametrize("secret", [SECRET, "https://ann:pw@host", "{home}/x"])
def test_a_suite_with_a_secret_is_refused_with_its_line(
    there: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], secret: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    suite, accepted = there.cases / "s.yaml", there.path / "snapshots" / "p" / "torch" / "s.jsonl"
    accepted.parent.mkdir(parents=True)
    for file in (accepted, suite):
        file.touch()
        file.write_text(f"# {secret.format(home=Path.home())}\n{file.read_text()}")
        assert bundle() == 2
        told = f"{file.relative_to(there.path)}:1: found a key, a password, or a folder"
        assert told in capsys.readouterr().err
    assert not Path("run.zip").exists()


@pytest.mark.parametrize("name", ["last", "2099-01-01", "DIGITS"])
def test_a_run_by_each_of_its_names(there: Folder, name: str) -> None:
    digits = there.runs.all()[-1].run[:8]
    assert bundle(digits if name == "DIGITS" else name) == 0


@pytest.mark.parametrize("name", ["2001-01-01", "0000", "nothing"])
def test_an_unknown_run_is_told_with_those_there_are(
    there: Folder, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = there.runs.all()[-1]
    assert bundle(name) == 2
    told = capsys.readouterr().err
    assert f"found the run {name!r}" in told
    assert f"  {run.run[:8]}  {run.when}  p/lmdeploy" in told


def test_a_run_whose_recordings_are_gone_is_refused(
    there: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(there.path / ".harness" / "recordings")
    assert bundle() == 2
    assert "p/torch: 3 recordings are gone, first s.c0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "none, as these two were not traced"),
        (["s.c0"], "found no trace of s.c0; allowed: none"),
    ],
)
def test_what_was_not_traced_is_refused_with_the_command_that_does(
    bundled: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert main(["explain", "p/torch..p/lmdeploy", *words, "--from", "run.zip"]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert f"harness explain {' '.join(['p/torch..p/lmdeploy', *words])} && harness bundle" in said


def test_the_command_that_is_told_can_be_pasted(
    gate_folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"kind": "torch"}
    gate_folder.write_profiles(q={"engines": {"torch": {}, "second": other, "never_asked": other}})
    gate_folder.clean(12)
    gate_folder.gate("q/torch", "q/second")
    states = gate_folder.path / ".harness" / "traces" / "states-abc"  # an explain is at work, or was killed
    states.mkdir(parents=True)
    (states / "seen.npz").write_bytes(b"half of it")
    capsys.readouterr()
    assert bundle() == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert told == "  harness gate q/torch..q/second --from run.zip"
    away(gate_folder, monkeypatch)
    assert main(told.split()[1:]) == 0


def test_where_no_run_is_stored_it_says_what_stores_one(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.clean(3)
    assert bundle() == 2
    assert "found no stored run" in (said := capsys.readouterr().err)
    assert "harness gate PROFILE/ENGINE..PROFILE/ENGINE" in said

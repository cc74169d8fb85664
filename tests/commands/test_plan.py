"""`harness plan` on recordings that a stand-in engine made, in real workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from harness.checks.log_odds import of_reading
from harness.cli import main
from harness.noise.store import NoiseStore
from harness.recordings.fingerprint import digest
from harness.recordings.store import RecordingStore
from harness.scoring.stored_runs import StoredRuns
from harness.verdicts.noise_floor import UNDISTURBED, CaseNoise, NoiseFloor

PATCH = Path(__file__).parents[1] / "suite" / "stand_in_engine.py"
CASES = 12


def _write(folder: Path, *, prompt: str = "say A") -> None:
    suite: dict[str, Any] = {"defaults": {"letters": ["A", "B", "C"]}}
    suite["cases"] = [{"id": f"c{n}", "prompt": f"{prompt} {n}", "expect": "A"} for n in range(CASES)]
    (folder / "cases" / "s.yaml").write_text(yaml.safe_dump(suite))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cases = tmp_path / "cases"
    (cases / "m").mkdir(parents=True)
    (cases / "m" / "config.json").write_text("{}")
    _write(tmp_path)
    (cases / "other.yaml").write_text(
        yaml.safe_dump({"cases": [{"id": "one", "prompt": "say B", "letters": ["A", "B"], "expect": "B"}]})
    )
    engines = {"torch": {"patch": str(PATCH)}, "lmdeploy": {"patch": str(PATCH)}}
    profile = {"model": "m", "dtype": "float32", "reference": "torch", "deadlines": {"load": 60, "case": 20}}
    marked = {**profile, "marks": ["slow"], "suites": ["other"], "engines": {"torch": {"paths": ["forward"]}}}
    profiles: dict[str, Any] = {"marked": marked, "p": {**profile, "engines": engines}}
    profiles = json.loads(json.dumps(profiles))  # else YAML would write what they share as aliases
    (cases / "profiles.yaml").write_text(yaml.safe_dump({"profiles": profiles}, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _record() -> None:
    """A gate notes which recordings a run used, as pytest does."""
    assert main(["gate", "--baseline", "p/torch", "--candidate", "p/lmdeploy", "--json", "-"]) in {0, 1, 3}


def _plan(*arguments: str) -> int:
    return main(["plan", *arguments])


def test_a_plan_of_stored_recordings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _record()
    capsys.readouterr()
    assert _plan("s", "--goal", "accuracy=0.05", "--goal", "spread=1.5", "--json", "plan.json") == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].startswith(f"s: {CASES} cases, {CASES} independent groups")
    assert "no noise floor being there" in lines[1]
    assert "`harness noise PROFILE` measures" in lines[2]
    assert "(0.01 / 6 tests)" in printed.out
    assert "goal accuracy=0.05: found now with power 0.00" in printed.out
    data = json.loads((folder / "plan.json").read_text())
    assert data["detectable"][0]["effect"] == "spread"
    assert data["found_from"] is not None
    assert data["goals"][0]["missing"]["0.8"] > 100

    assert _plan("s", "--engine", "lmdeploy", "--profile", "p", "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["cases"] == CASES

    _write(folder, prompt="say B")
    assert _plan("s") == 1
    assert "they ask something else by now" in capsys.readouterr().err


def test_a_model_upgrade_needs_no_recordings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _plan("--model-upgrade", "--json", "plan.json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("other, s: 13 cases, 13 groups ")
    rows = {line.split()[0]: line.split()[1:] for line in lines if line[:1].isdigit()}
    assert rows["2"] == ["(asked", "for)", "310", "774", "1,547", "2,320", "3,093"]
    assert rows["10"] == ["25", "31", "62", "93", "124"]  # with fewer, no answer that changes is no proof
    assert lines[-2].startswith("a margin that 13 cases can decide: 17.2 at 2%, 17.2 at 5%, ")
    data = json.loads((folder / "plan.json").read_text())
    assert data["needed"][1][1] == 774
    assert data["decides"]["13 cases"][0] == pytest.approx(0.1723, abs=1e-4)

    suite = yaml.safe_load((folder / "cases" / "s.yaml").read_text())
    suite["budgets"] = {"regression": {"accuracy": 0.04}}
    (folder / "cases" / "s.yaml").write_text(yaml.safe_dump(suite))
    assert _plan("s", "--model-upgrade") == 0
    assert "\n4 (asked for)" in capsys.readouterr().out
    assert _plan("--model-upgrade") == 0  # of those that are judged together
    assert capsys.readouterr().out.startswith("other: 1 cases")


@pytest.mark.usefixtures("folder")
def test_without_recordings_it_says_what_makes_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert _plan("s", "--recordings", "nowhere") == 1
    told = capsys.readouterr().err
    assert "found no recordings of s by p/torch in " in told
    assert "(none were made)" in told
    assert "pytest --pyargs harness.suite --cases " in told
    assert "--profile p -k s" in told
    assert not Path("nowhere").exists()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["t"], "suite: found 't'; allowed: other, s"),
        ([], "suite: found None; allowed: other, s"),
        (["s", "--profile", "q"], "profile: found 'q'"),
        (["s", "--profile", "marked"], "profile marked runs other, not s"),
        (["s", "--engine", "turbo"], "--engine: found 'turbo'; allowed: torch, lmdeploy"),
    ],
)
def test_unknown_names_are_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _plan(*arguments) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("goal", ["accuracy", "accuracy=1.5", "spread=0.9", "flips=-1", "speed=2", "shift=x"])
def test_a_goal_that_is_none_is_refused(goal: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _plan("s", "--goal", goal)
    assert ended.value.code == 2
    assert f"found '{goal}'; allowed: accuracy=SHARE" in capsys.readouterr().err


def _floor(root: Path, *, engine: str) -> NoiseFloor:
    """A floor of the engine's recordings, with noise of 0.01."""
    run = StoredRuns(root).of("p", engine)[-1]
    found = [
        recording for key in run.keys.values() if (recording := RecordingStore(root).get(key)) is not None
    ]
    rng = np.random.default_rng(0)
    cases = {}
    for recording in found:
        reference = of_reading(recording.answer.readings[0])
        cases[recording.case] = CaseNoise(
            asked=digest(dict(recording.asked or {})),
            reference=reference,
            runs={
                run: tuple(x + 0.01 * float(rng.normal()) for x in reference)
                for run in (UNDISTURBED, "run-1", "run-2", "run-3", "run-4")
            },
        )
    return NoiseFloor(
        profile="p",
        engine=engine,
        dtype="float32",
        device="stand-in",
        made="2026-11-25",
        fingerprint=found[0].fingerprint,
        cases=cases,
        full={},
    )


def test_a_measured_floor_takes_the_tables_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _record()
    root = folder / ".harness"
    NoiseStore(root, "p", "torch").put_floor(_floor(root, engine="torch"))
    capsys.readouterr()
    for engine in ("torch", "lmdeploy"):  # which has none of its own, and the native one's dtype
        assert _plan("s", "--engine", engine, "--json", "-") == 0
        data = json.loads(capsys.readouterr().out)
        assert data["measured"]
        assert data["noise"].startswith("the noise floor of p/torch, float32, 2026-11-25")
        assert data["sigma"] == pytest.approx(0.014, rel=0.3)

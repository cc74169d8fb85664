"""Where the limits of `test_engines_agree` come from: a noise floor, a stale one, none, or the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cli import main
from harness.recordings.journal import Journal
from tests.noise.folder import write_folder

THREE = "--variants=batch-1,reversed,shuffled"
REPEATS = ("cases", "differ", "beyond", "difference", "allowed", "case")


@pytest.fixture
def folder(pytester: pytest.Pytester) -> Path:
    write_folder(pytester.path)
    return pytester.path


def measure() -> None:
    assert main(["noise", "p", THREE]) == 0


def agree(pytester: pytest.Pytester) -> tuple[pytest.RunResult, str]:
    found = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--cases", "cases", "-k", "engines_agree")
    return found, found.stdout.str()


def test_a_noise_floor_is_used_once_it_is_there_until_it_is_stale(
    folder: Path, pytester: pytest.Pytester
) -> None:
    found, told = agree(pytester)
    found.assert_outcomes(passed=4)
    assert (
        "lmdeploy: limits: table for bfloat16; no noise floor: changes of up to 0.4 in log-odds pass unseen; "
        "`harness noise p` measures\n"
    ) in told
    assert told.count("no noise floor") == 1

    measure()
    found, told = agree(pytester)
    found.assert_outcomes(passed=4)
    assert "lmdeploy: limits: noise floor of 20" in told
    assert ", 4 and 8 runs" in told

    _change(folder, "lmdeploy", repeats=dict(zip(REPEATS, (4, 4, 2, 0.7, 0.08, "s.c1"), strict=True)))
    found, told = agree(pytester)
    found.assert_outcomes(passed=4)
    (line,) = [line for line in told.splitlines() if line.startswith("lmdeploy: limits: noise floor of 20")]
    assert ", 4 runs; lmdeploy is not deterministic: the same question twice differs by 0.7 (s.c1; " in line

    _age(folder, "lmdeploy")
    _age(folder, "torch")
    found, told = agree(pytester)
    found.assert_outcomes(passed=4)
    (line,) = [line for line in told.splitlines() if line.startswith("lmdeploy: limits: ")]
    assert line.startswith("lmdeploy: limits: table for bfloat16; the noise floor of torch of 20")
    assert "is stale: harness: 'old' became " in line
    assert line.endswith("; measure again: harness noise p")


def test_what_the_table_lets_pass_and_noise_explains_not_fails(
    folder: Path, pytester: pytest.Pytester
) -> None:
    write_folder(folder, prompts=("say A 0", "say B 1", "say C far", "say A far"))
    (folder / "cases" / "s.yaml").write_text(
        (folder / "cases" / "s.yaml").read_text().replace("say C far", "say C 2")
    )
    _set_tolerances(folder, log_odds=1.5, probability=0.5, total_variation=0.5, kl=1.0, js=1.0)
    found, _ = agree(pytester)
    found.assert_outcomes(passed=4)

    _set_tolerances(folder)
    measure()
    found, told = agree(pytester)
    found.assert_outcomes(passed=3, failed=1)
    assert "log_odds" in told
    assert "note: limits: noise floor of 20" in told

    _set_tolerances(folder, log_odds=1.5, probability=0.5, total_variation=0.5, kl=1.0, js=1.0)
    found, told = agree(pytester)
    found.assert_outcomes(passed=4)


def test_a_profile_that_asks_for_noise_has_errors_without_it(folder: Path, pytester: pytest.Pytester) -> None:
    write_folder(folder, tolerance="noise")
    found, told = agree(pytester)
    found.assert_outcomes(errors=4)
    assert "the profile asks for `tolerance: noise`, and no noise floor of its engines was measured" in told
    assert "harness noise p" in told
    measure()
    found, told = agree(pytester)
    found.assert_outcomes(passed=4)
    write_folder(folder, tolerance="noise", prompts=("say A 0", "say B edited"))
    found, told = agree(pytester)
    found.assert_outcomes(passed=1, errors=1)
    assert "its noise floors do not know this case as it is now" in told


def test_a_profile_that_asks_for_the_table_has_it(folder: Path, pytester: pytest.Pytester) -> None:
    measure()
    write_folder(folder, tolerance="table")
    found, told = agree(pytester)
    found.assert_outcomes(passed=4)
    assert "lmdeploy: limits: table for bfloat16: changes of up to 0.4 in log-odds pass unseen\n" in told


def _set_tolerances(folder: Path, **tolerances: float) -> None:
    path = folder / "cases" / "profiles.yaml"
    profiles: dict[str, Any] = yaml.safe_load(path.read_text())
    profiles["profiles"]["p"].pop("tolerances", None)
    if tolerances:
        profiles["profiles"]["p"]["tolerances"] = tolerances
    path.write_text(yaml.safe_dump(profiles, sort_keys=False))


def _age(folder: Path, engine: str) -> None:
    """Have the floor of ``engine`` be one of an older harness."""
    _change(folder, engine, fingerprint={"harness": "old"})


def _change(folder: Path, engine: str, **changes: dict[str, Any]) -> None:
    """Have the floor of ``engine`` say something else."""
    path = folder / ".harness" / "noise" / f"p-{engine}.jsonl"
    journal = Journal(path, format_name="vlm-harness noise", version=1)
    last = journal.get("last")
    assert last is not None
    key = f"floor:{last['floor']}"
    entry = journal.get(key)
    assert entry is not None
    del entry["key"]
    journal.append(key, {**entry, **{name: {**entry.get(name, {}), **new} for name, new in changes.items()}})

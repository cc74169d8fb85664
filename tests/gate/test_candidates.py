"""``--set``: another version for one run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cases.folder import Loaded, load
from harness.errors import GateError
from harness.gate.candidates import EngineSetting, engine_setting, with_settings

ENGINES: Mapping[str, Any] = {
    "torch": {},
    "current": {"kind": "lmdeploy", "requirements": ["lmdeploy==0.14.0", "transformers==5.24.0"]},
    "candidate": {"kind": "lmdeploy", "requirements": ["LMDeploy[all]==0.14.0", "transformers==5.24.0"]},
}


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    suite = {"cases": [{"id": "one", "prompt": "?", "letters": ["A", "B"], "expect": "A"}]}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(suite))
    profile = {"model": "model", "reference": "torch", "engines": dict(ENGINES)}
    (tmp_path / "profiles.yaml").write_text(yaml.safe_dump({"profiles": {"up": profile}}, sort_keys=False))
    return load(tmp_path)


def requirements(loaded: Loaded, engine: str) -> tuple[str, ...]:
    (found,) = (one for one in loaded.profiles[0].engines if one.name == engine)
    assert found.environment is not None
    return found.environment.requirements


def changed(loaded: Loaded, *texts: str) -> Loaded:
    return with_settings(loaded, [engine_setting(text) for text in texts])


def test_the_requirement_of_the_package_is_replaced_and_no_other(loaded: Loaded) -> None:
    after = changed(loaded, "up/candidate=lmdeploy==0.18.0")
    assert requirements(after, "candidate") == ("transformers==5.24.0", "lmdeploy==0.18.0")
    assert requirements(after, "current") == ("lmdeploy==0.14.0", "transformers==5.24.0")
    assert requirements(loaded, "candidate") == ("LMDeploy[all]==0.14.0", "transformers==5.24.0")
    assert after.suites == loaded.suites


def test_several_packages_of_one_engine_can_be_set(loaded: Loaded) -> None:
    after = changed(loaded, "up/candidate=lmdeploy==0.18.0", "up/candidate=transformers==5.23.0")
    assert requirements(after, "candidate") == ("lmdeploy==0.18.0", "transformers==5.23.0")


def test_a_package_that_was_not_named_is_added(loaded: Loaded) -> None:
    after = changed(loaded, "up/candidate=torch==2.10.0")
    assert requirements(after, "candidate") == (
        "LMDeploy[all]==0.14.0",
        "transformers==5.24.0",
        "torch==2.10.0",
    )


def test_a_package_with_a_longer_name_of_its_own_is_no_slip(loaded: Loaded) -> None:
    after = changed(loaded, "up/candidate=torch==2.10.0", "up/candidate=torchao==0.14.0")
    assert requirements(after, "candidate")[-2:] == ("torch==2.10.0", "torchao==0.14.0")


def test_paths_are_relative_to_the_profiles(loaded: Loaded) -> None:
    (loaded.folder / "lmdeploy").mkdir()
    after = changed(loaded, "up/candidate=lmdeploy @ lmdeploy")
    assert requirements(after, "candidate")[-1] == f"lmdeploy @ {(loaded.folder / 'lmdeploy').as_uri()}"


def test_an_engine_is_another_to_the_recordings(loaded: Loaded) -> None:
    after = changed(loaded, "up/candidate=lmdeploy==0.18.0")
    assert after.profiles[0].engines[2] != loaded.profiles[0].engines[2]
    assert after.profiles[0].engines[:2] == loaded.profiles[0].engines[:2]


@pytest.mark.parametrize(
    "text",
    ["", "up/candidate", "up/candidate=", "candidate=lmdeploy==1", "up/=lmdeploy", "/c=x", "up/candidate==1"],
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(GateError, match="allowed: PROFILE/ENGINE=REQUIREMENT, such as"):
        engine_setting(text)


def test_the_form_is_what_is_typed() -> None:
    setting = engine_setting("up/candidate=lmdeploy==0.18.0")
    assert setting == EngineSetting(profile="up", engine="candidate", requirement="lmdeploy==0.18.0")
    assert str(setting) == "up/candidate=lmdeploy==0.18.0"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pu/candidate=lmdeploy==1", "found the profile 'pu'; allowed: up"),
        ("up/candidat=lmdeploy==1", "found the engine 'candidat'; allowed: candidate"),
        ("up/torch=torch==2.10", "found an engine that runs in .*`requirements`"),
        ("up/candidate=lmdeploy=1", "found 'lmdeploy=1'.*allowed: a requirement such as"),
        ("up/candidate=--index-url x", "found '--index-url x', an option"),
        ("up/candidate=https://example.org/x.whl", "allowed: a requirement with its package's name"),
        ("up/candidate=lmdeploy @ gone", "which does not exist"),
        (
            "up/candidate=lmdepoly==0.18.0",
            r"found the package 'lmdepoly'; allowed: lmdeploy \(the nearest\), transformers; a package",
        ),
    ],
)
def test_what_does_not_fit_the_profiles_is_refused(loaded: Loaded, text: str, told: str) -> None:
    with pytest.raises(GateError, match=told):
        changed(loaded, text)

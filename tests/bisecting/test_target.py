"""What is bisected: which engine, which versions, which cases; before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.bisecting.target import ordered, suites_of, target_of
from harness.cases.environment_request import EnvironmentRequest, pinned
from harness.cases.folder import Loaded, load
from harness.errors import UnknownName

ENGINES = {
    "torch": {},
    "lmdeploy": {},
    "named": {"kind": "lmdeploy", "requirements": ["lmdeploy[all]==0.16.0", "timm"]},
    "elsewhere": {"kind": "lmdeploy", "python": "env"},
    "server": {"kind": "api", "options": {"url": "http://127.0.0.1:1"}},
}


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    plain = {"model": "m", "reference": "torch", "dtype": "float32"}
    profiles = {
        "q": {**plain, "engines": {"torch": {}, "lmdeploy": {}}, "by_name_only": True},
        "p": {**plain, "engines": ENGINES, "suites": ["s", "t"]},
    }
    (tmp_path / "profiles.yaml").write_text(yaml.safe_dump({"profiles": profiles}, sort_keys=False))
    for suite in "stu":
        entries = [
            {"id": f"c{n}", "prompt": "A or B?", "letters": ["A", "B"], "expect": "A"} for n in range(2)
        ]
        (tmp_path / f"{suite}.yaml").write_text(yaml.safe_dump({"cases": entries}))
    return load(tmp_path)


@pytest.mark.parametrize(
    ("engine", "package", "name", "requirements"),
    [
        (None, None, "p/lmdeploy", ("lmdeploy==1", "pillow>=10.4")),
        (None, "transformers", "p/torch", ("transformers==1", "jinja2>=3.1", "pillow>=10.4", "torch>=2.6")),
        ("p/named", None, "p/named", ("lmdeploy[all]==1", "timm")),
        ("p/named", "triton", "p/named", ("lmdeploy[all]==0.16.0", "timm", "triton==1")),
    ],
)
def test_an_engine_is_found_and_asks_for_the_version(
    loaded: Loaded, engine: str | None, package: str | None, name: str, requirements: tuple[str, ...]
) -> None:
    target = target_of(loaded, engine, package)
    assert target.name == name
    assert set(requirements) <= set(target.candidate("1").request.requirements)
    side = target.side(target.candidate("1"))
    assert side.label == f"{name}@1"
    assert len(side.subjects([case for suite in loaded.suites for case in suite.cases])) == 4


@pytest.mark.parametrize(
    ("engine", "package", "said"),
    [
        ("p/nmed", None, "p/named (the nearest)"),
        ("p/elsewhere", None, "which runs in /"),
        ("p/server", None, "a server that runs already"),
        (None, "triton", "no engine of triton"),
    ],
)
def test_an_engine_whose_versions_cannot_be_made_is_refused(
    loaded: Loaded, engine: str | None, package: str | None, said: str
) -> None:
    with pytest.raises(UnknownName, match=said.replace("(", r"\(").replace(")", r"\)")):
        target_of(loaded, engine, package)


def test_versions_are_in_order_and_within_the_ends() -> None:
    known = ["0.9", "0.10", "0.2", "0.11", "0.1", "0.2"]
    assert ordered("0.2", "0.11", known) == ["0.2", "0.9", "0.10", "0.11"]
    assert ordered("0.11", "0.2", known) == ["0.11", "0.10", "0.9", "0.2"], (
        "from a good new one to a bad old one"
    )


@pytest.mark.parametrize(("good", "bad"), [("1", "1.0"), ("one", "2")])
def test_what_is_no_row_of_versions_is_refused(good: str, bad: str) -> None:
    with pytest.raises(UnknownName, match="allowed"):
        ordered(good, bad, [])


def test_cases_and_suites_are_named_and_else_all_of_the_profile_asked(loaded: Loaded) -> None:
    profile = loaded.profile("p")

    def names(*given: str) -> list[str]:
        return [case.name for suite in suites_of(loaded, profile, given) for case in suite.cases]

    assert names() == ["s.c0", "s.c1", "t.c0", "t.c1"]
    assert names("t.c1", "s") == ["s.c0", "s.c1", "t.c1"]
    with pytest.raises(UnknownName, match=r"u\.c0"):
        names("u.c0")


def test_a_pinned_package_keeps_extras_and_marker_and_takes_the_place_of_all_before(tmp_path: Path) -> None:
    own = ("lmdeploy[all]>=0.12", "lmdeploy!=0.13", "/a/x-1.0.tar.gz", "Torch>=2; python_version > '3'")
    request = EnvironmentRequest(requirements=own, folder=tmp_path)
    made = pinned(request, {"lmdeploy": "0.14.0", "torch": "file:///t", "triton": "3.0"})
    assert made.changed
    assert made.requirements == (
        "/a/x-1.0.tar.gz",
        "lmdeploy[all]==0.14.0",
        'Torch @ file:///t ; python_version > "3"',
        "triton==3.0",
    )

"""Two locks: what differs, and what has to move together."""

from __future__ import annotations

from pathlib import Path

from packaging.requirements import Requirement

from harness.bisecting.locks import groups_of, needs_of
from harness.environments.lock import Lock


def lock(**packages: str) -> Lock:
    text = "".join(f"{name}=={version}\n" for name, version in packages.items())
    return Lock(text=text, python="", platform="", requirements=(), as_of=None)


def needs(**texts: str) -> dict[str, list[Requirement]]:
    return {name: [Requirement(text) for text in given.split(", ")] for name, given in texts.items()}


GOOD = lock(
    lmdeploy="0.1", torch="2.10+cpu", triton="3.6", transformers="4.53", tokenizers="0.21", numpy="1", six="1"
)
BAD = lock(
    lmdeploy="0.2",
    torch="2.12",
    triton="3.7",
    transformers="4.54",
    tokenizers="0.22",
    numpy="2",
    six="1",
    kernels="1",
)
BEFORE = needs(torch="triton==3.6", transformers="tokenizers<0.22, numpy>=1", torchvision="torch==2.10")
AFTER = needs(torch="triton==3.7", transformers="tokenizers>=0.21, numpy>=1", lmdeploy="torch<3, numpy>=2")


def test_what_takes_one_of_two_versions_moves_with_it_and_what_is_held_binds() -> None:
    groups = groups_of(GOOD, BAD, "LMDeploy", (BEFORE, AFTER))
    assert set(groups.moving) == {("transformers", "tokenizers"), ("torch", "triton"), ("kernels",)}
    assert groups.bound == ("numpy",)
    assert groups.told(("torch", "triton")) == "torch 2.10+cpu -> 2.12 (and triton)"
    assert groups.told(("kernels",)) == "kernels absent -> 1"


def test_a_whole_group_is_bound_by_one_of_it() -> None:
    bound = groups_of(GOOD, BAD, "lmdeploy", (BEFORE, {**AFTER, **needs(lmdeploy="triton>=3.7")})).bound
    assert bound == ("torch", "triton")


def test_equal_locks_but_for_what_is_held_have_nothing_to_move() -> None:
    assert groups_of(lock(a="1", b="1"), lock(a="2", b="1"), "a", ({}, {})).moving == ()


def test_requirements_are_read_from_an_environment_without_those_of_extras(tmp_path: Path) -> None:
    info = tmp_path / "lib" / "python3.11" / "site-packages" / "Pillow-1.0.dist-info"
    info.mkdir(parents=True)
    lines = ["Name: Pillow", "Version: 1.0", "Requires-Dist: six>=1", "Requires-Dist: numpy; extra == 'x'"]
    (info / "METADATA").write_text("\n".join([*lines, "Requires-Dist: ???"]) + "\n\n")
    assert needs_of(tmp_path) == {"pillow": [Requirement("six>=1")]}

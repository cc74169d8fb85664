"""Two locks: what differs, and what has to move together."""

from __future__ import annotations

from pathlib import Path

from packaging.requirements import Requirement

from harness.bisecting.locks import groups_of, needs_of


def needs(**texts: str) -> dict[str, list[Requirement]]:
    return {name: [Requirement(text) for text in given.split(", ")] for name, given in texts.items()}


NAMES = ("lmdeploy", "torch", "triton", "transformers", "tokenizers", "numpy", "six")
GOOD = dict(zip(NAMES, ("0.1", "2.10+cpu", "3.6", "4.53", "0.21", "1", "1"), strict=True))
BAD = {**dict(zip(NAMES, ("0.2", "2.12", "3.7", "4.54", "0.22", "2", "1"), strict=True)), "kernels": "1"}
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
    assert groups_of({"a": "1", "b": "1"}, {"a": "2", "b": "1"}, "a", ({}, {})).moving == ()


def test_requirements_are_read_from_an_environment_without_those_of_extras(tmp_path: Path) -> None:
    info = tmp_path / "lib" / "python3.11" / "site-packages" / "Pillow-1.0.dist-info"
    info.mkdir(parents=True)
    lines = ["Name: Pillow", "Version: 1.0", "Requires-Dist: six>=1", "Requires-Dist: numpy; extra == 'x'"]
    (info / "METADATA").write_text("\n".join([*lines, "Requires-Dist: ???"]) + "\n\n")
    assert needs_of(tmp_path) == {"pillow": [Requirement("six>=1")]}

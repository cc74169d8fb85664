"""Two locks: what differs, and what has to move together."""

from __future__ import annotations

from pathlib import Path

from packaging.requirements import Requirement

from harness.bisecting.locks import groups_of, needs_of


def needs(**texts: str) -> dict[str, list[Requirement]]:
    return {name: [Requirement(text) for text in given.split(", ")] for name, given in texts.items()}


NAMES = ("lmdeploy", "torch", "triton", "transformers", "tokenizers", "numpy", "six")
GOOD = {**dict(zip(NAMES, ("0.1", "2.10+cpu", "3.6", "4.53", "0.21", "1", "1"), strict=True)), "nvtx": "1"}
BAD = {**dict(zip(NAMES, ("0.2", "2.12", "3.7", "4.54", "0.22", "2", "1"), strict=True)), "kernels": "1"}
BEFORE = needs(torch="triton==3.6, nvtx", transformers="tokenizers<0.22, numpy>=1", torchvision="torch==2.10")
AFTER = needs(torch="triton==3.7", transformers="tokenizers>=0.21, numpy>=1", lmdeploy="torch<3, numpy>=2")


def test_what_takes_one_of_two_versions_moves_with_it_and_what_is_held_binds() -> None:
    groups = groups_of(GOOD, BAD, "LMDeploy", (BEFORE, AFTER))
    assert set(groups.moving) == {("transformers", "tokenizers"), ("torch", "nvtx", "triton"), ("kernels",)}
    assert groups.bound == ("numpy",)
    assert groups.told(("torch", "triton")) == "torch 2.10+cpu -> 2.12 (and triton)"
    assert groups.told(("kernels",)) == "kernels absent -> 1"


def test_a_whole_group_is_bound_by_one_of_it() -> None:
    bound = groups_of(GOOD, BAD, "lmdeploy", (BEFORE, {**AFTER, **needs(lmdeploy="triton>=3.7")})).bound
    assert bound == ("nvtx", "torch", "triton")


def test_equal_locks_but_for_what_is_held_have_nothing_to_move() -> None:
    assert groups_of({"a": "1", "b": "1"}, {"a": "2", "b": "1"}, "a", ({}, {})).moving == ()


def test_requirements_are_read_from_an_environment_with_the_extras_that_one_of_it_asks_for(
    tmp_path: Path,
) -> None:
    cuda = ("six>=1", "numpy; extra == 'blas'", "scipy; extra == 'x'", "???")
    for name, requires in {"Cuda_Toolkit": cuda, "torch": ("cuda-toolkit[blas]==13",)}.items():
        info = tmp_path / "lib" / "python3.11" / "site-packages" / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        lines = [f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {text}" for text in requires)]
        (info / "METADATA").write_text("\n".join(lines) + "\n\n")
    found = {name: [r.name for r in own] for name, own in needs_of(tmp_path).items()}
    assert found == {"cuda-toolkit": ["six", "numpy"], "torch": ["cuda-toolkit"]}

"""What the names of sides mean, and what is said of those that mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cases.folder import load
from harness.cases.profiles import Profile
from harness.errors import GateError
from harness.gate.sides import SideName, parse_pair, parse_side
from tests.gate_folder import Folder

SNAPSHOTS = Path("/snapshots")


@pytest.fixture
def profiles(gate_folder: Folder) -> tuple[Profile, ...]:
    gate_folder.clean(1)
    gate_folder.write_profiles(q={"engines": {"torch": {}, "june": {"kind": "torch"}}})
    return load(gate_folder.cases).profiles


def side(text: str, profiles: tuple[Profile, ...], *meant: str) -> SideName:
    return parse_side(text, profiles, meant=meant, snapshots=SNAPSHOTS)


@pytest.mark.parametrize(
    ("text", "label", "live", "id_"),
    [
        ("p/torch", "p/torch", True, "p-torch"),
        ("june", "q/june", True, "q-june"),
        ("q/june@2026-10-25", "q/june@2026-10-25", False, "q-june@2026-10-25"),
        ("june@previous", "q/june@previous", False, "q-june@previous"),
        ("some/where.jsonl", "some/where.jsonl", False, "some-where.jsonl"),
    ],
)
def test_what_a_name_means(
    profiles: tuple[Profile, ...], text: str, label: str, live: bool, id_: str
) -> None:
    found = side(text, profiles)
    assert (found.label, found.live, found.id) == (label, live, id_)


def test_an_engine_of_several_profiles_needs_one_named(profiles: tuple[Profile, ...]) -> None:
    assert side("torch", profiles, "q").label == "q/torch"
    with pytest.raises(GateError, match=r"of several profiles; allowed: one of p/torch, q/torch, or one"):
        side("torch", profiles)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p/toch", r"found 'p/toch'; allowed: p/torch \(the nearest\), .*; or PROFILE/ENGINE, ENGINE"),
        ("lmdeply", r"found 'lmdeply', no engine; allowed: "),
        ("p/torch@yesterday", r"allowed after @: a day such as 2026-10-25, previous, or a folder"),
        ("p/torch@", r"allowed after @: a day"),
        ("accepted", r"no engine of a candidate says whose baseline is meant"),
    ],
)
def test_what_is_no_name(profiles: tuple[Profile, ...], text: str, said: str) -> None:
    with pytest.raises(GateError, match=said):
        side(text, profiles)


def test_accepted_is_about_the_candidates_engine(profiles: tuple[Profile, ...]) -> None:
    baseline, candidate = parse_pair("accepted..q/june", profiles, meant=(), snapshots=SNAPSHOTS)
    assert baseline.path == SNAPSHOTS / "q" / "june"
    assert candidate.label == "q/june"


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("p/torch..p/lmdeploy", ("p/torch", "p/lmdeploy")),
        ("../old/p.jsonl..p/torch", ("../old/p.jsonl", "p/torch")),
        ("p/torch..../old/p.jsonl", ("p/torch", "../old/p.jsonl")),
        ("p/torch@previous..p/torch", ("p/torch@previous", "p/torch")),
    ],
)
def test_a_pair_is_parted_where_both_are_names(
    profiles: tuple[Profile, ...], text: str, labels: tuple[str, str]
) -> None:
    pair = parse_pair(text, profiles, meant=(), snapshots=SNAPSHOTS)
    assert tuple(one.label for one in pair) == labels


@pytest.mark.parametrize("text", ["p/torch", "p/torch..", "..p/torch", ".."])
def test_half_a_pair(profiles: tuple[Profile, ...], text: str) -> None:
    with pytest.raises(GateError, match=r"--gate: found .*; allowed: A\.\.B, each of them PROFILE/ENGINE"):
        parse_pair(text, profiles, meant=(), snapshots=SNAPSHOTS)

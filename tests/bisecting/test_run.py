"""The lock, with the package held: which combinations are judged, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.bisecting.judge import Step
from harness.bisecting.run import Bisection, Found
from harness.bisecting.search import Judged
from harness.bisecting.target import Candidate
from harness.cases.environment_request import EnvironmentRequest
from harness.environments.lock import Lock
from harness.environments.store import Interpreter

GOOD = {
    "lmdeploy": "0.1",
    "numpy": "1.0",
    "six": "1.0",
    "torch": "1.0",
    "transformers": "1.0",
    "triton": "1.0",
}
BAD = {
    "lmdeploy": "0.2",
    "numpy": "2.0",
    "six": "2.0",
    "torch": "2.0",
    "transformers": "1.4",
    "triton": "2.0",
}
Rule = Callable[[Mapping[str, str]], Judged]


def versions(request: EnvironmentRequest) -> dict[str, str]:
    return dict(text.split("==") for text in request.requirements)


@dataclass
class Held:
    """In the place of the judge: what is asked for is judged by ``rule``, and the locks are as they are."""

    rule: Rule
    folder: Path
    asked: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.environments = self.target = self
        self.package, self.name = "lmdeploy", "p/e"
        for number, requires in (("0.1", "torch==1.0"), ("0.2", "torch")):
            for package, needs in (
                ("lmdeploy", requires),
                ("torch", f"triton=={'1' if number == '0.1' else '2'}.0"),
            ):
                info = self.place(number) / "lib" / "python3" / "site-packages" / f"{package}-1.dist-info"
                info.mkdir(parents=True)
                (info / "METADATA").write_text(f"Name: {package}\nVersion: 1\nRequires-Dist: {needs}\n\n")

    def place(self, number: str) -> Path:
        return self.folder / number

    def spec(self, candidate: Candidate) -> Candidate:
        return candidate

    def interpreter(self, label: str, spec: Candidate, show: Any) -> Interpreter:
        packages = GOOD if spec.name == "lmdeploy 0.1" else BAD
        text = "".join(f"{name}=={version}\n" for name, version in packages.items())
        lock = Lock(text=text, python="", platform="", requirements=(), as_of=None)
        return Interpreter(str(self.place(packages["lmdeploy"]) / "bin" / "python"), lock)

    def is_made(self, candidate: Candidate) -> bool:
        return False

    def step(self, candidate: Candidate) -> Step:
        self.asked.append(versions(candidate.request))
        judged = self.rule(self.asked[-1])
        return Step(name=candidate.name, judged=judged, verdict="does not install", told="", seconds=0)


def found(tmp_path: Path) -> Found:
    ends = [
        Candidate(f"lmdeploy {v}", EnvironmentRequest(requirements=(f"lmdeploy=={v}",), folder=tmp_path), v)
        for v in ("0.1", "0.2")
    ]
    return Found(ends[0], (), ends[1])


def bad_if(name: str, *versions: str, skipped: Rule = lambda _: Judged.GOOD) -> Rule:
    def rule(asked: Mapping[str, str]) -> Judged:
        if skipped(asked) is Judged.SKIP:
            return Judged.SKIP
        return Judged.BAD if asked.get(name, "1.4") in versions else Judged.GOOD

    return rule


@pytest.mark.parametrize(
    ("rule", "sentence", "sure"),
    [
        (bad_if("numpy", "2.0"), "it was numpy 2.0 (numpy 1.0 is good), with lmdeploy 0.2 held", True),
        (
            bad_if("torch", "2.0"),
            "it was torch 2.0 (torch 1.0 is good), with lmdeploy 0.2 held and triton moving with it",
            True,
        ),
        (
            bad_if("transformers", "1.3", "1.4"),
            "it was transformers 1.3 (transformers 1.2 is good), with lmdeploy 0.2 held",
            True,
        ),
        (
            bad_if("lmdeploy", "0.2"),
            "it was lmdeploy 0.2 itself: with other packages as with lmdeploy 0.1 it is bad as well",
            True,
        ),
        (
            bad_if(
                "torch",
                "2.0",
                skipped=lambda a: Judged.SKIP if (a["six"], a["torch"]) == ("2.0", "1.0") else Judged.GOOD,
            ),
            "it was six 1.0 -> 2.0 or it was torch 1.0 -> 2.0 (and triton); could not be judged: lmdeploy "
            "0.2 with torch, transformers as with lmdeploy 0.1: does not install",
            False,
        ),
    ],
    ids=["one", "a group", "a release between", "the package itself", "not to be judged"],
)
def test_the_lock_is_searched_with_the_package_held(
    tmp_path: Path, rule: Rule, sentence: str, sure: bool
) -> None:
    held = Held(rule, tmp_path)
    between = {"transformers": ["1.1", "1.2", "1.3"]}
    bisection = Bisection(held, [].append, lambda _, package, ends: between.get(package, []))  # type: ignore[arg-type]
    assert bisection.over_lock(found(tmp_path)) == (sentence, sure)
    assert all(asked["lmdeploy"] == "0.2" for asked in held.asked)
    assert all(asked.get("torch") == asked.get("triton") for asked in held.asked)

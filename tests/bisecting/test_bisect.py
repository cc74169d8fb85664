"""`harness bisect` over tiny packages, in environments that uv really makes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bisecting.releases import Releases
from tests.environments.conftest import StandInUv

pytestmark = pytest.mark.slow
Capsys = pytest.CaptureFixture[str]


def steps(text: str) -> list[str]:
    """Candidate and judgement of each step."""
    lines = [line.strip().split(": ") for line in text.splitlines() if line.startswith("  ")]
    return [f"{name} {judged}" for name, judged, *_ in lines]


def test_it_names_the_first_bad_release_around_what_cannot_be_judged(
    releases: Releases, capsys: Capsys
) -> None:
    releases.add("transformers", "1.0")
    releases.lmdeploys("good good good dead good bad error bad")
    releases.add("lmdeploy", "0.5.1rc1")
    assert releases.bisect(bad="0.8") == 0
    out = capsys.readouterr().out
    assert steps(out) == [
        "lmdeploy 0.1 good",
        "lmdeploy 0.8 bad",
        "lmdeploy 0.4 skip",
        "lmdeploy 0.6 bad",
        "lmdeploy 0.3 good",
        "lmdeploy 0.5 good",
    ]
    assert "p/lmdeploy: lmdeploy 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8" in out
    assert "installs and does not start: OSError: libcudart.so.13" in out
    assert "8 versions of lmdeploy: about 5 environments" in out
    assert out.splitlines()[-1] == "it was lmdeploy 0.6 (lmdeploy 0.5 is good)"


def test_what_is_left_is_named_with_the_reasons_and_the_judged_is_not_judged_again(
    releases: Releases, capsys: Capsys
) -> None:
    releases.add("transformers", "1.0")
    releases.lmdeploys("good dead question error good bad")
    releases.add("lmdeploy", "0.5", "good", "nowhere")
    assert releases.bisect(bad="0.6") == 1
    first = capsys.readouterr()
    reasons = [
        "lmdeploy 0.2: installs and does not start",
        "lmdeploy 0.3: INCONCLUSIVE",
        "lmdeploy 0.4: ERROR",
        "lmdeploy 0.5: does not install",
    ]
    assert first.out.splitlines()[-1] == (
        "it was one of lmdeploy 0.2, lmdeploy 0.3, lmdeploy 0.4, lmdeploy 0.5, lmdeploy 0.6 (lmdeploy 0.1 is "
        f"good; could not be judged: {'; '.join(reasons)})"
    )
    assert "nowhere" in first.out
    made = releases.recordings()

    assert releases.bisect("--json", bad="0.6") == 1
    again = capsys.readouterr()
    data = json.loads(again.out)
    assert data["sentence"] == first.out.splitlines()[-1]
    assert all(step["kept"] for step in data["steps"])
    assert releases.recordings() == made

    (state,) = Path(".harness/bisect").glob("*.jsonl")
    lines = state.read_text().splitlines()
    number = next(n for n, line in enumerate(lines) if "INCONCLUSIVE" in line)
    lines[number] = lines[number].replace("INCONCLUSIVE", "inconclusive")
    state.write_text("\n".join(lines) + "\n")
    assert releases.bisect(bad="0.6") == 1
    damaged = capsys.readouterr().out
    assert f"1 damaged lines left out, first {number + 1}; that is judged again" in damaged
    assert damaged.count("(judged before)") == len(lines) - 2

    assert releases.bisect("--again", bad="0.6") == 1
    assert "judged before" not in capsys.readouterr().out
    assert releases.recordings() == made + 26, "good is asked twice, and what is unchanged is used again"


def test_with_the_package_held_it_finds_the_release_of_the_other_one(
    releases: Releases, capsys: Capsys
) -> None:
    for number in range(1, 7):
        releases.add("transformers", f"1.{number}", "bad" if number >= 4 else "good")
    for name in ("tokenizers", "pillow"):
        for version in ("1.0", "2.0"):
            releases.add(name, version)
    releases.add("lmdeploy", "0.1", "good", "transformers<1.2", "tokenizers<2", "pillow<2")
    releases.add("lmdeploy", "0.2", "good", "transformers", "tokenizers>=2", "pillow")
    assert releases.bisect("--lock", bad="0.2") == 0
    out = capsys.readouterr().out
    assert "it was lmdeploy 0.2 (lmdeploy 0.1 is good)" in out
    assert out.splitlines()[-1] == (
        "it was transformers 1.4 (transformers 1.3 is good), with lmdeploy 0.2 held"
    )


def test_with_the_others_as_before_it_may_be_the_package_itself(releases: Releases, capsys: Capsys) -> None:
    for version in ("1.0", "2.0"):
        releases.add("transformers", version)
    releases.add("lmdeploy", "0.1", "good", "transformers<2")
    releases.add("lmdeploy", "0.2", "bad", "transformers")
    assert releases.bisect("--lock", bad="0.2") == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "it was lmdeploy 0.2 itself: with other packages as with lmdeploy 0.1 it is bad as well"
    )


@pytest.mark.parametrize(
    ("modes", "said"),
    [
        ("good good", "--bad: found lmdeploy 0.2, which is not bad: SAME"),
        ("moody bad", "--good: found lmdeploy 0.1, which is not good: REGRESSION"),
        ("error bad", "--good: found lmdeploy 0.1, which is not good: ERROR"),
        ("dead bad", "--good: found lmdeploy 0.1, which is not good: installs and does not start"),
        ("good dead", "--bad: found lmdeploy 0.2, which is not bad: installs and does not start"),
    ],
)
def test_an_end_that_is_not_as_it_is_said_is_told(
    releases: Releases, capsys: Capsys, modes: str, said: str
) -> None:
    releases.add("transformers", "1.0")
    releases.lmdeploys(modes)
    assert releases.bisect("t", bad="0.2") == 1
    told = capsys.readouterr().err
    assert said in told
    assert f"next: the same command with another {said[:6].rstrip(':')}" in told


def test_an_interrupted_run_leaves_no_process_and_goes_on(
    releases: Releases, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases.add("transformers", "1.0")
    releases.lmdeploys("good good hang good bad")
    Path("hang").touch()
    words = ["bisect", "--good", "0.1", "--bad", "0.5", "--environments", "environments", "t"]
    command = [sys.executable, "-m", "harness.cli", *words]
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # it is in an engine's fingerprint
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What runs in the background may have been told to ignore it, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until = time.monotonic() + 60
    log = Path(".harness/logs/p-lmdeploy@0.3.log")
    while not (log.exists() and "hanging" in log.read_text()):
        assert time.monotonic() < until, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "the same command goes on" in err
    here = str(Path.cwd())
    left = [p for p in Path("/proc").glob("[0-9]*") if here in _command_line(p)]
    assert left == []
    Path("hang").unlink()
    assert releases.bisect("t", bad="0.5") == 0
    again = capsys.readouterr().out
    assert steps(again) == [
        f"lmdeploy 0.{n} {word}" for n, word in ((1, "good"), (5, "bad"), (3, "good"), (4, "good"))
    ]
    assert again.count("(judged before)") == 2


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def test_a_network_that_is_down_says_nothing_of_a_version(
    releases: Releases, capsys: Capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    releases.add("transformers", "1.0")
    releases.lmdeploys("good good bad")
    assert releases.bisect("t", "--versions", "0.1,0.3", bad="0.3") == 0
    with monkeypatch.context() as down:
        uv = StandInUv.in_place_of_uv(tmp_path / "down", down)
        uv.order(compile={"exit": 2, "say": "error: Request failed after 3 retries"})
        assert releases.bisect("t", "--versions", "0.2", bad="0.3") == 1
    assert "check the network" in capsys.readouterr().err
    assert releases.bisect("t", bad="0.3") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "it was lmdeploy 0.3 (lmdeploy 0.2 is good)"
    assert out.count("(judged before)") == 2

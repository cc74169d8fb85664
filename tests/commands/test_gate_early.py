"""`harness gate --stop-early`: when it ends, what it says then, and how another call goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from PIL import Image

from harness.cli import main
from harness.recordings.journal import Journal
from tests.gate_folder import Folder

Gate = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]
CASES = 40
BROKEN = [f"torch: say A {n} lmdeploy: say B {n}" for n in range(CASES)]


@pytest.fixture
def early(gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> Gate:
    """Gates the stand-ins and gives exit status, standard output and standard error."""

    def run(*more: str, baseline: str = "p/torch", candidate: str = "p/lmdeploy") -> tuple[int, str, str]:
        status = gate_folder.gate(baseline, candidate, "--stop-early", *more)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def shares(folder: Folder) -> list[float]:
    """In percent, what each look that is kept has spent."""
    file = folder.path / ".harness" / "looks.jsonl"
    journal = Journal(file, format_name="vlm-harness looks", version=1)
    entries = [journal.get(key) for key in journal.keys()]  # noqa: SIM118  # of a Journal
    return [round(100 * float(entry["share"]), 3) for entry in entries if entry is not None]


def asked(folder: Folder) -> set[str]:
    """The cases that the candidate of the last run was asked."""
    return set(folder.runs.of("p", "lmdeploy")[-1].keys)


def test_a_broken_candidate_ends_early_and_says_so_everywhere(gate_folder: Folder, early: Gate) -> None:
    gate_folder.write_suite(*BROKEN)
    status, out, err = early("--json", "g.json", "--junit-xml", "g.xml")
    told = "REGRESSION, decided after 16 of 40 cases; 24 were not asked: p/lmdeploy against p/torch, 16 cases"
    assert status == 1
    assert out.startswith(told)
    assert "note: looks: a first look; judged with 0.05% of the 1% of false alarms of all looks" in out
    assert "p-lmdeploy: 16 recorded, 0 unchanged" in err
    (comparison,) = json.loads(Path("g.json").read_text())["comparisons"]
    assert comparison["sentence"].startswith(told)
    failure = ET.parse("g.xml").find(".//failure")
    assert failure is not None
    assert told in str(failure.text)
    assert len(asked(gate_folder)) == 16
    # The same again is the same look: nothing is asked, nothing more is spent.
    status, out, err = early()
    assert (status, out.startswith(told)) == (1, True)
    assert "p-lmdeploy: 0 recorded, 16 unchanged" in err
    assert shares(gate_folder) == [0.05]


@pytest.mark.slow
def test_what_passes_is_asked_whole_and_new_cases_go_on(gate_folder: Folder, early: Gate) -> None:
    gate_folder.clean(CASES)
    status, out, _ = early()
    assert status == 0
    assert out.startswith("SAME: p/lmdeploy against p/torch, 40 cases")
    assert "note: looks: after looks at 16, 32 cases; judged with 0.45% of the 1%" in out
    gate_folder.clean(CASES + 10)
    status, out, err = early()
    assert status == 0
    assert out.startswith("SAME: p/lmdeploy against p/torch, 50 cases")
    assert "p-lmdeploy: 10 recorded, 40 unchanged" in err
    # Those two looks had the very same cases; the one at all of them is a second one.
    assert shares(gate_folder) == [0.05, 0.044, 0.45, 0.113]


@pytest.mark.slow
def test_a_call_with_few_cases_decides_nothing_and_the_next_one_goes_on(
    gate_folder: Folder, early: Gate
) -> None:
    gate_folder.clean(CASES)
    status, out, err = early("--at-most", "1")
    assert status == 3
    assert "not decided after 16 of 40 cases; to go on: harness gate --baseline p/torch" in out
    assert "INCONCLUSIVE: p/lmdeploy against p/torch, 16 cases" in out
    assert "p-lmdeploy: 16 recorded" in err
    first = asked(gate_folder)
    status, out, err = early("--at-most", "20")
    assert (status, "not decided after 32 of 40 cases" in out) == (3, True)
    assert "p-lmdeploy: 20 recorded, 16 unchanged" in err
    assert first < asked(gate_folder)
    assert early()[0] == 0
    assert shares(gate_folder) == [0.05, 0.044, 0.45]


@pytest.mark.slow
def test_the_order_has_nothing_to_do_with_answers_or_the_suites(gate_folder: Folder, early: Gate) -> None:
    """The cases of an image are asked together, and a broken candidate the same ones first as a good one."""
    images = CASES // 2
    for n in range(images):
        Image.new("RGB", (4, 4), (n, 0, 0)).save(gate_folder.cases / f"{n}.png")
    cases = ({"prompt": f"say A {n}", "image": f"{n % images}.png"} for n in range(CASES))
    gate_folder.write_suite(*cases)
    early("--at-most", "1")
    first = asked(gate_folder)
    numbers = {int(name.removeprefix("s.c")) for name in first}
    assert len(numbers) == 16
    assert {n for n in numbers if n < images} == {n - images for n in numbers if n >= images}
    assert {n % images for n in numbers} != set(range(8))
    gate_folder.patch("+= 8\n", "+= 8 - 16 * (self.settings.kind == 'lmdeploy')\n")
    status, out, _ = early()
    assert (status, "decided after 16 of 40 cases" in out) == (1, True)
    assert asked(gate_folder) == first


@pytest.mark.slow
def test_errors_are_told_and_end_nothing(gate_folder: Folder, early: Gate) -> None:
    gate_folder.write_suite(*(f"say A {n}" for n in range(16)), "lmdeploy: nan")
    status, out, _ = early()
    assert (status, out.startswith("ERROR: p/lmdeploy against p/torch, 17 cases")) == (2, True)
    gate_folder.write_suite(
        *(f"{prompt} lmdeploy: nan" if n % 4 == 0 else prompt for n, prompt in enumerate(BROKEN))
    )
    status, out, _ = early("--looks-anew")
    assert status == 1
    assert "decided after 16 of 40 cases" in out.partition("\n")[0]
    assert " without an answer" in out.partition("\n")[0]
    assert " ERROR" in out.partition("worst cases:")[2]


@pytest.mark.slow
def test_an_engine_that_does_not_load_is_no_look(gate_folder: Folder, early: Gate) -> None:
    gate_folder.clean(20)
    gate_folder.patch('settings.device == "cuda"', 'settings.kind == "lmdeploy"')
    status, out, err = early()
    assert (status, out.startswith("ERROR: p/lmdeploy against p/torch, 20 cases")) == (2, True)
    assert err.count("p-lmdeploy: loading") == 1
    assert not (gate_folder.path / ".harness" / "looks.jsonl").exists()
    gate_folder.patch('settings.kind == "lmdeploy"', 'settings.kind == "torch"')
    status, out, err = early()
    assert status == 2
    assert out.startswith("ERROR: p/lmdeploy against p/torch: the baseline gave no answer: load: ")
    assert "p-lmdeploy" not in err


@pytest.mark.slow
def test_another_rule_or_a_damaged_file_is_told_and_begins_anew_when_asked(
    gate_folder: Folder, early: Gate
) -> None:
    gate_folder.clean(20)
    assert early()[0] == 0
    status, out, err = early("--margin", "0.5")
    assert (status, out) == (2, "")
    assert "these sides were looked at by another rule\n  margin: of budgets and dtypes then, 0.5 now" in err
    file = gate_folder.path / ".harness" / "looks.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"share":0.0005', b'"share":0.0000', 1))
    status, _, err = early()
    assert status == 2
    assert "looks.jsonl: 1 damaged lines left out, first 2: it is not known any more what share" in err
    assert early("--looks-anew")[0] == 0
    assert file.with_name("looks.jsonl.damaged").exists()
    status, out, _ = early("--margin", "0.5", "--looks-anew")
    assert status == 0
    assert "judged with 0.45% of the 1% of false alarms of all looks; begun anew, and 2 former looks" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--stop-early", "--case", "s.c0"], "found --case beside --stop-early; allowed: all cases"),
        (["--at-most", "3"], "found --at-most alone; allowed: with --stop-early"),
        (["--looks-anew"], "found --looks-anew alone; allowed: with --stop-early"),
        (
            ["--stop-early", "--candidate", "p/lmdeploy@2026-01-01"],
            "which has its answers; allowed: an engine",
        ),
        (["--stop-early", "--candidate", "q/next"], "found another model, next after m, which is judged by"),
    ],
)
def test_refused(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    gate_folder.clean(20)
    gate_folder.write_profiles(q={"engines": {"torch": {}, "next": {"kind": "torch", "model": "next"}}})
    assert gate_folder.gate("p/torch", "p/lmdeploy", *words) == 2
    assert told in capsys.readouterr().err


def test_several_engines_are_refused(gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    gate_folder.clean(2)
    engines = {"torch": {}, "lmdeploy": {}, "other": {"kind": "torch"}}
    gate_folder.write_profiles(q={"engines": engines})
    assert main(["gate", "q", "--stop-early"]) == 2
    assert "found q with 2 engines beside the reference; allowed: two sides" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.engines
def test_the_embedded_model_broken_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken one ends after a batch; another one of its own kind, that repeats it, is asked whole."""
    cases = tmp_path / "cases"
    shutil.copytree(ROOT / "cases" / "models" / "embedded", cases / "models" / "embedded")
    shutil.copytree(ROOT / "cases" / "images", cases / "images")
    (cases / "broken.py").write_text(
        "import transformers\n"
        "load = transformers.AutoModelForImageTextToText.from_pretrained\n"
        "def broken(*given, **named):\n"
        "    loaded = load(*given, **named)\n"
        "    for name, weights in (loaded[0] if isinstance(loaded, tuple) else loaded).named_parameters():\n"
        "        if 'norm' in name:\n"
        "            weights.data.mul_(0.5)\n"
        "    return loaded\n"
        "transformers.AutoModelForImageTextToText.from_pretrained = broken\n"
    )
    engines = {"torch": {}, "again": {"kind": "torch", "batch_size": 4}}
    engines["broken"] = {"kind": "torch", "patch": "broken.py", "batch_size": 4}
    profile = {"model": "models/embedded", "dtype": "float32", "device": "cpu", "reference": "torch"}
    text = yaml.safe_dump({"profiles": {"p": {**profile, "engines": engines}}})
    (cases / "profiles.yaml").write_text(text)
    suite = yaml.safe_load((ROOT / "cases" / "chinese.yaml").read_text())
    suite["cases"] = suite["cases"][:16]
    (cases / "chinese.yaml").write_text(yaml.safe_dump(suite, allow_unicode=True))
    monkeypatch.chdir(tmp_path)
    gate = ["gate", "--baseline", "p/torch", "--stop-early", "--candidate"]
    assert main([*gate, "p/broken"]) == 1
    out = capsys.readouterr().out
    assert ", decided after 8 of 16 cases; 8 were not asked: p/broken" in out.partition("\n")[0]
    assert main([*gate, "p/again"]) == 0
    out = capsys.readouterr().out
    assert ": p/again against p/torch, 16 cases" in out.partition("\n")[0]
    assert "judged with 0.45% of the 1%" in out

"""The folder for an engine's makers: what is in it, and that its script runs where no harness is."""

from __future__ import annotations

import ast
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from harness.bundles.reproduction import half_of, script
from harness.cli import main
from harness.engines.contract import Answer, Json, Request
from harness.recordings.store import Recording, RecordingStore
from harness.scoring.stored_runs import StoredRuns
from tests.bundles.conftest import bundle
from tests.bundles.traces import keep_trace
from tests.gate_folder import Folder

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "cases" / "models" / "embedded"
SCRIPTS = (  # each as it is, one after the other
    "import runpy, sys; side, model, *reports = sys.argv[1:]\n"
    "for report in reports:\n"
    "    sys.argv = ['reproduce.py', side, model]\n"
    "    runpy.run_path(f'{report}/reproduce.py', run_name='__main__')\n"
)
PLUG_IN = "from harness.engines.lmdeploy_on_cpu import plugin; plugin.install(dtype='float32')\n"


def report(case: str, *more: str, out: str = "report") -> int:
    return main(["report-bug", case, "--out", out, *more])


class TestFolder:
    def test_it_has_what_an_issue_needs(self, bundled: Path) -> None:
        assert report("s.c2", "--from", "run.zip") == 0
        folder = bundled / "report"
        assert {path.name for path in folder.iterdir()} == {
            "README.md", "ids.json", "prompt.txt", "rendered-lmdeploy.txt", "rendered-transformers.txt",
            "reproduce.py", "versions.txt",
        }  # fmt: skip
        text = (folder / "README.md").read_text(encoding="utf-8")
        assert text.startswith("# lmdeploy against transformers on `s.c2`: REGRESSION\n")
        assert "the system message 'Be | brief.'" in text
        assert re.search(r"\| A \| 0\.\d+ \| 0\.\d+ \|", text)
        assert "right answers lost" in text or "right answers were lost" in text
        assert "| wrote | `'A'` | `'B'` |" in text
        assert "no half for transformers: the model takes text only" in text
        assert (folder / "prompt.txt").read_text(encoding="utf-8") == "lmdeploy: say B"
        assert (folder / "rendered-lmdeploy.txt").read_text(encoding="utf-8") == "lmdeploy: say B"
        assert json.loads((folder / "ids.json").read_text())["lmdeploy"]["prompt_ids"] == [1, 2, 3]
        assert "lmdeploy==0.18.0" in (folder / "versions.txt").read_text(encoding="utf-8")

    @pytest.mark.parametrize("engine", ["lmdeploy", "p/lmdeploy"])
    def test_an_engine_by_either_of_its_names(self, bundled: Path, engine: str) -> None:
        assert report("s.c0", "--from", "run.zip", "--engine", engine) == 0

    def test_without_a_bundle_it_is_the_last_run(self, there: Folder) -> None:
        assert report("s.c2") == 0
        assert (there.path / "report" / "README.md").is_file()
        assert not list(there.path.glob("*.zip"))

    def test_the_stage_that_was_traced_is_told(self, there: Folder) -> None:
        keep_trace(there.path / ".harness", "p/torch", "p/lmdeploy", "s.c2")
        assert report("s.c2") == 0
        text = (there.path / "report" / "README.md").read_text(encoding="utf-8")
        assert "\n- First stage beyond noise: logits" in text

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["s.c9"], "found the case 's.c9'; allowed: s.c"),
            (["s.c2", "--engine", "p/third"], "found 'p/third'"),
            (["s.c2", "--baseline", "p/torch@2026-01-01"], "allowed: one of p/torch, p/lmdeploy"),
            (["s.c2", "--out", "."], "--out: found ., which is not empty"),
        ],
    )
    def test_what_cannot_be_written_up_is_refused(
        self, bundled: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
    ) -> None:
        assert report(*words, "--from", "run.zip") == 2
        assert told in capsys.readouterr().err
        assert not (bundled / "report").exists()

    def test_a_case_without_an_answer_is_refused(
        self, there: Folder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        runs = StoredRuns(there.path / ".harness")
        run = runs.of("p", "lmdeploy")[-1]
        fields = {name: getattr(run, name) for name in type(run).__dataclass_fields__}
        runs.add(type(run)(**{**fields, "run": "f" * 32, "keys": {}, "errors": {"s.c2": "it broke"}}))
        torch = runs.of("p", "torch")[-1]
        fields = {name: getattr(torch, name) for name in type(torch).__dataclass_fields__}
        runs.add(type(torch)(**{**fields, "run": "f" * 32}))
        assert report("s.c2") == 2
        assert "s.c2: found no answer of p/lmdeploy (it broke)" in capsys.readouterr().err


def recording(kind: str, **settings: Json) -> Recording:
    told: dict[str, Json] = {
        "kind": kind, "dtype": "bfloat16", "device": "cuda", "paths": [], "top_k": 5, "batch_size": 1,
        "max_tiles": None, "options": {},
    }  # fmt: skip
    loaded: dict[str, Json] = {"image_processor_class": "Some", "engine_config": {"dtype": "", "tp": 1}}
    return Recording(
        key="k",
        case="s.c",
        engine="p-e",
        answer=Answer(
            prompt_ids=(1,), generated_ids=(2, 3), text="", letter_ids=(3,), answer_step=1, readings=()
        ),
        fingerprint={"settings": {**told, **settings}, "loaded": loaded},
    )


class TestScript:
    request = Request(case="s.c", prompt="x", letters=("A",), images=("i.png",), system='It\'s "so"')

    @pytest.mark.parametrize(
        ("kind", "settings", "words"),
        [
            ("torch", {}, ["dtype=torch.bfloat16", ".to('cuda')", "max_new_tokens=2", 'HERE / "image.png"']),
            ("torch", {"options": {"attention": "eager"}}, ["attn_implementation='eager'"]),
            ("lmdeploy", {}, ["PytorchEngineConfig(", "dtype='bfloat16'", "logits_processors=[look]"]),
            ("lmdeploy", {"options": {"tp": 2}}, ["tp=2"]),
            (
                "lmdeploy",
                {"options": {"backend": "turbomind", "trust_remote_code": True}, "max_tiles": 6},
                [
                    "TurbomindEngineConfig(",
                    "trust_remote_code=True",
                    '"max_dynamic_patch": 6',
                    "output_logits=",
                ],
            ),
        ],
    )
    def test_it_says_what_the_profile_says(
        self, kind: str, settings: dict[str, Json], words: list[str]
    ) -> None:
        half = half_of("side", recording(kind, **settings), self.request, ["image.png"])
        text = script("s.c", [half])
        assert [word for word in (*words, repr(self.request.system)) if word not in text] == []
        imported = {
            (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name)
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert imported <= {"json", "sys", "pathlib", "torch", "transformers", "lmdeploy", "PIL"}

    @pytest.mark.parametrize(
        ("kind", "settings", "lacks"),
        [
            ("torch", {"options": {"trust_remote_code": True}}, "code of its own (trust_remote_code)"),
            (
                "torch",
                {"options": {"max_pixels": 9, "template_date": "2026-01-01"}},
                "max_pixels, template_date",
            ),
            ("torch", {"max_tiles": 6}, "max_tiles"),
            ("lmdeploy", {"max_tiles": 6}, "max_tiles"),
            ("lmdeploy", {"options": {"prefix_cache": "warm"}}, "prefix_cache"),
            ("api", {"options": {"url": "http://x"}}, "a server"),
        ],
    )
    def test_what_it_cannot_do_is_named_and_not_written(
        self, kind: str, settings: dict[str, Json], lacks: str
    ) -> None:
        half = half_of("side", recording(kind, **settings), self.request, ["image.png"])
        assert lacks in half.lacks
        assert script("s.c", [half]) == ""


@pytest.mark.slow
@pytest.mark.engines
def test_both_halves_give_the_recorded_probabilities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the embedded model: the one half as it is, the other with the CPU plug-in put before it."""
    home, away = tmp_path / "home" / "ann", tmp_path / "away"
    (home / "cases").mkdir(parents=True)
    away.mkdir()
    shutil.copytree(MODEL, home / "model")
    Image.new("RGB", (64, 64), "red").save(home / "cases" / "red.png")
    picture = (home / "cases" / "red.png").read_bytes()
    prompt = "What colour is it?\nA. red\nB. blue\nAnswer in the form 'Answer: X'."
    cases = [
        {"id": "image", "image": "red.png", "system": "You are careful.", "answer_prefix": "Answer: "},
        {"id": "text"},
    ]
    suite = {
        "defaults": {"letters": ["A", "B"], "prompt": prompt},
        "cases": [{**c, "expect": "A"} for c in cases],
    }
    profile = {
        "model": str(home / "model"),
        "dtype": "float32",
        "reference": "torch",
        "engines": {"torch": {}, "lmdeploy": {}},
    }
    (home / "cases" / "s.yaml").write_text(yaml.safe_dump(suite))
    (home / "cases" / "profiles.yaml").write_text(yaml.safe_dump({"profiles": {"p": profile}}))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    assert main(["gate", "p", "--recordings", "kept"]) in (0, 3)
    assert bundle("--recordings", "kept", out=str(away / "run.zip")) == 0
    store = RecordingStore(home / "kept")
    kept = {run.engine: run.keys for run in StoredRuns(home / "kept").all()}
    shutil.move(home / "model", away / "model")
    shutil.rmtree(home / "cases")
    monkeypatch.chdir(away)
    for case in ("image", "text"):
        assert report(f"s.{case}", "--from", "run.zip", out=case) == 0
        written = [path.read_bytes() for path in (away / case).iterdir()]
        assert not any(str(tmp_path).encode() in content for content in written)
    assert (away / "image" / "image.png").read_bytes() == picture
    told: dict[tuple[str, str], str] = {}
    for engine, side, before in (("torch", "transformers", ""), ("lmdeploy", "lmdeploy", PLUG_IN)):
        said = run_script(["-c", before + SCRIPTS, side, "model", "image", "text"])
        for case, text in zip(("image", "text"), said.split("prompt ids: ")[1:], strict=True):
            told[engine, case] = text
    for (engine, case), text in told.items():
        recorded = store.get(kept[engine][f"s.{case}"])
        assert recorded is not None
        first = recorded.answer.readings[0]
        assert first.log_z is not None
        assert f"{len(recorded.answer.prompt_ids)}, as recorded" in text
        shares = [float(share) for share in re.findall(r"^[AB] (\S+)$", text, re.MULTILINE)]
        expected = [math.exp(logit - first.log_z) for logit in first.letter_logits]
        assert shares == pytest.approx(expected, rel=1e-4, abs=1e-6)


def run_script(words: list[str]) -> str:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout

"""Tiny packages in a folder, lmdeploy and transformers for uv, and an engine that answers by them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy
import pytest
import yaml

from harness.cli import main
from tests.gate_folder import PATCH

# As the suite's stand-in, but for what the installed packages do to its answers.
ENGINE = f"""
import dataclasses, importlib, os, runpy, sys, time
StandIn = runpy.run_path({str(PATCH)!r})["StandIn"]
plain = StandIn.answer

def answer(self, request):
    modes = [importlib.import_module(name).MODE for name in ("lmdeploy", "transformers")]
    if "error" in modes:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    if "hang" in modes and os.path.exists("hang"):
        print("hanging", file=sys.stderr, flush=True)
        time.sleep(600)
    said = "say B" if any(mode in ("bad", "moody") for mode in modes) else "say A"
    found = plain(self, dataclasses.replace(request, prompt=request.prompt.replace("say A", said)))
    shown = dataclasses.replace(found.question, text=request.prompt)
    if "question" in modes:
        found = dataclasses.replace(found, prompt_ids=(*found.prompt_ids, 4))
        shown = dataclasses.replace(shown, text=request.prompt + "!", tokens=shown.tokens + 1)
    return dataclasses.replace(found, question=shown)

StandIn.answer = answer
import lmdeploy, transformers
if lmdeploy.MODE == "moody" and not os.path.exists("moody"):  # bad from the second worker on
    open("moody", "w").close()
    lmdeploy.MODE = "good"
"""


class Releases:
    """A folder of wheels, and beside it a folder of cases whose engine ``p/lmdeploy`` is made of them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.wheels = folder / "wheels"
        self.cases = folder / "cases"
        for place in (self.wheels, self.cases / "m", folder / "numpy"):
            place.mkdir(parents=True)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("UV_CACHE_DIR", str(folder / "uv"))
        (self.cases / "uv.toml").write_text(f'no-index = true\nfind-links = ["{self.wheels}"]\n')
        there = Path(numpy.__file__).parents[1]
        for name in ("numpy", "numpy.libs"):
            (folder / "numpy" / name).symlink_to(there / name)
        self._wheel("numpy", numpy.__version__, {"numpy_here.pth": str(folder / "numpy")})
        (folder / "engine.py").write_text(ENGINE)
        for name, text in (("config.json", "{}"), ("model.safetensors", "m")):
            (self.cases / "m" / name).write_text(text)
        engine = {"patch": "../engine.py", "requirements": ["numpy", "lmdeploy"], "top_k": 5}
        profile = {"model": "m", "dtype": "float32", "reference": "lmdeploy", "engines": {"lmdeploy": engine}}
        (self.cases / "profiles.yaml").write_text(yaml.safe_dump({"profiles": {"p": profile}}))
        for suite, count in (("s", 24), ("t", 2)):
            entries = [{"id": f"c{n}", "prompt": f"say A {suite} {n}", "expect": "A"} for n in range(count)]
            text = yaml.safe_dump({"defaults": {"letters": ["A", "B", "C"]}, "cases": entries})
            (self.cases / f"{suite}.yaml").write_text(text)

    def add(self, name: str, version: str, mode: str = "good", *requires: str) -> None:
        """A release that answers by ``mode``; one whose mode is ``dead`` cannot be imported."""
        code = "raise OSError('libcudart.so.13: cannot open')" if mode == "dead" else f"MODE = {mode!r}"
        self._wheel(name, version, {f"{name}/__init__.py": code + "\n"}, requires)

    def lmdeploys(self, modes: str, *requires: str) -> None:
        """lmdeploy 0.1, 0.2 and so on, of these modes."""
        for number, mode in enumerate(modes.split(), 1):
            self.add("lmdeploy", f"0.{number}", mode, "transformers", *requires)

    def bisect(self, *more: str, good: str = "0.1", bad: str) -> int:
        return main(["bisect", "--good", good, "--bad", bad, "--environments", "environments", *more])

    def recordings(self) -> int:
        """How many were ever made."""
        lines = [
            x for file in Path(".harness/recordings").glob("*.jsonl") for x in file.read_text().splitlines()
        ]
        return sum("like" in json.loads(line.split(" ", 1)[1]) for line in lines)

    def _wheel(self, name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = ()) -> None:
        info = f"{name}-{version}.dist-info"
        needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
        files = {
            **files,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
        with zipfile.ZipFile(self.wheels / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            for path, text in files.items():
                wheel.writestr(path, text)

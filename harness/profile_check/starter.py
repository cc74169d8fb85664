"""A folder of cases to begin with, for a model that is there: what `harness init` writes.

Nothing is loaded or downloaded. What is decided is written beside the line that it decided.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageDraw

from harness.engines.dtypes import named_dtype
from harness.profile_check.model_files import ModelFiles, look_into
from harness.schemas.json_schema import schema_text

__all__ = ["Starter", "starter_files"]

_SIDE: Final = 224
_LETTERS: Final = "ABCD"
_COLOURS: Final = {"red": "#d62728", "green": "#2ca02c", "blue": "#1f77b4", "yellow": "#e7ba52"}
_SHAPES: Final = ("circle", "square", "triangle", "cross")
_PICTURES: Final = (
    # name, colour, shape, width: of these the letters are made, in this order
    ("red-circle", "red", "circle", _SIDE),
    ("blue-square", "blue", "square", _SIDE),
    ("green-triangle", "green", "triangle", _SIDE),
    ("yellow-cross-wide", "yellow", "cross", 3 * _SIDE),
)
_STATED: Final = (("stated-colour", "The ball is green.", "What colour is the ball?", _COLOURS, "green"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """What is asked for: ``model``, a folder or a hub id, and ``cases``, the folder to write, from ``here``.

    ``gpu`` is whether one is at hand, ``workflow`` whether a GitHub workflow is wished.
    """

    model: str
    cases: Path
    here: Path
    gpu: bool
    workflow: bool = False

    @property
    def folder(self) -> Path | None:
        """The model's folder; None of a hub id."""
        folder = self.here / self.model
        return folder if folder.is_dir() else None

    @property
    def profile(self) -> str:
        """A name made of the model's: of its last part, what may stand in a name."""
        last = Path(self.model.rstrip("/")).name
        return "-".join(re.findall(r"[a-z0-9_]+", last.lower()))[:50].strip("-") or "model"


def starter_files(starter: Starter) -> dict[Path, bytes]:
    """All files by their paths from ``here``, profiles.yaml first; none of them is written."""
    files = None if starter.folder is None else look_into(starter.folder)
    sees = files is None or not files.config or bool(files.own_code) or files.speaks_of_images
    own = starter.cases
    made = {
        own / "profiles.yaml": _profiles(starter, files),
        own / "starter.yaml": _suite(sees=sees),
        own / "schemas" / "suite.schema.json": schema_text("suite.schema.json"),
        own / "schemas" / "profiles.schema.json": schema_text("profiles.schema.json"),
    }
    if starter.workflow:
        made[Path(".github/workflows/consistency.yml")] = _workflow(starter)
    drawn = {
        own / "images" / f"{name}.png": _drawn(colour, shape, width)
        for name, colour, shape, width in _PICTURES
    }
    return {**{path: text.encode() for path, text in made.items()}, **(drawn if sees else {})}


def _profiles(starter: Starter, files: ModelFiles | None) -> str:
    config: Mapping[str, Any] = {} if files is None else files.config
    saved = named_dtype(config)
    cpu = not starter.gpu
    dtype = "float32" if cpu else "float16" if saved in (None, "float32") else saved
    why = {
        "float32": "a CPU computes it exactly; what you serve in belongs to a profile with device: cuda",
        "float16": "LMDeploy has no float32 on a GPU",
    }.get(dtype, "as the model was saved")
    device = "CPU" if cpu else "GPU"
    lines = [
        "# yaml-language-server: $schema=schemas/profiles.schema.json",
        "profiles:",
        f"  {starter.profile}:",
        f"    description: {Path(starter.model).name} beside itself in LMDeploy, on a {device}",
        f"    model: {_model(starter)}",
        f"    dtype: {dtype} # {why}",
        f"    device: {'cpu # no NVIDIA GPU was found here' if cpu else 'cuda # one was found here'}",
        "    reference: torch # the engine that the others are compared with",
        "    deadlines: {load: 1200, case: 300} # seconds; the first run of a large model is slow",
    ]
    if not cpu:
        lines.append("    marks: [gpu] # kept out of a plain `pytest`: run it with -m gpu")
    if (most := _most_tiles(files)) is not None:
        lines.append(f"    max_tiles: {most} # as its configuration has it; name what your service uses")
    lines += [
        "    # system: You are a helpful assistant. # the text that your service sends, if it sends one"
    ]
    lines += ["    engines:", *_engines(files)]
    return "\n".join(lines) + "\n"


def _model(starter: Starter) -> str:
    if starter.folder is None:
        return f"{starter.model} # a hub id; add `revision:`, a commit, so that it stays the same"
    return (
        f"{os.path.relpath(starter.folder, starter.here / starter.cases)} # a folder, relative to this file"
    )


def _most_tiles(files: ModelFiles | None) -> int | None:
    found = None if files is None else files.config.get("max_dynamic_patch", files.most_patches)
    return found if isinstance(found, int) else None


def _engines(files: ModelFiles | None) -> list[str]:
    code = () if files is None else files.own_code
    options = []
    if code:
        options = [
            f"        # The model brings code of its own ({', '.join(code)}). Read it, then take the # away;",
            "        # docs/remote-code.md says more on the Transformers that it was written for.",
            "        # options: {trust_remote_code: true}",
        ]
    lines = []
    for engine, package in (("torch", "transformers"), ("lmdeploy", "lmdeploy")):
        try:
            found = importlib.metadata.version(package)
            lines.append(f"      {engine}: # {package} {found}, which is installed here")
            body = [*options] or ["        top_k: 20 # the log-probabilities to keep of each answer"]
        except importlib.metadata.PackageNotFoundError:
            lines.append(f"      {engine}: # {package} is not installed here: uv makes it an environment")
            body = [f"        requirements: [{_NEEDED[engine]}]", *options]
        lines += (
            body if not all(line.lstrip().startswith("#") for line in body) else [*body, "        top_k: 20"]
        )
    return [*lines, *_ANOTHER]


_NEEDED: Final = {"torch": "torch, torchvision, transformers, jinja2, numpy, pillow", "lmdeploy": "lmdeploy"}
_ANOTHER: Final = (
    "      # candidate: # an upgrade, beside the LMDeploy above: `harness gate` judges it",
    "      #   kind: lmdeploy",
    "      #   requirements: [lmdeploy==0.18.0]",
)


def _suite(*, sees: bool) -> str:
    lines = [
        "# yaml-language-server: $schema=schemas/suite.schema.json",
        "description: To begin with. Put questions of your own here, as many as decide an upgrade.",
        "defaults:",
        "  letters: [A, B, C, D]",
        "cases:",
    ]
    for name, colour, shape, _ in _PICTURES if sees else ():
        for what, values, right in (("colour", _COLOURS, colour), ("shape", _SHAPES, shape)):
            lines += _case(
                f"{name}-{what}", f"What {what} is it?", list(values), right, image=f"images/{name}.png"
            )
    for name, statement, question, values, right in _STATED:
        lines += _case(name, f"{statement} {question}", list(values), right)
    return "\n".join(lines) + "\n"


def _case(name: str, question: str, values: list[str], right: str, *, image: str = "") -> list[str]:
    options = [f"      {letter}. {value}" for letter, value in zip(_LETTERS, values, strict=True)]
    return [
        f"  - id: {name}",
        *([f"    image: {image} # relative to this file"] if image else []),
        "    prompt: |-",
        f"      {question}",
        *options,
        "      Answer with the option's letter.",
        f"    expect: {_LETTERS[values.index(right)]}",
    ]


def _drawn(colour: str, shape: str, width: int) -> bytes:
    """A PNG [224, width] of one shape in its middle."""
    from io import BytesIO

    image = Image.new("RGB", (width, _SIDE), "white")
    pen, middle, reach = ImageDraw.Draw(image), width // 2, _SIDE // 3
    left, top, right, bottom = middle - reach, _SIDE // 2 - reach, middle + reach, _SIDE // 2 + reach
    fill, third = _COLOURS[colour], 2 * reach // 3
    if shape == "circle":
        pen.ellipse((left, top, right, bottom), fill=fill)
    elif shape == "square":
        pen.rectangle((left, top, right, bottom), fill=fill)
    elif shape == "triangle":
        pen.polygon(((middle, top), (left, bottom), (right, bottom)), fill=fill)
    else:
        pen.rectangle((left, top + third, right, bottom - third), fill=fill)
        pen.rectangle((left + third, top, right - third, bottom), fill=fill)
    out = BytesIO()
    image.save(out, format="PNG")
    return out.getvalue()


def _workflow(starter: Starter) -> str:
    """On a GPU the gate, weekly and by hand: on a runner of one's own, code of any pull request would run."""
    cases = starter.cases.as_posix()
    source, repository, commit = _origin()
    if starter.gpu:
        when, runner = '  workflow_dispatch:\n  schedule:\n    - cron: "17 3 * * 1"', "[self-hosted, gpu]"
        step = f"""\
      # OWNER/REPOSITORY@COMMIT: where the harness is kept. docs/ci.md has the inputs, and sets up a runner.
      - uses: {repository}/.github/actions/gate@{commit}
        with:
          profile: {starter.profile}
          cases: {cases}
          extras: lmdeploy,torch
"""
    else:
        when, runner = "  pull_request:", "ubuntu-24.04"
        step = f"""\
      - run: python3 -m venv .venv && .venv/bin/pip install "$HARNESS"
        env:
          HARNESS: {source}
      - run: .venv/bin/pytest --pyargs harness.suite --cases={cases} --report=report.html
      - if: always()
        uses: actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f # v7.0.0
        with:
          name: report
          path: report.html
"""
    return f"""\
name: Consistency
on:
{when}
permissions:
  contents: read
concurrency:
  group: consistency-${{{{ github.ref }}}}
  cancel-in-progress: false
jobs:
  consistency:
    name: Consistency
    runs-on: {runner}
    timeout-minutes: 240
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with:
          persist-credentials: false
{step}"""


def _origin() -> tuple[str, str, str]:
    """What pip is to install, and GitHub's repository and commit, as pip noted them when it installed this.

    Else a variable of the repository that says the first, and words to fill in.
    """
    noted = importlib.metadata.distribution("vlm-consistency-harness").read_text("direct_url.json")
    match json.loads(noted or "{}"):
        case {"url": str(url), "vcs_info": {"vcs": "git", "commit_id": str(commit)}}:
            source = f"vlm-consistency-harness[lmdeploy,torch] @ git+{url}@{commit}"
            on_github = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?", url)
            return (source, on_github[1], commit) if on_github else (source, "OWNER/REPOSITORY", "COMMIT")
    return "${{ vars.HARNESS }} # what pip is to install: docs/ci.md", "OWNER/REPOSITORY", "COMMIT"

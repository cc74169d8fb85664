"""Every rule of a profile, told with its exact place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases.profile_texts import MODEL, engine, problems_of, profile

# name: (text, field, found, allowed); § marks the place.
RULES = {
    "no profiles": ("profiles: §{}", "profiles", "a mapping", "at least 1"),
    "empty file": ("§", "", "nothing", "a mapping"),
    "unknown key at the top": (
        "§profile: 1\n" + profile("engines: {torch: {}}"),
        "profile",
        "unknown",
        "profiles (the nearest)",
    ),
    "unknown key": (
        profile("§engine: 1, engines: {torch: {}}"),
        "profiles.p.engine",
        "'engine'",
        "engines (the nearest)",
    ),
    "unknown key of an engine": (
        engine("§dtyp: x"),
        "profiles.p.engines.e.dtyp",
        "'dtyp'",
        "dtype (the nearest)",
    ),
    "unknown option": (
        engine("options: {§attentoin: sdpa}"),
        "profiles.p.engines.e.options.attentoin",
        "the unknown key 'attentoin'",
        "attention (the nearest)",
    ),
    "profile as text": ("profiles:\n  p: §x", "profiles.p", "'x'", "a mapping"),
    "engine as nothing": (
        profile("engines: {torch: {}, e: §~}"),
        "profiles.p.engines.e",
        "nothing",
        "a mapping",
    ),
    "profile's name": (
        "profiles:\n  §p.q: {" + MODEL + ", engines: {torch: {}}}",
        "profiles.p.q",
        "'p.q'",
        "single -",
    ),
    "profile's name ends": (
        "profiles:\n  §p-: {" + MODEL + ", engines: {torch: {}}}",
        "profiles.p-",
        "'p-'",
        "single -",
    ),
    "engine's name": (
        profile("engines: {torch: {}, §a-b: {kind: torch}}"),
        "profiles.p.engines.a-b",
        "'a-b'",
        "digits and _",
    ),
    "no model": (
        "profiles:\n  p: §{reference: torch, engines: {torch: {}}}",
        "profiles.p.model",
        "nothing",
        "Folder",
    ),
    "no reference": (
        "profiles:\n  p: §{model: m, engines: {torch: {}}}",
        "profiles.p.reference",
        "nothing",
        "compared",
    ),
    "no engines": (profile("engines: §{}"), "profiles.p.engines", "a mapping", "at least 1"),
    "reference that is no engine": (
        profile("engines: {torch: {}}", model="model: m, reference: §torhc"),
        "profiles.p.reference",
        "'torhc'",
        "an engine of this profile: torch (the nearest)",
    ),
    "kind unknown": (
        profile("engines: {torch: {kind: §vllm}}"),
        "profiles.p.engines.torch.kind",
        "'vllm'",
        "'torch', 'lmdeploy' or 'api'",
    ),
    "kind missing": (
        profile("engines: {torch: {}, e: §{}}"),
        "profiles.p.engines.e.kind",
        "nothing",
        "torch or lmdeploy",
    ),
    "dtype unknown": (engine("dtype: §fp16"), "profiles.p.engines.e.dtype", "'fp16'", "'float16'"),
    "dtype of the profile": (
        profile("dtype: §half, engines: {torch: {}}"),
        "profiles.p.dtype",
        "'half'",
        "'float16'",
    ),
    "device unknown": (engine("device: §gpu"), "profiles.p.engines.e.device", "'gpu'", "'cpu' or 'cuda'"),
    "bfloat16 of interpreted kernels": (
        engine("options: {kernels: interpreted}", kind="lmdeploy", rest="dtype: §bfloat16, "),
        "profiles.p.dtype",
        "bfloat16 for interpreted kernels",
        "float32 or float16, since",
    ),
    "tag that no case bears": (
        profile("tags: [§colours], engines: {torch: {}}"),
        "profiles.p.tags.0",
        "'colours'",
        "a tag of a case in this folder: colour",
    ),
    "float32 of LMDeploy on a GPU": (
        engine("dtype: §float32", kind="lmdeploy", rest="device: cuda, "),
        "profiles.p.engines.e.dtype",
        "float32 for lmdeploy on cuda",
        "float16, bfloat16",
    ),
    "float32 of the profile": (
        engine("device: cuda", kind="lmdeploy", rest="dtype: §float32, "),
        "profiles.p.dtype",
        "float32 for lmdeploy on cuda",
        "float16, bfloat16",
    ),
    "no paths": (engine("paths: §[]"), "profiles.p.engines.e.paths", "a list of 0", "at least 1"),
    "path unknown": (engine("paths: [§backward]"), "profiles.p.engines.e.paths.0", "'backward'", "'forward'"),
    "path of the other kind": (
        engine("paths: [forward, §captured]"),
        "profiles.p.engines.e.paths.1",
        "'captured'",
        "a path of torch (cpu): forward, generate",
    ),
    "path twice": (
        engine("paths: [forward, §forward]"),
        "profiles.p.engines.e.paths.1",
        "'forward' a second",
        "once",
    ),
    "top-k below": (engine("top_k: §-1"), "profiles.p.engines.e.top_k", "-1", "0 or more"),
    "top-k above": (engine("top_k: §1025"), "profiles.p.engines.e.top_k", "1025", "1024 or less"),
    "batch of none": (engine("batch_size: §0"), "profiles.p.engines.e.batch_size", "0", "1 or more"),
    "a day that is none": (
        engine("template_date: §2026-02-30"),
        "profiles.p.engines.e.template_date",
        "2026-02-30",
        "a day of the calendar",
    ),
    "a server's date": (
        profile("template_date: §2026-01-31, engines: {torch: {}, api: {options: {serve: true}}}"),
        "profiles.p.template_date",
        "template_date: 2026-01-31",
        "no template_date for api, a server, which keeps to its clock",
    ),
    "no tile": (engine("max_tiles: §0"), "profiles.p.engines.e.max_tiles", "0", "1 or more"),
    "no system text": (profile("system: §'  ', engines: {torch: {}}"), "profiles.p.system", "'  '", "text"),
    "deadline of zero": (
        engine("deadlines: {load: §0}"),
        "profiles.p.engines.e.deadlines.load",
        "0",
        "greater than 0",
    ),
    "deadline as text": (
        engine("deadlines: {case: §1m}"),
        "profiles.p.engines.e.deadlines.case",
        "'1m'",
        "a number",
    ),
    "deadline as one number": (engine("deadlines: §60"), "profiles.p.engines.e.deadlines", "60", "a mapping"),
    "interpreter missing": (
        engine("python: §bin/python9"),
        "profiles.p.engines.e.python",
        "executed",
        "an executable",
    ),
    "interpreter not executable": (
        engine("python: §./note.txt"),
        "profiles.p.engines.e.python",
        "executed",
        "an executable",
    ),
    "interpreter not on PATH": (
        engine("python: §python-9.9"),
        "profiles.p.engines.e.python",
        "executed",
        "on PATH",
    ),
    "interpreter of nobody": (
        engine("python: §~nobody9/python"),
        "profiles.p.engines.e.python",
        "executed",
        "an executable",
    ),
    "patch missing": (
        engine("patch: §pitch.py"),
        "profiles.p.engines.e.patch",
        "'pitch.py'",
        "looked for pitch.py",
    ),
    "patch not Python": (
        engine("patch: §note.txt"),
        "profiles.p.engines.e.patch",
        "'note.txt'",
        "a Python file",
    ),
    "model missing": (
        profile("engines: {torch: {}}", model="model: §./n, reference: torch"),
        "profiles.p.model",
        "'./n', which does not exist",
        "a folder (looked for n), or a hub id",
    ),
    "model missing in a folder that exists": (
        profile("engines: {torch: {}}", model="model: §m/embeded, reference: torch"),
        "profiles.p.model",
        "'m/embeded', which does not exist",
        "looked for m/embeded",
    ),
    "model without config": (
        profile("engines: {torch: {}}", model="model: §empty, reference: torch"),
        "profiles.p.model",
        "'empty', a folder without config.json",
        "a saved model",
    ),
    "revision of a folder": (
        profile("revision: §main, engines: {torch: {}}"),
        "profiles.p.revision",
        "a folder",
        "a hub id only",
    ),
    "revision of an engine's folder": (
        profile("engines: {torch: {revision: §main}}"),
        "profiles.p.engines.torch.revision",
        "a folder",
        "a hub id only",
    ),
    "code from a hub without a revision": (
        profile(
            "engines: {torch: {options: {trust_remote_code: §true}}}", model="model: a/b, reference: torch"
        ),
        "profiles.p.engines.torch.options.trust_remote_code",
        "true without a revision",
        "a full commit of a/b (40 digits) as `revision`",
    ),
    "code from a hub at a branch": (
        profile(
            "revision: §main, engines: {torch: {options: {trust_remote_code: true}}}",
            model="model: a/b, reference: torch",
        ),
        "profiles.p.revision",
        "'main'",
        "a full commit of a/b (40 digits)",
    ),
    "code of an engine's own hub id": (
        profile("engines: {torch: {model: a/b, revision: §v1, options: {trust_remote_code: true}}}"),
        "profiles.p.engines.torch.revision",
        "'v1'",
        "a full commit of a/b (40 digits)",
    ),
    "model of an engine missing": (
        profile("engines: {torch: {model: §nowhere}}"),
        "profiles.p.engines.torch.model",
        "'nowhere', which does not exist",
        "a hub id such as org/name",
    ),
    "suite unknown": (
        profile("suites: [§shape], engines: {torch: {}}"),
        "profiles.p.suites.0",
        "'shape'",
        "shapes (the nearest)",
    ),
    "no suites": (
        profile("suites: §[], engines: {torch: {}}"),
        "profiles.p.suites",
        "a list of 0",
        "at least 1",
    ),
    "mark with a hyphen": (
        profile("marks: [§a-b], engines: {torch: {}}"),
        "profiles.p.marks.0",
        "'a-b'",
        "digits and _",
    ),
    "mark of pytest": (
        profile("marks: [§skip], engines: {torch: {}}"),
        "profiles.p.marks.0",
        "the mark 'skip'",
        "your own",
    ),
    "tolerance unknown": (
        profile("tolerances: {§k: 1}, engines: {torch: {}}"),
        "profiles.p.tolerances.k",
        "the unknown key 'k'",
        "kl",
    ),
    "alias": (
        profile("engines: {torch: {}, e: §*x}"),
        "profiles.p.engines.e",
        "the alias '*x'",
        "`defaults:`",
    ),
    "duplicate profile": (
        profile("engines: {torch: {}}") + "  §p: {" + MODEL + ", engines: {torch: {}}}",
        "profiles.p",
        "the key 'p' a second time",
        "profiles.yaml:2:3",
    ),
}


@pytest.mark.parametrize(("text", "field", "found", "allowed"), RULES.values(), ids=RULES.keys())
def test_rule_at_its_place(folder: Path, text: str, field: str, found: str, allowed: str) -> None:
    before, _, after = text.partition("§")
    (folder / "profiles.yaml").write_text(before + after)
    (problem,) = problems_of(folder)
    lines = before.split("\n")
    assert problem.place == f"profiles.yaml:{len(lines)}:{len(lines[-1]) + 1}"
    assert problem.field == field
    assert found in problem.found
    assert allowed in problem.allowed


def test_problems_of_one_engine_do_not_hide_each_other(folder: Path) -> None:
    (folder / "profiles.yaml").write_text(
        profile(
            "suites: [no], marks: [if], engines: {torch: {dtype: x, paths: [captured], python: /no, "
            "patch: no.py, top_k: x, options: {tp: 1, attention: 1}, zz: 1}, lmdeploy: 5}",
            model="model: nowhere, reference: other",
        )
    )
    engine = "profiles.p.engines.torch"
    assert {problem.field for problem in problems_of(folder)} == {
        *(f"profiles.p.{name}" for name in ("suites.0", "marks.0", "model", "reference", "engines.lmdeploy")),
        *(f"{engine}.{name}" for name in ("dtype", "paths.0", "python", "patch", "top_k", "zz")),
        *(f"{engine}.options.{name}" for name in ("tp", "attention")),
    }


def test_a_model_named_from_where_one_is_is_told_from_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.parent / "models" / "parrot").mkdir(parents=True)
    monkeypatch.chdir(folder.parent)
    (folder / "profiles.yaml").write_text(
        "profiles: {p: {model: models/parrot, reference: torch, engines: {torch: {}}}}\n"
    )
    (problem,) = problems_of(folder)

    assert problem.found.startswith("'models/parrot', which is no folder beside this file")
    assert problem.allowed.startswith("../models/parrot: a folder relative to this file")

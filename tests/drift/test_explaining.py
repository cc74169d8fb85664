"""What is said of a case, by traces made by hand: a stage, a bracket, or nothing."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.drift.explaining import explain
from harness.drift.explaining_text import text_of
from harness.drift.grafting import Graft, follows, inputs_of
from harness.drift.kept import Kept, pair_folder, read_kept, read_noise, write_kept, write_noise
from harness.drift.picture import picture_of
from harness.drift.stage_noise import StageNoise
from harness.engines.taps.sketches import SUMS, Sketch, Trace, signs
from harness.errors import HarnessError

STAGES = ("pixels", "vision.embeddings", "vision.0.mlp", "projected", "inputs", "layer.0.mlp", "norm")
NOISE = StageNoise(dtype="float32", plain={}, local={}, variants={"torch in company": 3})
LETTERS = ("A", "B")
IDS = (5, 6, 7, 8)


def _rows(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def _sketch(rows: np.ndarray, shape: tuple[int, ...] | None = None) -> Sketch:
    norms = np.linalg.norm(rows, axis=1)
    return Sketch(shape or rows.shape, norms=norms, sums=rows @ signs(rows.shape[1], SUMS))


def _trace(
    *,
    off: str = "",
    by: float = 1e-3,
    row: int = 1,
    ids: tuple[int, ...] = IDS,
    tiles: tuple[int, ...] = (0, 1),
    **told: Any,
) -> Trace:
    """A pass, with one row of the stage ``off`` changed."""
    stages: dict[str, Sketch] = {"ids": Sketch((len(ids),), exact=np.array(ids))}
    for number, stage in enumerate(STAGES):
        rows = _rows(number, (6 if stage == "pixels" else len(ids), 32))
        shape = None
        if stage == "pixels":
            rows = np.concatenate([rows[3 * tile : 3 * tile + 3] for tile in tiles])
            shape = (2, 3, 4, 8)
        if stage == off:
            rows[row] *= 1 + by
        stages[stage] = _sketch(rows, shape)
    return Trace(stages=stages, told={"letters": [-0.1, -3.0], "handed": 0.0, **told})


def _kept(traces: Mapping[str, Trace], **changes: Any) -> Kept:
    kept = Kept(
        case="s.c",
        labels=("p/torch", "p/lmdeploy"),
        keys=("a", "b"),
        letters=LETTERS,
        dtype="float32",
        question=(),
        answers=("P(A) 0.9; wrote 'A'", "P(A) 0.8; wrote 'A'"),
        wrote=((1, 2), (1, 2)),
        letter_ids=((1, 2), (1, 2)),
        recorded=((-0.1, -3.0), (-0.1, -3.0)),
        about={"A": {"family": "InternVL"}, "B": {"family": "InternVL"}},
        lacking={},
        noise=NOISE,
        grafts=(),
        traces=traces,
    )
    return replace(kept, **changes)


def test_equal_traces_are_within_noise() -> None:
    found = explain(_kept({"A": _trace(), "B": _trace(), "B resynced": _trace()}))
    assert (found.stage, found.part, found.proven) == (None, None, None)
    assert "Within noise everywhere" in text_of(found)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_errs_on_equal_input_is_born_there(stage: str) -> None:
    wrong = _trace(off=stage)
    found = explain(_kept({"A": _trace(), "B": wrong, "B resynced": wrong}))
    assert found.stage == stage
    assert found.start is not None
    assert found.start.born
    assert found.place in ("token 1", "patch 1", "tile 0, colour 1", "row 1 of 4")


def test_what_is_inherited_is_not_named_where_the_pass_was_resynchronised() -> None:
    inherited = _trace(off="norm", by=0.5)
    found = explain(_kept({"A": _trace(), "B": inherited, "B resynced": _trace(off="layer.0.mlp")}))
    assert found.stage == "layer.0.mlp"


def test_only_a_pass_of_score_shows_what_company_does() -> None:
    traces = {"A": _trace(), "B": _trace(), "B resynced": _trace(), "B generation": _trace(off="layer.0.mlp")}
    found = explain(_kept(traces))
    assert found.start is not None
    assert (found.stage, found.start.route, found.start.born) == ("layer.0.mlp", "B generation", False)
    assert "B generation" in text_of(found)


GENERATED = (*IDS, 1)
"""A prompt of four ids, and the first of two that were generated."""


@pytest.mark.parametrize(("row", "step"), [(4, 1), (2, None)])
def test_a_generation_that_is_off_behind_its_prompt_only_is_off_in_decoding(
    row: int, step: int | None
) -> None:
    generation = _trace(off="layer.0.mlp", row=row, ids=GENERATED)
    plain = _trace(ids=GENERATED)
    traces = {"A": plain, "B": plain, "B resynced": plain, "B generation": generation}
    found = explain(_kept(traces))
    assert found.start is not None
    assert (found.stage, found.start.step) == ("layer.0.mlp", step)
    assert ("in decoding alone" in text_of(found)) is (step is not None)
    assert ("furthest off in step 1" in text_of(found)) is (step is not None)
    assert found.to_json()["decoding_step"] == step


def test_another_order_of_tiles_is_told_from_other_pixels() -> None:
    turned = _trace(tiles=(1, 0))
    found = explain(_kept({"A": _trace(), "B": turned, "B resynced": turned}))
    assert found.stage == "tiles"
    assert found.start is not None
    assert "[1, 0]" in found.start.why


def test_ids_that_differ_with_the_text_are_the_rendered_prompts() -> None:
    traces = {"A": _trace(), "B": _trace(ids=(9, 6, 7, 8))}
    assert explain(_kept(traces)).stage == "ids"
    question = (("another chat template", "another chat template", "turns end otherwise"),)
    found = explain(_kept(traces, question=question))
    assert (found.stage, found.part) == ("rendered", "question")
    assert "turns end otherwise" in text_of(found)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"letter_ids": ((1, 2), (3, 4))}, "letters at the ids"),
        ({"wrote": ((1, 2, 3), (1, 2))}, "A wrote 3 tokens and B 2"),
    ],
)
def test_the_reading_is_named_where_all_passes_agree(changes: dict[str, Any], why: str) -> None:
    found = explain(_kept({"A": _trace(), "B": _trace(), "B resynced": _trace()}, **changes))
    assert found.stage == "reading"
    assert found.start is not None
    assert why in found.start.why


def test_tokens_that_differ_are_no_fault_of_the_reading() -> None:
    """Near-ties are written one way or the other."""
    assert explain(_kept({"A": _trace(), "B": _trace()}, wrote=((1, 2), (1, 3)))).stage is None


def test_stage_two_must_be_given_what_stage_one_wrote() -> None:
    two = _trace(generated=[1, 2, 3], ids=(5, 6, 8, 8))
    found = explain(_kept({"A": _trace(), "B": _trace(), "B stage two": two}, wrote=((1, 2), (1, 2))))
    assert found.stage in ("ids", "reading")


def test_an_answer_on_record_must_be_that_of_the_case() -> None:
    traces = {"A": _trace(), "B": _trace(), "B resynced": _trace(), "B generation": _trace()}
    found = explain(_kept(traces, recorded=((-0.1, -3.0), (-0.4, -2.0))))
    assert found.start is not None
    assert (found.stage, "differs by 1" in found.start.why) == ("reading", True)
    # What was made in a larger batch was not traced, so that nothing says that it went wrong in the reading.
    assert "born there" not in text_of(found)
    assert "or is another in the batch that it was made in" in text_of(found)
    another = Trace(stages={}, told={"wrote": "the answer that was handed out is that of another case"})
    found = explain(_kept({"A": _trace(), "B": _trace(), "B generation": another}))
    assert found.start is not None
    assert (found.stage, found.part) == ("reading", "reading")
    assert "another case" in found.start.why


def test_an_engine_that_shows_nothing_is_bracketed() -> None:
    found = explain(_kept({"A": _trace()}, lacking={"B": "it runs in C++"}))
    assert found.stage is None
    assert "before the logits" in found.bracket
    assert "it runs in C++" in text_of(found)
    question = (("number of tiles", "number of tiles", "13 and 7"),)
    asked = explain(_kept({"A": _trace()}, lacking={"B": "it runs in C++"}, question=question))
    assert "not asked the same" in asked.bracket


def test_an_architecture_of_no_table_is_said_to_be_matched_by_shape() -> None:
    about = {"A": {"family": None}, "B": {"family": "InternVL"}}
    assert "by order and shape" in text_of(explain(_kept({"A": _trace(), "B": _trace()}, about=about)))


def _graft(giver: str, stages: tuple[str, ...], outcome: str) -> Graft:
    near, far = {"follows": (0.0, 1.0), "stays": (1.0, 0.0), "between": (0.5, 0.5)}[outcome]
    return Graft(giver=giver, stages=stages, gap=1.0, to_giver=near, to_itself=far)


@pytest.mark.parametrize(
    ("there", "before", "proven"),
    [("follows", "stays", True), ("between", "stays", False), ("follows", "follows", False)],
)
def test_a_graft_proves_where_the_gap_goes_with_the_stage_alone(
    there: str, before: str, proven: bool
) -> None:
    grafts = [_graft("A", ("projected",), there), _graft("A", ("vision.0.mlp",), before)]
    assert follows(grafts, "projected") is proven
    wrong = _trace(off="projected")
    found = explain(_kept({"A": _trace(), "B": wrong, "B resynced": wrong}, grafts=tuple(grafts)))
    assert found.proven is proven
    assert ("proof: none" in text_of(found)) is not proven


def test_what_goes_into_a_stage() -> None:
    known = ["ids", "pixels", "patch", "vision.0.mlp", "projected", "tokens", "inputs", "rope"]
    known += ["layer.0.attention", "layer.0.mlp", "layer.1.attention", "norm", "logits"]
    assert inputs_of("layer.1.attention", known) == ("layer.0.mlp", "rope")
    assert inputs_of("layer.0.mlp", known) == ("layer.0.attention",)
    assert inputs_of("inputs", known) == ("tokens", "projected")
    assert inputs_of("logits", known) == ("norm",)
    assert inputs_of("patch", known) == ("pixels",)
    assert inputs_of("rope", known) == inputs_of("pixels", known) == inputs_of("ids", known) == ()


def test_all_that_was_traced_comes_back_and_is_judged_elsewhere(tmp_path: Path) -> None:
    wrong = _trace(off="vision.0.mlp")
    grafts = (_graft("A", ("vision.0.mlp",), "follows"),)
    kept = _kept({"A": _trace(), "B": wrong, "B resynced": wrong}, grafts=grafts)
    file = pair_folder(tmp_path, kept.labels) / "s.c.npz"
    write_kept(file, kept)
    assert file.parent.name == "p-torch..p-lmdeploy"
    assert explain(read_kept(file)).to_json() == explain(kept).to_json()
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(HarnessError, match=r"s\.c\.npz"):
        read_kept(file)


def test_noise_is_that_of_the_recordings_it_was_measured_on(tmp_path: Path) -> None:
    noise = StageNoise(dtype="bfloat16", plain={"norm": (0.1, 0.2)}, local={}, variants={"x": 1})
    write_noise(tmp_path, noise, ["k1", "k2"])
    assert read_noise(tmp_path, ["k1", "k2"]) == noise
    assert read_noise(tmp_path, ["k1", "other"]) is None
    assert read_noise(tmp_path / "none", ["k1"]) is None


def test_the_picture_is_a_drawing_with_the_start_marked() -> None:
    wrong = _trace(off="projected")
    drawn = picture_of(explain(_kept({"A": _trace(), "B": wrong, "B resynced": wrong}, case="s.<&>")))
    root = ET.fromstring(drawn)
    classes = [each.get("class") for each in root.iter()]
    assert classes.count("start") == 1
    assert "noise" in classes
    assert "&lt;&amp;&gt;" in drawn
    # Few stages leave room for the words; in a page's own style it is the same drawing.
    words = max(len(text) for text in root.itertext() if "{" not in text)
    assert float(root.get("width", 0)) > 64 + 6 * words
    found = explain(_kept({"A": _trace(), "B": wrong, "B resynced": wrong}, case="s.<&>"))
    assert picture_of(found, style=False) == re.sub("<style>.*</style>", "", drawn, flags=re.DOTALL)
    # Nothing to draw is a picture, too.
    ET.fromstring(picture_of(explain(_kept({"A": _trace()}, lacking={"B": "no"}))))

"""The engine ``lmdeploy``: the real package on the CPU device plug-in, next to Transformers.

All that needs the real engine is done once, by scenarios.py in a process of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.distributions import log_softmax
from harness.engines.codec import answer_from_json
from harness.engines.contract import Answer, Reading
from tests.scenario_runs import run_scenarios

SCENARIOS = Path(__file__).with_name("scenarios.py")
CONFIG = json.loads((Path(__file__).parents[3] / "cases/models/embedded/config.json").read_text())
WIDTH = CONFIG["text_config"]["vocab_size"]
PLACEHOLDER = CONFIG["image_token_id"]

ROUNDING = 1e-5
"""Largest difference of two log-probabilities in float32."""


@dataclass(frozen=True, eq=False)
class Left:
    """What the scenarios left in a folder."""

    folder: Path

    @cache  # noqa: B019 - one instance, for the length of the module
    def results(self, engine: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = json.loads((self.folder / f"{engine}.json").read_text())
        return found

    def answers(self, engine: str) -> dict[str, Answer]:
        """The answers of an engine that failed at nothing."""
        results = self.results(engine)
        assert not [case for case, result in results.items() if "failure" in result]
        return {case: answer_from_json(result) for case, result in results.items()}

    @cache  # noqa: B019
    def rows(self, engine: str) -> Mapping[str, npt.NDArray[np.float32]]:
        with np.load(self.folder / f"{engine}.npz") as stored:
            return dict(stored)

    @property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "facts.json").read_text())
        return found


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """Run the scenarios."""
    folder = tmp_path_factory.mktemp("lmdeploy")
    run_scenarios(SCENARIOS, folder, seconds=600)
    return Left(folder)


def reading(answer: Answer, path: str) -> Reading:
    (found,) = (each for each in answer.readings if each.path == path)
    return found


def assert_same_row(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> None:
    """Equal but for the rounding of float32, whose size goes with that of the largest logit."""
    np.testing.assert_allclose(one, other, rtol=0, atol=32 * float(np.spacing(np.abs(one).max())))


@pytest.mark.parametrize("model", ["embedded", "random"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("both", "two-stage"), ("both", "captured")),
        (("both", "two-stage"), ("stepwise", "two-stage")),
        (("both", "two-stage"), ("transformers", "generate")),
        (("both", "captured"), ("transformers", "generate")),
        # The same engine once more, after stage two.
        (("both", "two-stage"), ("again", "captured")),
    ],
)
def test_all_ways_to_the_logits_agree(
    left: Left, model: str, one: tuple[str, str], other: tuple[str, str]
) -> None:
    first, second = (left.answers(f"{model}-{engine}") for engine, _ in (one, other))
    first_rows, second_rows = (left.rows(f"{model}-{engine}") for engine, _ in (one, other))

    assert first.keys() == second.keys()
    for case, answer in first.items():
        beside = second[case]
        assert answer.prompt_ids == beside.prompt_ids, case
        assert answer.generated_ids == beside.generated_ids, case
        assert (answer.text, answer.letter_ids) == (beside.text, beside.letter_ids), case
        assert answer.answer_step == beside.answer_step, case
        logprobs = reading(answer, one[1]).logprobs, reading(beside, other[1]).logprobs
        assert logprobs[0] == pytest.approx(logprobs[1], abs=ROUNDING, rel=0), case
        assert (f"{case}/{one[1]}" in first_rows) == (answer.answer_step is not None)
        if answer.answer_step is not None:
            assert_same_row(first_rows[f"{case}/{one[1]}"], second_rows[f"{case}/{other[1]}"])


def test_as_many_tokens_are_generated_as_were_asked_for(left: Left) -> None:
    assert {len(answer.generated_ids) for answer in left.answers("random-both").values()} == {12}
    # Up to and including the letter: one token in the plain style; in the later one 'Answer', ':' and ' A'.
    embedded = left.answers("embedded-both")
    assert {len(embedded[case].generated_ids) for case in embedded if not case.endswith("-later")} == {1}
    assert all(len(embedded[case].generated_ids) <= 3 for case in embedded if case.endswith("-later"))
    plain, later = (embedded[case].letter_ids for case in ("0-square", "0-square-later"))
    assert not set(plain) & set(later)


def test_the_stop_token_is_kept_as_transformers_keeps_it(left: Left) -> None:
    ours, theirs = left.answers("stopping-both"), left.answers("stopping-transformers")
    stop = left.facts["stop_id"]

    assert {case: answer.generated_ids for case, answer in ours.items()} == {
        case: answer.generated_ids for case, answer in theirs.items()
    }
    # Behind several pictures the random model may end at once, or with its last token.
    one = [answer for case, answer in ours.items() if not case.startswith(("several", "placed"))]
    ended = [answer for answer in one if answer.generated_ids[-1] == stop]
    assert ended
    assert all(1 < len(answer.generated_ids) < 12 for answer in ended)
    assert any(len(answer.generated_ids) == 12 for answer in ours.values())
    for case, answer in ours.items():
        expected = reading(theirs[case], "generate").logprobs
        for path in ("two-stage", "captured"):
            assert reading(answer, path).logprobs == pytest.approx(expected, abs=ROUNDING, rel=0)


@pytest.mark.parametrize("engine", ["embedded-both", "random-both"])
def test_reported_log_probabilities_are_those_of_the_full_rows(left: Left, engine: str) -> None:
    rows = left.rows(engine)
    checked = 0
    for case, answer in left.answers(engine).items():
        for path in ("two-stage", "captured"):
            assert reading(answer, path).logprobs == pytest.approx(
                answer.reported_logprobs, abs=ROUNDING, rel=0
            )
        if answer.answer_step is None:
            assert answer.reported_top == ()
            continue
        full = log_softmax(rows[f"{case}/captured"])
        assert len(answer.reported_top) == 20
        for entry in answer.reported_top:
            assert entry.logprob == pytest.approx(full[entry.id], abs=ROUNDING, rel=0)
        values = [entry.logprob for entry in answer.reported_top]
        assert values == sorted(values, reverse=True)
        others = np.delete(full, [entry.id for entry in answer.reported_top])
        assert others.max() <= values[-1] + ROUNDING
        checked += 1
    assert checked >= 9


def test_calling_the_pipeline_gives_the_same(left: Left) -> None:
    called, answers = left.facts["public"], left.answers("public")

    assert called.keys() == answers.keys()
    for case, answer in answers.items():
        assert answer.generated_ids == tuple(called[case]["ids"])
        assert len(answer.prompt_ids) == called[case]["prompt_tokens"]
        assert answer.reported_logprobs == pytest.approx(called[case]["logprobs"], abs=ROUNDING, rel=0)


def test_pixels_are_those_of_transformers(left: Left) -> None:
    pixels = left.facts["pixels"]

    assert {name: found["tiles"] for name, found in pixels.items()} == {
        "square": 1,
        "wide": 3,
        "high": 3,
        "large": 3,
    }
    assert all(found["equal"] for found in pixels.values())


def test_without_the_guard_the_answers_row_is_divided_by_the_temperature(left: Left) -> None:
    (case,) = left.answers("guarded")
    guarded, unguarded = (left.rows(engine) for engine in ("guarded", "unguarded"))

    assert_same_row(guarded[f"{case}/two-stage"], guarded[f"{case}/captured"])
    assert_same_row(unguarded[f"{case}/two-stage"], np.float32(1.25) * guarded[f"{case}/captured"])


def test_without_the_reset_stage_two_spoils_what_is_generated_next(left: Left) -> None:
    without = left.facts["without_reset"]

    assert without["same"] < without.get("of", 9)


def test_a_small_cache_changes_nothing(left: Left) -> None:
    small, ample = left.answers("small-cache"), left.answers("ample-cache")

    for case, answer in small.items():
        assert answer.generated_ids == ample[case].generated_ids
        expected = reading(ample[case], "captured").logprobs
        assert reading(answer, "captured").logprobs == pytest.approx(expected, abs=ROUNDING, rel=0)


def test_a_case_that_lmdeploy_put_off_is_not_taken_for_an_answer(left: Left) -> None:
    crowded, ample = left.results("crowded-cache"), left.answers("ample-cache")
    failed = [result for result in crowded.values() if "failure" in result]

    assert failed
    assert all("num_gpu_blocks" in result["message"] for result in failed)
    for case, result in crowded.items():
        if "failure" not in result:
            expected = reading(ample[case], "captured").logprobs
            found = reading(answer_from_json(result), "captured").logprobs
            assert found == pytest.approx(expected, abs=ROUNDING, rel=0)


@pytest.mark.parametrize(
    ("engine", "dtype"),
    [
        ("embedded-auto", "float32"),
        ("embedded-bfloat16", "bfloat16"),
        ("embedded-float16", "float16"),
        ("bfloat16-auto", "bfloat16"),
        ("bfloat16-float32", "float32"),
    ],
)
def test_the_dtype_asked_for_is_used_throughout(left: Left, engine: str, dtype: str) -> None:
    assert left.facts["dtypes"][engine] == {"dtype": dtype, "logits": dtype, "pixels": f"torch.{dtype}"}
    for answer in left.answers(engine).values():
        paths = (reading(answer, path) for path in ("two-stage", "captured"))
        one, other = (each.logprobs for each in paths)
        assert one == pytest.approx(other, abs=ROUNDING if dtype == "float32" else 0.1, rel=0)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("top_k", "unsupported", [f"top_k: found {WIDTH + 1}; allowed: 0 to {WIDTH}"]),
        ("no_gpu", "load", ["no NVIDIA GPU visible", "'device: cpu'"]),
        ("no_folder", "load", ["no model folder", "nothing"]),
        ("no_model", "load", ["LMDeploy cannot load"]),
        ("misfit", "load", ["AttributeError", "/lmdeploy/", "a class for InternVL", "leave this engine out"]),
        ("weights", "unsupported", ["quantised weights (awq)"]),
        ("engine_option", "load", ["invalid cache_max_entry_count"]),
    ],
)
def test_what_cannot_be_scored_is_refused_at_load(left: Left, name: str, kind: str, words: list[str]) -> None:
    refusal = left.facts["refused"][name]

    assert refusal["kind"] == kind
    assert all(word in refusal["message"] for word in words), refusal["message"]


@pytest.mark.parametrize(
    ("engine", "case", "kind", "words"),
    [
        ("failures", "no-such-image", "failed", ["missing.png", "FileNotFoundError"]),
        ("failures", "broken-image", "failed", ["broken.png", "UnidentifiedImageError"]),
        ("failures", "half-an-image", "failed", ["half.png", "truncated"]),
        ("failures", "letters", "letters", ["letters: found ['A', 'a']"]),
        ("failures", "too-long", "unsupported", ["Input length", "(1000)"]),
        ("failures", "too-many", "unsupported", ["990 are to be generated", "1000 together (session_len)"]),
        ("failures", "placeholder", "failed", [f"placeholder (id {PLACEHOLDER}) 1 times; allowed: 0 times"]),
        ("chunked", "0-square", "unsupported", ["40 together (max_prefill_token_num)"]),
        (
            "placeholder",
            "0-square",
            "unsupported",
            [f"generated token 0 is the image's placeholder (id {PLACEHOLDER})"],
        ),
    ],
)
def test_a_case_that_is_wrong_fails_alone(
    left: Left, engine: str, case: str, kind: str, words: list[str]
) -> None:
    failure = left.results(engine)[case]

    assert failure["failure"] == kind
    assert all(word in failure["message"] for word in words), failure["message"]


@pytest.mark.parametrize(("engine", "case"), [("failures", "0-square"), ("placeholder", "other")])
def test_the_other_cases_are_answered(left: Left, engine: str, case: str) -> None:
    assert "failure" not in left.results(engine)[case]


def test_logits_that_are_no_numbers_are_no_answer(left: Left) -> None:
    results = left.results("not-finite")

    assert {result["failure"] for result in results.values()} == {"not-finite"}
    assert len(results) == 3


@pytest.mark.parametrize(("name", "kind"), [("crash", "crash"), ("memory", "out-of-memory")])
def test_the_end_of_lmdeploys_loop_is_noticed(left: Left, name: str, kind: str) -> None:
    ended = left.facts["ended"][name]

    assert ended["kind"] == kind
    assert "LMDeploy's engine loop has ended" in ended["message"]
    assert "planted" in ended["message"]


def test_placeholders_are_counted_in_items_that_only_tell_their_place(left: Left) -> None:
    """LMDeploy 0.18's own for Qwen3-VL; its Qwen3.5, InternS1-Pro and GLM-4.5V make them by the same code."""
    found = left.facts["placeholders"]

    assert "offset" in found["keys"]
    assert "image_tokens" not in found["keys"]
    assert found["count"] == 8
    assert found["sound"]["kind"] == "none"
    assert found["spelled"]["kind"] == "failed"
    assert "9 times; allowed: 8 times" in found["spelled"]["message"]


@pytest.mark.parametrize(("name", "kind"), [("crash", "crash"), ("memory", "out-of-memory")])
def test_what_an_image_sets_off_is_told_at_load(left: Left, name: str, kind: str) -> None:
    found = left.facts["vision"][name]

    assert found["kind"] == kind
    assert "first token, behind the largest image" in found["message"]
    assert "planted" in found["message"]
    assert found["shown"] == [4]  # the most, three, and a thumbnail


def test_the_fingerprint_says_what_answered(left: Left) -> None:
    found = left.facts["fingerprint"]

    assert found["device"].startswith("CPU device plug-in (")
    assert found["device_plugin"] is True
    assert (found["dtype"], found["backend"], found["threads"]) == ("float32", "pytorch", 1)
    assert found["logits"] == {"dtype": "float32", "width": WIDTH}
    assert found["stop_ids"] == [CONFIG["text_config"]["eos_token_id"]]
    assert found["stage_two"] == "one-pass"
    assert len(found["template_sha256"]) == 64
    config = found["engine_config"]
    assert {name: config[name] for name in ("tp", "quant_policy", "model_format", "session_len")} == {
        "tp": 1,
        "quant_policy": 0,
        "model_format": None,
        "session_len": 2048,
    }
    assert (config["enable_prefix_caching"], config["logprobs_mode"]) == (False, "raw_logprobs")
    assert (config["max_batch_size"], config["num_gpu_blocks"], config["eager_mode"]) == (8, 64, True)


def test_no_gpu_is_pretended(left: Left) -> None:
    assert left.facts["cuda_available"] is False

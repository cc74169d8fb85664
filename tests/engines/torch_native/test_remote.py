"""The engine ``torch`` on a checkpoint that ships its own code, in workers, as a profile runs it.

Each test runs in every interpreter of the fixture ``python``: that of the tests, and one with the older
Transformers for which such code was written, where HARNESS_OLDER_TRANSFORMERS names it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.engines.contract import Answer, EngineSettings, Request
from harness.errors import EngineError, ErrorKind
from tests.engines.asked_in_a_worker import ask

CASES = Path(__file__).parents[3] / "cases"
REMOTE = CASES / "models" / "remote"
EMBEDDED = CASES / "models" / "embedded"
BOTH = ("forward", "generate")
LETTERS = ("A", "B", "C", "D")
NOISE = 5e-5  # of a float32 logit of these models

# As in the committed suites, whose answers they are held to.
COLOUR = "What colour is it?\nA. red\nB. blue\nC. green\nD. yellow\nAnswer with the option's letter."
COUNT = "How many shapes are there?\nA. one\nB. two\nC. three\nD. four\nAnswer with the option's letter."
SQUARE = str(CASES / "images" / "red-circle-centre.png")
WIDE = str(CASES / "images" / "two-green-cross-112x56.png")
WIDEST = str(CASES / "images" / "four-yellow-circle-168x56.png")

# An environment with an older Transformers to run these tests in besides their own.
OLDER = [os.environ[name] for name in ("HARNESS_OLDER_TRANSFORMERS",) if name in os.environ]


@pytest.fixture(scope="module", params=[sys.executable, *OLDER])
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _settings(model: Path, **changes: Any) -> EngineSettings:
    options = {"trust_remote_code": True, "threads": 1, **changes.pop("options", {})}
    fields = {"dtype": "auto", "device": "cpu", "paths": BOTH, "top_k": 5, "batch_size": 4, **changes}
    return EngineSettings(kind="torch", model=str(model), options=options, **fields)


def _ask(
    folder: Path, python: str, model: Path, requests: Sequence[Request], **changes: Any
) -> dict[str, Any]:
    return ask(folder, python, _settings(model, **changes), requests)


def _request(case: str, prompt: str = COLOUR, *, image: str | None = None, **changes: Any) -> Request:
    images = () if image is None else (image,)
    return Request(case=case, prompt=prompt, images=images, **{"letters": LETTERS, **changes})


REQUESTS = (
    _request("square", image=SQUARE),
    _request("wide", image=WIDE),
    _request("count", COUNT, image=WIDE),
    _request("widest", image=WIDEST),
    _request("text", "The colour is red. " + COLOUR),
    _request("system", image=SQUARE, system="You are careful."),
    _request("longer", image=SQUARE, max_new_tokens=4),
    _request("said-where", f"Look: <image>\n{COLOUR}", image=SQUARE),
    _request("forged", f"<IMG_CONTEXT>{COLOUR}", image=SQUARE),
    _request("no-image", image=str(CASES / "nothing.png")),
    _request("prefix", COLOUR.replace("Answer with", "Reply: 'Answer: X',"), image=SQUARE,
             answer_prefix="Answer: "),
)  # fmt: skip


@pytest.fixture(scope="module")
def answers(python: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _ask(tmp_path_factory.mktemp("remote"), python, REMOTE, REQUESTS)


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """A copy of the checkpoint with text of one file replaced."""

    def change(name: str, old: str, new: str, *, place: str = "changed") -> Path:
        folder = tmp_path / place
        shutil.copytree(REMOTE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))
        return folder

    return change


def test_both_paths_agree(answers: dict[str, Any]) -> None:
    for case in ("square", "wide", "widest", "text", "system", "longer", "said-where", "prefix"):
        answer = answers[case]
        assert isinstance(answer, Answer), answer
        forward, generate = answer.readings
        assert (forward.path, generate.path) == BOTH
        assert forward.argmax == generate.argmax == answer.generated_ids
        np.testing.assert_allclose(forward.letter_logits, generate.letter_logits, rtol=0, atol=NOISE)
        np.testing.assert_allclose(forward.logprobs, generate.logprobs, rtol=0, atol=NOISE)


def test_letters_are_right(answers: dict[str, Any]) -> None:
    written = {case: answers[case].text for case in ("square", "count", "text", "longer")}
    assert written == {"square": "A", "count": "B", "text": "A", "longer": "A"}
    assert len(answers["longer"].generated_ids) == 2, "the turn's end stops it"


def test_probabilities_are_those_of_the_same_weights_under_transformers_own_code(
    answers: dict[str, Any], tmp_path: Path
) -> None:
    cases = ("square", "text", "system")  # an image of one tile is not resized
    requests = [request for request in REQUESTS if request.case in cases]
    theirs = _ask(tmp_path, sys.executable, EMBEDDED, requests, options={"trust_remote_code": False})
    for case in cases:
        assert answers[case].prompt_ids == theirs[case].prompt_ids
        ours, other = answers[case].readings[1], theirs[case].readings[1]
        for one, two in ((ours, other), (answers[case].readings[0], theirs[case].readings[0])):
            mine = np.exp(np.array(one.letter_logits) - one.log_z)
            its = np.exp(np.array(two.letter_logits) - two.log_z)
            np.testing.assert_allclose(mine, its, rtol=0, atol=2e-6)


def test_what_was_asked_is_told(answers: dict[str, Any]) -> None:
    square, wide, text = (answers[case].question for case in ("square", "wide", "text"))
    assert square.text == (
        f"<|im_start|>user\n<image>\n{COLOUR}<|im_end|>\n<|im_start|>assistant\n"
    )  # fmt: skip
    assert (square.tiles, wide.tiles, text.tiles) == (1, 3, 0)
    assert wide.tokens - square.tokens == 2 * 4
    assert len(wide.pixel_means) == 3
    assert answers["said-where"].question.text.startswith("<|im_start|>user\nLook: <image>\nWhat")
    assert answers["system"].question.text.startswith("<|im_start|>system\nYou are careful.<|im_end|>\n")


def test_a_bad_request_fails_alone(answers: dict[str, Any]) -> None:
    for case, words in {"forged": "the prompt has <IMG_CONTEXT> 5 times", "no-image": "nothing.png"}.items():
        error = answers[case]
        assert isinstance(error, EngineError)
        assert error.kind is ErrorKind.FAILED
        assert words in error.message


def test_the_fingerprint_tells_template_tiles_and_classes(answers: dict[str, Any]) -> None:
    found = answers["loaded"]
    assert found["model_class"] == "InternVLChatModel"
    assert found["tiles"] == {
        "size": 56,
        "least": 1,
        "most": 3,
        "thumbnail": True,
        "mean": [0.485, 0.456, 0.406],
        "spread": [0.229, 0.224, 0.225],
    }
    assert found["dtype"] == "float32"


CHAT = """
import json, sys
import torch
from transformers import AutoModel, AutoTokenizer
folder, question, system, tiles = sys.argv[1:]
model = AutoModel.from_pretrained(folder, trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
model.system_message = system
def generate(pixel_values, input_ids, attention_mask, **options):
    asked.append([input_ids[0].tolist(), options["eos_token_id"]])
    return input_ids
asked, model.generate = [], generate
values = torch.zeros(int(tiles), 3, 56, 56) if int(tiles) else None
model.chat(tokenizer, values, question, {"max_new_tokens": 1})
print(json.dumps(asked))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("case", "tiles"), [("square", 1), ("wide", 3), ("text", 0), ("system", 1)])
def test_the_question_is_what_the_models_own_chat_sends(
    answers: dict[str, Any], python: str, tmp_path: Path, case: str, tiles: int
) -> None:
    (request,) = (request for request in REQUESTS if request.case == case)
    done = subprocess.run(
        [python, "-c", CHAT, str(REMOTE), request.prompt, request.system or "", str(tiles)],
        env={**os.environ, "HF_MODULES_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ((ids, stop),) = json.loads(done.stdout.splitlines()[-1])
    assert answers[case].prompt_ids == tuple(ids)
    assert answers["loaded"]["stop_ids"] == [stop]


@pytest.mark.slow
def test_the_templates_own_system_text_is_sent_where_a_case_has_none(
    python: str, tmp_path: Path, changed: Callable[..., Path]
) -> None:
    model = changed("config.json", '"system_message": ""', '"system_message": "Be brief."')
    requests = [_request("own", image=SQUARE), _request("given", image=SQUARE, system="Be kind.")]
    found = _ask(tmp_path, python, model, requests, paths=["forward"])
    assert found["own"].question.text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n")
    assert found["given"].question.text.startswith("<|im_start|>system\nBe kind.<|im_end|>\n")
    assert "Be brief" not in found["given"].question.text
    # The tokenizer's template knows nothing of it: what servers ask.
    served = _ask(tmp_path, python, model, requests, paths=["forward"], options={"template": "tokenizer"})
    assert served["own"].question.text.startswith("<|im_start|>user\n<image>\n")
    assert served["given"].prompt_ids == found["given"].prompt_ids
    assert served["loaded"]["template_sha256"] != found["loaded"]["template_sha256"]


@pytest.mark.slow
def test_a_pinned_number_of_tiles_is_kept_to(python: str, tmp_path: Path) -> None:
    found = _ask(tmp_path, python, REMOTE, [_request("x", image=WIDEST)], max_tiles=2, paths=["forward"])
    assert found["x"].question.tiles == 2 + 1
    assert found["loaded"]["tiles"]["most"] == 2


def test_code_that_is_not_switched_on_does_not_run(
    python: str, tmp_path: Path, changed: Callable[..., Path]
) -> None:
    model = changed(
        "configuration_chat.py",
        "from transformers",
        f"open({str(tmp_path / 'ran')!r}, 'w')\nfrom transformers",
    )
    found = _ask(tmp_path, python, model, [_request("x")], options={"trust_remote_code": False})
    assert found["x"].kind is ErrorKind.LOAD
    assert "configuration_chat.py" in found["x"].message
    assert "    options:\n      trust_remote_code: true" in found["x"].message
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_only_a_worker_runs_the_code(python: str, tmp_path: Path, changed: Callable[..., Path]) -> None:
    """A whole run: collecting, scoring, checking, reporting; the code notes which process imports it."""
    noted = tmp_path / "pids"
    code = (
        f"import os\nwith open({str(noted)!r}, 'a') as file:\n    print(os.getpid(), file=file)\nimport copy"
    )
    changed("conversation.py", "import copy", code, place="cases/model")
    cases = tmp_path / "cases"
    shutil.copy(SQUARE, cases / "square.png")
    case = {"id": "x", "image": "square.png", "prompt": COLOUR, "letters": [*LETTERS], "expect": "A"}
    (cases / "suite.yaml").write_text(json.dumps({"cases": [case]}))
    engine = {"python": python, "options": {"trust_remote_code": True, "threads": 1}}
    profile = {"model": "model", "reference": "torch", "engines": {"torch": engine}}
    (cases / "profiles.yaml").write_text(json.dumps({"profiles": {"p": profile}}))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "expected_letter"]
    process = subprocess.Popen(
        [*command, "--pyargs", "harness.suite", "--cases", str(cases), "--recordings", str(tmp_path / "r")],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CASES.parent)},
    )
    output, _ = process.communicate()
    assert process.returncode == 0, output
    pids = {int(line) for line in noted.read_text().split()}
    assert len(pids) == 1
    assert process.pid not in pids


@pytest.mark.slow
def test_two_checkpoints_in_folders_of_one_name_are_not_mixed(
    python: str, tmp_path: Path, changed: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "shared"))
    asked = {}
    for name in ("one", "two"):
        model = changed("conversation.py", "<|im_start|>user\\n", f"<|im_start|>user {name}\\n",
                        place=f"{name}/model")  # fmt: skip
        asked[name] = _ask(tmp_path, python, model, [_request("x")], paths=["forward"])["x"].question.text
    assert {name: text.partition("\n")[0] for name, text in asked.items()} == {
        "one": "<|im_start|>user one",
        "two": "<|im_start|>user two",
    }
    assert not (tmp_path / "shared").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "return self.language_model.generate(",
            "raise AttributeError(\"object has no attribute 'generate'\")\n        return print(",
            "AttributeError: object has no attribute 'generate'",
        ),
        ("self.post_init()", "self.all_tied_weights_keys", "AttributeError"),
        ("import torch\n", "import torch\nfrom transformers import surely_not_there\n", "surely_not_there"),
    ],
    ids=["generate", "attribute", "import"],
)
def test_code_that_the_transformers_at_hand_breaks_is_told_where_it_runs(
    python: str, tmp_path: Path, changed: Callable[..., Path], old: str, new: str, words: str
) -> None:
    error = _ask(tmp_path, python, changed("modeling_chat.py", old, new), [_request("x")])["x"]
    assert error.kind is ErrorKind.LOAD
    assert words in error.message
    newer = python == sys.executable
    assert ("requirements: [transformers==4.49.0" in error.message) is newer


@pytest.mark.slow
def test_numbers_that_loading_would_leave_unset_are_refused(
    python: str, tmp_path: Path, changed: Callable[..., Path]
) -> None:
    buffer = (
        'self.post_init()\n        self.register_buffer("scale", torch.full((1,), 2.0), persistent=False)'
    )
    model = changed("modeling_chat.py", "self.post_init()", buffer)
    found = _ask(tmp_path, python, model, [_request("x", image=SQUARE)], paths=["forward"])["x"]
    if python == sys.executable:
        assert found.kind is ErrorKind.LOAD
        assert "among them scale" in found.message
        assert "requirements:" in found.message
    else:
        assert isinstance(found, Answer), found


@pytest.mark.slow
def test_a_generate_with_images_of_another_kind_is_unsupported(
    python: str, tmp_path: Path, changed: Callable[..., Path]
) -> None:
    model = changed("modeling_chat.py", "self.num_image_token", "self.places_of_a_tile")
    error = _ask(tmp_path, python, model, [_request("x")])["x"]
    assert error.kind is ErrorKind.UNSUPPORTED
    assert "but no num_image_token" in error.message


@pytest.mark.slow
def test_a_tokenizer_of_another_model_is_refused(
    python: str, tmp_path: Path, changed: Callable[..., Path]
) -> None:
    model = changed("tokenizer.json", "<IMG_CONTEXT>", "<SOMETHING>")
    for name in ("tokenizer_config.json",):
        file = model / name
        file.write_text(file.read_text().replace("<IMG_CONTEXT>", "<SOMETHING>"))
    error = _ask(tmp_path, python, model, [_request("x")])["x"]
    assert error.kind is ErrorKind.LOAD
    assert "no token <IMG_CONTEXT>" in error.message


@pytest.mark.slow
def test_a_kernel_that_the_models_code_cannot_be_told_is_refused(
    python: str, tmp_path: Path, changed: Callable[..., Path]
) -> None:
    error = _ask(tmp_path, python, REMOTE, [_request("x")], options={"attention": "eager"})["x"]
    assert error.kind is ErrorKind.UNSUPPORTED
    assert "options.attention: found eager, but" in error.message
    assert "allowed: no attention under options" in error.message

    init = "def __init__(self, config):\n        super().__init__(config)\n        vision, text"
    tells = init.replace("config)", "config, use_flash_attn=None)", 1).replace(
        "vision,", "assert use_flash_attn, use_flash_attn\n        vision,"
    )
    model = changed("modeling_chat.py", init, tells)
    error = _ask(tmp_path, python, model, [_request("x")], options={"attention": "sdpa"})["x"]
    assert "allowed: flash_attention_2, or no attention under options" in error.message
    told = _ask(tmp_path, python, model, [_request("x")], options={"attention": "flash_attention_2"})["x"]
    assert isinstance(told, Answer), told

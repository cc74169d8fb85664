"""How two questions are shown where they differ."""

from __future__ import annotations

from dataclasses import replace

from harness.checks.agreement import compare
from harness.checks.same_question import check_question
from harness.engines.contract import Answer, Question
from harness.recordings.store import Recording
from harness.reports.failure import WIDTH, render_failure
from harness.reports.question import question_lines

TEXT = "<|im_start|>user\n<image>\n{}<|im_end|>\n<|im_start|>assistant\n"
ASKED = Question(text=TEXT.format("What?"), tokens=9, tiles=2, pixels="ab" * 32, pixel_means=(0.25, -0.5))
ANSWER = Answer(
    prompt_ids=(1, 2, 7, 7, 7, 3, 4, 5, 6),
    generated_ids=(1,),
    text="A",
    letter_ids=(1, 2),
    answer_step=0,
    readings=(),
    question=ASKED,
)


def recording(
    engine: str, *, ids: tuple[int, ...] = ANSWER.prompt_ids, question: Question = ASKED
) -> Recording:
    answer = replace(ANSWER, prompt_ids=ids, question=question)
    return Recording(key="k", case="s.one", engine=engine, answer=answer, fingerprint={})


def shown(b: Recording) -> list[str]:
    result = check_question(compare(recording("p-torch"), b, ("A", "B")))
    assert not result
    lines = list(question_lines(result, width=WIDTH))
    assert all(len(line) <= WIDTH for line in lines)
    return lines


def test_renderings_are_shown_line_by_line_with_their_ends() -> None:
    text = TEXT.format("\nWhat? " + "x" * 200)
    lines = shown(recording("p-lmdeploy", ids=(1, 2), question=replace(ASKED, text=text)))
    assert lines[0] == "  rendered prompt, - p-torch, + p-lmdeploy; ⏎ ends a line"
    assert "      <image>⏎" in lines
    assert "    - What?<|im_end|>⏎" in lines
    assert "    + ⏎" in lines
    assert any(line.startswith("    + What? xxx") and line.endswith("…") for line in lines)


def test_ids_are_shown_around_the_place_where_they_part() -> None:
    lines = shown(recording("p-lmdeploy", ids=(1, 2, 7, 7, 7, 3, 44, 45, 5, 6)))
    place = lines.index("  token ids where they part, the image counted as one")
    assert lines[place + 1 : place + 3] == [
        "    p-torch     1 2 7 3 [4] 5 6",
        "    p-lmdeploy  1 2 7 3 [44 45] 5 6",
    ]
    assert not any("rendered prompt" in line for line in lines)


def test_ids_have_their_texts_below_them_where_these_are_known() -> None:
    other = recording("p-lmdeploy", ids=(1, 2, 7, 7, 7, 3, 44, 45, 5, 6))
    result = check_question(compare(recording("p-torch"), other, ("A", "B")))
    lines = list(question_lines(result, width=WIDTH, tokens=[{4: "ĠWhat"}, {44: "ĠWh", 45: "at"}]))
    place = lines.index("  token ids where they part, the image counted as one")
    assert lines[place + 1 : place + 5] == [
        "    p-torch     1 2 7 3 [4] 5 6",
        "                'ĠWhat'",
        "    p-lmdeploy  1 2 7 3 [44 45] 5 6",
        "                'ĠWh' 'at'",
    ]
    unknown = list(question_lines(result, width=WIDTH, tokens=[{4: "ĠWhat"}, {44: "ĠWh"}]))
    assert "                'ĠWh' 'at'" not in unknown


def test_what_was_asked_ends_the_list_for_both() -> None:
    lines = shown(recording("p-lmdeploy", question=Question(tiles=0)))
    assert lines[-2:] == [
        "    p-torch     9 tokens, 2 tiles, pixels abababab, means 0.25 -0.5",
        "    p-lmdeploy  tokens not known, 0 tiles",
    ]


def test_the_message_has_no_letters_and_no_lines_too_long() -> None:
    a, b = recording("p-torch"), recording("p-lmdeploy", question=replace(ASKED, text="x " * 300))
    result = check_question(compare(a, b, ("A", "B")))
    message = render_failure(result, location="c.yaml:1", recordings=[a, b], again="pytest x")
    assert all(len(line) <= WIDTH for line in message.splitlines())
    assert message.startswith("c.yaml:1: same question: ")
    assert "█" not in message

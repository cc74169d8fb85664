"""Every cause by which two engines are not asked the same is named, on answers made by hand."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.question.causes import Cause, QuestionDifference
from harness.checks.question.question import compare_questions
from harness.engines.contract import Answer, Question

PLACEHOLDER, OPEN, CLOSE, PER_TILE = 7, 8, 9, 4
ASKED = "What colour?\nA. red\nB. blue"
SYSTEM = "<|im_start|>system\nYou are careful.<|im_end|>\n"
HEADER = "<|im_start|>assistant\n"
TORCH, LMDEPLOY = "p-torch", "p-lmdeploy"


def user(content: str) -> str:
    return f"<|im_start|>user\n{content}<|im_end|>\n"


PLAIN = user(f"<image>\n{ASKED}") + HEADER
BARE = user(ASKED) + HEADER


def tokenized(text: str, tiles: int = 1) -> tuple[int, ...]:
    """A word, a mark or a white-space character is a token; ids are made from it."""
    ids: list[int] = []
    for piece in re.findall(r"<[^<>\s]+>|\w+|\s|.", text):
        if piece == "<image>":
            ids += [OPEN, *[PLACEHOLDER] * (PER_TILE * tiles), CLOSE]
        else:
            ids.append(10 + int(hashlib.sha256(piece.encode()).hexdigest(), 16) % 10**6)
    return tuple(ids)


def answer(text: str | None = PLAIN, *, means: tuple[float, ...] = (0.5,), **changes: Any) -> Answer:
    """An answer to a question of ``text``, whose image has a tile for each of ``means``."""
    tiles = len(means)
    ids = tokenized(text or "", tiles)
    question = Question(
        text=text,
        tokens=len(ids),
        tiles=tiles,
        pixels=hashlib.sha256(str(means).encode()).hexdigest() if means else None,
        pixel_means=means,
    )
    ids = changes.pop("ids", ids)
    question = replace(question, **{"tokens": len(ids) or question.tokens, **changes})
    return Answer(
        prompt_ids=ids,
        generated_ids=(1,),
        text="A",
        letter_ids=(1, 2),
        answer_step=0,
        readings=(),
        question=question,
    )


def compare(a: Answer, b: Answer) -> tuple[QuestionDifference, ...]:
    return compare_questions(a, b, names=(TORCH, LMDEPLOY))


def only(a: Answer, b: Answer) -> QuestionDifference:
    """The one difference, told the same way round and the other way round."""
    (found,) = compare(a, b)
    (mirrored,) = compare(b, a)
    assert (mirrored.cause, mirrored.note) == (found.cause, found.note)
    return found


def test_equal_questions_do_not_differ() -> None:
    assert compare(answer(), answer()) == ()
    assert compare(answer(BARE, means=()), answer(BARE, means=())) == ()


class TestSystemText:
    def test_dropped_on_one_side(self) -> None:
        found = only(answer(SYSTEM + PLAIN), answer())
        assert found.cause is Cause.SYSTEM_DROPPED
        assert found.title == "system text dropped"
        assert "p-torch was given 'You are careful.'" in found.text
        assert "p-lmdeploy was not" in found.text
        assert "system: in the profile" in found.text

    def test_dropped_in_a_template_of_another_family(self) -> None:
        body = "<|start_header_id|>user<|end_header_id|>\n\n<image>\nWhat?<|eot_id|>"
        system = "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        begin = "<|begin_of_text|>"
        assert only(answer(begin + system + body), answer(begin + body)).cause is Cause.SYSTEM_DROPPED

    def test_put_into_the_users_turn_where_the_template_has_none_of_its_own(self) -> None:
        left = "<s>[INST] You are careful.\n\nWhat colour? [/INST]"
        found = only(answer(left, means=()), answer("<s>[INST] What colour? [/INST]", means=()))
        assert found.cause is Cause.SYSTEM_DROPPED
        assert "'You are careful.'" in found.text

    def test_put_in_front_of_the_image(self) -> None:
        left = user("Be kind.\n<image>\nWhat?") + HEADER
        assert only(answer(left), answer(user("<image>\nWhat?") + HEADER)).cause is Cause.SYSTEM_DROPPED

    def test_another_one(self) -> None:
        found = only(answer(SYSTEM + PLAIN), answer(SYSTEM.replace("careful", "InternVL") + PLAIN))
        assert found.cause is Cause.SYSTEM_OTHER
        assert "careful" in found.text
        assert "InternVL" in found.text


class TestImage:
    def test_after_the_question(self) -> None:
        found = only(answer(), answer(user(f"{ASKED}\n<image>") + HEADER))
        assert (found.cause, found.title) == (Cause.IMAGE_PLACE, "image after the question")

    def test_after_the_question_with_the_newline_that_goes_with_it(self) -> None:
        found = only(answer(), answer(user(f"{ASKED}<image>\n") + HEADER))
        assert (found.cause, found.title) == (Cause.IMAGE_PLACE, "image after the question")

    def test_within_the_question(self) -> None:
        found = only(answer(), answer(user("What colour?\n<image>\nA. red\nB. blue") + HEADER))
        assert (found.cause, found.title) == (Cause.IMAGE_PLACE, "image in another place")

    def test_after_another_question_is_both(self) -> None:
        causes = [d.cause for d in compare(answer(), answer(user("Which?\n<image>") + HEADER))]
        assert causes == [Cause.IMAGE_PLACE, Cause.QUESTION]

    @pytest.mark.parametrize("fill", [0, 11])
    def test_places_filled_with_another_id_are_places(self, fill: int) -> None:
        """LMDeploy has LLaVA's padding there, which is 0 where it knows of none."""
        filled = [fill if token == PLACEHOLDER else token for token in answer().prompt_ids]
        assert compare(answer(), answer(ids=tuple(filled))) == ()
        place = filled.index(fill)
        found = only(answer(), answer(ids=(*filled[:place], fill, *filled[place:])))
        assert found.cause is Cause.PLACEHOLDERS
        assert "4 places in the prompt of p-torch, 5 in that of p-lmdeploy" in found.text
        marked = tuple(12 if token == CLOSE else token for token in filled)
        assert only(answer(), answer(ids=marked)).cause is Cause.IMAGE_MARKS

    def test_missing(self) -> None:
        found = only(answer(), answer(BARE, means=()))
        assert found.cause is Cause.IMAGE_MISSING
        assert "the prompt of p-torch has a place for the image, that of p-lmdeploy has none" in found.text

    def test_missing_where_renderings_are_not_told(self) -> None:
        found = compare(answer(), answer(None, means=(), ids=()))[0]
        assert found.cause is Cause.IMAGE_MISSING
        assert "1 tile entered p-torch, and no image entered p-lmdeploy" in found.text

    def test_that_entered_both_is_not_called_missing_for_an_unknown_mark(self) -> None:
        other = answer(PLAIN.replace("<image>", "<soi>"))
        causes = {d.cause for d in compare(answer(), other)}
        assert Cause.IMAGE_MISSING not in causes
        assert Cause.IMAGE_MARKS in causes


class TestTiles:
    def test_six_against_twelve(self) -> None:
        found = only(
            answer(means=tuple(n / 7 for n in range(7))), answer(means=tuple(n / 13 for n in range(13)))
        )
        assert (found.cause, found.title) == (Cause.TILES, "7 against 13 tiles")
        assert "max_tiles: in the profile" in found.text

    def test_one_more_of_the_same_is_a_thumbnail(self) -> None:
        found = only(answer(means=(0.1, 0.2, 0.3)), answer(means=(0.1, 0.2, 0.3, 0.15)))
        assert found.cause is Cause.THUMBNAIL
        assert "p-lmdeploy adds the whole image" in found.text

    def test_one_more_of_others_is_another_number(self) -> None:
        assert only(answer(means=(0.1, 0.2, 0.3)), answer(means=(0.9, 0.2, 0.3, 0.1))).cause is Cause.TILES
        assert only(answer(means=(0.1,)), answer(means=(0.1, 0.1))).cause is Cause.TILES

    def test_more_placeholders_for_as_many_tiles(self) -> None:
        other = answer(ids=tokenized(PLAIN, 2))
        found = only(answer(), other)
        assert found.cause is Cause.PLACEHOLDERS
        assert "4 places in the prompt of p-torch, 8 in that of p-lmdeploy" in found.text


class TestPixels:
    def test_another_picture(self) -> None:
        found = only(answer(means=(0.1, 0.2)), answer(means=(0.1, 0.7)))
        assert found.cause is Cause.PIXELS
        assert not found.note
        assert "differ by up to 0.5" in found.text

    def test_tiles_in_another_order(self) -> None:
        found = only(answer(means=(0.1, 0.9)), answer(means=(0.9, 0.1)))
        assert not found.note
        assert "the same tiles entered in another order" in found.text

    @pytest.mark.parametrize("mean", [0.0, -1.9, 2.4])
    def test_rounding_is_a_note(self, mean: float) -> None:
        found = only(answer(means=(mean,)), answer(means=(mean + 2**-9 * max(1, abs(mean)),)))
        assert found.cause is Cause.PIXELS
        assert found.note
        assert "within rounding" in found.text

    def test_the_same_values_in_other_places(self) -> None:
        marks = (0.5, -0.7)
        found = only(answer(pixel_marks=marks), answer(pixels="0" * 64, pixel_marks=(0.5, 0.4)))
        assert (found.cause, found.note) == (Cause.PIXELS, False)
        assert "other values though the means" in found.text
        assert "mirrored, turned or resized otherwise" in found.text  # which, its views would tell

    def test_marks_moved_by_rounding_are_a_note(self) -> None:
        found = only(answer(pixel_marks=(0.5, 3.0)), answer(pixels="0" * 64, pixel_marks=(0.51, 3.05)))
        assert (found.cause, found.note) == (Cause.PIXELS, True)

    def test_values_without_means_are_not_taken_for_rounding(self) -> None:
        found = only(answer(pixel_means=()), answer(pixels="0" * 64, pixel_means=()))
        assert (found.cause, found.note) == (Cause.PIXELS, False)


class TestBeginOfText:
    def test_twice(self) -> None:
        text = f"<s>{PLAIN}"
        begin = tokenized("<s>")
        found = only(answer(text), answer(text, ids=begin + tokenized(text)))
        assert (found.cause, found.title) == (Cause.BEGIN_TWICE, "double begin-of-text")
        assert f"p-lmdeploy begins with id {begin[0]} twice, p-torch once" in found.text

    def test_twice_in_the_rendering(self) -> None:
        found = only(answer(f"<s>{PLAIN}"), answer(f"<s><s>{PLAIN}"))
        assert found.cause is Cause.BEGIN_TWICE

    def test_missing(self) -> None:
        found = only(answer(PLAIN, ids=tokenized(f"<s>{PLAIN}")), answer())
        assert found.cause is Cause.BEGIN_MISSING
        assert "p-lmdeploy without it" in found.text

    def test_twice_beside_a_dropped_system_text(self) -> None:
        begin = tokenized("<s>")
        other = answer(f"<s>{PLAIN}", ids=begin * 2 + tokenized(PLAIN))
        causes = [d.cause for d in compare(answer(f"<s>{SYSTEM}{PLAIN}"), other)]
        assert causes == [Cause.BEGIN_TWICE, Cause.SYSTEM_DROPPED]

    def test_written_by_one_template_and_added_by_the_other_tokenizer_is_a_note(self) -> None:
        found = only(answer(f"<s>{PLAIN}"), answer(PLAIN, ids=tokenized(f"<s>{PLAIN}")))
        assert (found.cause, found.note) == (Cause.RENDERING, True)


class TestTokenisation:
    def test_in_pieces(self) -> None:
        ids = list(tokenized(PLAIN))
        place = ids.index(tokenized("colour")[0])
        ids[place : place + 1] = [501, 502]
        found = only(answer(), answer(ids=tuple(ids)))
        assert found.cause is Cause.TOKENISATION
        assert f"[{tokenized('colour')[0]}] in p-torch, [501 502] in p-lmdeploy" in found.text

    def test_the_position_does_not_depend_on_the_number_of_placeholders(self) -> None:
        changed = tuple(500 if i == tokenized("red")[0] else i for i in tokenized(PLAIN, 3))
        causes = [d.cause for d in compare(answer(), answer(means=(0.1, 0.2, 0.3), ids=changed))]
        assert causes == [Cause.TILES, Cause.TOKENISATION]

    def test_marks_around_the_image(self) -> None:
        bare = tuple(i for i in tokenized(PLAIN) if i not in (OPEN, CLOSE))
        assert only(answer(), answer(ids=bare)).cause is Cause.IMAGE_MARKS

    def test_where_a_rendering_is_not_told_ids_are_named_only(self) -> None:
        ids = (*tokenized(PLAIN)[:-1], 500)
        causes = [d.cause for d in compare(answer(), answer(None, ids=ids))]
        assert causes == [Cause.IDS, Cause.UNKNOWN]


class TestTemplate:
    def test_one_newline_more(self) -> None:
        found = only(answer(), answer(PLAIN.replace("<image>\n", "<image>\n\n")))
        assert found.cause is Cause.WHITE_SPACE
        assert r"'<image>\n\nWhat" in found.text

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("<|im_end|>\n", "<|im_end|>"),
            (HEADER, f"{HEADER}\n"),
            ("user\n", "user\n\n"),
            ("B. blue", "B.  blue"),
            ("<|im_start|>user", "\n<|im_start|>user"),
        ],
    )
    def test_white_space_anywhere(self, old: str, new: str) -> None:
        assert only(answer(), answer(PLAIN.replace(old, new))).cause is Cause.WHITE_SPACE

    def test_white_space_in_the_system_text(self) -> None:
        other = answer(SYSTEM.replace("careful.", "careful.\n") + PLAIN)
        assert only(answer(SYSTEM + PLAIN), other).cause is Cause.WHITE_SPACE

    def test_another_question(self) -> None:
        found = only(answer(), answer(PLAIN.replace("A. red", "A. green")))
        assert found.cause is Cause.QUESTION
        assert "A. red" in found.text
        assert "A. green" in found.text

    def test_without_the_assistants_header(self) -> None:
        found = only(answer(), answer(PLAIN.removesuffix(HEADER)))
        assert (found.cause, found.title) == (Cause.HEADER, "assistant header missing")

    def test_with_another_assistants_header(self) -> None:
        found = only(answer(), answer(f"{PLAIN}<think>\n"))
        assert (found.cause, found.title) == (Cause.HEADER, "another assistant header")

    def test_other_marks_of_turns(self) -> None:
        other = f"USER: <image>\n{ASKED} ASSISTANT:"
        assert Cause.TEMPLATE in {d.cause for d in compare(answer(), answer(other))}
        assert only(answer(), answer(PLAIN.replace("<|im_end|>", "<|end|>"))).cause is Cause.TEMPLATE
        assert only(answer(), answer("Look: " + PLAIN)).cause is Cause.TEMPLATE

    def test_an_example_in_front_of_the_question(self) -> None:
        other = answer(user("One?") + "<|im_start|>assistant\nA<|im_end|>\n" + PLAIN)
        assert {d.cause for d in compare(answer(), other)} >= {Cause.TEMPLATE}


class TestNotKnown:
    def test_a_server_that_tells_nothing_is_a_note_for_it_alone(self) -> None:
        silent = answer(None, ids=(), tokens=None, tiles=None, pixels=None, pixel_means=())
        (found,) = compare(answer(), silent)
        assert (found.cause, found.note) == (Cause.UNKNOWN, True)
        assert found.text == (
            "p-lmdeploy does not tell its rendered prompt, its token ids, its number of tiles "
            "and its pixel values"
        )
        assert [d.cause for d in compare(silent, silent)] == [Cause.UNKNOWN, Cause.UNKNOWN]

    def test_a_server_that_counts_tokens_is_compared_by_them(self) -> None:
        counts = answer(None, ids=(), tokens=233, tiles=None, pixels=None, pixel_means=())
        causes = [d.cause for d in compare(answer(), counts)]
        assert causes == [Cause.LENGTH, Cause.UNKNOWN]
        same = replace(counts, question=replace(counts.question, tokens=answer().question.tokens))
        assert [d.cause for d in compare(answer(), same)] == [Cause.UNKNOWN]

    def test_a_recording_without_a_question_is_compared_by_its_ids(self) -> None:
        bare = replace(answer(), question=Question())
        assert {d.cause for d in compare(bare, bare)} == {Cause.UNKNOWN}
        other = replace(bare, prompt_ids=(*bare.prompt_ids, 5))
        assert compare(bare, other)[0].cause is Cause.IDS


TEXTS = st.one_of(
    st.sampled_from([PLAIN, BARE, SYSTEM + PLAIN, f"<s>{PLAIN}", "USER: <image> What? ASSISTANT:", ""]),
    st.text("ab<>|\n image_startsyem", max_size=30),
)
ANSWERS = st.builds(
    lambda text, means, ids, told: answer(
        text if told else None,
        means=tuple(means),
        **({} if ids is None else {"ids": tuple(ids)}),
    ),
    TEXTS,
    st.lists(st.floats(-2, 2), max_size=4),
    st.none() | st.lists(st.integers(1, 12), max_size=12),
    st.booleans(),
)


@given(ANSWERS, ANSWERS)
def test_a_difference_anywhere_is_told_and_equality_is_silent(a: Answer, b: Answer) -> None:
    found = compare(a, b)
    same = a.prompt_ids == b.prompt_ids and a.question == b.question
    known = [d for d in found if d.cause is not Cause.UNKNOWN]
    if same:
        assert not known
    else:
        assert found
    if a.prompt_ids and b.prompt_ids and a.prompt_ids != b.prompt_ids:
        assert any(not d.note for d in found)
    assert [d.note for d in found] == sorted(d.note for d in found)
    titles = [d.title for d in known]
    assert len(titles) == len(set(titles))


@given(ANSWERS, st.data())
def test_any_single_changed_field_is_told(a: Answer, data: st.DataObject) -> None:
    changes: dict[str, Any] = {
        "text": data.draw(TEXTS),
        "tokens": data.draw(st.integers(0, 50)),
        "tiles": data.draw(st.integers(0, 13)),
        "pixels": data.draw(st.sampled_from(["0" * 64, "1" * 64])),
    }
    if not a.question.tiles:
        del changes["pixels"]  # there are none
    name = data.draw(st.sampled_from(sorted(changes)))
    b = replace(a, question=replace(a.question, **{name: changes[name]}))
    if b != a:
        assert compare(a, b) != ()


@given(TEXTS, TEXTS)
def test_renderings_that_differ_are_told_whatever_they_look_like(left: str, right: str) -> None:
    a, b = (answer(text, means=(), ids=()) for text in (left, right))
    found = [d for d in compare(a, b) if d.cause is not Cause.UNKNOWN]
    assert bool(found) == (left != right)

"""What checks and the judge read from the scores of a text that is accepted: the first token that differs.

Two numbers stand for such an answer. Its probability, that of all its tokens and the end, against that of
anything else. And its *lead*, the log-odds of the accepted token over the best other one, where that is
least: above 0 the model writes the text. Like the log-odds of letters it is a difference of two logits of one
row, whatever the length of the text; it stays finite, and where it passes 0 another text is written.
"""

from __future__ import annotations

import math

from harness.engines.contract import Answer, Reading, TokenScore

__all__ = [
    "first_other",
    "lead",
    "raw_sizes",
    "stretch",
    "tie",
    "token_words",
    "tokens_told",
    "weakest",
    "writes",
]


_END = "the end"
_MOST_TOLD = 16


def writes(reading: Reading) -> bool | None:
    """Whether greedy decoding writes the text and ends there; None where a path did not see that far."""
    if first_other(reading) is not None:
        return False
    return None if reading.letter_logits[0] == -math.inf else True


def first_other(reading: Reading) -> int | None:
    """The first of the text's tokens in whose place another is written; None where the text is."""
    return next((step for step, score in enumerate(reading.target) if not score.picked), None)


def lead(reading: Reading) -> float:
    """The least log-odds of a token of the text over the most probable other one; NaN where not known."""
    if reading.letter_logits[:1] == (-math.inf,):
        return math.nan  # the path did not see the whole text
    leads = [score.logprob - score.rival_logprob for score in reading.target]
    known = min(leads, default=math.nan)
    return known if math.isfinite(known) else math.nan


def weakest(reading: Reading) -> int:
    """The token of the text, its end aside, that is least ahead of the most probable other one."""
    leads = [score.logprob - score.rival_logprob for score in reading.target]
    return min(range(max(1, len(leads) - 1)), key=lambda step: leads[step])


def raw_sizes(reading: Reading) -> list[float]:
    """How large the logits are that an answer was read from: the letters', or those of the text's tokens."""
    if not reading.target:
        return [abs(logit) for logit in reading.letter_logits if math.isfinite(logit)]
    return [abs(score.logit) for score in reading.target if math.isfinite(score.logit)]


def stretch(reading: Reading) -> float:
    """How many times as far as a token's log-odds those of the whole text can move; 1 for letters.

    d logit P = Σ (1 - p) / (1 - P) d logit p, over the tokens.
    """
    if not reading.target or not math.isfinite(reading.letter_logits[1]):
        return 1.0
    rests = math.fsum(-math.expm1(min(0.0, score.logprob)) for score in reading.target)
    return max(1.0, rests / math.exp(reading.letter_logits[1])) if reading.letter_logits[1] > -700 else 1.0


def tie(score: TokenScore) -> float:
    """How far apart the token's and its rival's probabilities are."""
    return abs(math.exp(score.logprob) - math.exp(score.rival_logprob))


def token_words(answer: Answer, reading: Reading) -> str:
    """The first token that differs, with what is written in its place; '' where the text is written."""
    step = first_other(reading)
    if step is None:
        return ""
    score = reading.target[step]
    named = _named(answer, reading, step)
    place = "where the text ends" if named == _END else f"in place of {named}"
    own = "not among the tokens told" if score.logprob == -math.inf else f"{math.exp(score.logprob):.4g}"
    if score.rival < 0:
        return f"token {step + 1} of the text: another token {place} ({own})"
    instead = answer.token_texts.get(score.rival)
    other = f"id {score.rival}" if instead is None else repr(instead)
    return f"token {step + 1} of the text: {other} ({math.exp(score.rival_logprob):.4g}) {place} ({own})"


def tokens_told(answer: Answer, reading: Reading) -> str:
    """The log-probability of each token, on one line; of a long text those about the one to look at."""
    told = [
        f"{_named(answer, reading, step)} {score.logprob:.3g}" for step, score in enumerate(reading.target)
    ]
    if len(told) > _MOST_TOLD:
        other = first_other(reading)
        middle = weakest(reading) if other is None else other
        start = min(max(0, middle - _MOST_TOLD // 2), len(told) - _MOST_TOLD)
        shown = told[start : start + _MOST_TOLD]
        place = f"tokens {start + 1} to {start + len(shown)} of {len(told)}, the end among them"
        return f"log-probabilities of the text's {place}: {', '.join(shown)}"
    return f"log-probabilities of the text's tokens: {', '.join(told)}"


def _named(answer: Answer, reading: Reading, step: int) -> str:
    if step >= len(answer.target_ids):
        return _END if step == len(answer.target_ids or reading.target[1:]) else f"token {step + 1}"
    token = answer.target_ids[step]
    return repr(answer.token_texts[token]) if token in answer.token_texts else f"id {token}"

"""The suites that are committed, in the order in which they are written."""

from .suite_answer_line import ANSWER_LINE
from .suite_chinese import CHINESE
from .suite_shapes import SHAPES
from .suite_words import WORDS

SUITES = (SHAPES, CHINESE, ANSWER_LINE, WORDS)

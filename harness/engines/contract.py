"""What every engine is given and what it gives back.

An engine module offers ``load(settings) -> Engine``. It runs in a worker, in the interpreter its profile
names, so this module needs the standard library only.

Shapes: T generated tokens, L letters on offer, V columns of the model's logits, k entries of a top-k list,
A tokens of a target (a text that is accepted). Logarithms are natural.

Not every engine tells everything. Where ids are not told (an `Answer` of a server), the answer is *by text*:
its ids are empty and its letters are found by their text. Where a path sees only the top of a row, its
reading is *partial*: a letter outside is known as an interval.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeAlias

from harness.errors import ErrorKind

if TYPE_CHECKING:  # numpy takes longer to import than all else here, and only the name is needed
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "IMAGE_MARK",
    "Answer",
    "Engine",
    "EngineSettings",
    "Entry",
    "Failure",
    "Json",
    "Outcome",
    "Question",
    "Reading",
    "Request",
    "Row",
    "TokenScore",
]

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Row: TypeAlias = "npt.NDArray[np.float32]"

IMAGE_MARK = re.compile(r"\{image:([0-9]+)\}")
"""Names the place of an image in a prompt, by its number from 1: ``{image:2}``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How an engine is to be built; everything here is part of a recording's key.

    ``model`` is a local folder. ``dtype`` is ``float32``, ``float16``, ``bfloat16`` or ``auto``; ``device``
    is ``cpu`` or ``cuda``. ``paths`` names the ways to the logits, the first of which gives the answer (see
    `harness.cases.profiles`); empty, the engine takes the best that it has, and the answer's readings say
    which. ``top_k`` is the number of log-probabilities asked of an engine that reports them (0: none) and
    kept of every full row. ``batch_size`` is the most cases scored together. ``max_tiles`` is the most tiles
    that an image is cut into, its thumbnail not counted; None leaves it to the model's own configuration.
    ``options`` are those of one kind of engine only.
    """

    kind: str
    model: str
    dtype: str
    device: str
    paths: tuple[str, ...]
    top_k: int
    batch_size: int
    max_tiles: int | None = None
    options: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A case as an engine sees it: with the letters on offer, or the text that is accepted, never both.

    ``case`` identifies it in answers. ``images`` are absolute paths, none for text only; `parts` says where
    they stand. ``system`` is the text of a system message, None to send none. ``answer_prefix`` is what the
    model writes before the letter. ``max_new_tokens`` None means: up to and including the letter. ``kind`` is
    that of the answer: `LETTER`, or `TEXT`, which has a ``target`` and no letters: the text, prefix and all,
    whose tokens are put behind the prompt to be scored, with the end of the model's turn behind it.
    """

    LETTER: ClassVar[str] = "letter"
    TEXT: ClassVar[str] = "text"
    ELSE: ClassVar[str] = "anything else"

    case: str
    prompt: str
    letters: tuple[str, ...]
    images: tuple[str, ...] = ()
    system: str | None = None
    answer_prefix: str = ""
    max_new_tokens: int | None = None
    kind: str = LETTER
    target: str = ""

    @property
    def options(self) -> tuple[str, ...]:
        """The names of what an answer is read among: the letters, or the text and `ELSE`."""
        return self.letters or (self.target, self.ELSE)

    @property
    def marked(self) -> bool:
        """Whether the prompt names the places of its images; else they stand before it."""
        return bool(self.images) and IMAGE_MARK.search(self.prompt) is not None

    @property
    def parts(self) -> tuple[str | int, ...]:
        """The user's turn piece by piece: texts, and of each image its index in ``images``.

        Raises IndexError where the prompt names an image that there is not.
        """
        if not self.marked:
            return (*range(len(self.images)), self.prompt)
        pieces = IMAGE_MARK.split(self.prompt)
        found: list[str | int] = [
            range(len(self.images))[int(piece) - 1] if at % 2 else piece for at, piece in enumerate(pieces)
        ]
        return tuple(each for each in found if each != "")

    @property
    def shown(self) -> tuple[str, ...]:
        """The images in the order in which they stand."""
        return tuple(self.images[part] for part in self.parts if isinstance(part, int))

    def content(self, shown: Iterable[Any]) -> list[Any]:
        """The user's turn as an API's content: texts, and where an image stands the next of ``shown``."""
        following = iter(shown)
        return [
            {"type": "text", "text": part} if isinstance(part, str) else next(following)
            for part in self.parts
        ]


class Entry(NamedTuple):
    """One token of a top-k list with its log-probability."""

    id: int
    logprob: float


class TokenScore(NamedTuple):
    """How probable one token of a target is where all before it were put there, by the row that predicts it.

    ``logprob`` keeps its digits near 0. ``logit`` is the raw one, NaN where a path has no rows. ``rival`` is
    the most probable other token, with its ``rival_logprob``; -1 and ``-inf`` where none is told. ``picked``
    is whether greedy decoding writes the token there. Of the end it is all stop tokens together that are
    scored, and the most probable of them that is picked.
    """

    logprob: float
    logit: float
    rival: int
    rival_logprob: float
    picked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a model was really asked, as far as its engine tells; None where it does not.

    ``text`` is the prompt as rendered, before placeholders of the image are repeated: each run of them, with
    the marks around it, is `IMAGE` once. ``tokens`` is the length of the prompt in tokens, placeholders
    included. ``tiles`` is the number of pieces of the image that entered the vision tower, a thumbnail
    included; 0 without an image. ``pixels`` is the SHA-256 (hexadecimal) of their values as little-endian
    float32 in the order in which they entered. So that a reader can tell rounding from another picture,
    ``pixel_means`` [tiles] are the mean of each tile, and ``pixel_marks`` [tiles, 2] in a row are the sums of
    its values, each given a fixed sign, over the root of their number: of the size of the values themselves,
    and moved by as much where a picture is mirrored or its colours are swapped, which leaves the mean.
    ``pixel_views`` [`VIEWS`, 4] in a row are such sums over all tiles at once, each reduced to 8 x 8 blocks:
    as they are, then as if each were mirrored and so on; () where values lie in no rows and columns.
    ``pixel_steps`` [tiles] are the mean squares of the steps from value to value along a row, which another
    filter changes and rounding hardly. Of several images ``image_tiles`` says how many of the tiles are each
    one's, in the order in which they entered; () for one, and where that is not known.
    """

    IMAGE: ClassVar[str] = "<image>"
    VIEWS: ClassVar[tuple[str, ...]] = (
        "as it is",
        "mirrored",
        "upside down",
        "turned by half",
        "turned by a quarter",
        "turned by three quarters",
        "with red and blue swapped",
    )

    text: str | None = None
    tokens: int | None = None
    tiles: int | None = None
    pixels: str | None = None
    pixel_means: tuple[float, ...] = ()
    pixel_marks: tuple[float, ...] = ()
    pixel_views: tuple[float, ...] = ()
    pixel_steps: tuple[float, ...] = ()
    image_tiles: tuple[int, ...] = ()

    @property
    def has_image(self) -> bool:
        """Whether an image entered the model, or the prompt has a place for one, as far as is told."""
        return bool(self.tiles) or self.IMAGE in (self.text or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one path to the logits saw.

    ``argmax`` [T] and ``logprobs`` [T]: per generated token, the row's most probable id (the lowest of
    equals) and the log-probability of the token really generated. The rest describes the answer's row, the
    one that the letter is drawn from, and is empty or None when the model never got there:
    ``letter_logits`` [L] raw, ``log_z`` the log of the softmax denominator over all V,
    ``top`` [k] the most probable entries in descending order,
    ``other_spellings`` [L] the probability on other single-token spellings of each letter (' A', 'a'), and
    ``letter_ranks`` [L] how many tokens are more probable than each letter (of equals, those of a lower id).

    A partial reading, whose path saw only the top of the row, has ``log_z`` 0, log-probabilities for logits,
    and no ranks. A letter that it did not see has the logit ``-inf``, and ``letter_ceilings`` [L] is the most
    that its log-probability can be (the log-probability itself for a letter that was seen); empty for a full
    reading.

    Where a text is asked for, ``target`` [A + 1] has the scores of its tokens and of the end, fewer where a
    path saw the text only as far as the model wrote it, which makes the reading partial. The answer's row is
    the first one, ``log_z`` is 0, and ``letter_logits`` [2] are the log-probabilities of the whole text with
    its end and of anything else. ``other_spellings`` and ``letter_ranks`` are empty.
    """

    path: str
    argmax: tuple[int, ...]
    logprobs: tuple[float, ...]
    letter_logits: tuple[float, ...] = ()
    log_z: float | None = None
    top: tuple[Entry, ...] = ()
    other_spellings: tuple[float, ...] = ()
    letter_ranks: tuple[int, ...] = ()
    letter_ceilings: tuple[float, ...] = ()
    target: tuple[TokenScore, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether the path saw only the top of the answer's row."""
        return bool(self.letter_ceilings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one engine answered for one case.

    ``prompt_ids`` are the ids that entered the model, image placeholders included. ``generated_ids`` [T]
    under greedy decoding. ``letter_ids`` [L]. ``answer_step`` is the index of the letter's row among the T,
    None if the model did not write ``answer_prefix`` first. ``readings`` has one entry per path, in the
    settings' order; the first is the engine's answer. ``reported_top`` [k] and ``reported_logprobs`` [T] are
    log-probabilities as the engine's own interface reports them (at the answer's row; of the generated
    tokens), empty when it reports none. ``seconds`` maps parts of the work to wall time.
    ``rows`` maps each path to the raw float32 logits [V] of the answer's row; a worker stores them apart from
    the journal. ``question`` is what the model was really asked. ``request`` is the digest (see
    `harness.engines.codec.request_digest`) of the request that was prepared for this answer, by which a
    mix-up of cases is found; it is not kept, and '' where an engine does not say.
    ``target_ids`` [A] are those by which the tokenizer goes on from the prompt to the text that is accepted,
    empty where letters are on offer, as ``letter_ids`` are where they are not; ``token_texts`` are the texts
    of those ids, and of rivals that would be written instead.

    In an answer by text ``prompt_ids``, ``generated_ids`` and ``letter_ids`` are empty, and so are the ids of
    its readings, whose other fields stay as they are.
    """

    prompt_ids: tuple[int, ...]
    generated_ids: tuple[int, ...]
    text: str
    letter_ids: tuple[int, ...]
    answer_step: int | None
    readings: tuple[Reading, ...]
    reported_top: tuple[Entry, ...] = ()
    reported_logprobs: tuple[float, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    rows: Mapping[str, Row] = field(default_factory=dict, compare=False, repr=False)
    question: Question = Question()
    request: str = field(default="", compare=False, repr=False)
    target_ids: tuple[int, ...] = ()
    token_texts: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why one case got no answer, where the engine itself lived on."""

    kind: ErrorKind
    message: str


class Outcome(NamedTuple):
    """The answer to the request named ``case``, or why there is none."""

    case: str
    result: Answer | Failure


class Engine(Protocol):
    """A loaded model. Built by the ``load(settings)`` of an engine module."""

    def fingerprint(self) -> dict[str, Json]:
        """What the answers may depend on and only the loaded engine knows: device, real dtype, attention."""
        ...

    def score(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        """Yield exactly one outcome per request, each as soon as it is known, in any order.

        A request that is wrong on its own becomes a `Failure`; what concerns the whole batch is raised.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds."""
        ...

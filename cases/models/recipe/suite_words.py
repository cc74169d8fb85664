"""The suite without images."""

from .suites import FIVE_SHAPES, FOUR_COLOURS, FOUR_COUNTS, FOUR_PLACES, SIX_COLOURS, Case, Suite, place

WORDS = Suite(
    name="words",
    description="No image: the answer is stated in words, so whatever differs is not the picture's.",
    language="en",
    style="plain",
    tags=("text-only",),
    cases=(
        Case(
            "stated-colour",
            place("red", "circle"),
            "colour",
            FOUR_COLOURS,
            image=False,
            statements=("colour",),
        ),
        Case(
            "stated-shape",
            place("blue", "ring", 2),
            "shape",
            FIVE_SHAPES,
            image=False,
            letters="ABCDE",
            statements=("colour", "shape"),
        ),
        Case(
            "stated-count",
            place("green", "cross", 4),
            "count",
            FOUR_COUNTS,
            image=False,
            statements=("count", "shape"),
        ),
        Case(
            "stated-place",
            place("white", "square", "top right"),
            "position",
            FOUR_PLACES,
            image=False,
            statements=("colour", "position", "shape"),
        ),
        Case(
            "stated-among-six",
            place("purple", "triangle", 3),
            "colour",
            SIX_COLOURS,
            image=False,
            letters="ABCDEF",
            statements=("count", "colour"),
            wording=1,
        ),
        Case(
            "stated-count-zh",
            place("yellow", "circle", 2),
            "count",
            FOUR_COUNTS,
            image=False,
            statements=("count", "colour"),
            tags=("chinese",),
        ),
        Case(
            "stated-place-zh",
            place("black", "cross", "bottom left"),
            "position",
            FOUR_PLACES,
            image=False,
            statements=("shape", "position"),
            tags=("chinese",),
        ),
    ),
)

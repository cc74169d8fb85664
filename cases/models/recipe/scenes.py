"""Scenes: one to four flat objects of one colour and one shape on a grey canvas, and how to draw them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (45, 80, 220),
    "yellow": (235, 215, 50),
    "purple": (140, 50, 170),
    "orange": (240, 130, 30),
    "black": (20, 20, 20),
    "white": (245, 245, 245),
}
SHAPES = ("circle", "square", "triangle", "cross", "ring")
CORNERS = ("top left", "top right", "bottom left", "bottom right")
POSITIONS = (*CORNERS, "centre")
COUNTS = ("one", "two", "three", "four", "five", "six")
MOST_OBJECTS = 4

TILE = 56
SIZES = ((TILE, TILE), (2 * TILE, TILE), (TILE, 2 * TILE), (3 * TILE, TILE), (TILE, 3 * TILE))
SUPERSAMPLING = 4

# Pairs whose blend passes through a third colour (red and yellow give orange) have no honest answer.
BLENDABLE = (
    ("red", "purple"),
    ("red", "orange"),
    ("orange", "yellow"),
    ("blue", "purple"),
    ("blue", "green"),
    ("green", "yellow"),
    ("black", "blue"),
    ("black", "green"),
    ("white", "yellow"),
)
ROUNDABLE = ("square", "circle")


@dataclass(frozen=True)
class Scene:
    """What an image shows.

    Attributes:
        colour, shape: of every object.
        positions: where the objects are, one entry each, out of `POSITIONS`.
        width, height: of the image in pixels.
        background: grey level, 0 to 255.
        radius: half an object's size in pixels.
        shifts: each object's distance from the middle of its place, in pixels.
        tint: added to the colour's three channels.
        second: the colour or shape that the first is blended with; None in a clear scene.
        blend: share of `second`, 0 to 1; at 0.5 neither is right.
    """

    colour: str
    shape: str
    positions: tuple[str, ...]
    width: int = TILE
    height: int = TILE
    background: int = 128
    radius: float = 9.5
    shifts: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * MOST_OBJECTS
    tint: tuple[int, int, int] = (0, 0, 0)
    second: str | None = None
    blend: float = 0.0

    @property
    def count(self) -> str:
        """The number of objects as a word of `COUNTS`."""
        return COUNTS[len(self.positions) - 1]

    def truth(self, kind: str) -> str:
        """The answer to a question of this kind: of the two that are blended, the one that weighs more."""
        leaning = self.second if self.second is not None and self.blend > 0.5 else None
        if kind == "colour":
            return leaning if leaning in COLOURS else self.colour
        if kind == "shape":
            return leaning if leaning in SHAPES else self.shape
        if kind == "count":
            return self.count
        if kind == "position" and len(self.positions) == 1:
            return self.positions[0]
        raise ValueError(f"no answer on {kind!r} in a scene with {len(self.positions)} objects")


def sample_scene(
    rng: random.Random,
    *,
    size: tuple[int, int] = (TILE, TILE),
    count: int | None = None,
    blended: str | None = None,
    blend: float | None = None,
) -> Scene:
    """Draw a scene at random.

    Args:
        rng: the only source of chance.
        size: width and height of the image in pixels.
        count: number of objects, 1 to `MOST_OBJECTS`; at random if None.
        blended: "colour" or "shape" for a scene that is ambiguous in that, None for a clear one.
        blend: share of the second colour or shape; between 0.2 and 0.8 at random if None.
    """
    width, height = size
    colour, shape, second = rng.choice(list(COLOURS)), rng.choice(SHAPES), None
    if blended == "colour":
        colour, second = rng.sample(rng.choice(BLENDABLE), 2)
    elif blended == "shape":
        shape, second = ROUNDABLE
    if count is None:
        count = rng.randint(1, MOST_OBJECTS)
    positions = (rng.choice(POSITIONS),) if count == 1 else tuple(rng.sample(CORNERS, count))
    reach_x, reach_y = width / 4 - 11, height / 4 - 11
    shifts = tuple(
        (rng.uniform(-3, 3), rng.uniform(-3, 3))
        if position == "centre"
        else (rng.uniform(-reach_x, reach_x), rng.uniform(-reach_y, reach_y))
        for position in positions
    )
    return Scene(
        colour=colour,
        shape=shape,
        positions=positions,
        width=width,
        height=height,
        background=rng.randint(100, 156),
        radius=rng.uniform(8, 11),
        shifts=shifts,
        tint=(rng.randint(-12, 12), rng.randint(-12, 12), rng.randint(-12, 12)),
        second=second,
        blend=0.0 if second is None else rng.uniform(0.2, 0.8) if blend is None else blend,
    )


def draw(scene: Scene) -> Image.Image:
    """Draw a scene as an RGB image: oversized, then box-filtered, so that edges are smooth."""
    grey = (scene.background,) * 3
    canvas = Image.new("RGB", (scene.width * SUPERSAMPLING, scene.height * SUPERSAMPLING), grey)
    pen = ImageDraw.Draw(canvas)
    base: tuple[float, ...] = COLOURS[scene.colour]
    if scene.second in COLOURS:
        base = tuple(a + (b - a) * scene.blend for a, b in zip(base, COLOURS[scene.second], strict=True))
    fill = tuple(min(255, max(0, round(c + t))) for c, t in zip(base, scene.tint, strict=True))
    roundness = scene.blend if scene.second in SHAPES else float(scene.shape == "circle")
    for position, shift in zip(scene.positions, scene.shifts, strict=False):
        x, y = _middle(position, scene.width, scene.height)
        x, y = (x + shift[0]) * SUPERSAMPLING, (y + shift[1]) * SUPERSAMPLING
        _draw_object(pen, scene.shape, roundness, x, y, scene.radius * SUPERSAMPLING, fill, grey)
    return canvas.reduce(SUPERSAMPLING)


def _middle(position: str, width: int, height: int) -> tuple[float, float]:
    if position == "centre":
        return width / 2, height / 2
    vertical, horizontal = position.split()
    return (
        width / 4 if horizontal == "left" else 3 * width / 4,
        height / 4 if vertical == "top" else 3 * height / 4,
    )


def _draw_object(
    pen: ImageDraw.ImageDraw,
    shape: str,
    roundness: float,
    x: float,
    y: float,
    radius: float,
    fill: tuple[int, ...],
    hole: tuple[int, ...],
) -> None:
    if shape in ROUNDABLE:
        # A square has 0.88 of the circle's radius as half its side, so that their areas are nearly equal.
        half = radius * (0.88 + 0.12 * roundness)
        pen.rounded_rectangle(_box(x, y, half), radius=half * roundness, fill=fill)
    elif shape == "ring":
        pen.ellipse(_box(x, y, radius), fill=fill)
        pen.ellipse(_box(x, y, radius * 0.55), fill=hole)
    elif shape == "triangle":
        corners: Sequence[tuple[float, float]] = (
            (x, y - radius),
            (x + radius, y + 0.85 * radius),
            (x - radius, y + 0.85 * radius),
        )
        pen.polygon(corners, fill=fill)
    else:
        arm = radius * 0.34
        pen.rectangle((x - radius, y - arm, x + radius, y + arm), fill=fill)
        pen.rectangle((x - arm, y - radius, x + arm, y + radius), fill=fill)


def _box(x: float, y: float, half: float) -> tuple[float, float, float, float]:
    return x - half, y - half, x + half, y + half

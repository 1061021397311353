"""Pictures of shapes, drawn here: seeded, of any size, with boxes, masks and keypoints.

Six classes that differ in form alone: place, scale, rotation, stretch, colours, texture and
background are random, and stray lines cross the picture. So the set is neither trivial nor
hopeless: a linear model on the pixels of 2,000 pictures is right on 18% of others (chance: 17%),
one on the codes of an ImageNet SqueezeNet, from 390 pictures, on 82%.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

CLASSES = ("cross", "disc", "ring", "square", "star", "triangle")
KEYPOINTS = 6  # the centre, then the corners that the class has, at most five
OVERSAMPLING = 3  # outlines are drawn this much larger, then averaged
PLACEMENTS = 30  # tries to find room for one more object

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Drawn:
    """`draw_shapes`' pictures; lists have one entry an image, k its number of objects."""

    images: npt.NDArray[np.uint8]  # [n, size, size, 3]
    labels: list[npt.NDArray[np.int64]]  # [k] positions in CLASSES
    boxes: list[npt.NDArray[np.float32]]  # [k, 4] x0, y0, x1, y1 in pixels, x1 and y1 exclusive
    masks: list[Mask]  # [k, size, size] the pixels of the object that no later object covers
    keypoints: list[npt.NDArray[np.float32]]  # [k, 6, 3] x, y, visibility (as in COCO)


def draw_shapes(n: int, size: int, seed: int, *, objects: tuple[int, int] = (1, 1)) -> Drawn:
    """Draw `n` pictures of `size` x `size` pixels with `objects` (fewest, most) shapes each.

    Picture i depends on `seed` and i alone, so fewer pictures are a beginning of more. The first
    object's classes come in equal shares. Keypoints are the centre, then: cross, its 4 arm ends;
    square, 4 corners; star, 5 tips; triangle, 3 corners; disc and ring, none. Their visibility is
    2 (seen), 1 (a line or a later object lies on it) or 0 (the class has no such point).
    """
    drawn = [_draw(i, size, seed, objects) for i in range(n)]
    images = [picture.image for picture in drawn]
    return Drawn(
        images=np.stack(images) if images else np.zeros((0, size, size, 3), np.uint8),
        labels=[picture.labels for picture in drawn],
        boxes=[picture.boxes for picture in drawn],
        masks=[picture.masks for picture in drawn],
        keypoints=[picture.keypoints for picture in drawn],
    )


@dataclass(frozen=True)
class _Picture:
    image: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]
    masks: Mask
    keypoints: npt.NDArray[np.float32]


def _draw(index: int, size: int, seed: int, objects: tuple[int, int]) -> _Picture:
    rng = np.random.default_rng([seed, index])
    count = int(rng.integers(objects[0], objects[1] + 1))
    labels = rng.integers(0, len(CLASSES), count)
    labels[:1] = _first_label(index, seed)
    canvas = _background(size, rng)
    alphas, points = [], []
    placed: list[tuple[float, float, float]] = []
    for label in labels:
        place = _place(size, placed, crowded=objects[1] > 1, rng=rng)
        placed.append(place)
        outline = _Outline.random(CLASSES[label], place, rng)
        alpha = outline.alpha(size)
        canvas += alpha[..., None] * (_fill(canvas, alpha, size, rng) - canvas)
        alphas.append(alpha)
        points.append(outline.keypoints())
    lines = _lines(canvas, size, rng)
    canvas += rng.normal(0, rng.uniform(4, 14), canvas.shape)
    masks = np.array([alpha >= 0.5 for alpha in alphas], dtype=bool).reshape(count, size, size)
    hidden = [masks[i + 1 :].any(axis=0) | lines for i in range(count)]
    for i in range(count - 2, -1, -1):
        masks[i] &= ~masks[i + 1 :].any(axis=0)
    return _Picture(
        image=np.clip(np.rint(canvas), 0, 255).astype(np.uint8),
        labels=labels.astype(np.int64),
        boxes=np.array([_box(mask) for mask in masks], dtype=np.float32).reshape(count, 4),
        masks=masks,
        keypoints=np.array(
            [_with_visibility(p, h) for p, h in zip(points, hidden, strict=True)], dtype=np.float32
        ).reshape(count, KEYPOINTS, 3),
    )


def _first_label(index: int, seed: int) -> int:
    block, place = divmod(index, len(CLASSES))
    order = np.random.default_rng([seed, block, 1]).permutation(len(CLASSES))
    return int(order[place])


def _place(
    size: int,
    placed: list[tuple[float, float, float]],
    *,
    crowded: bool,
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Centre x, y and radius in pixels, in the picture and, where there is room, apart."""
    best, most = (0.0, 0.0, 0.0), -np.inf
    for _ in range(PLACEMENTS):
        radius = size * rng.uniform(*((0.09, 0.18) if crowded else (0.16, 0.34)))
        x, y = rng.uniform(radius, size - radius, 2)
        room = min((np.hypot(x - a, y - b) - 0.8 * (radius + r) for a, b, r in placed), default=1.0)
        if room > most:
            best, most = (float(x), float(y), float(radius)), room
        if room > 0:
            break
    return best


def _rotation(angle: float) -> Floats:
    return np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])


def _circle(radius: float = 1.0) -> Floats:
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def _corners(count: int, radius: float = 1.0, turn: float = 0.0) -> Floats:
    angle = 2 * np.pi * (np.arange(count) + turn) / count
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _cross(arm: float = 0.33) -> Floats:
    end = np.array([(arm, arm), (1.0, arm), (1.0, -arm)])  # one arm's end and the inner corner
    return np.concatenate([end @ _rotation(-quarter * np.pi / 2).T for quarter in range(4)])


def _star() -> Floats:
    points = np.empty((10, 2))
    points[0::2], points[1::2] = _corners(5), _corners(5, 0.45, 0.5)
    return points


#: Outline and corner keypoints of each class, within the unit circle.
FORMS: dict[str, tuple[Floats, Floats]] = {
    "cross": (_cross(), _corners(4)),
    "disc": (_circle(0.9), np.empty((0, 2))),
    "ring": (_circle(0.95), np.empty((0, 2))),
    "square": (_corners(4), _corners(4)),
    "star": (_star(), _corners(5)),
    "triangle": (_corners(3), _corners(3)),
}
HOLE = 0.55  # of the ring, as a share of its outline


@dataclass(frozen=True)
class _Outline:
    name: str
    centre: Floats  # [2]
    matrix: Floats  # [2, 2] from the unit circle to pixels

    @classmethod
    def random(
        cls, name: str, place: tuple[float, float, float], rng: np.random.Generator
    ) -> _Outline:
        x, y, radius = place
        turn, lean = rng.uniform(0, 2 * np.pi, 2)
        stretch = np.diag([1.0, rng.uniform(0.75, 1.0)])
        matrix = radius * _rotation(turn) @ _rotation(lean).T @ stretch @ _rotation(lean)
        return cls(name, np.array([x, y]), matrix)

    def pixels(self, points: Floats) -> Floats:
        return points @ self.matrix.T + self.centre

    def alpha(self, size: int) -> Floats:
        """[size, size] the share of each pixel that the shape covers."""
        sheet = Image.new("L", (size * OVERSAMPLING, size * OVERSAMPLING))
        pen = ImageDraw.Draw(sheet)
        outline = FORMS[self.name][0]
        pen.polygon(_flat(self.pixels(outline)), fill=255)
        if self.name == "ring":
            pen.polygon(_flat(self.pixels(HOLE * outline)), fill=0)
        return np.asarray(sheet.resize((size, size), Image.Resampling.BOX), dtype=np.float64) / 255

    def keypoints(self) -> Floats:
        """[6, 2] in pixels; NaN where the class has no such point."""
        points = np.full((KEYPOINTS, 2), np.nan)
        corners = FORMS[self.name][1]
        points[0] = self.centre
        points[1 : 1 + len(corners)] = self.pixels(corners)
        return points


def _flat(points: Floats) -> list[tuple[float, float]]:
    return [(float(x) * OVERSAMPLING, float(y) * OVERSAMPLING) for x, y in points]


def _smooth_noise(size: int, cells: int, rng: np.random.Generator) -> Floats:
    """[size, size] in about -1..1: noise of `cells` blotches a side."""
    coarse = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)


def _background(size: int, rng: np.random.Generator) -> Floats:
    first, second = rng.uniform(20, 235, (2, 3))
    blend = np.clip(0.5 + 0.5 * _smooth_noise(size, int(rng.integers(2, 5)), rng), 0, 1)[..., None]
    grain = rng.uniform(0, 30) * _smooth_noise(size, int(rng.integers(8, 24)), rng)[..., None]
    return np.asarray(first * blend + second * (1 - blend) + grain)


def _fill(canvas: Floats, alpha: Floats, size: int, rng: np.random.Generator) -> Floats:
    """[size, size, 3] the shape's own colour and stripes, apart from what lies behind it."""
    behind = (canvas * alpha[..., None]).sum((0, 1)) / max(alpha.sum(), 1.0)
    colour = rng.uniform(0, 255, 3)
    while np.abs(colour - behind).max() < 60:
        colour = rng.uniform(0, 255, 3)
    angle, period = rng.uniform(0, np.pi), size * rng.uniform(0.05, 0.2)
    y, x = np.mgrid[:size, :size]
    stripes = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
    return np.asarray(colour + rng.uniform(0, 25) * stripes[..., None])


def _lines(canvas: Floats, size: int, rng: np.random.Generator) -> Mask:
    """Draw two to five stray lines on `canvas`; the pixels that they cover."""
    covered = np.zeros((size, size), dtype=bool)
    for _ in range(int(rng.integers(2, 6))):
        sheet = Image.new("L", (size, size))
        ends = rng.uniform(-0.1, 1.1, 4) * size
        width = max(1, round(size * rng.uniform(0.01, 0.04)))
        ImageDraw.Draw(sheet).line([float(end) for end in ends], fill=255, width=width)
        line = np.asarray(sheet) > 0
        canvas[line] = rng.uniform(0, 255, 3)
        covered |= line
    return covered


def _box(mask: Mask) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):  # wholly covered by later objects
        return 0.0, 0.0, 0.0, 0.0
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _with_visibility(points: Floats, hidden: Mask) -> Floats:
    result = np.zeros((KEYPOINTS, 3))
    for i, (x, y) in enumerate(points):
        if not np.isnan(x):
            column, row = np.clip([int(x), int(y)], 0, np.array(hidden.shape)[::-1] - 1)
            result[i] = x, y, 1 if hidden[row, column] else 2
    return result

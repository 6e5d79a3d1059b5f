"""A generated town of single buildings: true outlines, and the probability that a network might give them.

Each building stands alone in a cell of 160 × 160 pixels of 0.3 m: 45 % rectangles, 25 % L, 7 % T, 5 % U,
6 % Z, 4 % with a cut corner, 4 % with a courtyard, 4 % circles, 6 to 30 m long, at any angle. The signed
distance to the outline is blurred by 1.2 px, as a network's is; noise that is correlated over 2.5 px shifts
it; the probability is the logistic function of 1.5 times the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely import Polygon
from shapely.affinity import rotate, scale, translate
from shapely.geometry.base import BaseGeometry

__all__ = ["CELL", "NOISE", "RESOLUTION", "Rooftops", "make_rooftops", "signed_distance"]

CELL = 160
"""Rows and columns of the cell in which a building stands, px."""
RESOLUTION = 0.3
"""Size of a pixel, m."""
NOISE: Mapping[str, float] = MappingProxyType({"clean": 0.0, "mid": 0.6, "hard": 1.2})
"""Standard deviation of the outline's position by name, px."""

_SHARES = {
    "rectangle": 0.45,
    "L": 0.25,
    "T": 0.07,
    "U": 0.05,
    "Z": 0.06,
    "cut corner": 0.04,
    "courtyard": 0.04,
    "circle": 0.04,
}
_BLUR = 1.2
_NOISE_LENGTH = 2.5
_STEEPNESS = 1.5
_REACH = 6.0  # px: beyond, the probability is 0 or 1 to 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Rooftops:
    """Buildings with their probability, building i in cell ``divmod(i, side)``."""

    probability: NDArray[np.float32]
    """Probability of building per pixel, shape (160 side, 160 side)."""
    truth: NDArray[np.object_]
    """True outlines, shapely Polygons in pixel coordinates (x: column, y: row)."""
    kinds: NDArray[np.str_]
    """``rectangle``, ``L``, ``T``, ``U``, ``Z``, ``cut corner``, ``courtyard`` or ``circle``."""


def make_rooftops(side: int, noise: str = "mid", *, seed: int = 0, street: float | None = None) -> Rooftops:
    """Generate ``side`` × ``side`` buildings, the same ones for the same seed at every noise.

    Args:
        side: cells along rows and along columns.
        noise: a name of :data:`NOISE`.
        seed: of the buildings; their noise takes the next one.
        street: None for directions at random, or degrees: all buildings are parallel to a street of that
            direction to within 1.5 degrees.
    """
    draw, draw_noise = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    probability = np.zeros((side * CELL, side * CELL), np.float32)
    truth = np.empty(side * side, np.object_)
    kinds = []
    for i in range(side * side):
        kind, shape = _shape(draw, street)
        offset = CELL / 2 + draw.uniform(-4, 4), CELL / 2 + draw.uniform(-4, 4)
        local = translate(scale(shape, 1 / RESOLUTION, -1 / RESOLUTION, origin=(0, 0)), *offset)
        assert isinstance(local, Polygon), kind
        distance = ndimage.gaussian_filter(signed_distance(local), _BLUR)
        if NOISE[noise]:
            wave = ndimage.gaussian_filter(
                draw_noise.standard_normal(distance.shape).astype(np.float32), _NOISE_LENGTH
            )
            distance += np.float32(NOISE[noise]) * (wave / wave.std())
        row, col = (CELL * cell for cell in divmod(i, side))
        probability[row : row + CELL, col : col + CELL] = 1 / (1 + np.exp(-_STEEPNESS * distance))
        truth[i] = shapely.orient_polygons(translate(local, col, row))
        kinds.append(kind)
    return Rooftops(probability, truth, np.array(kinds))


def _shape(draw: np.random.Generator, street: float | None) -> tuple[str, BaseGeometry]:
    """Draw a building: its kind, and its outline in meters, y upwards, about (0, 0)."""
    kind = str(draw.choice(list(_SHARES), p=list(_SHARES.values())))
    a = float(np.clip(draw.lognormal(np.log(13), 0.35), 6, 30))
    b = float(np.clip(a * draw.uniform(0.5, 1), 5, 26))
    box = shapely.box
    outline: BaseGeometry = box(0, 0, a, b)
    if kind == "L":
        outline -= box(a * draw.uniform(0.4, 0.7), b * draw.uniform(0.4, 0.7), a + 1, b + 1)
    elif kind == "T":
        stem = a * draw.uniform(0.2, 0.4)
        outline = box(0, 0, a, b * 0.5) | box(stem, 0, stem + a * 0.35, b)
    elif kind == "U":
        outline -= box(a * 0.3, b * 0.45, a * 0.7, b + 1)
    elif kind == "Z":
        outline = outline - box(a * 0.65, b * 0.6, a + 1, b + 1) - box(-1, -1, a * 0.3, b * 0.35)
    elif kind == "cut corner":
        cut = min(a, b) * 0.35
        outline = Polygon([(0, 0), (a, 0), (a, b - cut), (a - cut, b), (0, b)])
    elif kind == "courtyard":
        a, b = a + 6, b + 6
        outline = box(0, 0, a, b) - box(a * 0.33, b * 0.33, a * 0.67, b * 0.67)
    elif kind == "circle":
        outline = shapely.Point(0, 0).buffer(a / 2.2, quad_segs=16)
    # A union leaves vertices where two boxes meet along a line; they are no corners.
    outline = shapely.simplify(shapely.normalize(outline), 1e-9)
    angle = draw.uniform(0, 180)
    if street is not None:
        angle = street + 90 * int(angle // 90) + (angle % 90 - 45) / 30
    outline = rotate(outline, angle, origin=(0, 0))
    middle = outline.envelope.centroid
    return kind, translate(outline, -middle.x, -middle.y)


def signed_distance(outline: Polygon) -> NDArray[np.float32]:
    """Distance of the cell's pixel centers to the outline, px, positive inside, within ±6 px, float32."""
    distance = np.full((CELL, CELL), -_REACH, np.float32)
    left, top, right, bottom = outline.bounds
    first_row, end_row = max(int(top - _REACH), 0), min(int(bottom + _REACH) + 1, CELL)
    first_col, end_col = max(int(left - _REACH), 0), min(int(right + _REACH) + 1, CELL)
    y = np.arange(first_row, end_row)[:, None] + 0.5
    x = np.arange(first_col, end_col)[None, :] + 0.5
    squared = np.full((end_row - first_row, end_col - first_col), _REACH**2)
    inside = np.zeros(squared.shape, np.bool_)
    for ring in (outline.exterior, *outline.interiors):
        corners = np.asarray(ring.coords)
        for (x0, y0), (x1, y1) in pairwise(corners):
            dx, dy = x1 - x0, y1 - y0
            along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
            np.minimum(squared, (x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2, out=squared)
            # A ray to the right crosses an odd number of edges from inside.
            if y0 != y1:
                inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (dx / dy))
    distance[first_row:end_row, first_col:end_col] = np.where(inside, 1, -1) * np.sqrt(squared)
    return distance

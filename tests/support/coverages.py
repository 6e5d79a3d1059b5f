"""Outlines without gaps, built the slow way: what the fast ones are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.arrays import Int64, UInt8
from geoseg.grid.encoding import NODATA
from geoseg.polygons.trace.exact import exact_polygons
from geoseg.polygons.trace.rings import Rings

Point = tuple[float, float]


@dataclass(frozen=True)
class Deformed:
    """Sub-pixel outlines of every region of a scene."""

    rings: Rings
    first_ring: Int64  # of each polygon, and the number of rings at the end
    exact: NDArray[Any]  # the polygons along the pixels
    class_id: UInt8
    pixels: Int64


class _Lattice:
    """What lies on the sides and at the points of the pixels' lattice."""

    def __init__(self, classes: UInt8, scores: UInt8) -> None:
        self.classes = np.pad(classes, 1, constant_values=NODATA)
        self.scores = np.pad(scores.astype(float), ((0, 0), (1, 1), (1, 1)))

    def crossing(self, one: Point, other: Point) -> Point | None:
        """Where the scores cross between two pixels' centers; None beside missing data."""
        one, other = sorted((one, other))
        here, there = ((int(np.floor(y)) + 1, int(np.floor(x)) + 1) for x, y in (one, other))
        a, b = self.classes[here], self.classes[there]
        if NODATA in (a, b):
            return None
        above = max(self.scores[(a, *here)] - self.scores[(b, *here)], 0.5)
        beyond = max(self.scores[(b, *there)] - self.scores[(a, *there)], 0.5)
        f = min(max(float(np.rint(256 * above / (above + beyond))), 5), 251) / 256
        return one[0] + f * (other[0] - one[0]), one[1] + f * (other[1] - one[1])

    def vertex(self, x: float, y: float) -> tuple[Point, bool, bool] | None:
        """Vertex, node?, fixed? at a lattice point; None where a single outline passes."""
        row, col = int(y), int(x)
        (nw, ne), (sw, se) = self.classes[row : row + 2, col : col + 2].tolist()
        quad = [(x - 0.5, y - 0.5), (x + 0.5, y - 0.5), (x + 0.5, y + 0.5), (x - 0.5, y + 0.5)]
        differs = (nw != ne, ne != se, se != sw, sw != nw)
        found = [self.crossing(quad[n], quad[(n + 1) % 4]) for n in range(4) if differs[n]]
        real = [point for point in found if point is not None]
        if len(found) == 2:
            return None if real or differs[0] == differs[2] else ((x, y), False, True)
        if len(real) == len(found):
            dx, dy = (float(np.rint(256 * np.mean([p[n] - (x, y)[n] for p in real]))) for n in (0, 1))
            return (x + dx / 256, y + dy / 256), True, False
        blank = (nw, ne, sw, se).count(NODATA)
        if blank == 2 and len(found) == 3:  # on a straight edge of missing data, the meeting point slides
            px, py = real[0]
            return ((px, y) if abs(py - y) == 0.5 else (x, py)), True, True
        return (x, y), True, True

    def along(self, coords: list[Point]) -> Iterator[tuple[Point, bool, bool]]:
        """Vertices of an exact ring when every unit side moves, and what they are."""
        for (x0, y0), (x1, y1) in pairwise(coords):
            steps = int(abs(x1 - x0) + abs(y1 - y0))
            dx, dy = (x1 - x0) / steps, (y1 - y0) / steps
            for n in range(steps):
                x, y = x0 + (n + 0.5) * dx, y0 + (n + 0.5) * dy
                if point := self.crossing((x - dy / 2, y + dx / 2), (x + dy / 2, y - dx / 2)):
                    yield point, False, False
                if found := self.vertex(x0 + (n + 1) * dx, y0 + (n + 1) * dy):
                    yield found


def deformed(classes: UInt8, scores: UInt8) -> Deformed:
    """Exact polygons of all classes, every unit side moved to where the scores cross."""
    parts = list(exact_polygons([(classes, scores.max(0))], classes.shape[1], range(scores.shape[0])))
    exact = np.concatenate([np.zeros(0, object), *(part.polygons for part in parts)])
    class_ids = [np.zeros(0, np.uint8), *(part.components.class_id for part in parts)]
    pixels = [np.zeros(0, np.int64), *(part.components.pixels for part in parts)]
    lattice = _Lattice(classes, scores)
    found: list[tuple[Point, bool, bool]] = []
    start, first_ring = [0], [0]
    for polygon in exact:
        for ring in (polygon.exterior, *polygon.interiors):
            found.extend(lattice.along(list(ring.coords)))
            start.append(len(found))
        first_ring.append(len(start) - 1)
    rings = Rings(
        np.array([point for point, _, _ in found], float).reshape(-1, 2),
        np.array(start, np.int64),
        np.array([node for _, node, _ in found], bool),
        np.array([fixed for _, _, fixed in found], bool),
    )
    firsts = np.array(first_ring, np.int64)
    return Deformed(rings, firsts, exact, np.concatenate(class_ids), np.concatenate(pixels))


SHAPES = [(1, 1), (1, 17), (17, 1), (2, 2), (3, 4), (7, 5), (16, 16), (23, 19)]


@st.composite
def scenes(draw: st.DrawFn) -> tuple[UInt8, UInt8]:
    """Classes and stored scores of all kinds; the class need not be that of the largest score."""
    shape = draw(st.sampled_from(SHAPES))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bands = draw(st.integers(1, 4))
    kind = draw(st.sampled_from(["noise", "checker", "constant", "patches", "few values", "foreign"]))
    noise = random.random((bands, *shape))
    if kind == "checker":
        rows, cols = np.indices(shape)
        noise += (rows + cols) % bands == np.arange(bands)[:, None, None]
    elif kind == "constant":
        noise[:] = np.linspace(0.2, 0.8, bands)[:, None, None]
    elif kind == "patches":
        noise = ndimage.gaussian_filter(noise, (0, 1.5, 1.5)) * 3
    elif kind == "few values":
        noise = np.rint(noise * 2)
    scores = np.rint(noise / max(noise.max(), 1e-9) * 200).astype(np.uint8)
    classes = scores.argmax(0).astype(np.uint8)
    if kind == "foreign":
        classes = random.integers(0, bands, shape).astype(np.uint8)
    blank = random.random(shape) < draw(st.sampled_from([0.0, 0.05, 0.3]))
    classes[blank] = scores[:, blank] = NODATA
    return classes, scores


def polygons_of(rings: Rings, first_ring: Int64) -> NDArray[Any]:
    """Shapely Polygons of rings."""
    if first_ring.size == 1:
        return np.zeros(0, object)
    closed = np.insert(rings.xy, rings.start[1:], rings.xy[rings.start[:-1]], axis=0)
    offsets = rings.start + np.arange(rings.start.size)
    return shapely.from_ragged_array(shapely.GeometryType.POLYGON, closed, (offsets, first_ring))
